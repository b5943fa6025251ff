"""What every attack must beat: guessing, and asking whether the model is right."""

from __future__ import annotations

import numpy as np

from .. import signals
from ..outputs import Outputs, check_outputs
from .base import Attack


class RandomAttack(Attack):
    """A coin: scores uniform in [0, 1), whatever the model answers. Needs no fit.

    Parameters
    ----------
    seed : int
        The same seed gives the same scores to outputs of the same shape; the records get them in
        the order of their ids.
    threshold : float
        0.5 calls half of the records members.
    """

    def __init__(self, *, seed: int = 0, threshold: float = 0.5) -> None:
        super().__init__(threshold=threshold)
        self.seed = seed

    def score(self, target: Outputs) -> np.ndarray:
        """Scores in [0, 1), float64 (M, N), NaN where the pair is not evaluated."""
        self.check_arguments()
        check_outputs(target, "RandomAttack.score(target)")
        scores = np.empty(target.members.shape)
        coins = np.random.default_rng(self.seed).random(scores.shape)
        scores[:, np.argsort(target.ids, kind="stable")] = coins
        return np.where(target.evaluated, scores, np.nan)


class CorrectnessAttack(Attack):
    """The report's baseline: a record is a member if the model classifies it correctly.

    Its balanced accuracy is (1 + g) / 2 for a generalization gap g (report, theorem 2.1). Scores
    are 1.0 and 0.0. Needs no fit.

    >>> logits, labels = np.array([[[2.0, 0.0], [2.0, 0.0]]]), np.array([0, 1])
    >>> two = Outputs(logits, labels, members=np.array([[True, False]]))
    >>> CorrectnessAttack().score(two).tolist()
    [[1.0, 0.0]]
    """

    def __init__(self, *, threshold: float = 0.5) -> None:
        super().__init__(threshold=threshold)

    def _score_records(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return signals.correct(logits, labels).astype(np.float64)
