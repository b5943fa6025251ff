"""Attacks that threshold one number read off each answer: loss, confidence, entropy, margin."""

from __future__ import annotations

from typing import Self

import numpy as np

from .. import arguments, signals
from ..errors import InputError
from ..outputs import Outputs
from .base import Attack, Needs, best_threshold


class MetricAttack(Attack):
    """What the metric attacks share; use one of them.

    `score` needs no fit but with `per_class`, and `predict` none with a threshold set by hand.

    Parameters
    ----------
    per_class : bool
        A threshold for each true class (Song & Mittal, 2021, "Systematic Evaluation of Privacy
        Risks of Machine Learning Models"). The score is then the metric minus the threshold of the
        record's class, so that `threshold_` is 0. A class in which the shadow models have no
        members, no non-members, or nothing to tell them apart takes the threshold of all classes.
    threshold : float, optional
        Set by hand, in the metric's own unit (each attack states it).

    Attributes
    ----------
    thresholds_ : float64 (C,), with per_class
        In the unit of the scores without `per_class`.
    """

    sign = 1  # of the metric in the score: -1 where members have the smaller one

    def __init__(self, *, per_class: bool = False, threshold: float | None = None) -> None:
        super().__init__(threshold=threshold)
        self.per_class = per_class

    @property
    def needs(self) -> Needs:
        return Needs(fit=self.per_class)

    def check_arguments(self) -> None:
        super().check_arguments()
        if self.per_class and self.threshold is not None:
            raise InputError("per_class fits a threshold for each class; drop threshold=")

    def fit(self, shadow: Outputs | None = None, population: Outputs | None = None) -> Self:
        """Take the threshold, or one for each class, from the evaluated shadow pairs.

        Raises
        ------
        InputError
            If a threshold is to be fitted and there are no shadow models, or their evaluated
            pairs are all members or all non-members.
        """
        if not self.per_class:
            return super().fit(shadow, population)
        self.check_arguments()
        shadow = self._check_both_kinds(shadow)
        scores = super().score(shadow)

        def best(used: np.ndarray) -> float:
            return best_threshold(scores[used], shadow.members[used])

        seen = scores[shadow.evaluated]
        # Where nothing tells the two apart, all or none are called: by a number, not by infinity,
        # or the scores would be infinite.
        everyone = np.clip(best(shadow.evaluated), seen.min(), np.nextafter(seen.max(), np.inf))
        self.thresholds_ = np.full(shadow.classes, everyone)
        for label in range(shadow.classes):
            used = shadow.evaluated & (shadow.labels == label)
            if np.unique(shadow.members[used]).size == 2 and np.isfinite(cut := best(used)):
                self.thresholds_[label] = cut
        self.threshold_ = 0.0
        return self

    def score(self, target: Outputs) -> np.ndarray:
        """Scores, float64 (M, N): higher for members, NaN where the pair is not evaluated.

        Raises
        ------
        InputError
            With `per_class`, before `fit`, or if the target has another number of classes.
        """
        scores = super().score(target)
        if not self.per_class:
            return scores
        self._check_fitted("thresholds_")
        if target.classes != self.thresholds_.size:
            raise InputError(
                f"{type(self).__name__} has thresholds for {self.thresholds_.size} classes, the "
                f"target has {target.classes}; use per_class=False between data sets"
            )
        return scores - self.thresholds_[target.labels]

    def _score_records(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return self.sign * self._metric(logits, labels)

    def _in_score_units(self, threshold: float) -> float:
        return self.sign * float(threshold)

    def _metric(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class _Normalizable(MetricAttack):
    """A metric in nats that may be divided by log(C)."""

    sign = -1

    def __init__(
        self, *, normalize: bool = False, per_class: bool = False, threshold: float | None = None
    ) -> None:
        super().__init__(per_class=per_class, threshold=threshold)
        self.normalize = normalize

    def _score_records(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        unit = np.log(logits.shape[-1]) if self.normalize else 1.0
        return super()._score_records(logits, labels) / unit


class LossAttack(_Normalizable):
    """A member has a low loss (report, equation 2; Yeom et al., 2018). The score is -loss.

    Losses of 1e-12 and 1e-300 rank apart; beyond a margin of 745 losses round to 0 and tie, where
    `MarginAttack` still ranks.

    Parameters
    ----------
    normalize : bool
        Divide by log(C), the loss of a uniform guess, so that one threshold serves data sets with
        different numbers of classes C (the report's figure 8).
    per_class : bool
        See `MetricAttack`.
    threshold : float, optional
        A loss, in nats or in units of log(C): a record whose loss is at most that is a member.

    >>> logits, labels = np.array([[[9.0, 0.0], [1.0, 0.0]]]), np.array([0, 0])
    >>> two = Outputs(logits, labels, members=np.array([[True, False]]))
    >>> LossAttack(threshold=0.1).predict(two).tolist()
    [[True, False]]
    """

    def _metric(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return signals.loss(logits, labels)


class ConfidenceAttack(MetricAttack):
    """A member has a large largest probability (report, equation 3). The score is its logarithm.

    Parameters
    ----------
    per_class : bool
        See `MetricAttack`.
    threshold : float in (0, 1], optional
        A probability: a record whose largest one is at least that is a member.
    """

    def __init__(self, *, per_class: bool = False, threshold: float | None = None) -> None:
        super().__init__(per_class=per_class, threshold=threshold)

    def check_arguments(self) -> None:
        super().check_arguments()
        if self.threshold is not None:
            arguments.number(
                "threshold", self.threshold, "a probability in (0, 1]", 0, 1, closed="high"
            )

    def _metric(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return signals.log_confidence(logits)

    def _in_score_units(self, threshold: float) -> float:
        return float(np.log(threshold))


class EntropyAttack(_Normalizable):
    """The prediction for a member has a low entropy (report, equation 4). The score is -entropy.

    Parameters
    ----------
    normalize : bool
        Divide by log(C), the largest possible entropy: see `LossAttack`.
    per_class : bool
        See `MetricAttack`.
    threshold : float, optional
        An entropy, in nats or in units of log(C): a record with at most that is a member.
    """

    def _metric(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return signals.entropy(logits)


class ModifiedEntropyAttack(MetricAttack):
    """A member has a low modified entropy (Song & Mittal, 2021): sure, and of the true class.

    The score is -modified entropy; a threshold set by hand is a modified entropy in nats. For
    thresholds by class, as the authors have them, pass per_class=True.
    """

    sign = -1

    def _metric(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return signals.modified_entropy(logits, labels)


class MarginAttack(MetricAttack):
    """A member has a large margin log(p_y / (1 - p_y)). It ranks as the loss does, without ties.

    The score, and a threshold set by hand, is the margin.
    """

    def _metric(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return signals.margin(logits, labels)
