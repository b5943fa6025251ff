"""How often each printed interval holds the truth: simulations in which the truth is known.

`python -m benchmarks.coverage [FIGURE ...]` writes book/results/coverage.csv, in about ten minutes of one
core; rows of other figures than those named stay. Members score 1 higher than non-members ("strong leak": 4), both with normal noise; "tied"
rounds the scores to halves, so that few values remain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import norm

from mia_utils import InputError
from mia_utils.evaluation import (
    accuracy_interval,
    auc,
    auc_interval,
    balanced_accuracy_interval,
    clopper_pearson,
    mean_interval,
    null_auc_range,
    paired_auc_difference,
    prediction_interval,
    ratio_interval,
    roc_band,
    tpr_at_fpr_interval,
    tpr_ratio_interval,
)
from mia_utils.evaluation.epsilon import many_runs_epsilon, one_run_epsilon, split_epsilon

from . import RESULTS, command

LEVEL = 0.95
MANY, FEW = 10_000, 2_000
"""Simulations of each row, and of one whose interval is itself a simulation."""
STEPS, CUT, RATE = 2, 0.5, 0.1
EPSILON = 1.0
SIZES = {
    "balanced": (200, 200),
    "small": (20, 20),
    "few members": (20, 400),
    "few non-members": (400, 20),
    "tied": (200, 200),
    "small, tied": (20, 20),
    "strong leak": (200, 200),
}
MEASURABLE = {
    "balanced": (200, 200),
    "small": (20, 100),
    "few members": (20, 1000),
    "few non-members": (1000, 100),
    "tied": (200, 200),
    "strong leak": (200, 200),
}
"""A rate of 10 % needs 100 non-members."""


@dataclass(frozen=True)
class Scores:
    """One drawn set of scores and, as functions, what is true of all sets."""

    members: np.ndarray
    tied: bool
    shift: float

    def draw(self, rng, part: float = 1.0, noise=None) -> np.ndarray:
        noise = rng.normal(size=self.members.size) if noise is None else noise
        scores = noise + part * self.shift * self.members
        return np.floor(STEPS * scores) / STEPS if self.tied else scores

    def above(self, threshold: float, part: float = 1.0) -> float:
        """P(score >= threshold) of members; of tied scores it is a multiple of 1 / STEPS."""
        return float(norm.sf(threshold - part * self.shift))

    def auc(self, part: float = 1.0) -> float:
        shift = part * self.shift
        if not self.tied:
            return float(norm.cdf(shift / np.sqrt(2)))
        grid = np.arange(-10 * STEPS, 11 * STEPS) / STEPS
        own, other = (np.diff(norm.cdf(np.append(grid, 99) - s)) for s in (shift, 0.0))
        return float(own @ (np.cumsum(other) - other / 2))

    def threshold(self, rate: float) -> float:
        """The lowest that at most `rate` of the non-members reach."""
        exact = norm.isf(rate)
        return float(np.ceil(exact * STEPS) / STEPS if self.tied else exact)


def _inside(interval, truth: float) -> bool:
    return bool(interval.low - 1e-12 <= truth <= interval.high + 1e-12)


def _set(kind: str, sizes) -> Scores:
    m, n = sizes[kind]
    return Scores(np.arange(m + n) < m, "tied" in kind, 4.0 if "strong" in kind else 1.0)


def _auc(rng, s: Scores) -> bool:
    return _inside(auc_interval(s.draw(rng), s.members), s.auc())


def _accuracies(which: Callable) -> Callable:
    def held(rng, s: Scores) -> bool:
        hit, spared = s.above(CUT), 1 - s.above(CUT, 0.0)
        share = s.members.mean() if which is accuracy_interval else 0.5
        return _inside(which(s.draw(rng), s.members, CUT), share * hit + (1 - share) * spared)

    return held


def _tpr(rng, s: Scores) -> bool:
    truth = s.above(s.threshold(RATE))
    return _inside(tpr_at_fpr_interval(s.draw(rng), s.members, RATE), truth)


def _null(rng, s: Scores) -> bool:
    scores = s.draw(rng, 0.0)
    low, high = null_auc_range(scores, s.members)
    return bool(low - 1e-12 <= auc(scores, s.members) <= high + 1e-12)


def _pair(rng, s: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two attacks on the same records; the second one's members score half as high."""
    noise = rng.normal(size=(2, s.members.size))
    other = (noise[0] + noise[1]) / np.sqrt(2)
    return s.draw(rng, 1.0, noise[0]), s.draw(rng, 0.5, other)


