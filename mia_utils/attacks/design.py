"""Is the comparison fair? A target among its own shadow models, and counts that tell memberships.

An attack that compares a target record by record with shadow models must know neither from their
design whether the target held a record: not because the target is one of them, and not because the
number of shadow models that held the record goes with the target's membership.
"""

from __future__ import annotations

import warnings

import numpy as np

from ..arrays import rows_of
from ..errors import DesignWarning, InputError
from ..evaluation import auc, null_auc_range
from ..outputs import Outputs

_CHUNK = 2**22  # logits that are hashed at once
_ALIKE, _FEWEST = 0.9, 3  # share and number of identical answers that are no accident
_FALSE_ALARMS = 1e-4  # for each target whose design is sound


def answer_keys(logits: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each answer's exact numbers, from logits (N, C), uint64 (N,), never 0."""
    factors = np.random.default_rng(0).integers(2**63, size=logits.shape[1], dtype=np.uint64)
    factors = 2 * factors + 1
    keys = np.empty(len(logits), np.uint64)
    step = max(1, _CHUNK // logits.shape[1])
    for start in range(0, len(logits), step):
        part = np.ascontiguousarray(rows_of(logits, slice(start, start + step)), np.float32).view(
            np.uint32
        )
        mixed = (part * factors) ^ (part * factors >> np.uint64(29))
        keys[start : start + step] = mixed.sum(axis=1, dtype=np.uint64) | np.uint64(1)
    return keys


def _telling(logits: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Answers (N,) that two models do not give alike by chance, as they may a label or rounded
    probabilities: no other record has it, and of three classes or more it is no one-hot row."""
    _, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
    telling = count[inverse] == 1
    if logits.shape[1] > 2:
        rows = np.flatnonzero(telling)
        ordered = np.sort(rows_of(logits, rows), axis=1)
        telling[rows] = (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1) > 1
    return telling


class Design:
    """What the shadow models of an attack were, to hold a target against.

    Parameters
    ----------
    shadow : Outputs

    Attributes
    ----------
    keys : uint64 (M, N)
        `answer_keys` of the evaluated pairs, 0 elsewhere.
    share : float64 (N,)
        Of the shadow models evaluated on a record, those that held it; NaN where there is none.
    """

    def __init__(self, shadow: Outputs) -> None:
        self.names = frozenset(shadow.names)
        self.keys = np.zeros(shadow.members.shape, np.uint64)
        for keys, logits, used in zip(self.keys, shadow.logits, shadow.evaluated, strict=True):
            keys[used] = answer_keys(logits)[used]
        with np.errstate(invalid="ignore"):
            held = (shadow.members & shadow.evaluated).sum(axis=0)
            self.share = held / shadow.evaluated.sum(axis=0)

    def check(self, target: Outputs, rows: np.ndarray, attack: str) -> None:
        """Hold a target against the shadow models; its record i is their record `rows[i]`.

        Raises
        ------
        InputError
            If a target is one of the shadow models, by name or by its answers.

        Warns
        -----
        DesignWarning
            If the share of shadow models that held a record tells what the target held.
        """
        if own := self.names.intersection(target.names):
            raise InputError(
                f"model {min(own)} is audited and among the shadow models; audit one whose mask was "
                "drawn independently of theirs, with independent_masks(...)"
            )
        for model in range(len(target)):
            self._check_copies(target, model, rows, attack)
            self._check_counts(target, model, rows, attack)

    def _check_copies(self, target: Outputs, model: int, rows: np.ndarray, attack: str) -> None:
        keys, shadow_keys = answer_keys(target.logits[model]), self.keys[:, rows]
        same = shadow_keys == keys
        if not same.any():
            return
        telling = _telling(target.logits[model], keys)
        for shadow in np.flatnonzero(same.any(axis=1)):
            known = shadow_keys[shadow] != 0
            alike = same[shadow] & known
            if alike.sum() >= _ALIKE * known.sum() and (alike & telling).sum() >= _FEWEST:
                raise InputError(
                    f"target {model} gives {int(alike.sum()):,} of {int(known.sum()):,} records "
                    f"the very logits of shadow model {shadow}: {attack} would find memberships "
                    "that it was told. Audit a model whose mask was drawn independently of the "
                    "shadow models', with independent_masks(...)"
                )

    def _check_counts(self, target: Outputs, model: int, rows: np.ndarray, attack: str) -> None:
        share = self.share[rows]
        used = target.evaluated[model] & ~np.isnan(share)
        share, held = share[used], target.members[model, used]
        if not held.any() or held.all():
            return
        found = auc(share, held)
        low, high = null_auc_range(share, held, level=1 - _FALSE_ALARMS)
        if not low <= found <= high:
            warnings.warn(
                f"how many shadow models held a record tells whether target {model} did (AUC "
                f"{found:.2f}, with no look at an answer), as if its mask were a row of theirs: "
                f"the scores of {attack} are biased. Draw the target's mask independently of the "
                "shadow models', with independent_masks(...), or evaluate other records",
                DesignWarning,
                stacklevel=4,
            )
