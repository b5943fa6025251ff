"""Membership inference attacks on classification models: the package behind the book."""

from __future__ import annotations

import importlib

_HOME = {
    "data": (
        "Masks",
        "Pool",
        "balanced_masks",
        "independent_masks",
        "load_dataset",
        "quarter_masks",
        "quarters",
    ),
    "training": ("DPConfig", "TrainConfig"),
    "engine": ("Oracle", "Store", "load_model", "query", "train"),
    "outputs": ("Outputs",),
    "errors": ("InputError",),
    "evaluation": ("auc", "evaluate", "roc_curve", "tpr_at_fpr"),
    "attacks": (
        "AugmentationAttack",
        "BASE",
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
        "ModifiedEntropyAttack",
        "PopulationAttack",
        "QuantileAttack",
        "RMIA",
        "RandomAttack",
        "ReferenceAttack",
        "SimilarityAttack",
        "StackedAttack",
    ),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str):
    # Resolved when first used: `import mia_utils` stays quick and needs no torch.
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
