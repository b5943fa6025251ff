"""LiRA: is the target's margin likelier under the shadow models that held the record, or not?"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import log_ndtr

from .. import arguments, signals
from ..errors import InputError
from ..outputs import Outputs
from .base import Needs
from .per_record import PerRecordAttack
from .statistics import IN, OUT, Gaussians

_RELATIVE_FLOOR = 1e-2  # of the pooled variance: five answers of 0.1 spread are luck, not certainty
_ABSOLUTE_FLOOR = 1e-12  # where all margins tie


class LiRA(PerRecordAttack[Gaussians]):
    """Likelihood ratio attack (Carlini et al., 2022, "Membership Inference Attacks From First
    Principles").

    For each record the margins phi of the shadow models that held it, and of those that did not,
    are taken as two Gaussians. Online, the score is log N(phi; in) - log N(phi; out) of the
    target's phi. Offline there are out models only, and the score is -log Pr[Z >= phi] with Z from
    the out Gaussian: the paper's one-sided test, on a scale that does not underflow.

    Parameters
    ----------
    online : bool
        Use the shadow models that held the record.
    variance : "fixed" or "per_record"
        "fixed": one covariance for the in and one for the out models, from the residuals of the
        shadow margins around each record's own mean. "per_record": each record's own variance,
        at least a hundredth of the fixed one; better only with many shadow models.
    two_sided : bool
        Offline only: -log N(phi; out), as several tools have it. An unusually *low* margin then
        speaks for membership too.
    seed : int
        Of the random choice of shadow models when one is left out to fit the threshold.

    Notes
    -----
    Several queries of each record (flips, shifts), given as a sequence of `Outputs` to `fit` and to
    `score`, are one Gaussian vector: with its full covariance if "fixed", with independent entries
    if "per_record". The one-sided test takes the mean over the queries.

    Differences from the authors' code: means instead of medians; the fixed deviations are those of
    the residuals of in and of out models, there one number for both, the deviation of all in
    models' margins over all records; variances are divided by the degrees of freedom, answers minus fitted
    means, which doubles them with two models a record. Its offline score is the two-sided one.
    """

    def __init__(
        self,
        *,
        online: bool = True,
        variance: str = "fixed",
        two_sided: bool = False,
        seed: int = 0,
        threshold: float | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        self.online = online
        self.variance = variance
        self.two_sided = two_sided
        self.seed = seed

    @property
    def needs(self) -> Needs:
        least = 2 if self.variance == "per_record" else 1
        return Needs(fit=True, out=least, held=least if self.online else 0, queries=True)

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.one_of("variance", self.variance, ("fixed", "per_record"))
        if self.two_sided and self.online:
            raise InputError("two_sided is a choice of the offline attack; pass online=False")

    @property
    def _one_sided(self) -> bool:
        return not self.online and not self.two_sided

    def _signal(self, queries: tuple[Outputs, ...], model: int) -> np.ndarray:
        margins = np.stack(
            [signals.margin(query.logits[model], query.labels) for query in queries], axis=-1
        )
        return margins.mean(axis=-1, keepdims=True) if self._one_sided else margins

    def _statistics(self, records: int, queries: int) -> Gaussians:
        return Gaussians(records, 1 if self._one_sided else queries, self.variance != "fixed")

    def _finish(self, shadow: Outputs, population: Outputs | None) -> None:
        """Pooled covariances (2, Q, Q); diagonal, and only a floor, if variances are per record."""
        fitted = self.statistics_
        scatter = fitted.scatter
        if fitted.per_record:  # the floor of each record's own variance
            scatter = scatter.sum(axis=1)[..., None] * np.eye(scatter.shape[-1])
        groups = [OUT, IN] if self.online else [OUT]
        self.covariance_ = np.zeros_like(scatter)
        for group in groups:
            if fitted.freedom(group) == 0:
                raise InputError(
                    f"no record has two shadow models that {'held' if group else 'did not hold'} "
                    "it; LiRA cannot see how much margins vary: train at least 4 shadow models"
                )
            self.covariance_[group] = scatter[group] / fitted.freedom(group)
        # Equal queries (the flip of a symmetric picture) make both singular in the same direction:
        # one ridge for both, so that it cancels in their ratio.
        ridge = 1e-9 * np.trace(self.covariance_.sum(axis=0)) + _ABSOLUTE_FLOOR
        self.covariance_[groups] += ridge * np.eye(scatter.shape[-1])

    def _log_density(self, fitted: Gaussians, group: int, phi: np.ndarray, rows) -> np.ndarray:
        residual = phi - fitted.mean[group, rows]
        if self.variance == "fixed":
            factor = np.linalg.cholesky(self.covariance_[group])
            white = solve_triangular(factor, residual.T, lower=True).T
            log_scale = np.log(np.diagonal(factor)).sum()
        else:
            deviation = self._deviation(fitted, group, rows)
            white, log_scale = residual / deviation, np.log(deviation).sum(axis=1)
        return -0.5 * ((white**2).sum(axis=1) + phi.shape[1] * np.log(2 * np.pi)) - log_scale

    def _deviation(self, fitted: Gaussians, group: int, rows) -> np.ndarray:
        """Standard deviation of each query: (Q,) if fixed, else (rows, Q)."""
        pooled = np.diagonal(self.covariance_[group])
        if self.variance == "fixed":
            return np.sqrt(pooled)
        own = fitted.scatter[group, rows] / (fitted.count[group, rows, None] - 1)
        return np.sqrt(np.maximum(own, _RELATIVE_FLOOR * pooled))

    def _compare(self, fitted: Gaussians, phi: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if self._one_sided:
            residual = (phi - fitted.mean[OUT, rows]) / self._deviation(fitted, OUT, rows)
            return -log_ndtr(-residual[:, 0])
        out = self._log_density(fitted, OUT, phi, rows)
        return self._log_density(fitted, IN, phi, rows) - out if self.online else -out
