"""How well an attack tells members from non-members, and how sure one can be of that.

`roc` has the exact figures, `intervals` their confidence intervals, `compare` differences between
attacks, groups and whole curves, `report` puts them together as `evaluate`, `epsilon` bounds a privacy
parameter from below, `theorems` has the report's two theorems.
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
from .epsilon import (
    dp_curve,
    gaussian_epsilon,
    many_runs_epsilon,
    one_run_epsilon,
    split_epsilon,
)
from .intervals import (
    METHODS,
    Interval,
    NotMeasured,
    accuracy_interval,
    auc_interval,
    balanced_accuracy_interval,
    clopper_pearson,
    mean_interval,
    null_auc_range,
    prediction_interval,
    tpr_at_fpr_interval,
)
from .report import FPRS, Evaluation, TargetMetrics, columns, evaluate, tpr_column
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
from .theorems import (
    accuracies,
    attaining_attack,
    bentley_bound,
    check_correctness_theorem,
    generalization_gap,
)

__all__ = [
    "FPRS",
    "METHODS",
    "Band",
    "Evaluation",
    "GroupMetrics",
    "Interval",
    "NotMeasured",
    "Roc",
    "TargetMetrics",
    "Threshold",
    "accuracies",
    "accuracy",
    "accuracy_interval",
    "attaining_attack",
    "auc",
    "auc_interval",
    "balanced_accuracy",
    "balanced_accuracy_interval",
    "bentley_bound",
    "best_threshold",
    "check_correctness_theorem",
    "clopper_pearson",
    "columns",
    "dp_curve",
    "evaluate",
    "gaussian_epsilon",
    "generalization_gap",
    "group_metrics",
    "holm",
    "many_runs_epsilon",
    "mean_interval",
    "null_auc_range",
    "one_run_epsilon",
    "paired_auc_difference",
    "prediction_interval",
    "ratio_interval",
    "roc_band",
    "roc_curve",
    "split_epsilon",
    "tpr_at_fpr",
    "tpr_at_fpr_interval",
    "tpr_column",
    "tpr_ratio_interval",
]
