"""BASE: how much smaller is the target's loss than the shadow models make it expect?"""

from __future__ import annotations

import numpy as np

from ..outputs import Outputs
from .protocol import PerRecordAttack
from .rmia import LogMeans, log_probability


class BASE(PerRecordAttack):
    """Bayes-optimal attack, approximated (Lassila, Östman, Ngo & Graell i Amat, 2025, "Practical
    Bayes-Optimal Membership Inference Attacks").

    The score is log p(x | theta) - log p(x): the target's negative loss, minus the logarithm of
    the mean probability of the true class over shadow models. It ranks the records of one target
    as `RMIA` does, without a population and without ties. Offline, out models alone give p(x), and
    its logarithm is multiplied by `scale`, because in models would be surer.

    Parameters
    ----------
    online : bool
    scale : float
        Offline only.
    seed : int
        Of the random choice of shadow models when one is left out to fit the threshold.

    Notes
    -----
    Formula and the 0.33 as in LeakPro, the software of the authors' group; the paper's own text was
    not at hand. There the online mean runs over all shadow models, of which half hold the record;
    here in and out models weigh the same whatever their numbers.
    """

    def __init__(
        self,
        *,
        online: bool = True,
        scale: float = 0.33,
        seed: int = 0,
        threshold: float | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        self.online = online
        self.scale = scale
        self.seed = seed

    def _signal(self, queries: tuple[Outputs, ...], model: int) -> np.ndarray:
        return log_probability(queries[0], model)

    def _statistics(self, records: int, queries: int) -> LogMeans:
        return LogMeans(records)

    def _compare(self, fitted: LogMeans, log_p: np.ndarray, rows: np.ndarray) -> np.ndarray:
        out, held = fitted.log_mean(rows)
        expected = np.logaddexp(out, held) - np.log(2) if self.online else self.scale * out
        return log_p - expected
