"""`evaluate`: every figure of an attack with its interval and its null, target by target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import arguments
from ..arrays import as_bool, as_numbers
from ..errors import InputError, shown
from ..outputs import Outputs
from .intervals import (
    Interval,
    NotMeasured,
    accuracy_interval,
    auc_interval,
    balanced_accuracy_interval,
    check_level,
    null_auc_range,
    tpr_at_fpr_interval,
)
from .roc import (
    accuracy,
    auc,
    balanced_accuracy,
    check_pairs,
    needed_nonmembers,
    not_measurable,
    tpr_at_fpr,
)

FPRS = (0.1, 0.01, 0.001)
"""The false-positive rates that are reported unless others are asked for."""


def tpr_column(fpr: float) -> str:
    """The name of the true-positive rate at a false-positive rate, wherever figures have names.

    >>> tpr_column(0.001)
    'tpr_at_fpr_0.001'
    """
    arguments.number("fpr", fpr, "a false-positive rate in (0, 1]", 0, 1, closed="high")
    return f"tpr_at_fpr_{fpr:g}"


@dataclass(frozen=True, kw_only=True)
class TargetMetrics:
    """Figures of one attack on one target model, over its evaluated records.

    Intervals are conditional on this trained model. `null_X` is X after the memberships were
    permuted among the same records, once: what the same computation finds where there is nothing.
    Without a threshold the accuracies, and where the non-members are too few for a false-positive
    rate (non-members x rate < 10) the TPRs, are `NotMeasured`, and their nulls None.

    Attributes
    ----------
    auc, accuracy, balanced_accuracy : Interval
    tprs : from each false-positive rate to an Interval
    null_auc, null_accuracy, null_balanced_accuracy : float
    null_tprs : from each false-positive rate to a float
    null_low, null_high : float
        The central range of `null_auc` over all permutations.
    n_members, n_nonmembers : int
    """

    auc: Interval
    accuracy: Interval
    balanced_accuracy: Interval
    tprs: Mapping[float, Interval]
    null_auc: float
    null_low: float
    null_high: float
    null_accuracy: float | None
    null_balanced_accuracy: float | None
    null_tprs: Mapping[float, float | None]
    n_members: int
    n_nonmembers: int

    def tpr_at_fpr(self, fpr: float) -> Interval:
        """The largest TPR of any threshold whose FPR is at most `fpr`, one of those asked for.

        Raises
        ------
        InputError
            If the evaluation was not asked for that rate.
        """
        return _at(self.tprs, fpr)

    def null_tpr_at_fpr(self, fpr: float) -> float | None:
        """The same after memberships were permuted once; raises what `tpr_at_fpr` does."""
        return _at(self.null_tprs, fpr)

    def row(self) -> dict[str, float | int | None]:
        """Every figure by its name (see `columns`); None where there is none."""
        intervals = {
            "auc": self.auc,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            **{tpr_column(fpr): tpr for fpr, tpr in self.tprs.items()},
        }
        row: dict[str, float | int | None] = {}
        for name, interval in intervals.items():
            parts = interval if interval.measured else (None,) * 3
            row |= zip((name, f"{name}_low", f"{name}_high"), parts, strict=True)
        row |= {
            name: getattr(self, name)
            for name in ("null_auc", "null_low", "null_high")
            + ("null_accuracy", "null_balanced_accuracy")
        }
        row |= {f"null_{tpr_column(fpr)}": tpr for fpr, tpr in self.null_tprs.items()}
        return row | {"n_members": self.n_members, "n_nonmembers": self.n_nonmembers}


def _at(rates: Mapping, fpr: float):
    if fpr not in rates:
        raise InputError(
            f"TPR at FPR {fpr} was not evaluated, only at {', '.join(map(str, rates))}; write "
            f"evaluate(..., fprs=({', '.join(map(str, [*rates, fpr]))}))"
        )
    return rates[fpr]


def figure_columns(fprs: Sequence[float] = FPRS) -> tuple[str, ...]:
    """Names of the figures that may be averaged over targets (limits and counts may not)."""
    at_thresholds = ("accuracy", "balanced_accuracy", *map(tpr_column, fprs))
    return ("auc", *at_thresholds, "null_auc", *(f"null_{name}" for name in at_thresholds))


def columns(fprs: Sequence[float] = FPRS) -> tuple[str, ...]:
    """Names of all figures, in the order of `TargetMetrics.row`.

    >>> columns((0.01,))[9:12]
    ('tpr_at_fpr_0.01', 'tpr_at_fpr_0.01_low', 'tpr_at_fpr_0.01_high')
    """
    fprs = arguments.several("fprs", fprs, "false-positive rates, such as (0.1, 0.01)")
    intervals = ("auc", "accuracy", "balanced_accuracy", *map(tpr_column, fprs))
    return (
        *(f"{name}{end}" for name in intervals for end in ("", "_low", "_high")),
        *("null_auc", "null_low", "null_high", "null_accuracy", "null_balanced_accuracy"),
        *(f"null_{tpr_column(fpr)}" for fpr in fprs),
        *("n_members", "n_nonmembers"),
    )


@dataclass(frozen=True)
class Evaluation:
    """One attack on one or more targets: `targets` holds a `TargetMetrics` for each.

    The evaluation of a single target has that target's figures: `result.auc`,
    `result.tpr_at_fpr(0.01)`.
    """

    targets: tuple[TargetMetrics, ...]
    fprs: tuple[float, ...] = FPRS

    def __len__(self) -> int:
        return len(self.targets)

    def __getattr__(self, name: str):
        if name.startswith("_") or (
            not hasattr(TargetMetrics, name) and (name not in TargetMetrics.__dataclass_fields__)
        ):
            raise AttributeError(f"Evaluation has no attribute {name!r}")
        if len(self.targets) != 1:
            raise InputError(
                f"{len(self.targets)} targets were evaluated; write result.targets[0].{name}, or "
                "result.mean() for the mean of each figure"
            )
        return getattr(self.targets[0], name)

    def frame(self):
        """A pandas.DataFrame with one row a target and the columns of `columns`; NaN for None."""
        import pandas as pd

        frame = pd.DataFrame([target.row() for target in self.targets])
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
            return dict.fromkeys(figure_columns(self.fprs))
        return self._across(lambda values: np.std(values, ddof=1))

    def _across(self, reduce) -> dict[str, float | None]:
        rows = [target.row() for target in self.targets]
        figures = {name: [row[name] for row in rows] for name in figure_columns(self.fprs)}
        return {
            name: None if None in values else float(reduce(values))
            for name, values in figures.items()
        }


def _target(scores, members, threshold, fprs, level: float, rng) -> TargetMetrics:
    count = int(members.sum())
    nonmembers = members.size - count
    # What chance finds: the same figures of memberships that have nothing to do with the scores.
    permuted = rng.permutation(members)

    def judged(make) -> Interval:
        if threshold is None:
            return NotMeasured("not measured without a threshold")
        return make(scores, members, threshold, level=level)

    def chance(make) -> float | None:
        return None if threshold is None else make(scores, permuted, threshold)

    tprs: dict[float, Interval] = {}
    null_tprs: dict[float, float | None] = {}
    for fpr in fprs:
        if nonmembers >= (needed := needed_nonmembers(fpr)):
            tprs[fpr] = tpr_at_fpr_interval(scores, members, fpr, level=level)
            null_tprs[fpr] = tpr_at_fpr(scores, permuted, fpr)
        else:
            tprs[fpr] = NotMeasured(not_measurable(nonmembers, needed), needed)
            null_tprs[fpr] = None
    low, high = null_auc_range(scores, members, level=level)
    return TargetMetrics(
        auc=auc_interval(scores, members, level=level),
        accuracy=judged(accuracy_interval),
        balanced_accuracy=judged(balanced_accuracy_interval),
        tprs=tprs,
        null_auc=auc(scores, permuted),
        null_low=low,
        null_high=high,
        null_accuracy=chance(accuracy),
        null_balanced_accuracy=chance(balanced_accuracy),
        null_tprs=null_tprs,
        n_members=count,
        n_nonmembers=nonmembers,
    )


def evaluate(
    attack,
    target: Outputs | Sequence[Outputs] | None = None,
    *,
    members=None,
    evaluated=None,
    threshold=None,
    fprs: Sequence[float] = FPRS,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Judge an attack: AUC, accuracy, TPR at low FPR, each with its interval, for every target.

        evaluate(attack, target)                     a fitted attack, on the models of an Outputs
        evaluate(scores, target)                     its scores, float (models, records)
        evaluate(scores, members=members)            without Outputs: (records,) or (models, records)

    Intervals are over the records of each trained model and conditional on it: training again
    moves the figures further than they say. Across targets use `Evaluation.mean`, `.spread` and
    `prediction_interval`. `METHODS` says how each interval is made.

    Parameters
    ----------
    attack : a fitted attack, or float (records,) or (models, records)
        Scores: higher means more likely a member; +-inf allowed, NaN only where not evaluated.
    target : Outputs or TokenOutputs, or a sequence for an attack that takes several queries
        The audited models: who their members are and which pairs are evaluated.
    members, evaluated : bool, the shape of the scores
        In place of `target`. By default the pairs count whose score is not NaN.
    threshold : float or float (models,), optional
        Call members the records with score >= threshold. It must have been fixed before these
        records were seen (by hand or on shadow models). By default it is the attack's own; scores
        alone have none, and then the accuracies are `NotMeasured`.
    fprs : sequence of floats in (0, 1]
        The false-positive rates at which true-positive rates are reported.
    level : float
        Confidence level of all intervals.
    seed : int
        Of the permutations behind the null figures; a target's null does not depend on the others.

    Raises
    ------
    InputError
        If shapes disagree, a score within the evaluated pairs is NaN, or a target has no members
        or no non-members among them (the message names the target).

    >>> scores, members = np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, True, False, False])
    >>> result = evaluate(scores, members=members, threshold=1.5)
    >>> print(result.auc)
    1.000 (0.158 to 1.000)
    >>> f"{result.tpr_at_fpr(0.01):.1%}"
    'not measurable with 2 non-members; 1,000 are needed'
    """
    check_level(level)
    arguments.seed(seed)
    fprs = _rates(fprs)
    if hasattr(attack, "score"):
        if target is None:
            raise InputError("evaluate(attack) got no target; write evaluate(attack, target)")
        if isinstance(attack, type):
            raise InputError(f"evaluate got the class; write evaluate({attack.__name__}(), target)")
        scores = attack.score(target)
        if threshold is None:
            threshold = getattr(attack, "score_threshold", None)
    else:
        scores = as_numbers(attack, "scores")
    if target is not None:
        truth = target[0] if isinstance(target, (list, tuple)) and target else target
        if not (hasattr(truth, "members") and hasattr(truth, "evaluated")):
            raise InputError(
                f"evaluate(..., target) got {type(truth).__name__}; expected Outputs, or write "
                "evaluate(scores, members=members)"
            )
        if members is not None or evaluated is not None:
            raise InputError("members and evaluated are the target's; pass one or the other")
        members, evaluated = truth.members, truth.evaluated
        if scores.shape == members.shape[1:] and len(members) == 1:
            scores = scores[None]
    members = as_bool(members, "members")
    if scores.ndim not in (1, 2) or members.shape != scores.shape or 0 in scores.shape:
        raise InputError(
            f"scores have shape {scores.shape} and members {members.shape}; expected both "
            "(records,) or (models, records), not empty"
        )
    evaluated = ~np.isnan(scores) if evaluated is None else as_bool(evaluated, "evaluated")
    if evaluated.shape != scores.shape:
        raise InputError(f"evaluated has shape {evaluated.shape}; scores have {scores.shape}")
    scores, members, evaluated = map(np.atleast_2d, (scores, members, evaluated))
    thresholds = _thresholds(threshold, len(scores))
    targets = []
    for index, keep in enumerate(evaluated):
        pairs = check_pairs(scores[index, keep], members[index, keep], f"target {index}")
        rng = np.random.default_rng([seed, index])
        targets.append(_target(*pairs, thresholds[index], fprs, level, rng))
    return Evaluation(tuple(targets), fprs)


def _rates(fprs) -> tuple[float, ...]:
    rates = tuple(float(f) for f in np.atleast_1d(as_numbers(fprs, "fprs")))
    for rate in rates:
        needed_nonmembers(rate)
    if len(set(map(tpr_column, rates))) < len(rates) or not rates:
        raise InputError(
            f"fprs={shown(fprs)}; expected different false-positive rates, in six digits"
        )
    return rates


def _thresholds(threshold, targets: int) -> list[float | None]:
    if threshold is None:
        return [None] * targets
    values = as_numbers(threshold, "threshold").astype(np.float64)
    if values.shape not in ((), (targets,)):
        raise InputError(
            f"threshold={shown(threshold)}; expected a number or one for each of {targets} targets"
        )
    if np.isnan(values).any():
        raise InputError("threshold is NaN; expected a number, or None for no accuracies")
    return np.broadcast_to(values, targets).tolist()
