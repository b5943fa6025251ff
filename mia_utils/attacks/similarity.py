"""Similarity attack: does the target answer as models with the record do, or without it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

from .. import arguments, signals
from ..arrays import as_numbers
from ..errors import InputError
from ..outputs import Outputs, check_outputs
from .alignment import rows_in
from .base import Attack, Needs
from .design import Design
from .leave_out import MOST_LEFT_OUT, leave_out, left_out_models

_CHUNK = 2**19  # probabilities of all targets held at once
_LEFT_OUT_PAIRS = 20_000  # of few records more shadow models are left out than the usual four


def kl_divergence(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """KL(p || q) in nats over the last axis, from log-probabilities.

    Raises
    ------
    InputError
        If they are no numbers, or their shapes do not fit.
    """
    log_p, log_q = as_numbers(log_p, "log_p"), as_numbers(log_q, "log_q")
    try:
        np.broadcast_shapes(log_p.shape, log_q.shape)[-1]
    except (ValueError, IndexError):
        raise InputError(
            f"log_p has shape {log_p.shape}, log_q {log_q.shape}; expected (..., classes) of both"
        ) from None
    return signals.class_sum(np.exp(log_p) * (log_p - log_q))


def js_divergence(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in nats (at most log 2): mean KL of p and q from their mixture."""
    mixture = np.logaddexp(log_p, log_q) - np.log(2)
    return (kl_divergence(log_p, mixture) + kl_divergence(log_q, mixture)) / 2


def l2_distance(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Euclidean distance of the probability vectors."""
    return np.sqrt(signals.class_sum((np.exp(log_p) - np.exp(log_q)) ** 2))


DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "kl": kl_divergence,
    "js": js_divergence,
    "l2": l2_distance,
}


class SimilarityAttack(Attack):
    """Mean distance of the target's prediction to those of shadow models without the record, minus
    the mean distance to those of shadow models with it (report, section 2.5; Long et al., 2020,
    "A Pragmatic Approach to Membership Inferences on Machine Learning Models").

    Which models held a record is read from `members`, so that one attack serves both designs.
    Exact: k models, and for each of Q audited records k more that had it besides; k + kQ trainings.
    A model trained with one of the Q counts as one without the others, unless `evaluated` says no.
    Amortised: a pool of 2k models with every record in k of them; 2k trainings whatever Q is.

    Parameters
    ----------
    distance : "kl", "js" or "l2"
        KL(target || shadow), Jensen-Shannon divergence, or Euclidean distance of probabilities.
    seed : int
        Of the random choice of shadow models when one is left out to fit the threshold.
    threshold : float, optional
        A difference of mean distances.
    """

    def __init__(
        self, *, distance: str = "kl", seed: int = 0, threshold: float | None = None
    ) -> None:
        super().__init__(threshold=threshold)
        self.distance = distance
        self.seed = seed

    @property
    def needs(self) -> Needs:
        return Needs(fit=True, out=1, held=1)

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.one_of("distance", self.distance, DISTANCES)

    def fit(self, shadow: Outputs | None = None, population: Outputs | None = None) -> Self:
        """Keep the shadow models, and take the threshold from some that are left out in turn.

        Parameters
        ----------
        shadow : Outputs
            Every record that will be scored must be among theirs; it is found by id.

        Raises
        ------
        InputError
            If there are no shadow models, or no evaluated members or non-members among them.
        """
        self.check_arguments()
        shadow = self._check_both_kinds(shadow)
        self.shadow_ = shadow
        self.design_ = Design(shadow)
        if self.threshold is not None:
            self._set_threshold(np.empty(0), np.empty(0, bool))
            return self
        rng = np.random.default_rng(self.seed)
        most = max(MOST_LEFT_OUT, _LEFT_OUT_PAIRS // shadow.labels.size)
        left_out = left_out_models(shadow, most)
        use = np.stack([leave_out(shadow, model, rng) for model in left_out])
        rows = np.arange(shadow.labels.size)
        scores = self._differences(shadow.logits[left_out], rows, use)
        scores[~shadow.evaluated[left_out]] = np.nan
        self._set_threshold(scores, shadow.members[left_out])
        return self

    def score(self, target: Outputs) -> np.ndarray:
        """Differences of mean distances, float64 (M, N), NaN where the pair is not evaluated.

        Raises
        ------
        InputError
            If the pools differ, a target is a shadow model, or an evaluated record was in every
            shadow model or in none.

        Warns
        -----
        DesignWarning
            If the number of shadow models that held a record tells what the target held.
        """
        check_outputs(target, "SimilarityAttack.score(target)")
        self._check_fitted("shadow_")
        shadow = self.shadow_
        rows = rows_in(shadow, target, "the target")
        self.design_.check(target, rows, "SimilarityAttack")
        held = (shadow.evaluated & shadow.members).sum(axis=0)[rows]
        free = (shadow.evaluated & ~shadow.members).sum(axis=0)[rows]
        bad = target.evaluated.any(axis=0) & ((held == 0) | (free == 0))
        if bad.any():
            row = int(bad.argmax())
            raise InputError(
                f"record {target.ids[row]} was in {held[row]} shadow models and out of "
                f"{free[row]}; SimilarityAttack needs one of each: train more or do not evaluate it"
            )
        use = np.broadcast_to(shadow.evaluated, (len(target), *shadow.evaluated.shape))
        scores = self._differences(target.logits, rows, use)
        scores[~target.evaluated] = np.nan
        return scores

    def _differences(self, logits: np.ndarray, rows: np.ndarray, use: np.ndarray) -> np.ndarray:
        """Mean distance to models without the record minus that to models with it, (T, n).

        `logits` (T, n, C) belong to the shadow's records `rows` (n,); `use` (T, M, N) are the
        shadow pairs that each of the T models is compared with. NaN where one kind is missing.
        """
        distance = DISTANCES[self.distance]
        differences = np.empty(logits.shape[:2])
        step = max(1, _CHUNK // (logits.shape[0] * logits.shape[2]))
        for start in range(0, rows.size, step):
            part = rows[start : start + step]
            log_p = signals.log_softmax(logits[:, start : start + step])
            total, count = np.zeros((2, 2, *log_p.shape[:2]))  # each: without, with
            for model, shadow_logits in enumerate(self.shadow_.logits):
                held = self.shadow_.members[model, part]
                groups = np.stack([~held, held])[:, None] & use[:, model, part]
                log_q = signals.log_softmax(shadow_logits[part])
                total += groups * distance(log_p, log_q)
                count += groups
            with np.errstate(invalid="ignore"):
                means = total / count
            differences[:, start : start + step] = means[0] - means[1]
        return differences