def _difference(rng, s: Scores) -> bool:
    truth = s.auc() - s.auc(0.5)
    return _inside(paired_auc_difference(*_pair(rng, s), s.members), truth)


def _tpr_ratio(rng, s: Scores) -> bool:
    cut = s.threshold(RATE)
    truth = s.above(cut) / s.above(cut, 0.5)
    found = tpr_ratio_interval(*_pair(rng, s), s.members, RATE, seed=int(rng.integers(2**31)))
    return _inside(found, truth)


def _band(rng, s: Scores) -> bool:
    band = roc_band(s.draw(rng), s.members)
    # Some threshold has at most this FPR and at least this TPR.
    best = [s.above(s.threshold(rate)) if 0 < rate < 1 else float(rate) for rate in band.fpr]
    return bool((band.tpr_low <= np.array(best) + 1e-12).all())


def _share(rng, case) -> bool:
    trials, truth = case
    low, high = clopper_pearson(rng.binomial(trials, truth), trials)
    return bool(low <= truth <= high)


def _ratio(rng, case) -> bool:
    records, a, b = case
    first = rng.random(records)
    second = np.where(rng.random(records) < 0.5, first, rng.random(records))
    return _inside(ratio_interval(first < a, second < b, seed=int(rng.integers(2**31))), a / b)


def _models(which: Callable) -> Callable:
    def held(rng, case) -> bool:
        draw = case[1]
        values = draw(rng, case[0] + 1)
        truth = draw(rng, None) if which is mean_interval else values[-1]
        return _inside(which(values[:-1]), truth)

    return held


def _normal(rng, size):
    return 0.7 if size is None else rng.normal(0.7, 0.02, size)


def _beta(rng, size):
    return 0.9 if size is None else rng.beta(45, 5, size)


def _told(rng, truth: np.ndarray) -> np.ndarray:
    """Randomised response: a mechanism that keeps (and uses up) a promise of EPSILON."""
    return np.where(rng.random(truth.size) < 1 / (1 + np.exp(-EPSILON)), truth, ~truth)


