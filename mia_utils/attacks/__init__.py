"""Membership inference attacks: `fit` on shadow models, `score` a target, higher for members."""

from .base import Attack, Needs
from .baseline import CorrectnessAttack, RandomAttack
from .boundary import boundary_distance
from .label_only import AugmentationAttack, BoundaryAttack
from .learned import LearnedAttack
from .lira import LiRA
from .metric import (
    ConfidenceAttack,
    EntropyAttack,
    LossAttack,
    MarginAttack,
    MetricAttack,
    ModifiedEntropyAttack,
)
from .quantile import QuantileAttack
from .reference import CalibratedAttack, PopulationAttack, ReferenceAttack
from .rmia import BASE, RMIA
from .similarity import SimilarityAttack, kl_divergence
from .stacked import StackedAttack
from .white_box import GradientAttack

__all__ = [
    "BASE",
    "RMIA",
    "Attack",
    "AugmentationAttack",
    "BoundaryAttack",
    "CalibratedAttack",
    "ConfidenceAttack",
    "CorrectnessAttack",
    "EntropyAttack",
    "GradientAttack",
    "LearnedAttack",
    "LiRA",
    "LossAttack",
    "MarginAttack",
    "MetricAttack",
    "ModifiedEntropyAttack",
    "Needs",
    "PopulationAttack",
    "QuantileAttack",
    "RandomAttack",
    "ReferenceAttack",
    "SimilarityAttack",
    "StackedAttack",
    "boundary_distance",
    "kl_divergence",
]
