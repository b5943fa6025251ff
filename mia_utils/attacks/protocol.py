"""Who may be compared with whom: the checks and the streaming that reference attacks share.

`PerRecordAttack` reads the shadow models once, one model at a time, and keeps a few numbers for
every record. In the same pass it fits again without each of a few shadow models, so that the
threshold comes from models that the attack has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from ..errors import InputError
from ..outputs import Outputs, align, check_outputs
from .base import Attack
from .design import Design, draw_order

OUT, IN = 0, 1
MOST_LEFT_OUT = 4


def as_queries(outputs: Outputs | Sequence[Outputs] | None, role: str) -> tuple[Outputs, ...]:
    """One `Outputs`, or several queries of the same records by the same models, as a tuple.

    Raises
    ------
    InputError
        If there are none, or if they differ in records, labels, members or evaluated pairs.
    """
    queries = tuple(outputs) if isinstance(outputs, (list, tuple)) else (outputs,)
    if not queries:
        raise InputError(f"{role} got no queries; pass Outputs, or a sequence with one a query")
    for query in queries:
        check_outputs(query, role)
    for query in queries[1:]:
        align(queries[0], query)
        for name in ("members", "evaluated"):
            if not np.array_equal(getattr(query, name), getattr(queries[0], name)):
                raise InputError(f"{role}: the queries disagree in {name}; query the same models")
    return queries


def rows_in(reference: Outputs, outputs: Outputs, role: str) -> np.ndarray:
    """Position in `reference` of every record of `outputs`, int64 (N,), found by id.

    Raises
    ------
    InputError
        If the pools differ, a record is missing from `reference`, or its label differs there.
    """
    if reference.classes != outputs.classes:
        raise InputError(
            f"{role} has {outputs.classes} classes, the shadow models {reference.classes}; an attack "
            "record by record needs shadow models of the same task"
        )
    if reference.fingerprint != outputs.fingerprint:
        raise InputError(
            f"{role} comes from another pool ({outputs.fingerprint[:12] or 'unknown'}) than the "
            f"shadow models ({reference.fingerprint[:12] or 'unknown'}); if equal ids are the same "
            "records in both, say so: shadow.replace(fingerprint=target.fingerprint)"
        )
    order = np.argsort(reference.ids)
    places = np.searchsorted(reference.ids, outputs.ids, sorter=order)
    rows = order[np.minimum(places, order.size - 1)]
    missing = reference.ids[rows] != outputs.ids
    if missing.any():
        raise InputError(
            f"{role} holds record {outputs.ids[missing.argmax()]}, which the shadow models were "
            "not queried on; give the attack their outputs for every record of the pool"
        )
    differing = reference.labels[rows] != outputs.labels
    if differing.any():
        raise InputError(
            f"record {outputs.ids[differing.argmax()]} has different labels in {role} and in the "
            "shadow models' outputs"
        )
    return rows


def check_population(population: Outputs | None, attack: str) -> np.ndarray:
    """Known non-members of each target, bool (targets, population records).

    Raises
    ------
    InputError
        If there is no population, or a target has no known non-member in it.
    """
    if not isinstance(population, Outputs):
        raise InputError(
            f"{attack}.fit got no population; pass the targets' outputs on records that are not "
            "audited"
        )
    known = ~population.members
    empty = ~known.any(axis=1)
    if empty.any():
        raise InputError(
            f"every population record is a member of target {empty.argmax()}; "
            f"{attack} needs known non-members"
        )
    return known


def check_disjoint(population: Outputs, target: Outputs, attack: str) -> None:
    """Check that the population belongs to the audited models and is not audited itself.

    Raises
    ------
    InputError
        If the models differ, or a population record is among the evaluated ones.
    """
    check_outputs(target, f"{attack}.score(target)")
    if len(population) != len(target):
        raise InputError(
            f"the population has outputs of {len(population)} models, the target of "
            f"{len(target)}; they must be the same models"
        )
    if population.names and target.names and population.names != target.names:
        raise InputError("the population and the target are outputs of different models")
    if population.fingerprint != target.fingerprint:
        raise InputError("the population and the target come from different pools")
    audited = target.ids[target.evaluated.any(axis=0)]
    shared = np.intersect1d(audited, population.ids)
    if shared.size:
        raise InputError(
            f"record {shared[0]} is audited and in the population ({shared.size} such records); "
            "take it out of one of them"
        )


def left_out_models(shadow: Outputs, most: int = MOST_LEFT_OUT) -> list[int]:
    """The shadow models that are left out in turn: at most four (or `most`), evenly spread."""
    order, _ = draw_order(shadow)
    places = np.linspace(0, len(order) - 1, min(len(order), most)).round().astype(int)
    return order[np.unique(places)].tolist()


def leave_out(shadow: Outputs, model: int, rng: np.random.Generator) -> np.ndarray:
    """Shadow pairs of the other models, with as many in as out models of each record; bool (M, N).

    Of balanced shadow models one fewer holds the record if the model left out held it, so that the
    counts alone would give its membership away. The surplus is dropped at random, record by record
    (nothing is dropped of records that all of the others hold, or none: their counts tell nothing).
    """
    use = shadow.evaluated.copy()
    use[model] = False
    left = np.stack([(use & ~shadow.members).sum(axis=0), (use & shadow.members).sum(axis=0)])
    wanted = np.where(left.min(axis=0) > 0, left.min(axis=0), left)
    models, records = draw_order(shadow)
    drawn = np.empty(records.size)
    for index in models:
        members = shadow.members[index]
        group = np.where(members, IN, OUT), np.arange(members.size)
        drawn[records] = rng.random(records.size)
        # Sequential sampling: `wanted` of the `left` pairs, every subset equally likely.
        take = use[index] & (drawn * left[group] < wanted[group])
        left[group] -= use[index]
        wanted[group] -= take
        use[index] = take
    return use


class Means:
    """Running mean over in and out models of a per-record signal of `width` values.

    Attributes
    ----------
    count : int64 (2, N)
        Out models and in models seen of each record.
    mean : float64 (2, N, width)
    """

    def __init__(self, records: int, width: int = 1) -> None:
        self.count = np.zeros((2, records), np.int64)
        self.mean = np.zeros((2, records, width))

    def add(self, group: int, rows: np.ndarray, values: np.ndarray) -> None:
        """One model's values, (rows, width), for the records `rows` of one group."""
        self.count[group, rows] += 1
        step = (values - self.mean[group, rows]) / self.count[group, rows, None]
        self.mean[group, rows] += step


