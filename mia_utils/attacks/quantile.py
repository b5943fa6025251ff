"""QMIA: the margin that a record would have if the target had not seen it, by regression."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold, cross_val_predict

from .. import arguments, signals
from ..arrays import as_numbers
from ..errors import InputError
from ..outputs import Outputs, check_outputs
from .alignment import check_disjoint, check_population, rows_in
from .base import Attack, Needs
from .design import Design
from .statistics import OUT, Gaussians

_FOLDS = 5
_FEWEST = 50  # records of a regression
_FEWEST_KNOWN = 25  # records that a feature is known of


class QuantileAttack(Attack):
    """Quantile regression attack (Bertran et al., 2023, "Scalable Membership Inference Attacks via
    Quantile Regression").

    On records that the target did not hold and that are not audited, one regression predicts the
    mean and one the variance of the target's margin from what is known about a record. The score
    of an audited record is (margin - mean) / deviation: a member's margin lies above the quantiles
    that its features predict. This is the Gaussian variant of the authors' code (there on the gap
    to the largest other logit), fitted in two steps: gradient-boosted trees for the mean, then
    trees with gamma loss (the Gaussian likelihood of a variance) for the squared residuals of
    records that the first step did not see.

    Features are the label, the rows of `features`, and, if shadow models are given, mean and spread
    of their margins for the record where they did not hold it. The authors let a network read the
    picture itself; the shadow models' view of it is the cheap substitute here. With neither,
    the attack is a margin threshold of its own for every class.

    Parameters
    ----------
    features : float (pool records, D), optional
        Row i describes the record with id i: an embedding, or the feature row itself. Nothing
        that depends on the target.
    fpr : float in (0, 1)
        False positive rate of `predict`: the threshold is that quantile of the known non-members'
        scores, each from a mean that was fitted without it. Among fewer than 10 / fpr of them it is
        not well known, and the rate on others lies above it.
    seed : int
        Of the folds and of the trees.
    """

    def __init__(
        self,
        *,
        features: np.ndarray | None = None,
        fpr: float = 0.1,
        seed: int = 0,
        threshold: float | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        self.features = features
        self.fpr = fpr
        self.seed = seed

    @property
    def needs(self) -> Needs:
        return Needs(fit=True, population=True)

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.number("fpr", self.fpr, "a rate between 0 and 1", 0, 1)

    def fit(self, shadow: Outputs | None = None, population: Outputs | None = None) -> Self:
        """Fit both regressions for each target on the population's known non-members.

        Parameters
        ----------
        shadow : Outputs, optional
            Outputs of shadow models for every record, audited and population, found by id.
        population : Outputs
            The targets' outputs for records that are not audited. Members are left out.

        Raises
        ------
        InputError
            If there is no population, or a target has fewer than 50 known non-members in it.
        """
        self.check_arguments()
        population = check_population(population, "QuantileAttack")
        # Folds are drawn by place: the same ones, whatever order the records are listed in.
        population = population.select(records=np.argsort(population.ids))
        known = ~population.members
        few = known.sum(axis=1) < _FEWEST
        if few.any():
            raise InputError(
                f"target {few.argmax()} has {known[few.argmax()].sum()} known non-members in the "
                f"population; the regression needs {_FEWEST}"
            )
        self.population_ = population
        self._read_shadow(shadow)
        features = self._describe(population, "the population")
        self.regressions_, scores = [], []
        for logits, rows in zip(population.logits, known, strict=True):
            margins = signals.margin(logits[rows], population.labels[rows])
            mean, variance, residuals = self._regress(features[rows], margins, population.classes)
            self.regressions_.append((mean, variance))
            scores.append(residuals / np.sqrt(variance.predict(features[rows])))
        self.threshold_ = float(
            np.quantile(np.concatenate(scores), 1 - self.fpr)
            if self.threshold is None
            else self.threshold
        )
        return self

    def score(self, target: Outputs) -> np.ndarray:
        """Scores of the evaluated pairs, float64 (M, N), NaN elsewhere.

        Raises
        ------
        InputError
            If the population is not the target's or is audited, the features or shadow models do
            not know a record, or a target is a shadow model.

        Warns
        -----
        DesignWarning
            If the number of shadow models that held a record tells what the target held.
        """
        self._check_fitted("population_")
        check_disjoint(self.population_, target, "QuantileAttack")
        if self.records_ is not None and self.design_ is not None:
            rows = rows_in(self.records_, target, "the target")
            self.design_.check(target, rows, "QuantileAttack")
        features = self._describe(target, "the target")
        scores = np.full(target.members.shape, np.nan)
        for model, used in enumerate(target.evaluated):
            if used.any():
                mean, variance = self.regressions_[model]
                margins = signals.margin(target.logits[model][used], target.labels[used])
                deviation = np.sqrt(variance.predict(features[used]))
                scores[model, used] = (margins - mean.predict(features[used])) / deviation
        return scores

    def _read_shadow(self, shadow: Outputs | None) -> None:
        """Mean and deviation of the out models' margins of each record; NaN where unknown."""
        self.records_: Outputs | None = None
        self.design_: Design | None = None
        if shadow is None:
            return
        check_outputs(shadow, "QuantileAttack.fit(shadow)")
        self.records_, self.design_ = shadow.select(models=[0]), Design(shadow)
        seen = Gaussians(shadow.labels.size, 1, per_record=True)
        for model, logits in enumerate(shadow.logits):
            rows = np.flatnonzero(shadow.evaluated[model] & ~shadow.members[model])
            seen.add(OUT, rows, signals.margin(logits[rows], shadow.labels[rows])[:, None])
        count = seen.count[OUT, :, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            deviation = np.sqrt(np.where(count > 1, seen.scatter[OUT] / (count - 1), np.nan))
        self.difficulty_ = np.hstack([np.where(count > 0, seen.mean[OUT], np.nan), deviation])

    def _describe(self, outputs: Outputs, role: str) -> np.ndarray:
        """Features (N, D) of the records of `outputs`, the label first."""
        columns = [outputs.labels[:, None].astype(float)]
        if self.features is not None:
            features = as_numbers(self.features, "features")
            outside = (outputs.ids < 0) | (outputs.ids >= len(features))
            if outside.any():
                raise InputError(
                    f"features have {len(features)} rows, {role} holds record "
                    f"{outputs.ids[outside][-1]}; row i must describe record i of the pool"
                )
            columns.append(features[outputs.ids].reshape(outputs.ids.size, -1))
        if self.records_ is not None:
            columns.append(self.difficulty_[rows_in(self.records_, outputs, role)])
        return np.hstack(columns)

    def _regress(self, features: np.ndarray, margins: np.ndarray, classes: int):
        """Fitted regressions of mean and variance, and residuals that the mean did not see."""
        # The trees take at most 255 categories; a label beyond is split as a number.
        label = [0] if classes <= 255 else None
        trees = {
            "max_leaf_nodes": 8,
            "learning_rate": 0.05,
            "max_iter": 400,
            "early_stopping": True,
            "categorical_features": label,
            "random_state": self.seed,
        }
        # A feature of hardly any record (the spread of a single shadow model) tells nothing, and the
        # trees refuse one that is missing everywhere.
        known = np.isfinite(features).sum(axis=0) >= _FEWEST_KNOWN
        features = np.where(known, features, 0.0)
        mean = HistGradientBoostingRegressor(**trees)
        folds = KFold(_FOLDS, shuffle=True, random_state=self.seed)
        residuals = margins - cross_val_predict(mean, features, margins, cv=folds)
        floor = 1e-4 * margins.var() + 1e-12  # gamma loss needs positive values
        variance = HistGradientBoostingRegressor(loss="gamma", **trees)
        return mean.fit(features, margins), variance.fit(features, residuals**2 + floor), residuals
