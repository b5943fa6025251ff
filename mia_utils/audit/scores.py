"""Which attacks apply to what was given, and their scores for one target model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier

from ..attacks import (
    BASE,
    RMIA,
    Attack,
    CalibratedAttack,
    ConfidenceAttack,
    CorrectnessAttack,
    EntropyAttack,
    LearnedAttack,
    LiRA,
    LossAttack,
    MarginAttack,
    ModifiedEntropyAttack,
    PopulationAttack,
    QuantileAttack,
    ReferenceAttack,
    SimilarityAttack,
    StackedAttack,
)
from ..errors import InputError
from ..outputs import Outputs
from ..randomness import numpy_generator
from ..text.outputs import TokenOutputs

Fold = np.ndarray


@dataclass(frozen=True)
class Scored:
    """Scores of one attack for one target's records.

    `scores` float64 (N,), NaN where not judged. `fold` int8 (N,) says which half a record was in
    where the attack was fitted on the other half, else None.
    """

    name: str
    title: str
    needs: str
    scores: np.ndarray
    fold: Fold | None

    @property
    def cross_fitted(self) -> bool:
        return self.fold is not None

    @property
    def ranking(self) -> np.ndarray:
        """Scores that compare over all records, float64 (N,), NaN where not judged.

        Halves of a cross-fitted attack have a scale of their own: there the scores become mid-ranks
        within the half, as shares of it.
        """
        if self.fold is None:
            return self.scores
        found = np.full(self.scores.size, np.nan)
        for half in (0, 1):
            rows = (self.fold == half) & ~np.isnan(self.scores)
            found[rows] = (rankdata(self.scores[rows]) - 0.5) / max(1, rows.sum())
        return found


@dataclass(frozen=True)
class Recipe:
    """One attack of an audit: `fitted` is "never", "halves", "population", "shadows", "both", or of
    language models "tokens" (never, and scored on `TokenOutputs`)."""

    title: str
    make: Callable[[bool], Attack]
    fitted: str

    @property
    def needs(self) -> str:
        return {
            "never": "answers",
            "tokens": "answers",
            "halves": "answers, and the membership of other records",
            "population": "answers, and records known to be no members",
            "shadows": "answers, and reference models",
            "both": "answers, reference models, and records known to be no members",
        }[self.fitted]


def _trees() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=0)


# `make` is told whether every record has models that held it (online) or not.
RECIPES: dict[str, Recipe] = {
    "correctness": Recipe("Correctness (baseline)", lambda _: CorrectnessAttack(), "never"),
    "loss": Recipe("Loss", lambda _: LossAttack(), "never"),
    "margin": Recipe("Margin", lambda _: MarginAttack(), "never"),
    "confidence": Recipe("Confidence", lambda _: ConfidenceAttack(), "never"),
    "entropy": Recipe("Entropy", lambda _: EntropyAttack(), "never"),
    "modified_entropy": Recipe(
        "Modified entropy, a threshold a class",
        lambda _: ModifiedEntropyAttack(per_class=True),
        "halves",
    ),
    "learned": Recipe(
        "Learned from known members",
        lambda _: LearnedAttack(estimator=_trees(), features="class_free"),
        "halves",
    ),
    "population": Recipe("Attack-P", lambda _: PopulationAttack(), "population"),
    "lira": Recipe("LiRA", lambda online: LiRA(online=online, threshold=0.0), "shadows"),
    "base": Recipe("BASE", lambda online: BASE(online=online, threshold=0.0), "shadows"),
    "rmia": Recipe("RMIA", lambda online: RMIA(online=online, threshold=0.5), "both"),
    "calibrated": Recipe(
        "Calibrated margin", lambda _: CalibratedAttack(signal="margin", threshold=0.0), "shadows"
    ),
    "reference": Recipe("Attack-R", lambda _: ReferenceAttack(threshold=0.5), "shadows"),
    "similarity": Recipe("Similarity", lambda _: SimilarityAttack(threshold=0.0), "shadows"),
    "quantile": Recipe("QMIA", lambda _: QuantileAttack(threshold=0.0), "both"),
    "learned_shadow": Recipe(
        "Learned from reference models",
        lambda _: LearnedAttack(estimator=_trees(), features="class_free", threshold=0.5),
        "shadows",
    ),
    "stacked": Recipe(
        "Stacked: four attacks in one",
        lambda online: StackedAttack(
            [
                MarginAttack(),
                BASE(online=online, threshold=0.0),
                LiRA(online=online, threshold=0.0),
                CalibratedAttack(signal="margin", threshold=0.0),
            ],
            threshold=0.5,
        ),
        "shadows",
    ),
}
_ONLINE_ONLY = ("similarity",)
_FEWEST = {"stacked": 6}  # reference models, where one at a time plays the target
_HELD_OUT_IN_ALL = ("learned_shadow",)  # learn from members of the reference models
LEAD = ("lira", "loss")
"""Decided beforehand: the first of these that was run ranks the records and judges the groups."""


def halves(members: np.ndarray, evaluated: np.ndarray, seed: int) -> Fold:
    """Two halves, each with half of the members and of the non-members; int8 (N,), -1 elsewhere.

    Nothing else is balanced: whoever is a member in one half then tells nothing of the other.
    """
    fold = np.full(members.size, -1, np.int8)
    rng = numpy_generator(seed, "audit halves")
    for kind in (members, ~members):
        rows = rng.permutation(np.flatnonzero(kind & evaluated))
        fold[rows] = np.arange(rows.size) % 2
    return fold


def check_names(attacks: Sequence[str] | None, recipes: Mapping[str, Recipe]) -> None:
    """Check that there are attacks of these names.

    Raises
    ------
    InputError
        If there is none of one of them, or none is named.
    """
    unknown = [name for name in attacks or () if name not in recipes]
    if unknown or (attacks is not None and not len(attacks)):
        what = f"no attack is called {unknown[0]!r}" if unknown else "attacks is empty"
        raise InputError(f"{what}; expected {', '.join(recipes)}")


def enough_references(shadows: Outputs, target: Outputs) -> tuple[bool, np.ndarray]:
    """Can attacks be online, and which of the target's records have the models they need?

    Online needs two reference models that held a record and two that did not, for at least 95 in
    100 of the records; else two that did not hold it.
    """
    held = (shadows.evaluated & shadows.members).sum(axis=0)
    free = (shadows.evaluated & ~shadows.members).sum(axis=0)
    both = (held >= 2) & (free >= 2)
    used = target.evaluated[0]
    online = bool(both[used].mean() >= 0.95)
    known = both if online else free >= 2
    return online, known & used


def score(
    target: Outputs,
    shadows: Outputs | None,
    *,
    recipes: Mapping[str, Recipe] = RECIPES,
    tokens: TokenOutputs | None = None,
    attacks: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda name: None,
) -> tuple[list[Scored], list[tuple[str, str]], bool]:
    """Scores of every attack that applies to one target, those that do not with the reason, and
    whether reference models that held each record were used.

    Parameters
    ----------
    target : Outputs of one model
    shadows : Outputs of reference models for the same records in the same order, or None
    recipes : the attacks that there are
    tokens : TokenOutputs of the target, for attacks on them

    Raises
    ------
    InputError
        If an attack is unknown, or none applies.
    """
    check_names(attacks, recipes)
    chosen = [name for name in recipes if attacks is None or name in attacks]
    fold = halves(target.members[0], target.evaluated[0], seed)
    online, known = (False, None) if shadows is None else enough_references(shadows, target)
    found: list[Scored] = []
    missing: list[tuple[str, str]] = []
    for name in chosen:
        recipe = recipes[name]
        reason = _unfit(name, recipe, shadows, online, known)
        if reason:
            missing.append((recipe.title, reason))
            continue
        progress(recipe.title)
        try:
            if recipe.fitted == "tokens":
                answers: Any = tokens
                scores, used = recipe.make(online).score(answers)[0], None
            else:
                scores, used = _score(name, recipe, target, shadows, online, known, fold)
        except InputError as error:
            missing.append((recipe.title, str(error)))
            continue
        found.append(Scored(name, recipe.title, recipe.needs, scores, used))
    if not found:
        raise InputError("; ".join(f"{title}: {why}" for title, why in missing))
    return found, missing, online


def _unfit(name, recipe: Recipe, shadows, online: bool, known) -> str | None:
    if recipe.fitted not in ("shadows", "both"):
        if name == "learned" and shadows is not None:
            return "the one that learns from reference models was run in its place"
        return None
    if shadows is None:
        return "needs reference models"
    if len(shadows) < _FEWEST.get(name, 0):
        return f"needs {_FEWEST[name]} reference models, each of which plays the target once"
    if not known.any():
        return "no record has two reference models that did not hold it"
    if name in _ONLINE_ONLY and not online:
        return "needs reference models that held each record, and others that did not"
    if name in _HELD_OUT_IN_ALL and not (shadows.members & shadows.evaluated).any():
        return "the reference models held none of these records"
    return None


def _score(name, recipe, target, shadows, online, known, fold) -> tuple[np.ndarray, Fold | None]:
    if recipe.fitted == "never":
        return recipe.make(online).score(target)[0], None
    if recipe.fitted == "shadows":
        narrowed = target if name in _HELD_OUT_IN_ALL else _only(target, known)
        return recipe.make(online).fit(shadows).score(narrowed)[0], None
    used = target.evaluated[0] if recipe.fitted != "both" else target.evaluated[0] & known
    scores = np.full(fold.shape, np.nan)
    for half in (0, 1):
        here, there = (used & (fold == side) for side in (half, 1 - half))
        scores[here] = _score_half(recipe.make(online), recipe, target, shadows, here, there)
    return scores, fold


def _score_half(attack, recipe, target, shadows, here, there) -> np.ndarray:
    """Scores of the records `here` by an attack that was fitted on those `there`; what is copied of
    large answers for that is gone afterwards.
    """
    if recipe.fitted == "halves":
        attack.fit(target.judged_on(there[None]))
    else:
        outside = target.select(records=there & ~target.members[0])
        attack.fit(shadows if recipe.fitted == "both" else None, population=outside)
    return attack.score(target.judged_on(here[None]))[0][here]


def _only(target: Outputs, known: np.ndarray) -> Outputs:
    """`target`, judged on records that the reference models know."""
    return target.judged_on((target.evaluated[0] & known)[None])