def _one_run(rng, records: int) -> bool:
    held = rng.random(records) < 0.5
    scores = _told(rng, held) + 0.0
    guesses = (records // 10 * 2, records)
    return one_run_epsilon(scores, held, guesses=guesses).epsilon <= EPSILON


def _split(rng, case) -> bool:
    m, n = case
    members = rng.permutation(m + n) < m
    scores = _told(rng, members) + 0.1 * rng.random(m + n)
    labels = np.zeros(m + n, int)
    return split_epsilon(scores, members, labels, seed=int(rng.integers(2**31))).epsilon <= EPSILON


def _many_runs(rng, runs: int) -> bool:
    told = [_told(rng, np.full(runs, truth)) + 0.0 for truth in (True, False)]
    return many_runs_epsilon(*told, threshold=0.5) <= EPSILON


def _by_scores(held: Callable, sizes: dict) -> dict:
    return {
        f"{kind}: {sizes[kind][0]} + {sizes[kind][1]}": (held, _set(kind, sizes)) for kind in sizes
    }


FIGURES: dict[str, tuple[int, dict]] = {
    "AUC": (MANY, _by_scores(_auc, SIZES)),
    "TPR at 10 % FPR": (MANY, _by_scores(_tpr, MEASURABLE)),
    "accuracy": (MANY, _by_scores(_accuracies(accuracy_interval), SIZES)),
    "balanced accuracy": (MANY, _by_scores(_accuracies(balanced_accuracy_interval), SIZES)),
    "AUC of memberships dealt at random": (
        MANY,
        _by_scores(_null, {kind: SIZES[kind] for kind in SIZES if kind != "strong leak"}),
    ),
    "difference of two AUCs": (MANY, _by_scores(_difference, SIZES)),
    "ratio of two TPRs at 10 % FPR": (FEW, _by_scores(_tpr_ratio, MEASURABLE)),
    "whole ROC curve from below": (FEW, _by_scores(_band, SIZES)),
    "share": (
        MANY,
        {f"{n} records, {p:g}": (_share, (n, p)) for n, p in product((20, 400), (0.5, 0.01))},
    ),
    "ratio of two shares": (
        FEW,
        {
            f"{n} records, {a:g} and {b:g}": (_ratio, (n, a, b))
            for n, a, b in ((20, 0.5, 0.25), (200, 0.5, 0.25), (400, 0.05, 0.01))
        },
    ),
    "mean of several models": (
        MANY,
        {f"{n} models": (_models(mean_interval), (n, _normal)) for n in (3, 5, 20)}
        | {"10 models near 1 (beta)": (_models(mean_interval), (10, _beta))},
    ),
    "one more model": (
        MANY,
        {f"{n} models": (_models(prediction_interval), (n, _normal)) for n in (3, 5, 20)}
        | {"10 models near 1 (beta)": (_models(prediction_interval), (10, _beta))},
    ),
    "epsilon at least, one run": (
        FEW,
        {f"{n} canaries": (_one_run, n) for n in (20, 200, 1000)},
    ),
    "epsilon at least, random part": (
        FEW,
        {f"{m} + {n}": (_split, (m, n)) for m, n in ((20, 20), (20, 400), (500, 500))},
    ),
    "epsilon at least, many runs": (
        FEW,
        {f"{n} + {n} runs": (_many_runs, n) for n in (20, 100, 500)},
    ),
}


def measure(figure: str, case: str, simulations: int | None = None) -> dict:
    """One row: how often the interval held the truth, and the limits of that share itself."""
    usual, cases = FIGURES[figure]
    simulations = usual if simulations is None else simulations
    held, given = cases[case]
    rng = np.random.default_rng([list(FIGURES).index(figure), list(cases).index(case)])
    hits = sum(bool(held(rng, given)) for _ in range(simulations))
    low, high = clopper_pearson(hits, simulations)
    return {
        "interval": figure,
        "records": case,
        "simulations": simulations,
        "level": LEVEL,
        "coverage": f"{hits / simulations:.4f}",
        "low": f"{float(low):.4f}",
        "high": f"{float(high):.4f}",
    }


def main(chosen: list[str]) -> int:
    unknown = set(chosen) - set(FIGURES)
    if unknown:
        raise InputError(f"{sorted(unknown)}; expected some of {list(FIGURES)}")
    path = RESULTS / "coverage.csv"
    rows = {}
    if chosen and path.exists():
        for row in pd.read_csv(path, dtype=str).to_dict("records"):
            rows[row["interval"], row["records"]] = row
    order = [(figure, case) for figure, (_, cases) in FIGURES.items() for case in cases]
    for figure in chosen or FIGURES:
        for case in FIGURES[figure][1]:
            rows[figure, case] = measure(figure, case)
            print(rows[figure, case], flush=True)
        table = pd.DataFrame([rows[key] for key in order if key in rows])
        table.to_csv(path, index=False, lineterminator="\n")  # what was measured so far
    print(told(table))
    return 0


def told(table: pd.DataFrame) -> str:
    """In one line: how many rows, and the lowest share of them all."""
    lowest = table.loc[table["coverage"].astype(float).idxmin()]
    return (
        f"{len(table)} pairs of interval and scores at level {LEVEL}; the lowest share is "
        f"{lowest['coverage']} ({lowest['interval']}, {lowest['records']})"
    )


if __name__ == "__main__":
    command(main)
