"""Attacks on a model that tells its label alone: robustness to changes, distance to the boundary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Self

import numpy as np

from .. import arguments, signals
from ..data import Pool
from ..engine.oracle import Oracle
from ..engine.store import Store
from ..outputs import Outputs
from .alignment import as_queries
from .base import Attack, Needs
from .boundary import boundary_distance
from .stored import StoredModelAttack


class AugmentationAttack(Attack):
    """Robustness to changed records (Choquette-Choo et al., 2021, "Label-Only Membership Inference
    Attacks").

    The score is the share of the queries (flips, shifts, noisy copies; `mia_utils.query` makes
    them) that the model answers with the true label. Of the logits only the largest is looked at.
    With one query it is the correctness baseline.
    """

    @property
    def needs(self) -> Needs:
        return Needs(queries=True)

    def fit(
        self,
        shadow: Outputs | Sequence[Outputs] | None = None,
        population: Outputs | None = None,
    ) -> Self:
        """Take the threshold from the shadow models' answers to the same queries.

        Raises
        ------
        InputError
            As `Attack.fit`, and if the queries are about different records or models.
        """
        if self.threshold is not None or shadow is None:
            return super().fit(None, population)
        self.check_arguments()
        queries = as_queries(shadow, "AugmentationAttack.fit(shadow)")
        self._check_both_kinds(queries[0])
        self._set_threshold(self.score(queries), queries[0].members)
        return self

    def score(self, target: Outputs | Sequence[Outputs]) -> np.ndarray:
        """Shares in [0, 1], float64 (M, N), NaN where the pair is not evaluated.

        Raises
        ------
        InputError
            If the queries are about different records or models.
        """
        self.check_arguments()
        queries = as_queries(target, "AugmentationAttack.score(target)")
        right = np.mean(
            [
                [signals.correct(logits, query.labels) for logits in query.logits]
                for query in queries
            ],
            axis=0,
        )
        return np.where(queries[0].evaluated, right, np.nan)


class BoundaryAttack(StoredModelAttack):
    """Distance to the decision boundary (Choquette-Choo et al., 2021; Li & Zhang, 2021), found by
    HopSkipJump.

    Training pushes the boundary away from its records, so a far boundary speaks for membership. A
    record that the model gets wrong has distance 0.

    Parameters
    ----------
    pool : Pool
        The records.
    store : path or Store, default $MIA_STORE or ~/.cache/mia/store
        Of the models whose names the outputs carry.
    iterations, probes : int
        As in `boundary_distance`.
    seed : int

    Attributes
    ----------
    queries_ : float
        Queries a record in the last call of `score`, the mean over models and records.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        store: str | os.PathLike | Store | None = None,
        iterations: int = 5,
        probes: int = 50,
        seed: int = 0,
        threshold: float | None = None,
    ) -> None:
        super().__init__(pool, store=store, threshold=threshold)
        self.iterations = iterations
        self.probes = probes
        self.seed = seed

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.count("iterations", self.iterations)
        arguments.count("probes", self.probes)

    def score(self, target: Outputs) -> np.ndarray:
        """Distances, float64 (M, N), NaN where the pair is not evaluated; errors as in the base."""
        self._asked = 0
        scores = super().score(target)
        self.queries_ = self._asked / max(1, int(target.evaluated.sum()))
        return scores

    def _score_model(self, target: Outputs, model: int, used: np.ndarray) -> np.ndarray:
        oracle = Oracle.of_stored(target.names[model], self.store)
        found = boundary_distance(
            oracle,
            self.pool.records,
            target.labels[used],
            target.ids[used],
            iterations=self.iterations,
            probes=self.probes,
            seed=self.seed,
        )
        self._asked += oracle.queries
        return found
