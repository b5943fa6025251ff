"""Attacks are scikit-learn estimators: parameters, clones, repr, checks in `fit`, what they need."""

from __future__ import annotations

import numpy as np
import pytest
from factories import FACTORIES, TOKEN_FACTORIES
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import (
    check_estimator_repr,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)
from sklearn.utils.validation import check_is_fitted
from synthetic import scene
from tokens import token_scene

from mia_utils import Pool, attacks
from mia_utils.attacks import Attack, Needs
from mia_utils.errors import InputError
from mia_utils.text.attacks import MinKAttack, PerplexityAttack, TokenAttack, ZlibAttack
from mia_utils.text.blind import BlindAttack
from mia_utils.text.shadow import DocumentAttack

POOL = Pool.from_arrays("toy", np.zeros((40, 3)), np.arange(40) % 2)
FITTED = {**FACTORIES, **TOKEN_FACTORIES}
EVERY = {
    **FITTED,
    "augmentation": attacks.AugmentationAttack,
    "boundary": lambda: attacks.BoundaryAttack(POOL),
    "gradient": lambda: attacks.GradientAttack(POOL),
}
CLASSES = {type(make()): name for name, make in reversed(EVERY.items())}
REQUIRED = (
    attacks.StackedAttack,
    attacks.BoundaryAttack,
    attacks.GradientAttack,
    DocumentAttack,
)


@pytest.fixture(scope="module")
def scenes():
    leak = {"shadow_leak": 2.0, "target_leak": 2.0}
    return {False: scene(8, seed=6, **leak), True: token_scene(8, seed=6, **leak)}


