"""Attacks that compare a document with what reference language models make of it.

They are the package's own: a document (or a window of one) becomes a record of `Outputs` whose true
class has the geometric mean of its tokens' probabilities.
"""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
from sklearn.base import clone

from ..attacks import Attack, Needs
from ..attacks.alignment import check_disjoint, rows_in
from ..attacks.design import Design
from ..attacks.per_record import PerRecordAttack
from ..attacks.rmia import log_probability
from ..attacks.statistics import OUT, Means
from ..errors import DesignWarning, InputError, shown
from ..outputs import Outputs
from .attacks import check_windows
from .outputs import TokenOutputs, check_tokens
from .windows import Windows, cut, means_of_row, together

_SUREST = -100.0  # log(1 - p) where p rounds to 1
_LEAST = 1e-12  # loss below which a ratio would be of rounding errors


def as_records(outputs: TokenOutputs, windows: Windows | None = None, ids=None) -> Outputs:
    """Documents (or windows of them, with ids of their own) as records with two classes.

    The true class, 1, has the probability p = exp(mean log-probability of the tokens), 1 / p being
    the perplexity. The loss of `LossAttack` is then the document's mean loss, the margin that
    `LiRA` takes is log(p / (1 - p)), and RMIA's ratio is one of such p.
    """
    check_tokens(outputs, "as_records(outputs)")
    if windows is None:
        windows, ids = cut(outputs.offsets[:-1], outputs.offsets[1:], None), outputs.ids
    document = windows.document
    logits = np.empty((len(outputs), document.size, 2), np.float32)
    for model, log_probs in enumerate(outputs.log_probs):
        log_p = np.minimum(means_of_row(log_probs, windows), 0.0)
        with np.errstate(divide="ignore"):
            logits[model, :, 0] = np.maximum(np.log(-np.expm1(log_p)), _SUREST)
        logits[model, :, 1] = log_p
    return Outputs(
        logits,
        np.ones(document.size, np.int64),
        outputs.members[:, document],
        outputs.evaluated[:, document],
        ids,
        outputs.fingerprint,
        outputs.names,
    )


class LossRatioAttack(PerRecordAttack):
    """A member's loss is small beside that of reference models (Carlini et al., 2021,
    compare with a smaller model): their mean loss over the target's.

    `CalibratedAttack` is the same with a difference. Reference models are those that did not hold
    the record.

    Parameters
    ----------
    seed : int
        Of the random choice of shadow models when one is left out to fit the threshold.
    """

    def __init__(self, *, seed: int = 0, threshold: float | None = None) -> None:
        super().__init__(threshold=threshold)
        self.seed = seed

    @property
    def needs(self) -> Needs:
        return Needs(fit=True, out=1)

    def _signal(self, queries: tuple[Outputs, ...], model: int) -> np.ndarray:
        return log_probability(queries[0], model)[:, None]

    def _statistics(self, records: int, queries: int) -> Means:
        return Means(records)

    def _compare(self, fitted: Means, log_p: np.ndarray, rows: np.ndarray) -> np.ndarray:
        reference = np.minimum(fitted.mean[OUT, rows], -_LEAST)
        return (reference / np.minimum(log_p, -_LEAST))[:, 0]


