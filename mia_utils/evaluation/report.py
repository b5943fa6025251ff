"""`evaluate`: every figure of an attack with its interval and its null, target by target."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

from ..arrays import as_bool, as_numbers
from ..errors import InputError
from .intervals import (
    accuracy_interval,
    auc_interval,
    balanced_accuracy_interval,
    check_level,
    null_auc_range,
    tpr_at_fpr_interval,
)
from .roc import (
    MIN_FALSE_POSITIVES,
    accuracy,
    auc,
    balanced_accuracy,
    check_pairs,
    tpr_at_fpr,
)

RATES = {"tpr_at_fpr10pct": 0.1, "tpr_at_fpr1pct": 0.01, "tpr_at_fpr01pct": 0.001}
"""The false-positive rates that every evaluation reports, by the name of the figure."""


@dataclass(frozen=True, kw_only=True)
class TargetMetrics:
    """Figures of one attack on one target model, over its evaluated records.

    `X_low` and `X_high` are the confidence limits of X, conditional on this trained model. `null_X`
    is X after the memberships were permuted among the same records, once: what the same computation
    finds where there is nothing. `null_low` .. `null_high` is the central range of `null_auc` over
    all permutations. Figures at a threshold are None without one, and a TPR is None where the
    non-members are too few for its false-positive rate (non-members x rate < 10).
    """

    auc: float
    auc_low: float
    auc_high: float
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    balanced_accuracy: float | None
    balanced_accuracy_low: float | None
    balanced_accuracy_high: float | None
    tpr_at_fpr10pct: float | None
    tpr_at_fpr10pct_low: float | None
    tpr_at_fpr10pct_high: float | None
    tpr_at_fpr1pct: float | None
    tpr_at_fpr1pct_low: float | None
    tpr_at_fpr1pct_high: float | None
    tpr_at_fpr01pct: float | None
    tpr_at_fpr01pct_low: float | None
    tpr_at_fpr01pct_high: float | None
    null_auc: float
    null_low: float
    null_high: float
    null_accuracy: float | None
    null_balanced_accuracy: float | None
    null_tpr_at_fpr10pct: float | None
    null_tpr_at_fpr1pct: float | None
    null_tpr_at_fpr01pct: float | None
    n_members: int
    n_nonmembers: int


FIGURES = tuple(
    field.name
    for field in fields(TargetMetrics)
    if not field.name.endswith(("_low", "_high")) and not field.name.startswith("n_")
)
"""Fields of `TargetMetrics` that may be averaged over targets (limits and counts may not)."""


@dataclass(frozen=True)
class Evaluation:
    """One attack on one or more targets: `targets` holds a `TargetMetrics` for each."""

    targets: tuple[TargetMetrics, ...]

    def __len__(self) -> int:
        return len(self.targets)

    def frame(self):
        """A pandas.DataFrame with one row a target; NaN where a figure is None."""
        import pandas as pd

        frame = pd.DataFrame([asdict(target) for target in self.targets])
        counts = ["n_members", "n_nonmembers"]
        frame = frame.astype({name: float for name in frame.columns if name not in counts})
        return frame.rename_axis("target")

    def mean(self) -> dict[str, float | None]:
        """Mean over targets of the per-target figures; None where a target lacks the figure.

        Records of different targets are never pooled: their scores share no scale.
        """
        return self._across(np.mean)

    def spread(self) -> dict[str, float | None]:
        """Standard deviation (n - 1) of the per-target figures; None with a single target."""
        if len(self.targets) < 2:
            return dict.fromkeys(FIGURES)
        return self._across(lambda values: np.std(values, ddof=1))

    def _across(self, reduce) -> dict[str, float | None]:
        columns = {name: [getattr(target, name) for target in self.targets] for name in FIGURES}
        return {
            name: None if None in values else float(reduce(values))
            for name, values in columns.items()
        }


def _figures(scores: np.ndarray, members: np.ndarray, threshold: float | None) -> dict:
    """The figures alone, without intervals: what the null repeats on permuted memberships."""
    enough = int((~members).sum()) * (1 + 1e-12)
    return {
        "auc": auc(scores, members),
        "accuracy": None if threshold is None else accuracy(scores, members, threshold),
        "balanced_accuracy": (
            None if threshold is None else balanced_accuracy(scores, members, threshold)
        ),
    } | {
        name: tpr_at_fpr(scores, members, f) if enough * f >= MIN_FALSE_POSITIVES else None
        for name, f in RATES.items()
    }


def _target(scores, members, threshold: float | None, level: float, rng) -> TargetMetrics:
    figures = _figures(scores, members, threshold)
    null = _figures(scores, rng.permutation(members), threshold)
    makers = {
        "auc": lambda: auc_interval(scores, members, level=level),
        "accuracy": lambda: accuracy_interval(scores, members, threshold, level=level),
        "balanced_accuracy": lambda: balanced_accuracy_interval(
            scores, members, threshold, level=level
        ),
    } | {
        name: lambda f=f: tpr_at_fpr_interval(scores, members, f, level=level)
        for name, f in RATES.items()
    }
    row: dict = {}
    for name, value in figures.items():
        limits = (None, None) if value is None else makers[name]()[1:]
        row |= {name: value, f"{name}_low": limits[0], f"{name}_high": limits[1]}
        row[f"null_{name}"] = null[name]
    row["null_low"], row["null_high"] = null_auc_range(scores, members, level=level)
    count = int(members.sum())
    return TargetMetrics(**row, n_members=count, n_nonmembers=members.size - count)


def evaluate(
    scores,
    members,
    threshold=None,
    evaluated=None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Judge an attack: AUC, accuracy, TPR at low FPR, each with its interval, for every target.

    Intervals are over the records of each trained model and conditional on it: training again
    moves the figures further than they say. Across targets use `Evaluation.mean`, `.spread` and
    `prediction_interval`. `METHODS` says how each interval is made.

    Parameters
    ----------
    scores : float (records,) or (models, records)
        Higher means more likely a member; +-inf allowed, NaN only where not evaluated.
    members : bool, the shape of scores
    threshold : float or float (models,), optional
        Call members the records with score >= threshold. It must have been fixed before these
        records were seen (by hand or on shadow models). Without one, the accuracies are None.
    evaluated : bool, the shape of scores, optional
        The pairs that count; by default those whose score is not NaN.
    level : float
        Confidence level of all intervals.
    seed : int
        Of the permutations behind the null figures; a target's null does not depend on the others.

    Raises
    ------
    InputError
        If shapes disagree, a score within the evaluated pairs is NaN, or a target has no members
        or no non-members among them (the message names the target).

    >>> result = evaluate(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, True, False, False]), 1.5)
    >>> result.targets[0].auc, result.targets[0].accuracy
    (1.0, 1.0)
    """
    check_level(level)
    scores, members = as_numbers(scores, "scores"), as_bool(members, "members")
    if scores.ndim not in (1, 2) or members.shape != scores.shape or 0 in scores.shape:
        raise InputError(
            f"scores have shape {scores.shape} and members {members.shape}; expected both "
            "(records,) or (models, records), not empty"
        )
    evaluated = ~np.isnan(scores) if evaluated is None else as_bool(evaluated, "evaluated")
    if evaluated.shape != scores.shape:
        raise InputError(f"evaluated has shape {evaluated.shape}; scores have {scores.shape}")
    scores, members, evaluated = map(np.atleast_2d, (scores, members, evaluated))
    try:
        thresholds = np.broadcast_to(
            np.nan if threshold is None else np.asarray(threshold, dtype=np.float64), len(scores)
        )
    except (ValueError, TypeError):
        raise InputError(
            f"threshold={threshold!r}; expected a number or one for each of {len(scores)} targets"
        ) from None
    if threshold is not None and np.isnan(thresholds).any():
        raise InputError("threshold is NaN; expected a number, or None for no accuracies")
    targets = []
    for index, keep in enumerate(evaluated):
        pairs = check_pairs(scores[index, keep], members[index, keep], f"target {index}")
        cut = None if threshold is None else float(thresholds[index])
        targets.append(_target(*pairs, cut, level, np.random.default_rng([seed, index])))
    return Evaluation(tuple(targets))
