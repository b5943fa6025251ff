"""Blind attacks: members told from non-members by their texts, without a question to any model.

What they find is a difference between the two sets of documents (their source, their time), which
an attack on the model then finds too, without a leak (Duan et al., 2024; Das et al., 2024; Meeus et
al., 2024). On members drawn at random they find nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

from .. import arguments
from ..arrays import as_bool
from ..attacks import Attack, Needs
from ..errors import InputError, shown
from .attacks import check_fields, given
from .outputs import TokenOutputs, check_tokens

FEATURES: dict[str, dict[str, Any]] = {
    "words": {"token_pattern": r"(?u)\b\w+\b"},
    "characters": {"analyzer": "char", "ngram_range": (1, 3)},
}
_MOST = 50_000  # words, or sequences of characters


def blind_scores(
    texts: Sequence[str],
    members: np.ndarray,
    *,
    features: str = "words",
    folds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """How much like a member each text reads, to a classifier that has seen the others, float64 (N,).

    Logistic regression on tf-idf counts, fitted in turn on all folds but one. Scores of different
    folds share no scale: a score is the rank within the fold, in (0, 1).

    The folds learn from each other's documents. Chance alone therefore moves the AUC of these scores
    somewhat further than that of independent ones (by a quarter, in simulations of 200 documents):
    an interval or a null range that is only just missed is no finding.

    Parameters
    ----------
    texts : N texts
    members : bool (N,)
    features : "words" or "characters"
        A bag of words, as Das et al. (2024) and Meeus et al. (2024) use one (with classifiers of
        their own), or of sequences of one to three characters.
    folds : int of at least 2
    seed : int
        Of the folds.

    Raises
    ------
    InputError
        If an argument cannot be used, or there are fewer than two members or non-members.
    """
    arguments.one_of("features", features, FEATURES)
    arguments.count("folds", folds, least=2)
    arguments.seed(seed)
    texts = arguments.several("texts", texts, "a list of str")
    members = as_bool(members, "members")
    if members.shape != (len(texts),):
        raise InputError(
            f"{len(texts)} texts and members of shape {members.shape}; expected as many"
        )
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise InputError(f"texts hold {shown(wrong[0])}; expected a list of str")
    fewest = int(min(members.sum(), (~members).sum()))
    if fewest < 2:
        raise InputError(
            f"{int(members.sum())} members and {int((~members).sum())} non-members; a blind attack "
            "needs at least 2 of each, to learn from and to judge"
        )
    split = StratifiedKFold(min(folds, fewest), shuffle=True, random_state=seed)
    scores = np.empty(len(members))
    whole = np.asarray(texts, dtype=object)
    for known, judged in split.split(scores, members):
        classifier = make_pipeline(
            TfidfVectorizer(
                lowercase=False, sublinear_tf=True, max_features=_MOST, **FEATURES[features]
            ),
            LogisticRegression(C=10.0, max_iter=1000),
        )
        try:
            classifier.fit(whole[known], members[known])
            guesses = classifier.decision_function(whole[judged])
        except ValueError as error:
            if "empty vocabulary" not in str(error):
                raise
            guesses = np.zeros(judged.size)  # texts without a word
        scores[judged] = (rankdata(guesses) - 0.5) / judged.size
    return scores


class BlindAttack(Attack):
    """The score of `blind_scores`, for the evaluated documents of each model. Needs no fit.

    It learns from the members themselves, in folds, and never looks at a log-probability: what it
    finds, no model gave away. An attack that finds less than it has shown nothing.

    Parameters
    ----------
    features, folds, seed
        See `blind_scores`.
    threshold : float
        0.5 calls half of the documents members.
    """

    def __init__(
        self,
        *,
        features: str = "words",
        folds: int = 5,
        seed: int = 0,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(threshold=threshold)
        self.features = features
        self.folds = folds
        self.seed = seed

    @property
    def needs(self) -> Needs:
        return Needs(fields=("texts",))

    def check_arguments(self) -> None:
        super().check_arguments()
        arguments.one_of("features", self.features, FEATURES)
        arguments.count("folds", self.folds, least=2)

    def _check_answers(self, answers, where: str) -> TokenOutputs:
        check_tokens(answers, f"BlindAttack.{where}")
        check_fields(answers, self.needs.fields, "BlindAttack")
        return answers

    def _score_model(self, target: TokenOutputs, model: int, used: np.ndarray) -> np.ndarray:
        return blind_scores(
            [given(target.texts)[row] for row in np.flatnonzero(used)],
            target.members[model, used],
            features=self.features,
            folds=self.folds,
            seed=self.seed,
        )
