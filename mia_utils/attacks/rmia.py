"""RMIA and BASE: how much likelier is the true class than shadow models make one expect?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from .. import arguments, signals
from ..errors import InputError
from ..outputs import Outputs
from .alignment import check_disjoint, check_population, rows_in
from .base import Needs
from .per_record import PerRecordAttack
from .statistics import IN, OUT, LogMeans


def log_probability(outputs: Outputs, model: int, temperature: float = 1.0) -> np.ndarray:
    """Log-probability of the true class under one model, float64 (N,), of logits / temperature."""
    logits = np.asarray(outputs.logits[model], dtype=np.float64) / temperature
    return -signals.loss(logits, outputs.labels)


class RMIA(PerRecordAttack[LogMeans]):
    """Robust membership inference attack (Zarifzadeh, Liu & Shokri, 2024, "Low-Cost High-Power
    Membership Inference Attacks").

    Let p(x | theta) be the target's probability of the true class and p(x) its mean over reference
    models. The score of x is the share of population records z with

        [p(x | theta) / p(x)] / [p(z | theta) / p(z)] >= gamma.

    Online, p(x) is the average of the mean over the models that held x and the mean over those
    that did not. Offline, p(x) = ((1 + a) p_out(x) + 1 - a) / 2, which stands for the unknown
    p_in(x) by a p_out(x) + 1 - a. For z the same is used; online, where no model held z, p_out(z).

    `fit(shadow, population)`: `population` holds the *target's* outputs for the records z, and
    `shadow` the reference models' for every record, the z among them (found by id). From one pool:

        z = targets.select(records=rows)                # no audited record
        audited = targets.select(records=other_rows)
        RMIA().fit(shadow, population=z).score(audited)

    Pairs in which the target did hold z are not used, so that one population serves several
    targets. Sorting the ratios of the z once replaces the N x Z matrix of comparisons.

    Parameters
    ----------
    online : bool
    a : float in [0, 1]
        Offline only. 0.3 is the authors' setting for CIFAR-10, 1 the one where nothing is known.
    gamma : float > 0
        1 in the authors' current tool, 2 in their CIFAR-10 experiments.
    temperature : float > 0
        p(x) is the softmax of logits / temperature: 1 in the authors' current tool, 2 in their
        CIFAR-10 experiments.
    seed : int
        Of the random choice of shadow models when one is left out to fit the threshold.

    Notes
    -----
    Within one target the score rises with p(x | theta) / p(x) alone: z sets the scale, so that
    1 - score estimates a false positive rate, and few z make ties. `BASE` ranks without them.
    Left out are the authors' trimmed means, soft margin and Taylor softmax. The last replaces the
    exponential by a polynomial, in their experiments (`taylor_n` 4) of degree 3: it is negative for
    logits below about -1.6 temperatures, and p then changes if a constant is added to all logits.

    Raises
    ------
    InputError
        Besides the usual: if there is no population, a z is audited, or a target held every z.
    """

    def __init__(
        self,
        *,
        online: bool = True,
        a: float = 0.3,
        gamma: float = 1.0,
        temperature: float = 1.0,
        seed: int = 0,
        threshold: float | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        self.online = online
        self.a = a
        self.gamma = gamma
        self.temperature = temperature
        self.seed = seed

    @property
    def needs(self) -> Needs:
        return Needs(fit=True, out=1, held=1 if self.online else 0, population=True)

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.number("a", self.a, "a number in [0, 1]", 0, 1, closed="low high")
        for name in ("gamma", "temperature"):
            arguments.number(name, getattr(self, name), "a positive number", 0, np.inf)

    def fit(
        self, shadow: Outputs | Sequence[Outputs] | None = None, population: Outputs | None = None
    ) -> Self:
        """Average the reference models, and rank the population's ratios of every target."""
        check_population(population, "RMIA")
        return super().fit(shadow, population)

    def score(self, target: Outputs | Sequence[Outputs]) -> np.ndarray:
        """Share of the population whose ratio is at most the record's over gamma, (M, N)."""
        self._check_fitted("statistics_")
        target = check_disjoint(self.population_, target, "RMIA")
        ratios = super().score(target)
        return np.stack([self._share(*pair) for pair in zip(self.ratios_, ratios, strict=True)])

    def _signal(self, queries: tuple[Outputs, ...], model: int) -> np.ndarray:
        return log_probability(queries[0], model, self.temperature)

    def _statistics(self, records: int, queries: int) -> LogMeans:
        return LogMeans(records)

    def _finish(self, shadow: Outputs, population: Outputs | None) -> None:
        assert population is not None, "`fit` asked for it"
        rows = rows_in(self.records_, population, "the population")
        unseen = self.statistics_.count[OUT, rows] == 0
        if unseen.any():
            raise InputError(
                f"population record {population.ids[unseen.argmax()]} is a member of every shadow "
                "model; RMIA needs models that did not hold it"
            )
        self.population_ = population
        self.population_rows_ = rows
        self.ratios_ = []
        for model, known in enumerate(~population.members):
            log_p = log_probability(population, model, self.temperature)[known]
            self.ratios_.append(np.sort(self._compare(self.statistics_, log_p, rows[known])))

    def _compare(self, fitted: LogMeans, log_p: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Logarithm of p(x | theta) / p(x)."""
        out, held = fitted.log_mean(rows)
        if self.online:
            average = np.logaddexp(out, held) - np.log(2)
            return log_p - np.where(fitted.count[IN, rows] > 0, average, out)
        with np.errstate(divide="ignore"):
            rest = np.log((1 - self.a) / 2)
        return log_p - np.logaddexp(np.log((1 + self.a) / 2) + out, rest)

    def _left_out(self, shadow, model, statistics, signal, rows) -> np.ndarray:
        z = self.population_rows_
        scores = np.full(rows.size, np.nan)
        audited = ~np.isin(rows, z)
        z = z[shadow.evaluated[model, z] & ~shadow.members[model, z]]
        z = z[statistics.count[OUT, z] > 0]
        if z.size:
            ratios = np.sort(self._compare(statistics, signal[z], z))
            own = rows[audited]
            scores[audited] = self._share(ratios, self._compare(statistics, signal[own], own))
        return scores

    def _share(self, ratios: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
        """Share of the sorted `ratios` that are at most log_ratio - log(gamma); NaN stays NaN."""
        below = np.searchsorted(ratios, log_ratio - np.log(self.gamma), side="right")
        return np.where(np.isnan(log_ratio), np.nan, below / ratios.size)


class BASE(PerRecordAttack[LogMeans]):
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

    @property
    def needs(self) -> Needs:
        return Needs(fit=True, out=1, held=1 if self.online else 0)

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.number("scale", self.scale, "a finite number", -np.inf, np.inf)

    def _signal(self, queries: tuple[Outputs, ...], model: int) -> np.ndarray:
        return log_probability(queries[0], model)

    def _statistics(self, records: int, queries: int) -> LogMeans:
        return LogMeans(records)

    def _compare(self, fitted: LogMeans, log_p: np.ndarray, rows: np.ndarray) -> np.ndarray:
        out, held = fitted.log_mean(rows)
        expected = np.logaddexp(out, held) - np.log(2) if self.online else self.scale * out
        return log_p - expected
