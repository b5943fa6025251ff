"""Which record, which query, which population: what must fit before two `Outputs` are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..outputs import Outputs, align, check_outputs


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


def check_population(population: Outputs | None, attack: str) -> Outputs:
    """`population`, if it holds known non-members of each target.

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
    empty = population.members.all(axis=1)
    if empty.any():
        raise InputError(
            f"every population record is a member of target {empty.argmax()}; "
            f"{attack} needs known non-members"
        )
    return population


def check_disjoint(population: Outputs, target, attack: str) -> Outputs:
    """`target`, if the population belongs to its models and is not audited itself.

    Raises
    ------
    InputError
        If the models differ, or a population record is among the evaluated ones.
    """
    target = check_outputs(target, f"{attack}.score(target)")
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
    return target
