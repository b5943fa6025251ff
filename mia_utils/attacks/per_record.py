"""Attacks that compare a target record by record with shadow models.

The shadow models are read once, one at a time, and a few numbers are kept for every record. In the
same pass the attack is fitted again without each of a few of them, so that the threshold comes from
models that it has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Self, TypeVar

import numpy as np

from ..errors import InputError
from ..outputs import Outputs
from .alignment import as_queries, rows_in
from .base import Attack, Needs
from .design import Design
from .leave_out import leave_out, left_out_models
from .statistics import IN, OUT, Statistics

S = TypeVar("S", bound=Statistics)


class PerRecordAttack(Attack, Generic[S]):
    """An attack that compares a target's answer for a record with shadow models' answers for it.

    A subclass says what it `needs`, what it reads off a model (`_signal`), what it keeps of the
    shadow models (`_statistics`), what it derives from that (`_finish`) and how it compares
    (`_compare`). Its argument `seed` decides which shadow models are dropped where one is left out.

    Attributes
    ----------
    left_out_ : list of int
        Shadow models that were left out in turn; none with a threshold set by hand.
    left_out_scores_ : float64 (left out, N)
        What they scored, NaN where not evaluated: the threshold is theirs.
    """

    seed: int

    @property
    def needs(self) -> Needs:
        return Needs(fit=True, out=1, held=1)

    def fit(
        self, shadow: Outputs | Sequence[Outputs] | None = None, population: Outputs | None = None
    ) -> Self:
        """Read the shadow models one at a time, their evaluated pairs only.

        Parameters
        ----------
        shadow : Outputs, or a sequence of them where the attack takes several queries
            Every record that will be scored must be among theirs; it is found by id.
        population : Outputs
            Ignored but for the attacks that say so.

        Raises
        ------
        InputError
            If there are no shadow models, or too few for the attack, or an argument cannot be used.
        """
        self.check_arguments()
        queries = as_queries(shadow, f"{type(self).__name__}.fit(shadow)")
        if len(queries) > 1 and not self.needs.queries:
            raise InputError(
                f"{type(self).__name__} takes one query of each record, not {len(queries)}"
            )
        first = queries[0]
        rng = np.random.default_rng(self.seed)
        left_out = left_out_models(first) if self.threshold is None else []
        uses = [first.evaluated, *(leave_out(first, model, rng) for model in left_out)]
        fits = [self._statistics(first.labels.size, len(queries)) for _ in uses]
        signals = {}
        for model in range(len(first)):
            signal = self._signal(queries, model)
            if model in left_out:
                signals[model] = signal
            for use, statistics in zip(uses, fits, strict=True):
                for group in self._groups():
                    rows = np.flatnonzero(use[model] & (first.members[model] == bool(group)))
                    statistics.add(group, rows, signal[rows])
        self.queries_ = len(queries)
        self.records_ = first.select(models=[0])
        self.design_ = Design(first)
        self.statistics_ = fits[0]
        self._finish(first, population)
        scores = np.full((len(left_out), first.labels.size), np.nan)
        for row, model, statistics in zip(scores, left_out, fits[1:], strict=True):
            rows = np.flatnonzero(first.evaluated[model] & self._enough(statistics))
            row[rows] = self._left_out(first, model, statistics, signals[model], rows)
        self.left_out_, self.left_out_scores_ = left_out, scores
        self._set_threshold(scores, first.members[left_out])
        return self

    def score(self, target: Outputs | Sequence[Outputs]) -> np.ndarray:
        """Scores of the evaluated pairs, float64 (M, N), NaN elsewhere.

        Raises
        ------
        InputError
            If the pools differ, a target is a shadow model, or an evaluated record has too few
            shadow models to compare with.

        Warns
        -----
        DesignWarning
            If the number of shadow models that held a record tells what the target held.
        """
        self._check_fitted("statistics_")
        queries = as_queries(target, f"{type(self).__name__}.score(target)")
        if len(queries) != self.queries_:
            raise InputError(
                f"the attack was fitted on {self.queries_} queries of each record and got "
                f"{len(queries)} of the target"
            )
        first = queries[0]
        rows = rows_in(self.records_, first, "the target")
        self.design_.check(first, rows, type(self).__name__)
        self._check_counts(rows[first.evaluated.any(axis=0)])
        scores = np.full(first.members.shape, np.nan)
        for model, used in enumerate(first.evaluated):
            signal = self._signal(queries, model)[used]
            scores[model, used] = self._compare(self.statistics_, signal, rows[used])
        return scores

    def _left_out(self, shadow, model, statistics, signal, rows) -> np.ndarray:
        """Scores of the shadow model that `statistics` has not seen, for its records `rows`."""
        return self._compare(statistics, signal[rows], rows)

    def _signal(self, queries: tuple[Outputs, ...], model: int) -> np.ndarray:
        """What is read off one model's answers, (N,) or (N, width)."""
        raise NotImplementedError

    def _statistics(self, records: int, queries: int) -> S:
        """Empty statistics of N records."""
        raise NotImplementedError

    def _finish(self, shadow: Outputs, population: Outputs | None) -> None:
        """What else a fit derives, once all shadow models are read."""

    def _compare(self, fitted: S, signal: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Scores (n,) of a target's signal (n, ...) for the records `rows` (n,)."""
        raise NotImplementedError

    def _groups(self) -> tuple[int, ...]:
        return (OUT, IN) if self.needs.held else (OUT,)

    def _enough(self, statistics: S) -> np.ndarray:
        """Records with enough shadow models of each group, bool (N,)."""
        out, held = statistics.count
        return (out >= self.needs.out) & (held >= self.needs.held)

    def _check_counts(self, rows: np.ndarray) -> None:
        bad = ~self._enough(self.statistics_)[rows]
        if bad.any():
            row = rows[bad.argmax()]
            self._refuse_counts(f"record {self.records_.ids[row]}", self.statistics_.count[:, row])

    def _refuse_counts(self, record: str, count: np.ndarray) -> None:
        have = f"{count[OUT]} shadow models that did not hold it"
        if self.needs.held:
            have += f" and {count[IN]} that did"
        raise InputError(
            f"{record} has {have}; {type(self).__name__} needs "
            f"{self.needs.out}{' of each' if self.needs.held else ''}: train more, or do not evaluate it"
        )
