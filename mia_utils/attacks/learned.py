"""The machine learning attack: a classifier learns from shadow models what members look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from scipy.special import logit
from sklearn.base import clone

from .. import arguments, signals
from ..arrays import rows_of
from ..errors import InputError
from ..outputs import Outputs, check_outputs
from .base import Attack, Needs, in_parts
from .leave_out import draw_order
from .mlp import MLP

SIZES = (10, 20, 50, 70, 100, 150, 200)
_MOST = 1e6  # nats; squares of it still fit float32
_FAR = 100.0  # standard deviations: an answer beyond is one that the classifier never saw


def log_odds(logits: np.ndarray) -> np.ndarray:
    """log(p_j / (1 - p_j)) of every class j, float64 (..., C); exact near p = 0 and p = 1."""
    log_p = signals.log_softmax(logits)
    odds = log_p - np.log1p(-np.minimum(np.exp(log_p), 0.5))
    sure = signals.margin(logits, np.asarray(logits).argmax(axis=-1))[..., None]
    return np.where(log_p > np.log(0.5), sure, odds)


def _raw(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.exp(signals.log_softmax(logits))


def _sorted(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    odds = log_odds(logits)
    own = np.take_along_axis(odds, labels[:, None], axis=1)
    np.put_along_axis(odds, labels[:, None], -np.inf, axis=1)
    return np.hstack([own, -np.sort(-odds, axis=1)[:, :-1]])


def _class_free(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    log_p = signals.log_softmax(logits)
    top = -np.sort(-log_p, axis=1)[:, :3]
    if top.shape[1] < 3:  # two classes: the third probability is as good as 0
        top = np.hstack([top, top[:, -1:]])
    return np.column_stack(
        [
            top,
            np.take_along_axis(log_p, labels[:, None], axis=1),
            signals.loss(logits, labels),
            signals.entropy(logits) / np.log(logits.shape[1]),
            signals.correct(logits, labels),
        ]
    )


FEATURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "raw": _raw,
    "sorted": _sorted,
    "class_free": _class_free,
}


class _Estimator:
    """A scikit-learn classifier with the two methods of `MLP`."""

    def __init__(self, estimator, seed: int) -> None:
        self.estimator = clone(estimator)
        if "random_state" in self.estimator.get_params():
            self.estimator.set_params(random_state=seed)

    def fit(self, x, y, held_x, held_y) -> _Estimator:
        self.estimator.fit(x, y)
        return self

    def log_odds(self, x: np.ndarray) -> np.ndarray:
        tiny = np.finfo(np.float64).eps
        p = np.clip(self.estimator.predict_proba(x)[:, 1].astype(np.float64), tiny, 1 - tiny)
        return logit(p)


class LearnedAttack(Attack):
    """A binary classifier trained on shadow models' answers (report, section 2.4; Shokri et al.,
    2017, "Membership Inference Attacks Against Machine Learning Models").

    Its input is the prediction vector and the one-hot label, its answer the log-odds of membership.
    A fifth of the shadow records is held out, with the answers of all shadow models for them: they
    choose the size and the epoch of the MLP, and give the threshold. It is not trained again.

    Parameters
    ----------
    hidden : sequence of int
        Sizes of the hidden layer to choose from; the report's by default.
    epochs : int
        At most that many; the report's 50 by default.
    estimator : scikit-learn classifier with predict_proba, optional
        Cloned and used in place of the MLP; its random_state, if it has one, is set to `seed`.
    features : "raw", "sorted" or "class_free"
        "raw": the probabilities in the order of the classes, as in the report. "sorted": the
        log-odds of every class, the true class's first and the others in falling order: easier to
        learn from, above all with many classes or few records. "class_free": the three largest
        log-probabilities, the true class's, loss, entropy over log C, correctness, no label: the
        only one for a target with another number of classes. The last two are standardised.
    per_class : bool
        A classifier for each true class (Shokri et al.). A class with too few pairs (both members
        and non-members in both parts of the shadow data are needed) takes the pooled one.
    max_pairs : int
        More evaluated shadow pairs (model, record) than that: a random choice of them is used.
    seed : int
        Of that choice, of the records held out, and of the training.
    threshold : float in (0, 1), optional
        A probability of membership; fitted thresholds and scores are log-odds.

    Attributes
    ----------
    pooled_ : MLP, or an object with a fitted `estimator`; None if every class has its own
    by_class_ : dict from class to the same
    held_out_ : bool (N,)
        Shadow records held out.
    """

    def __init__(
        self,
        *,
        hidden=SIZES,
        epochs: int = 50,
        estimator=None,
        features: str = "raw",
        per_class: bool = False,
        max_pairs: int = 60_000,
        seed: int = 0,
        threshold: float | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        self.hidden = hidden
        self.epochs = epochs
        self.estimator = estimator
        self.features = features
        self.per_class = per_class
        self.max_pairs = max_pairs
        self.seed = seed

    @property
    def needs(self) -> Needs:
        return Needs(fit=True)

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.one_of("features", self.features, FEATURES)
        arguments.threshold(self.threshold, "a probability in (0, 1)", 0, 1)
        arguments.count("max_pairs", self.max_pairs)
        if self.estimator is None:
            arguments.count("epochs", self.epochs)
            sizes = np.atleast_1d(np.asarray(self.hidden, dtype=object))
            if not sizes.size:
                raise InputError(f"hidden={self.hidden!r}; expected at least one size")
            for size in sizes:
                arguments.count("hidden", size)
        elif not hasattr(self.estimator, "predict_proba"):
            raise InputError(
                f"{type(self.estimator).__name__} has no predict_proba; pass a classifier that has it"
            )

    def fit(self, shadow: Outputs | None = None, population: Outputs | None = None) -> Self:
        """Train on the evaluated pairs of the shadow models.

        Raises
        ------
        InputError
            If there are no shadow models, or too few members or non-members to hold some out.
        """
        self.check_arguments()
        shadow = self._check_both_kinds(shadow)
        rng = np.random.default_rng(self.seed)
        by_model, by_record = draw_order(shadow)
        pairs = np.flatnonzero(shadow.evaluated[np.ix_(by_model, by_record)])
        if pairs.size > self.max_pairs:
            pairs = np.sort(rng.choice(pairs, self.max_pairs, replace=False))
        models, places = np.unravel_index(pairs, shadow.evaluated.shape)
        models, records = by_model[models], by_record[places]
        truth, labels = shadow.members[models, records], shadow.labels[records]
        self.held_out_ = np.empty(by_record.size, bool)
        self.held_out_[by_record] = self._hold_out(places, truth, by_record.size, rng)
        held = self.held_out_[records]
        self.classes_ = shadow.classes
        x = self._read(shadow, models, records, ~held)

        def both(rows: np.ndarray) -> bool:
            return all(np.unique(truth[rows & part]).size == 2 for part in (held, ~held))

        def train(rows: np.ndarray):
            learn, choose = rows & ~held, rows & held
            return self._model().fit(x[learn], truth[learn], x[choose], truth[choose])

        everything = np.ones(held.size, bool)
        own = [c for c in range(self.classes_) if self.per_class and both(labels == c)]
        self.by_class_ = {c: train(labels == c) for c in own}
        self.pooled_: Any = None
        if len(own) < self.classes_:
            if not both(everything):
                raise InputError(
                    f"{truth.sum()} evaluated shadow members and {(~truth).sum()} non-members are "
                    "too few to hold a fifth of the records out with some of each"
                )
            self.pooled_ = train(everything)
        self._set_threshold(self._log_odds(x[held], labels[held]), truth[held])
        return self

    def score(self, target: Outputs) -> np.ndarray:
        """Log-odds of membership, float64 (M, N), NaN where the pair is not evaluated.

        Raises
        ------
        InputError
            If the target has another number of classes than the shadow models, unless `features`
            is "class_free" (without `per_class`).
        """
        self._check_fitted("by_class_")
        check_outputs(target, "LearnedAttack.score(target)")
        if target.classes != self.classes_ and (self.by_class_ or self.features != "class_free"):
            raise InputError(
                f"the target has {target.classes} classes, the shadow models {self.classes_}; use "
                'LearnedAttack(features="class_free", per_class=False)'
            )
        return super().score(target)

    def _score_records(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return self._log_odds(self._standard(self._features(logits, labels), labels), labels)

    def _in_score_units(self, threshold: float) -> float:
        return float(logit(threshold))

    def _model(self):
        if self.estimator is not None:
            return _Estimator(self.estimator, self.seed)
        return MLP(np.atleast_1d(self.hidden).tolist(), epochs=self.epochs, seed=self.seed)

    def _hold_out(self, records, truth, n: int, rng: np.random.Generator) -> np.ndarray:
        """A fifth of the records, as many of the members' and the non-members' as can be; (n,)."""
        pairs = np.bincount(records, minlength=n)
        share = np.bincount(records, truth, minlength=n) / np.maximum(pairs, 1)
        order = rng.permutation(np.flatnonzero(pairs))
        order = order[np.argsort(share[order], kind="stable")]
        held = np.zeros(n, bool)
        held[order[rng.integers(min(5, order.size)) :: 5]] = True
        return held

    def _features(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.clip(FEATURES[self.features](logits, labels), -_MOST, _MOST).astype(np.float32)

    def _read(self, shadow: Outputs, models, records, learn) -> np.ndarray:
        """Inputs (pairs, D), float32, read one model at a time and scaled by the `learn` rows."""
        labels = shadow.labels[records]
        blocks = []
        for model in dict.fromkeys(models.tolist()):  # in the order of the pairs
            logits, rows = shadow.logits[model], records[models == model]
            for part in in_parts(rows, self.classes_):
                blocks.append(self._features(rows_of(logits, part), shadow.labels[part]))
        x = np.concatenate(blocks)
        mean, deviation = np.zeros(1, np.float32), np.ones(1, np.float32)
        if self.features != "raw":
            mean = x[learn].mean(axis=0, dtype=np.float64).astype(np.float32)
            deviation = x[learn].std(axis=0, dtype=np.float64).astype(np.float32)
            constant = deviation <= 1e-6 * (1 + np.abs(mean))  # but for rounding
            deviation[constant] = 1
        self.mean_, self.deviation_ = mean, deviation
        return self._standard(x, labels)

    def _standard(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scaled features, and the one-hot label beside them but for class_free ones."""
        x = np.clip((x - self.mean_) / self.deviation_, -_FAR, _FAR)
        if self.features == "class_free":
            return x
        return np.hstack([x, np.eye(self.classes_, dtype=np.float32)[labels]])

    def _log_odds(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if not self.by_class_:
            return self.pooled_.log_odds(x)
        scores = np.empty(labels.size)
        for label in np.unique(labels):
            model = self.by_class_.get(int(label), self.pooled_)
            rows = labels == label
            scores[rows] = model.log_odds(x[rows])
        return scores