@pytest.fixture
def given(request, scenes):
    """Outputs of classifiers, or of language models for an attack on those."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    return scenes[parameters.get("name") in TOKEN_FACTORIES]


@pytest.mark.parametrize(
    "check",
    [
        check_get_params_invariance,
        check_set_params,
        check_no_attributes_set_in_init,
        check_estimator_repr,
    ],
)
@pytest.mark.parametrize("name", EVERY)
def test_checks_of_scikit_learn(name, check):
    check(name, EVERY[name]())


@pytest.mark.parametrize("attack", [c for c in CLASSES if c not in REQUIRED], ids=CLASSES.get)
def test_scikit_learn_s_check_of_defaults(attack):
    check_parameters_default_constructible(CLASSES[attack], attack())


@pytest.mark.parametrize("attack", CLASSES, ids=CLASSES.get)
def test_every_argument_is_stored_as_it_was_given(attack):
    given = EVERY[CLASSES[attack]]().get_params(deep=False)
    for name in given:
        kept = object()
        assert attack(**{**given, name: kept}).get_params(deep=False)[name] is kept


def described(attack: Attack) -> str:
    return repr({k: v for k, v in attack.get_params().items() if k != "pool"})


@pytest.mark.parametrize("name", EVERY)
def test_a_clone_has_the_same_arguments_and_nothing_learned(name, given):
    attack = EVERY[name]()
    twin = clone(attack)
    assert type(twin) is type(attack) and described(twin) == described(attack)
    assert twin is not attack
    if name not in FITTED:
        return
    attack.fit(given.shadow, given.population)
    before = attack.score(given.target)
    learned = {k for k in vars(attack) if k.endswith("_")}
    assert learned and not learned & set(vars(clone(attack)))
    again = clone(attack).fit(given.shadow, given.population)
    np.testing.assert_array_equal(again.score(given.target), before)


def answers(outputs) -> np.ndarray:
    return outputs.log_probs if hasattr(outputs, "log_probs") else outputs.logits


@pytest.mark.parametrize("name", FITTED)
def test_fit_leaves_arguments_as_they_were_and_marks_what_it_learned(name, given):
    attack = FITTED[name]()
    before = dict(vars(attack))
    shadow = answers(given.shadow).copy()
    with pytest.raises(NotFittedError):
        check_is_fitted(attack)
    assert attack.fit(given.shadow, given.population) is attack
    check_is_fitted(attack)
    for key, value in before.items():
        assert vars(attack)[key] is value
    new = set(vars(attack)) - set(before)
    assert all(key.endswith("_") and not key.startswith("_") for key in new), new
    np.testing.assert_array_equal(answers(given.shadow), shadow)
    fitted = set(vars(attack))
    attack.score(given.target)
    assert set(vars(attack)) == fitted and not is_classifier(attack)


@pytest.mark.parametrize("name", FITTED)
def test_a_second_fit_forgets_the_first(name, given):
    other = token_scene if name in TOKEN_FACTORIES else scene
    other = other(8, seed=7, shadow_leak=0.0, target_leak=0.0)
    attack = FITTED[name]().fit(other.shadow, other.population)
    attack.fit(given.shadow, given.population)
    fresh = FITTED[name]().fit(given.shadow, given.population)
    assert attack.threshold_ == fresh.threshold_
    np.testing.assert_array_equal(attack.score(given.target), fresh.score(given.target))


@pytest.mark.parametrize("name", [name for name in EVERY if name not in TOKEN_FACTORIES])
def test_what_is_no_outputs_is_refused_by_the_name_of_the_call(name, scenes):
    given = scenes[False]
    attack, fitted, calls = EVERY[name](), EVERY[name](), {}
    if name not in ("random", "correctness", "population"):  # they look at no shadow model
        calls["fit(shadow)"] = lambda: attack.fit("answers", given.population)
    if name in FITTED:
        fitted.fit(given.shadow, given.population)
    calls["score(target)"] = lambda: fitted.score("answers")
    for call, made in calls.items():
        with pytest.raises(InputError) as caught:
            made()
        assert str(caught.value).startswith(f"{type(attack).__name__}.{call} got str; expected")


def test_shadow_models_that_are_not_stored_are_refused_by_the_name_of_the_call(scenes):
    attack = attacks.GradientAttack(POOL, features="all")
    with pytest.raises(
        InputError, match=r"^GradientAttack.fit\(shadow\) got outputs without names"
    ):
        attack.fit(scenes[False].shadow)


def test_arguments_that_are_set_count_at_the_next_fit(given):
    attack = attacks.LiRA().fit(given.shadow)
    expected = attacks.LiRA(online=False, threshold=1.0).fit(given.shadow)
    attack.set_params(online=False, threshold=1.0).fit(given.shadow)
    np.testing.assert_array_equal(attack.score(given.target), expected.score(given.target))
    assert attack.threshold_ == 1.0
    stack = attacks.StackedAttack([attacks.LossAttack()])
    assert stack.get_params()["attacks"] == stack.attacks
    assert repr(attacks.LiRA(online=False)) == "LiRA(online=False)"


WRONG = [
    (attacks.LossAttack(threshold="0.1"), "threshold='0.1'; expected a number"),
    (attacks.LossAttack(threshold=np.nan), "threshold=nan"),
    (attacks.LossAttack(per_class=True, threshold=1.0), "drop threshold="),
    (attacks.ConfidenceAttack(threshold=0.0), r"probability in \(0, 1\]"),
    (attacks.ConfidenceAttack(threshold=1.1), r"probability in \(0, 1\]"),
    (attacks.RandomAttack(seed=-1), "seed=-1; expected an integer of at least 0"),
    (attacks.RandomAttack(seed="a"), "seed='a'"),
    (attacks.LearnedAttack(seed=1.5), "seed=1.5"),
    (attacks.LearnedAttack(features="top3"), "expected one of 'raw', 'sorted', 'class_free'"),
    (attacks.LearnedAttack(estimator=LinearRegression()), "LinearRegression has no predict_proba"),
    (attacks.LearnedAttack(threshold=1.0), r"probability in \(0, 1\)"),
    (attacks.LearnedAttack(epochs=0), "epochs=0"),
    (attacks.LearnedAttack(hidden=(10, 0)), "hidden=0"),
    (attacks.LearnedAttack(max_pairs=True), "max_pairs=True"),
    (attacks.SimilarityAttack(distance="cosine"), "expected one of 'kl', 'js', 'l2'"),
    (attacks.CalibratedAttack(signal="entropy"), "expected one of 'loss', 'margin'"),
    (attacks.LiRA(variance="global"), "expected one of 'fixed', 'per_record'"),
    (attacks.LiRA(two_sided=True), "online=False"),
    (attacks.RMIA(a=1.2), r"a=1.2; expected a number in \[0, 1\]"),
    (attacks.RMIA(gamma=0), "gamma=0; expected a positive number"),
    (attacks.RMIA(temperature=np.inf), "temperature=inf; expected a positive number"),
    (attacks.BASE(scale=np.nan), "scale=nan"),
    (attacks.PopulationAttack(fpr=1.0), "fpr=1.0; expected a rate between 0 and 1"),
    (attacks.QuantileAttack(fpr=0), "fpr=0; expected a rate between 0 and 1"),
    (attacks.StackedAttack([]), "attacks is .*expected a list of at least one Attack"),
    (attacks.StackedAttack(["loss"]), "expected a list of at least one Attack"),
    (attacks.StackedAttack([attacks.LiRA(variance="x")]), "variance='x'"),
    (attacks.StackedAttack([attacks.LossAttack()], threshold=2), r"probability in \(0, 1\)"),
]


WRONG_ON_TOKENS = [
    (PerplexityAttack(threshold=0.5), "a perplexity of at least 1"),
    (PerplexityAttack(window=0), "window=0; expected an integer of at least 1"),
    (ZlibAttack(aggregate="sum"), "expected one of 'max', 'mean'"),
    (MinKAttack(share=0), r"share=0; expected a share in \(0, 1\]"),
    (MinKAttack(share=20), "share=20"),
    (BlindAttack(features="bytes"), "expected one of 'words', 'characters'"),
    (BlindAttack(folds=1), "folds=1; expected an integer of at least 2"),
    (DocumentAttack(attacks.LossAttack()), "LossAttack.*expected LiRA"),
    (DocumentAttack(attacks.LiRA), "expected LiRA"),
    (DocumentAttack(attacks.RMIA(a=2)), "a=2"),
    (DocumentAttack(attacks.LiRA(), window="8"), "window='8'"),
]


@pytest.mark.parametrize(("attack", "message"), WRONG_ON_TOKENS, ids=lambda v: repr(v)[:60])
def test_so_are_the_arguments_of_attacks_on_tokens(attack, message, scenes):
    with pytest.raises(InputError, match=message) as caught:
        attack.fit(*scenes[True][:2])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TOKEN_FACTORIES)
def test_outputs_of_another_kind_are_refused(name, scenes):
    tokens, logits = scenes[True], scenes[False]
    attack = FITTED[name]().fit(tokens.shadow, tokens.population)
    with pytest.raises(InputError, match="got Outputs; expected TokenOutputs"):
        attack.score(logits.target)
    with pytest.raises(InputError, match="got TokenOutputs; expected Outputs"):
        attacks.LossAttack().score(tokens.target)
    assert isinstance(attack, (TokenAttack, BlindAttack, DocumentAttack))


@pytest.mark.parametrize(("attack", "message"), WRONG, ids=lambda value: repr(value)[:60])
def test_what_is_stored_as_given_is_checked_in_fit(attack, message, given):
    with pytest.raises(InputError, match=message) as caught:
        attack.fit(given.shadow, given.population)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (attacks.GradientAttack(POOL, features="sum"), "expected one of 'norm'"),
        (attacks.BoundaryAttack(POOL, iterations=0), "iterations=0"),
        (attacks.BoundaryAttack(POOL, probes=1.5), "probes=1.5"),
        (attacks.BoundaryAttack("digits"), "pool is 'digits'; expected a Pool"),
        (attacks.ConfidenceAttack(threshold=2), r"probability in \(0, 1\]"),
        (attacks.AugmentationAttack(threshold="x"), "threshold='x'"),
    ],
)
def test_attacks_that_need_no_fit_check_in_score(attack, message, given):
    with pytest.raises(InputError, match=message):
        attack.score(given.target)


# ---- what an attack needs ----


@pytest.mark.parametrize("name", FITTED)
def test_an_attack_says_what_it_needs(name, given):
    """Each claim is tried: without it the attack refuses, with it the attack scores."""
    needs = FITTED[name]().needs
    shadow, population, target = given

    def scores(shadow, population):
        return np.isfinite(FITTED[name]().fit(shadow, population).score(target)).all()

    assert scores(shadow, population if needs.population else None)
    if needs.population:
        with pytest.raises(InputError, match="population"):
            scores(shadow, None)
    if needs.fit:
        with pytest.raises(InputError, match="not fitted"):
            FITTED[name]().score(target)
    else:
        assert np.isfinite(FITTED[name]().score(target)).all()
    if name == "stacked":
        assert needs == Needs(fit=True, out=1, held=1, population=True)
        return
    for group, least in ((False, needs.out), (True, needs.held)):
        if least:
            for left in (least - 1, least):
                members = shadow.members.copy()
                last = members[:, 200]  # a record of the target
                last[:] = not group
                last[:left] = group
                few = shadow.replace(members=members)
                if left < least:
                    with pytest.raises(InputError, match="(record|document) 200"):
                        scores(few, population)
                else:
                    assert scores(few, population)
    for field in needs.fields:
        without = target.replace(**{field: None})
        with pytest.raises(InputError, match=rf"needs .*outputs\.replace\(.*{field}="):
            FITTED[name]().fit(shadow, population).score(without)
    if needs.queries:
        two = FITTED[name]().fit([shadow, shadow], population).score([target, target])
        assert np.isfinite(two).all()
