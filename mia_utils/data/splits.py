"""Who is a member of what: seeded quarters and membership masks over one pool.

Records are permuted before every split: a pool sorted by class, cut in order, gives members and
non-members of different classes, and every attack looks perfect.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import arguments
from ..arrays import as_array, as_integers
from ..errors import InputError, shown
from .pool import Pool

QUARTERS = ("target_train", "target_test", "shadow_train", "shadow_test")

_QUARTERS, _SHADOWS, _BALANCED, _INDEPENDENT = range(4)
"""What follows the seed: one seed given to two functions of this module gives different draws.

`single_record_masks` alone begins with `balanced_masks` of its seed. Other modules seed generators
by (seed, small number), too, and may share numbers with these; published masks rest on them.
"""


class Masks(NamedTuple):
    """One row for each model over the records of a pool.

    Parameters
    ----------
    members : bool (models, N)
        Is this record in the model's training set?
    evaluated : bool (models, N)
        May an attack be fitted on, or scored at, this pair?
    """

    members: np.ndarray
    evaluated: np.ndarray


def quarters(labels, *, seed: int, stratify: bool = True) -> dict[str, np.ndarray]:
    """Four disjoint random quarters of N // 4 records, each in random order.

    Parameters
    ----------
    labels : integers (N,)
    seed : int
    stratify : bool
        Every class in each quarter, its counts equal within one. The N % 4 records left over are
        dropped at random.

    Returns
    -------
    dict of int64 (N // 4,)
        Record numbers under target_train, target_test, shadow_train, shadow_test.

    Raises
    ------
    InputError
        If a class (or, not stratified, the pool) has fewer than 4 records.

    >>> {name: len(index) for name, index in quarters([0] * 9 + [1] * 8, seed=0).items()}
    {'target_train': 4, 'target_test': 4, 'shadow_train': 4, 'shadow_test': 4}
    """
    parts = _deal(_checked(labels), 4, _rng(seed, _QUARTERS), stratify, "four quarters")
    return dict(zip(QUARTERS, parts, strict=True))


def quarter_masks(
    labels, *, seed: int, shadow_models: int = 1, stratify: bool = True
) -> tuple[Masks, Masks]:
    """The report's protocol as masks: one target, k shadow models on 2k disjoint sets.

    The target trains on target_train and is evaluated there and on target_test. One shadow model
    has the other two quarters; k shadow models divide them into 2k equal disjoint sets: model i
    trains on D_i and is evaluated on D_i and D'_i alone. The target does not depend on k.

    Parameters
    ----------
    labels : integers (N,)
    seed, shadow_models : int
    stratify : bool
        As in `quarters`.

    Returns
    -------
    target : Masks (1, N)
    shadow : Masks (shadow_models, N)

    Raises
    ------
    InputError
        If a class (or, not stratified, the pool) has fewer than 4 records, or a class of the
        shadow half (or that half) fewer than 2k.
    """
    k = arguments.count("shadow_models", shadow_models)
    labels = _checked(labels)
    target_train, target_test, *sets = quarters(labels, seed=seed, stratify=stratify).values()
    if k > 1:
        half = np.concatenate(sets)
        rng = _rng(seed, _SHADOWS)
        where = f"the {2 * k} disjoint sets of {k} shadow models"
        parts = _deal(labels[half], 2 * k, rng, stratify, where)
        sets = [half[part] for part in parts]
    return (
        _masks(len(labels), [target_train], [target_test]),
        _masks(len(labels), sets[0::2], sets[1::2]),
    )


def balanced_masks(n: int, *, models: int, seed: int) -> Masks:
    """Every record is a member of exactly half of the models; everything is evaluated.

    For shadow models. A target must not be a row of this matrix: its membership would show in the
    count of the other rows that hold the record (see `independent_masks`).

    Parameters
    ----------
    n : int
        Records of the pool.
    models, seed : int

    Returns
    -------
    Masks (models, n)

    Raises
    ------
    InputError
        If the number of models is odd, or a count is too small or no integer.
    """
    n, models = arguments.count("n", n), arguments.count("models", models, 2)
    if models % 2:
        raise InputError(f"models={models}; a record in exactly half of them needs an even number")
    half = np.tile(np.arange(models) < models // 2, (n, 1))
    members = np.ascontiguousarray(_rng(seed, _BALANCED).permuted(half, axis=1).T)
    return Masks(members, np.ones_like(members))


def independent_masks(n: int, *, models: int, seed: int) -> Masks:
    """Each model has n // 2 members of its own draw; everything is evaluated. For targets.

    Drawn apart from `balanced_masks`, with the same seed too.

    Parameters
    ----------
    n : int
        Records of the pool, at least 2.
    models, seed : int

    Returns
    -------
    Masks (models, n)

    Raises
    ------
    InputError
        If a count is too small, or no integer.
    """
    n, models = arguments.count("n", n, 2), arguments.count("models", models)
    half = np.tile(np.arange(n) < n // 2, (models, 1))
    members = _rng(seed, _INDEPENDENT).permuted(half, axis=1)
    return Masks(members, np.ones_like(members))


def single_record_masks(n: int, records, *, k: int, seed: int) -> Masks:
    """For the similarity attack as defined (Long et al., 2017): models that differ in one record.

    k models have half of the pool without any of `records`; after them, k models for each record
    have the same training sets and that record besides. The first k are evaluated on all of
    `records`, the others each on its own. The halves are the first k rows of
    `balanced_masks(n, models=2 * k, seed=seed)`: give the two different seeds.

    Parameters
    ----------
    n : int
        Records of the pool.
    records : integers (Q,)
    k, seed : int

    Returns
    -------
    Masks (k + k Q, n)

    Raises
    ------
    InputError
        If a record is outside of the pool or there twice, or no other record is left.
    """
    n, k = arguments.count("n", n, 2), arguments.count("k", k)
    records = as_integers(records, "records")
    inside = records.ndim == 1 and records.size and records.min() >= 0 and records.max() < n
    if not inside or np.unique(records).size != records.size:
        raise InputError(f"records are {shown(records)}; expected different integers in 0..{n - 1}")
    base = balanced_masks(n, models=2 * k, seed=seed).members[:k]
    base[:, records] = False
    if not base.any(axis=1).all():
        raise InputError(f"{records.size} of {n} records are set aside; a model has none left")
    single = np.eye(n, dtype=bool)[np.repeat(records, k)]
    members = np.concatenate([base, np.tile(base, (records.size, 1)) | single])
    aside = np.isin(np.arange(n), records)
    return Masks(members, np.concatenate([np.tile(aside, (k, 1)), single]))


def _deal(
    labels: np.ndarray, parts: int, rng: np.random.Generator, stratify: bool, where: str
) -> list[np.ndarray]:
    """`parts` disjoint index arrays of len(labels) // parts records, dealt in turn by class."""
    n = len(labels)
    if n < parts:
        raise InputError(f"{n} records cannot fill {where}; expected at least {parts}")
    order = rng.permutation(n)
    if not stratify:
        return np.split(order[: n // parts * parts], parts)
    names, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < parts:
        small = counts.argmin()
        raise InputError(
            f"class {names[small]} has {counts[small]} records, too few for {where}; expected at "
            f"least {parts} of each class: use more records or fewer sets, or stratify=False"
        )
    order = order[np.argsort(classes[order], kind="stable")]
    # Left over are records that their class does not need to be in every part.
    rank = np.arange(n) - (np.cumsum(counts) - counts)[classes[order]]
    spare = np.flatnonzero(rank >= (counts // parts * parts)[classes[order]])
    order = np.delete(order, rng.choice(spare, n % parts, replace=False))
    # One random order of the parts for all rounds: no part always gets the surplus of a class, and
    # its counts stay within one.
    dealt = order.reshape(-1, parts)[:, rng.permutation(parts)]
    return [rng.permutation(column) for column in dealt.T]


def _masks(n: int, inside: list[np.ndarray], outside: list[np.ndarray]) -> Masks:
    members = np.zeros((len(inside), n), dtype=bool)
    for row, index in zip(members, inside, strict=True):
        row[index] = True
    evaluated = members.copy()
    for row, index in zip(evaluated, outside, strict=True):
        row[index] = True
    return Masks(members, evaluated)


def _checked(labels) -> np.ndarray:
    if isinstance(labels, Pool):
        raise InputError("a split needs the labels; pass pool.labels, not the pool")
    labels = as_array(labels, "labels")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels have type {labels.dtype} and shape {labels.shape}; expected integers (N,)"
        )
    return labels


def _rng(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng((arguments.seed(seed, bits=63), stream))
