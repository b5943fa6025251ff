"""Several attacks in one: a logistic regression over their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy.special import logit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import RobustScaler

from .. import arguments
from ..errors import InputError, shown
from ..outputs import Outputs, check_outputs
from .alignment import check_population, rows_in
from .base import Attack, Needs
from .leave_out import leave_out, left_out_models

_LARGEST = 1e300  # in place of infinite scores


class StackedAttack(Attack):
    """Logistic regression over the scores of other attacks, fitted on shadow models only.

    Up to four shadow models play the target in turn. The attacks are fitted anew on the others,
    with as many of them that held a record as of those that did not (or their number would
    give away whether the one left out held it), and score it: from those scores and the known
    memberships the weights are fitted. Then the attacks are fitted on all shadow models.

    Each score is centred at its median, divided by its interquartile range and passed through
    arcsinh, which tames large scores and, unlike clipping, ties none.

    Parameters
    ----------
    attacks : sequence of Attack
        They are cloned before they are fitted. Their own thresholds are not used.
    seed : int
        Of the random choice of shadow models.
    threshold : float in (0, 1), optional
        A probability of membership; fitted thresholds and scores are log-odds.

    Attributes
    ----------
    attacks_ : tuple of fitted attacks
    weights_ : float64 (attacks,)
        Of the transformed scores.
    """

    def __init__(
        self, attacks: Sequence[Attack], *, seed: int = 0, threshold: float | None = None
    ) -> None:
        super().__init__(threshold=threshold)
        self.attacks = attacks
        self.seed = seed

    @property
    def needs(self) -> Needs:
        each = [attack.needs for attack in self.attacks]
        return Needs(
            fit=True,
            out=max(n.out for n in each),
            held=max(n.held for n in each),
            population=any(n.population for n in each),
        )

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.threshold(self.threshold, "a probability in (0, 1)", 0, 1)
        attacks = self.attacks
        if not (
            isinstance(attacks, (list, tuple))
            and attacks
            and all(isinstance(attack, Attack) for attack in attacks)
        ):
            raise InputError(f"attacks is {shown(attacks)}; expected a list of at least one Attack")
        for attack in attacks:
            attack.check_arguments()

    def fit(self, shadow: Outputs | None = None, population: Outputs | None = None) -> Self:
        """Fit the attacks, and the weights of their scores on shadow models that are left out.

        Parameters
        ----------
        shadow : Outputs
            At least two models; four where an attack needs models with and without each record,
            six for LiRA.
        population : Outputs
            The targets' outputs for records that are not audited, if one of the attacks needs it.

        Raises
        ------
        InputError
            If there are too few shadow models for one of the attacks.
        """
        self.check_arguments()
        shadow = self._check_both_kinds(shadow)
        if len(shadow) < 2:
            raise InputError("StackedAttack leaves out shadow models in turn; it needs at least 2")
        z = None
        if population is not None:
            population = check_population(population, "StackedAttack")
            z = rows_in(shadow, population, "the population")
        rng = np.random.default_rng(self.seed)
        scores, members = [], []
        for model in left_out_models(shadow):
            part = self._leave_out(shadow, model, rng, z)
            if part is not None:
                others, own_population, own = part
                columns = self._columns(self._fitted(others, own_population), own)
                scores.append(columns[0][own.evaluated[0]])
                members.append(own.members[own.evaluated])
        truth = np.concatenate(members) if members else np.empty(0, bool)
        if np.unique(truth).size < 2:
            raise InputError(
                "no shadow model can be left out: no evaluated members and non-members remain "
                "whose records the others still know; train more shadow models"
            )
        x = np.concatenate(scores)
        self.scaler_ = RobustScaler().fit(x)
        self.regression_ = LogisticRegression().fit(np.arcsinh(self.scaler_.transform(x)), truth)
        self.weights_ = self.regression_.coef_[0]
        self.attacks_ = self._fitted(shadow, population)
        self._set_threshold(self._combine(x), truth)
        return self

    def score(self, target: Outputs) -> np.ndarray:
        """Log-odds of membership, float64 (M, N), NaN where the pair is not evaluated."""
        self._check_fitted("attacks_")
        check_outputs(target, "StackedAttack.score(target)")
        scores = np.full(target.members.shape, np.nan)
        if target.evaluated.any():
            columns = self._columns(self.attacks_, target)
            scores[target.evaluated] = self._combine(columns[target.evaluated])
        return scores

    def _in_score_units(self, threshold: float) -> float:
        return float(logit(threshold))

    def _fitted(self, shadow: Outputs, population: Outputs | None) -> tuple[Attack, ...]:
        attacks = tuple(clone(attack) for attack in self.attacks)
        for attack in attacks:
            if attack.needs.out:  # to fit a threshold it would leave out models once more
                attack.set_params(threshold=0.0)
            if attack.needs.fit:
                attack.fit(shadow, population)
        return attacks

    def _columns(self, attacks: Sequence[Attack], outputs: Outputs) -> np.ndarray:
        """Scores of each attack, (M, N, attacks)."""
        columns = np.stack([attack.score(outputs) for attack in attacks], axis=-1)
        return np.clip(columns, -_LARGEST, _LARGEST)

    def _combine(self, columns: np.ndarray) -> np.ndarray:
        """Log-odds (n,) from scores (n, attacks)."""
        return self.regression_.decision_function(np.arcsinh(self.scaler_.transform(columns)))

    def _leave_out(self, shadow: Outputs, model: int, rng, z: np.ndarray | None):
        """The other models' outputs; the one model's population and audited records; or None."""
        use = leave_out(shadow, model, rng)
        own = shadow.evaluated[model].copy()
        own &= (use & ~shadow.members).sum(axis=0) >= self.needs.out
        own &= (use & shadow.members).sum(axis=0) >= self.needs.held
        others = shadow.replace(evaluated=use, names=())
        alone = shadow.select(models=[model]).replace(evaluated=own[None], names=())
        if z is None:
            return others, None, alone
        population = alone.select(records=z[shadow.evaluated[model, z]])
        if population.members.all():  # nothing that it is known not to hold
            return None
        return others, population, alone.select(records=np.setdiff1d(np.arange(own.size), z))