class PerRecordAttack(Attack):
    """An attack that compares a target's answer for a record with shadow models' answers for it.

    A subclass says what it reads off a model (`_signal`), what it keeps of the shadow models
    (`_statistics`: an object with `count` (2, N) and `add(group, rows, values)`), what it derives
    from that (`_finish`) and how it compares (`_compare`).
    """

    learns = True
    online = True  # are in models needed, or out models alone?
    seed = 0  # of the random choice of models that equalises counts
    _least = 1  # models of a group that a record needs
    _several = False  # may there be several queries of a record?

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
            If there are no shadow models, or too few for the attack.
        """
        queries = as_queries(shadow, f"{type(self).__name__}.fit(shadow)")
        if len(queries) > 1 and not self._several:
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
                for group in (OUT, IN) if self.online else (OUT,):
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

    def _finish(self, shadow: Outputs, population: Outputs | None) -> None:
        """What else a fit derives, once all shadow models are read."""

    def _enough(self, statistics: Means) -> np.ndarray:
        """Records with enough shadow models of each group, bool (N,)."""
        groups = slice(None) if self.online else slice(OUT, OUT + 1)
        return (statistics.count[groups] >= self._least).all(axis=0)

    def _check_counts(self, rows: np.ndarray) -> None:
        bad = ~self._enough(self.statistics_)[rows]
        if bad.any():
            row = rows[bad.argmax()]
            out, held = self.statistics_.count[:, row]
            have = f"{out} shadow models that did not hold it"
            if self.online:
                have += f" and {held} that did"
            raise InputError(
                f"record {self.records_.ids[row]} has {have}; {type(self).__name__} needs "
                f"{self._least}{' of each' * self.online}: train more, or do not evaluate it"
            )
