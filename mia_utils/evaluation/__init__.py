"""How well an attack tells members from non-members, and how sure one can be of that.

`roc` has the exact figures, `intervals` their confidence intervals, `compare` differences between
attacks, groups and whole curves, `report` puts them together as `evaluate`.
"""

from .compare import (
    Band,
    GroupMetrics,
    group_metrics,
    holm,
    paired_auc_difference,
    ratio_interval,
    roc_band,
    tpr_ratio_interval,
)
from .intervals import (
    METHODS,
    Interval,
    accuracy_interval,
    auc_interval,
    balanced_accuracy_interval,
    clopper_pearson,
    mean_interval,
    null_auc_range,
    prediction_interval,
    tpr_at_fpr_interval,
)
from .report import RATES, Evaluation, TargetMetrics, evaluate
from .roc import (
    Roc,
    Threshold,
    accuracy,
    auc,
    balanced_accuracy,
    best_threshold,
    roc_curve,
    tpr_at_fpr,
)

__all__ = [
    "METHODS",
    "RATES",
    "Band",
    "Evaluation",
    "GroupMetrics",
    "Interval",
    "Roc",
    "TargetMetrics",
    "Threshold",
    "accuracy",
    "accuracy_interval",
    "auc",
    "auc_interval",
    "balanced_accuracy",
    "balanced_accuracy_interval",
    "best_threshold",
    "clopper_pearson",
    "evaluate",
    "group_metrics",
    "holm",
    "mean_interval",
    "null_auc_range",
    "paired_auc_difference",
    "prediction_interval",
    "ratio_interval",
    "roc_band",
    "roc_curve",
    "tpr_at_fpr",
    "tpr_at_fpr_interval",
    "tpr_ratio_interval",
]