class DocumentAttack(Attack):
    """One of the package's attacks that compare a record with shadow models, on documents.

        DocumentAttack(LiRA()).fit(shadow_models).score(target)
        DocumentAttack(CalibratedAttack())       the loss minus the reference models'
        DocumentAttack(LossRatioAttack())        their ratio
        DocumentAttack(RMIA(), window=64)        each window compared, then averaged

    Documents are found by id. Reference models may have another vocabulary than the target: what is
    compared is the mean log-probability of a document's tokens. With windows the tokens must be the
    same.

    Parameters
    ----------
    attack : LiRA, RMIA, BASE, CalibratedAttack, LossRatioAttack, ReferenceAttack, ...
    window : int, optional
        Compare windows of so many tokens (see `TokenAttack`), and aggregate their scores.
    aggregate : "mean" or "max"
        Of the windows' scores.
    threshold : float, optional
        Set by hand, in the unit of the score (as that of `attack` may be); else from shadow models
        that are left out in turn.

    Attributes
    ----------
    attack_ : the fitted copy of `attack`
    """

    def __init__(
        self,
        attack: PerRecordAttack,
        *,
        window: int | None = None,
        aggregate: str = "mean",
        threshold: float | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        self.attack = attack
        self.window = window
        self.aggregate = aggregate

    @property
    def needs(self) -> Needs:
        return self.attack.needs._replace(queries=False)

    def check_arguments(self) -> None:
        super().check_arguments()
        check_windows(self.window, self.aggregate)
        if not isinstance(self.attack, PerRecordAttack):
            raise InputError(
                f"attack is {shown(self.attack)}; expected LiRA(), RMIA(), CalibratedAttack() or another "
                "attack that compares a record with shadow models"
            )
        self.attack.check_arguments()

    def fit(
        self, shadow: TokenOutputs | None = None, population: TokenOutputs | None = None
    ) -> Self:
        """Read the shadow models one at a time, their evaluated pairs only.

        Parameters
        ----------
        shadow : TokenOutputs
            Every document that will be scored must be among theirs; it is found by id.
        population : TokenOutputs
            For the attacks that need it: the target's outputs for documents that are not audited.

        Raises
        ------
        InputError
            As the attack; with windows also if a document has other tokens in the two.
        """
        self.check_arguments()
        shadow = check_tokens(shadow, "DocumentAttack.fit(shadow)")
        documents = as_records(shadow)
        self.documents_, self.design_ = documents.select(models=[0]), Design(documents)
        self.lengths_ = shadow.lengths
        held = shadow.members & shadow.evaluated
        self.count_ = np.stack([(shadow.evaluated & ~held).sum(axis=0), held.sum(axis=0)])
        records, windows = self._records(shadow, "the shadow models")
        self.population_ = population if self.needs.population else None
        known = None
        if self.population_ is not None:
            check_tokens(population, "DocumentAttack.fit(population)")
            known = self._records(self.population_, "the population")[0]
        by_hand = {} if self.threshold is None else {"threshold": float(self.threshold)}
        self.attack_ = clone(self.attack).set_params(**by_hand).fit(records, known)
        scores = together(self.attack_.left_out_scores_, windows.document, self.aggregate)
        self._set_threshold(scores, shadow.members[self.attack_.left_out_])
        if self.attack_.threshold is not None:  # set by hand, of either of the two
            self.threshold_ = self.attack_.threshold_
        return self

    def score(self, target: TokenOutputs) -> np.ndarray:
        """Scores of the evaluated pairs, float64 (M, D), NaN elsewhere.

        Raises
        ------
        InputError
            As the attack: if the corpora differ, a target is a shadow model, or an evaluated
            document has too few shadow models to compare with.

        Warns
        -----
        DesignWarning
            If the number of shadow models that held a document tells what the target held.
        """
        self._check_fitted("attack_")
        check_tokens(target, "DocumentAttack.score(target)")
        records, windows = self._records(target, "the target")
        with warnings.catch_warnings():
            if self.window is not None:
                # The attack itself would name windows, and take those of a document for witnesses
                # of their own.
                self._check_documents(target)
                warnings.simplefilter("ignore", DesignWarning)
            scores = self.attack_.score(records)
        return together(scores, windows.document, self.aggregate)

    def _records(self, outputs: TokenOutputs, role: str) -> tuple[Outputs, Windows]:
        """Documents or windows as records; the id of a window is its place in the shadow models'."""
        windows = cut(outputs.offsets[:-1], outputs.offsets[1:], self.window)
        if self.window is None:
            return as_records(outputs), windows
        rows = rows_in(self.documents_, as_records(outputs.select(models=[0])), role)
        differing = np.flatnonzero(self.lengths_[rows] != outputs.lengths)
        if differing.size:
            first = differing[0]
            raise InputError(
                f"document {outputs.ids[first]} has {outputs.lengths[first]} tokens in {role} and "
                f"{self.lengths_[rows[first]]} in the shadow models' outputs; windows need one "
                "vocabulary: leave window= out"
            )
        count = -(-self.lengths_ // self.window)
        first = (np.cumsum(count) - count)[rows][windows.document]
        own = -(-outputs.lengths // self.window)
        number = np.arange(windows.document.size) - np.repeat(np.cumsum(own) - own, own)
        return as_records(outputs, windows, first + number), windows

    def _check_documents(self, target: TokenOutputs) -> None:
        records = as_records(target)
        rows = rows_in(self.documents_, records, "the target")
        self.design_.check(records, rows, type(self.attack_).__name__)
        rows = rows[target.evaluated.any(axis=0)]
        out, held = self.count_[:, rows]
        bad = (out < self.needs.out) | (held < self.needs.held)
        if bad.any():
            row = rows[bad.argmax()]
            self.attack_._refuse_counts(f"document {self.documents_.ids[row]}", self.count_[:, row])
        if self.population_ is not None:
            check_disjoint(as_records(self.population_), records, "DocumentAttack")
