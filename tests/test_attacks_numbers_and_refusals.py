"""Numbers that every attack must go on giving, and refusals that say which attack and which input."""

from __future__ import annotations

import re

import numpy as np
import pytest
from factories import FACTORIES
from synthetic import Scene, scene

from mia_utils import Pool, attacks
from mia_utils.attacks import alignment, boundary, design, leave_out, similarity
from mia_utils.attacks.base import Needs
from mia_utils.engine.oracle import Oracle
from mia_utils.errors import DesignWarning, InputError
from mia_utils.outputs import Outputs

POOL = Pool.from_arrays("toy", np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2)
ASKING = {
    "augmentation": attacks.AugmentationAttack,
    "boundary": lambda: attacks.BoundaryAttack(POOL),
    "gradient": lambda: attacks.GradientAttack(POOL),
    "gradient_all": lambda: attacks.GradientAttack(POOL, features="all"),
}
EVERY = FACTORIES | ASKING
RECORD_BY_RECORD = ("similarity", "reference", "calibrated", "lira", "rmia", "base")
WITH_POPULATION = ("population", "quantile", "rmia", "stacked")
BOTH_KINDS = (*FACTORIES, "augmentation")
UNDECIDED = (
    "population",
    "quantile",
    "random",
    "correctness",
    "reference",
    "calibrated",
    "lira",
    "rmia",
    "base",
)


@pytest.fixture(scope="module")
def leaky() -> Scene:
    whole = scene(12, seed=4, shadow_leak=2.0, target_leak=1.0)
    use = np.random.default_rng(1).random(whole.shadow.members.shape) < 0.95
    seen = np.random.default_rng(2).random(whole.target.members.shape) < 0.8
    return Scene(
        whole.shadow.replace(evaluated=use),
        whole.population,
        whole.target.replace(evaluated=seen),
    )


NUMBERS = {
    "random": [0.5, 0.63696169, 0.78915462, 0.53123693, 0.29885488],
    "correctness": [0.5, 1.0, 1.0, 0.77511962, 0.41750353],
    "loss": [-0.22555988, -0.10643546, -0.16402806, -0.59738077, 0.68694553],
    "loss_per_class": [0.0, 0.12267674, 0.081132462, -0.26947939, 0.49559778],
    "confidence": [-0.20094766, -0.10643546, -0.16402806, -0.35355392, 0.26879801],
    "entropy": [-0.49398435, -0.37593927, -0.55973269, -0.71499418, 0.33018235],
    "modified_entropy": [0.0, 0.044442556, 0.026826073, -0.50098161, 0.94132556],
    "margin": [1.3742709, 2.1865268, 1.724583, 0.88215707, 1.6814852],
    "learned": [0.051936584, 0.19214363, 0.17540038, 0.041372446, 0.11499886],
    "learned_sorted": [-0.30789542, 0.87497491, 0.17356057, -0.19583341, 0.91684315],
    "learned_class_free": [-0.18422303, 0.81177183, 0.20238534, -0.3595623, 1.1484754],
    "learned_per_class": [-0.28689596, 0.85441623, 0.054033547, -0.39763337, 1.1833005],
    "similarity_kl": [0.011082976, 0.13220847, 0.31702142, -0.1322497, 0.48668749],
    "similarity_js": [0.0069403165, 0.043738521, 0.087060167, 0.0043015884, 0.076897056],
    "similarity_l2": [0.049626186, 0.18463861, 0.35858711, 0.034320812, 0.21589535],
    "stacked": [-0.45167745, 0.58810146, 1.4032071, -0.53181164, 1.7161835],
    "population": [0.9, 0.82352941, 0.86153846, 0.59835567, 0.28640015],
    "reference": [0.70833333, 1.0, 1.0, 0.5937799, 0.33471978],
    "calibrated": [0.054292029, 0.2410434, 0.57632007, 0.17493068, 0.60012211],
    "calibrated_margin": [0.91098396, 1.2656083, 1.7210704, 0.41750388, 1.4032184],
    "lira": [0.005238392, 0.47575969, 1.0260654, -0.79386568, 2.0345999],
    "lira_per_record": [0.08533902, 4.3514131, 3.1993903, -1.6392082, 6.2548116],
    "lira_offline": [1.4792783, 1.8972945, 2.5341035, 1.4473328, 1.4674904],
    "lira_two_sided": [2.0520582, 1.6558111, 2.1120466, 1.8374465, 1.0851484],
    "rmia": [0.675, 0.80882353, 0.93846154, 0.62993137, 0.29399599],
    "rmia_offline": [0.73589744, 0.82352941, 0.93846154, 0.62589469, 0.29303154],
    "base": [0.0061391654, 0.093079227, 0.24989667, -0.2109432, 0.5522949],
    "base_offline": [-0.091300555, 0.0066744204, 0.06373707, -0.38268945, 0.60129643],
    "quantile": [1.3725705, 0.38883036, 1.3501157, 0.4325883, 1.159499],
}


def numbers(name: str, leaky: Scene) -> list[float]:
    """Threshold, and of the scores: two, the mean and the standard deviation."""
    attack = FACTORIES[name]().fit(leaky.shadow, leaky.population)
    scores = attack.score(leaky.target)
    some = scores[leaky.target.evaluated]
    return [attack.threshold_, *some[[0, -1]], some.mean(), some.std()]


@pytest.mark.parametrize("name", FACTORIES)
def test_an_attack_goes_on_giving_its_numbers(name, leaky):
    """On imagined models; where these change, published results do."""
    learned = name.startswith(("learned", "quantile", "stacked"))
    np.testing.assert_allclose(
        numbers(name, leaky), NUMBERS[name], rtol=2e-2 if learned else 1e-6, atol=1e-9
    )


def circle(records: np.ndarray) -> np.ndarray:
    return (np.linalg.norm(records.reshape(len(records), -1), axis=1) > 1).astype(int)


DISTANCES = [
    1.00215,
    0.321085,
    0.641348,
    0.0,
    0.0848821,
    0.269516,
    0.371503,
    0.109817,
    0.517028,
    1.01336,
    0.154109,
    0.0251914,
    2007.0,
    0.334662,
    0.645395,
    0.523699,
    0.0,
    0.166818,
    0.301689,
    0.144579,
    0.181275,
    0.27039,
    0.105024,
    0.88852,
    0.110394,
    2016.0,
]


def distances() -> list[float]:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 0.6, (60, 5)).astype(np.float32)
    images = (255 * rng.random((20, 2, 2, 1)) * rng.random((20, 1, 1, 1))).astype(np.uint8)
    found = []
    for records in (rows, images):
        ids = np.arange(12)
        scale = 255 if records is images else 1
        ask = Oracle(lambda asked, scale=scale: circle(asked / scale))
        labels = ask.labels(records[ids].astype(np.float32))
        labels[3] = 1 - labels[3]
        found += boundary.boundary_distance(
            ask, records, labels, ids, iterations=4, probes=20, seed=3
        ).tolist()
        found.append(ask.queries)
    return found


def test_distances_to_a_round_boundary_stay():
    """HopSkipJump's steps, probes and searches: other constants find other points of a sphere."""
    np.testing.assert_allclose(distances(), DISTANCES, rtol=1e-4)


def test_fewer_than_one_iteration_or_probe_is_refused():
    ask = Oracle(circle)
    rows, ids = np.ones((3, 2), np.float32), np.arange(1)
    for wrong in ({"iterations": 0}, {"probes": 0}):
        given = {"iterations": 5, "probes": 50} | wrong
        with pytest.raises(InputError) as caught:
            boundary.boundary_distance(ask, rows, np.array([1]), ids, **wrong)
        assert str(caught.value) == (
            f"iterations={given['iterations']}, probes={given['probes']}; expected at least 1 of each"
        )
    assert boundary.boundary_distance(ask, rows, np.array([0]), ids, iterations=1, probes=1) == 0


# ---- what a refusal names ----------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_answers_that_are_none_are_refused_with_the_name_of_the_call(name, leaky):
    attack = EVERY[name]()
    own = re.escape(type(attack).__name__)
    if name in FACTORIES:
        attack.fit(leaky.shadow, leaky.population)
    elif name == "gradient_all":
        attack.regression_ = None  # as if it were fitted
    with pytest.raises(InputError, match=rf"^{own}\.score\(target\)[: ]"):
        attack.score(3)
    if name in BOTH_KINDS and name not in ("population", "random", "correctness", "quantile"):
        with pytest.raises(InputError, match=rf"^{own}\.fit(\(shadow\))?[: ]"):
            EVERY[name]().fit(3, leaky.population)


@pytest.mark.parametrize("name", [n for n in BOTH_KINDS if not n.startswith(UNDECIDED)])
def test_shadow_models_of_one_kind_are_refused_with_the_name_of_the_attack(name, leaky):
    attack = EVERY[name]()
    shadow = leaky.shadow.replace(members=np.zeros_like(leaky.shadow.members))
    count = int(shadow.evaluated.sum())
    with pytest.raises(InputError) as caught:
        attack.fit(shadow, leaky.population)
    assert str(caught.value) == (
        f"the shadow models have 0 evaluated members and {count} evaluated non-members; "
        f"{type(attack).__name__} needs both"
    )


@pytest.mark.parametrize("name", ["loss", "margin", "confidence", "entropy", "gradient_all"])
def test_no_shadow_models_are_told_with_what_may_be_given(name):
    attack = EVERY[name]()
    advice = "" if name == "gradient_all" else ", or set the threshold by hand"
    with pytest.raises(InputError) as caught:
        attack.fit()
    assert str(caught.value) == (
        f"{type(attack).__name__}.fit got no shadow models; pass shadow={advice}"
    )


def test_no_threshold_is_told_with_how_to_get_one(leaky):
    attack = attacks.LossAttack()
    with pytest.raises(InputError) as caught:
        attack.predict(leaky.target)
    assert str(caught.value) == (
        "LossAttack has no threshold; set threshold=, or fit it on shadow models with evaluated "
        "members and non-members"
    )


@pytest.mark.parametrize("name", EVERY)
def test_an_attack_that_is_not_fitted_says_its_name(name, leaky):
    attack = EVERY[name]()
    if not attack.needs.fit:
        return
    with pytest.raises(InputError) as caught:
        attack.score(leaky.target)
    assert str(caught.value) == (f"{type(attack).__name__} is not fitted; call fit(shadow) first")


@pytest.mark.parametrize("name", [n for n in FACTORIES if n.startswith(WITH_POPULATION)])
def test_a_missing_or_unfit_population_is_refused_with_the_name_of_the_attack(name, leaky):
    shadow, population, _ = leaky
    own = type(FACTORIES[name]()).__name__
    if name != "stacked":
        with pytest.raises(InputError) as caught:
            FACTORIES[name]().fit(shadow)
        assert str(caught.value) == (
            f"{own}.fit got no population; pass the targets' outputs on records that are not audited"
        )
    held = population.replace(members=population.members | np.array([[False], [True]]))
    if name != "quantile":
        with pytest.raises(InputError) as caught:
            FACTORIES[name]().fit(shadow, held)
        assert str(caught.value) == (
            f"every population record is a member of target 1; {own} needs known non-members"
        )
    attack = FACTORIES[name]().fit(shadow, population)
    inner = "RMIA" if name == "stacked" else own
    with pytest.raises(InputError, match=rf"^({inner}|StackedAttack)\.score\(target\)"):
        attack.score("answers")
    with pytest.raises(InputError) as caught:
        attack.score(population.select(records=slice(0, 3)))
    assert str(caught.value) == (
        "record 0 is audited and in the population (3 such records); take it out of one of them"
    )


ALIKE = {
    "models": "the population has outputs of 2 models, the target of 1; they must be the same models",
    "names": "the population and the target are outputs of different models",
    "pool": "the population and the target come from different pools",
}


@pytest.mark.parametrize("what", ALIKE)
def test_a_population_of_other_models_or_another_pool_is_refused(what, leaky):
    named = leaky.population.replace(names=("a", "b"))
    target = {
        "models": leaky.target.select(models=[0]),
        "names": leaky.target.replace(names=("a", "c")),
        "pool": leaky.target.replace(fingerprint="other"),
    }[what]
    with pytest.raises(InputError) as caught:
        alignment.check_disjoint(named, target, "RMIA")
    assert str(caught.value) == ALIKE[what]
    for one, other in ((named, leaky.target), (leaky.population, leaky.target.replace(names="ab"))):
        assert alignment.check_disjoint(one, other, "RMIA") is other
    assert alignment.check_disjoint(named, leaky.target.replace(names=("a", "b")), "RMIA")


def differing(reference: Outputs) -> dict[str, tuple[Outputs, str]]:
    outputs = reference.select(models=[0], records=slice(2, 6))
    labels = outputs.labels.copy()
    labels[1] = (labels[1] + 1) % outputs.classes
    wide = np.concatenate([outputs.logits, outputs.logits[..., :1]], axis=2)
    return {
        "classes": (
            outputs.replace(logits=wide),
            "ROLE has 5 classes, the shadow models 4; an attack record by record needs shadow models "
            "of the same task",
        ),
        "pool": (
            outputs.replace(fingerprint="0123456789abcdef"),
            f"ROLE comes from another pool (0123456789ab) than the shadow models "
            f"({reference.fingerprint[:12]}); if equal ids are the same records in both, say so: "
            "shadow.replace(fingerprint=target.fingerprint)",
        ),
        "no pool": (
            outputs.replace(fingerprint=""),
            f"ROLE comes from another pool (unknown) than the shadow models "
            f"({reference.fingerprint[:12]}); if equal ids are the same records in both, say so: "
            "shadow.replace(fingerprint=target.fingerprint)",
        ),
        "record": (
            outputs.replace(ids=np.array([2, 3, 9000, 5])),
            "ROLE holds record 9000, which the shadow models were not queried on; give the attack "
            "their outputs for every record of the pool",
        ),
        "label": (
            outputs.replace(labels=labels),
            "record 3 has different labels in ROLE and in the shadow models' outputs",
        ),
    }


@pytest.mark.parametrize("what", ["classes", "pool", "no pool", "record", "label"])
@pytest.mark.parametrize(
    "name", [n for n in FACTORIES if n.startswith((*RECORD_BY_RECORD, "quantile"))]
)
def test_what_does_not_fit_the_shadow_models_is_the_target_or_the_population(name, what, leaky):
    attack = FACTORIES[name]().fit(leaky.shadow, leaky.population)
    wrong, said = differing(leaky.shadow)[what]
    with pytest.raises(InputError) as caught:
        alignment.rows_in(leaky.shadow, wrong, "ROLE")
    assert str(caught.value) == said
    if attack.needs.population:
        if what in ("classes", "record", "label"):
            bare = differing(leaky.shadow)[what][0]
            target = Outputs.replace(
                bare,
                logits=np.repeat(bare.logits, 2, axis=0),
                members=np.repeat(bare.members, 2, axis=0),
                evaluated=np.repeat(bare.evaluated, 2, axis=0),
                names=(),
                ids=np.where(bare.ids < 130, bare.ids + 130, bare.ids),
            )
            with pytest.raises(InputError, match="the target"):
                attack.score(target)
    else:
        with pytest.raises(InputError) as caught:
            attack.score(wrong)
        assert str(caught.value) == said.replace("ROLE", "the target")


def test_a_reference_without_a_pool_is_called_unknown(leaky):
    nowhere = leaky.shadow.replace(fingerprint="")
    with pytest.raises(InputError, match=r"than the shadow models \(unknown\)"):
        alignment.rows_in(nowhere, leaky.target, "the target")


@pytest.mark.parametrize("name", [n for n in FACTORIES if n.startswith(("rmia", "quantile"))])
def test_a_population_that_the_shadow_models_do_not_know_is_called_so(name, leaky):
    far = leaky.population.replace(ids=leaky.population.ids + 9000)
    with pytest.raises(InputError, match=r"^the population holds record 9\d\d\d, which"):
        FACTORIES[name]().fit(leaky.shadow, far)


@pytest.mark.parametrize(
    "name", [n for n in FACTORIES if n.startswith((*RECORD_BY_RECORD, "quantile"))]
)
def test_a_target_among_the_shadow_models_is_told_with_the_name_of_the_attack(name, leaky):
    shadow, population, target = leaky
    attack = FACTORIES[name]().fit(shadow, population)
    own = type(attack).__name__
    places = np.searchsorted(shadow.ids, target.ids)
    copied = shadow.select(models=[2, 5], records=places).replace(evaluated=target.evaluated)
    with pytest.raises(InputError) as caught:
        attack.score(copied)
    known = int(shadow.evaluated[2, places].sum())
    assert str(caught.value) == (
        f"target 0 gives {known} of {known} records the very logits of shadow model 2: {own} would "
        "find memberships that it was told. Audit a model whose mask was drawn independently of the "
        "shadow models', with independent_masks(...)"
    )
    # As if its mask were the row that is missing among theirs.
    held = (shadow.members & shadow.evaluated).sum(axis=0) / shadow.evaluated.sum(axis=0)
    told = target.replace(members=np.repeat((held[places] < 0.5)[None], 2, axis=0))
    if name.startswith("reference"):
        return
    with pytest.warns(DesignWarning) as caught:
        attack.score(told)
    assert re.fullmatch(
        r"how many shadow models held a record tells whether target 0 did \(AUC 0\.\d\d, with no "
        rf"look at an answer\), as if its mask were a row of theirs: the scores of {own} are biased\. "
        r"Draw the target's mask independently of the shadow models', with independent_masks\(\.\.\.\), "
        "or evaluate other records",
        str(caught[0].message),
    )


def test_a_name_among_the_shadow_models_is_told(leaky):
    shadow = leaky.shadow.replace(names=tuple("abcdefghijkl"))
    found = design.Design(shadow)
    rows = np.searchsorted(shadow.ids, leaky.target.ids)
    with pytest.raises(InputError) as caught:
        found.check(leaky.target.replace(names=("x", "c")), rows, "LiRA")
    assert str(caught.value) == (
        "model c is audited and among the shadow models; audit one whose mask was drawn "
        "independently of theirs, with independent_masks(...)"
    )


@pytest.mark.parametrize(
    "name", [n for n in FACTORIES if n.startswith(("reference", "calibrated", "lira", "base"))]
)
def test_several_queries_are_refused_with_the_name_of_the_attack(name, leaky):
    attack, (shadow, _, target) = FACTORIES[name](), leaky
    if attack.needs.queries:
        attack.fit([shadow, shadow])
        with pytest.raises(InputError) as caught:
            attack.score(target)
        assert str(caught.value) == (
            "the attack was fitted on 2 queries of each record and got 1 of the target"
        )
    else:
        with pytest.raises(InputError) as caught:
            attack.fit([shadow, shadow])
        assert str(caught.value) == (
            f"{type(attack).__name__} takes one query of each record, not 2"
        )
    with pytest.raises(InputError) as caught:
        attack.fit([])
    assert str(caught.value) == (
        f"{type(attack).__name__}.fit(shadow) got no queries; pass Outputs, or a sequence with one a "
        "query"
    )


@pytest.mark.parametrize("field", ["members", "evaluated"])
def test_queries_of_other_models_are_refused_with_what_differs(field, leaky):
    shadow = leaky.shadow
    other = shadow.replace(**{field: ~getattr(shadow, field)})
    with pytest.raises(InputError) as caught:
        alignment.as_queries([shadow, shadow, other], "LiRA.fit(shadow)")
    assert str(caught.value) == (
        f"LiRA.fit(shadow): the queries disagree in {field}; query the same models"
    )
    with pytest.raises(InputError, match=r"^LiRA\.fit\(shadow\)"):
        alignment.as_queries([shadow, None], "LiRA.fit(shadow)")


@pytest.mark.parametrize("name", [n for n in FACTORIES if n.startswith(RECORD_BY_RECORD)])
def test_a_record_with_too_few_shadow_models_is_told_with_what_the_attack_needs(name, leaky):
    shadow, population, target = leaky
    attack = FACTORIES[name]()
    record = target.ids[5]
    column = np.flatnonzero(shadow.ids == record)
    members = shadow.members.copy()
    members[:, column] = True
    attack.fit(shadow.replace(members=members), population)
    seen = int(shadow.evaluated[:, column].sum())
    least, own = attack.needs.out, type(attack).__name__
    audited = target.replace(evaluated=np.arange(len(target.ids)) == np.full((2, 1), 5))
    with pytest.raises(InputError) as caught:
        attack.score(audited)
    if name.startswith("similarity"):
        said = (
            f"record {record} was in {seen} shadow models and out of 0; SimilarityAttack needs one "
            "of each: train more or do not evaluate it"
        )
    else:
        held = f" and {seen} that did" if attack.needs.held else ""
        each = " of each" if attack.needs.held else ""
        said = (
            f"record {record} has 0 shadow models that did not hold it{held}; {own} needs "
            f"{least}{each}: train more, or do not evaluate it"
        )
    assert str(caught.value) == said


PROBABILITY, RATE = "a probability in (0, 1)", "a rate between 0 and 1"
WHOLE = "an integer of at least 1, below 2**63"
ARGUMENTS = [
    (attacks.ConfidenceAttack, "threshold", [0, 1.5, -1], [1, 0.5], "a probability in (0, 1]"),
    (attacks.LossAttack, "threshold", ["a", np.nan], [-np.inf, 0, np.inf], "a number"),
    (attacks.LearnedAttack, "threshold", [0, 1], [0.5], PROBABILITY),
    (attacks.LearnedAttack, "max_pairs", [0, 1.5], [1], WHOLE),
    (attacks.LearnedAttack, "epochs", [0, True], [1], WHOLE),
    (attacks.LearnedAttack, "features", ["x"], ["raw", "sorted", "class_free"], "one of"),
    (attacks.PopulationAttack, "fpr", [0, 1], [0.5], RATE),
    (attacks.QuantileAttack, "fpr", [0, 1], [0.5], RATE),
    (attacks.RMIA, "a", [-0.1, 1.1], [0, 1, 0.5], "a number in [0, 1]"),
    (attacks.RMIA, "gamma", [0, np.inf], [0.1, 9], "a positive number"),
    (attacks.RMIA, "temperature", [0, np.inf], [0.1, 9], "a positive number"),
    (attacks.BASE, "scale", [np.inf, -np.inf, "a"], [0, -3.5], "a finite number"),
    (attacks.LiRA, "variance", ["x"], ["fixed", "per_record"], "one of"),
    (attacks.CalibratedAttack, "signal", ["x"], ["loss", "margin"], "one of"),
    (attacks.SimilarityAttack, "distance", ["x"], ["kl", "js", "l2"], "one of"),
    *[
        (attack, "seed", [-1, 0.5], [0, 7], "an integer of at least 0, below 2**32")
        for attack in (
            attacks.RandomAttack,
            attacks.LearnedAttack,
            attacks.QuantileAttack,
            attacks.RMIA,
            attacks.LiRA,
            attacks.SimilarityAttack,
            attacks.BASE,
        )
    ],
    *[
        (lambda **given: attacks.BoundaryAttack(POOL, **given), name, [0], [1], WHOLE)
        for name in ("iterations", "probes")
    ],
    (
        lambda **given: attacks.GradientAttack(POOL, **given),
        "features",
        ["x"],
        ["norm", "last_layer", "all"],
        "one of",
    ),
]


@pytest.mark.parametrize("make, name, wrong, right, expected", ARGUMENTS)
def test_an_argument_that_is_refused_is_named_with_what_is_expected(
    make, name, wrong, right, expected
):
    for value in wrong:
        with pytest.raises(InputError) as caught:
            make(**{name: value}).check_arguments()
        assert str(caught.value).startswith(f"{name}={value!r}; expected {expected}")
        if expected != "one of":
            assert str(caught.value) == f"{name}={value!r}; expected {expected}"
    for value in right:
        make(**{name: value}).check_arguments()


TOGETHER = [
    (
        lambda: attacks.LossAttack(per_class=True, threshold=1.0),
        "per_class fits a threshold for each class; drop threshold=",
    ),
    (
        lambda: attacks.LiRA(two_sided=True),
        "two_sided is a choice of the offline attack; pass online=False",
    ),
    (
        lambda: attacks.LearnedAttack(estimator=Needs()),
        "Needs has no predict_proba; pass a classifier that has it",
    ),
    (
        lambda: attacks.StackedAttack([]),
        "attacks is []; expected a list of at least one Attack",
    ),
    (
        lambda: attacks.BoundaryAttack(3),
        "pool is 3; expected a Pool, as load_dataset gives it",
    ),
    (lambda: attacks.LearnedAttack(hidden=(10, 0)), f"hidden=0; expected {WHOLE}"),
]


@pytest.mark.parametrize("make, said", TOGETHER)
def test_settings_that_do_not_go_together_are_told(make, said):
    with pytest.raises(InputError) as caught:
        make().check_arguments()
    assert str(caught.value) == said


def test_other_numbers_of_classes_are_told_with_a_way_out(leaky):
    shadow, _, target = leaky
    wide = np.concatenate([target.logits, target.logits[..., :1]], axis=2)
    wide = target.replace(logits=wide)
    for name, said in (
        (
            "loss_per_class",
            "LossAttack has thresholds for 4 classes, the target has 5; use per_class=False between "
            "data sets",
        ),
        (
            "learned_sorted",
            "the target has 5 classes, the shadow models 4; use "
            'LearnedAttack(features="class_free", per_class=False)',
        ),
    ):
        with pytest.raises(InputError) as caught:
            FACTORIES[name]().fit(shadow).score(wide)
        assert str(caught.value) == said
    assert FACTORIES["learned_class_free"]().fit(shadow).score(wide).shape == wide.members.shape


def test_too_few_shadow_models_or_records_are_told(leaky):
    shadow, population, _ = leaky
    first = [
        np.flatnonzero(shadow.evaluated[0] & (shadow.members[0] == held))[0] for held in (0, 1)
    ]
    one_of_each = shadow.select(models=[0], records=np.array(first))
    with pytest.raises(InputError) as caught:
        attacks.LearnedAttack().fit(one_of_each)
    assert re.fullmatch(
        "1 evaluated shadow members and 1 non-members are too few to hold a fifth of the records "
        "out with some of each",
        str(caught.value),
    )
    with pytest.raises(InputError) as caught:
        FACTORIES["stacked"]().fit(shadow.select(models=[0]), population)
    assert str(caught.value) == (
        "StackedAttack leaves out shadow models in turn; it needs at least 2"
    )
    with pytest.raises(InputError) as caught:
        attacks.StackedAttack([attacks.SimilarityAttack()]).fit(shadow.select(models=[0, 1]))
    assert str(caught.value) == (
        "no shadow model can be left out: no evaluated members and non-members remain whose records "
        "the others still know; train more shadow models"
    )
    with pytest.raises(InputError) as caught:
        attacks.QuantileAttack().fit(None, population.select(records=slice(0, 60)))
    assert re.fullmatch(
        r"target \d has \d\d known non-members in the population; the regression needs 50",
        str(caught.value),
    )
    with pytest.raises(InputError) as caught:
        attacks.QuantileAttack(features=np.ones((7, 2))).fit(None, population)
    assert str(caught.value) == (
        f"features have 7 rows, the population holds record {population.ids.max()}; row i must "
        "describe record i of the pool"
    )
    with pytest.raises(InputError, match="^features"):
        attacks.QuantileAttack(features=[["a"]]).fit(None, population)


@pytest.mark.parametrize("shapes", [((3, 4), (3, 5)), ((), ())])
def test_log_probabilities_of_other_shapes_are_told(shapes):
    one, other = (np.zeros(shape) for shape in shapes)
    with pytest.raises(InputError) as caught:
        similarity.kl_divergence(one, other)
    assert str(caught.value) == (
        f"log_p has shape {shapes[0]}, log_q {shapes[1]}; expected (..., classes) of both"
    )
    for which, given in (("log_p", ("a", one)), ("log_q", (one, "a"))):
        with pytest.raises(InputError, match=f"^{which}"):
            similarity.kl_divergence(*given)


# ---- what follows from what was given ----------------------------------------------------------

ASKED_FOR = {
    "random": {},
    "correctness": {},
    "loss": {},
    "loss_per_class": {"fit": True},
    "learned": {"fit": True},
    "similarity_kl": {"fit": True, "out": 1, "held": 1},
    "stacked": {"fit": True, "out": 1, "held": 1, "population": True},
    "population": {"fit": True, "population": True},
    "quantile": {"fit": True, "population": True},
    "reference": {"fit": True, "out": 1},
    "calibrated": {"fit": True, "out": 1},
    "lira": {"fit": True, "out": 1, "held": 1, "queries": True},
    "lira_per_record": {"fit": True, "out": 2, "held": 2, "queries": True},
    "lira_offline": {"fit": True, "out": 1, "queries": True},
    "rmia": {"fit": True, "out": 1, "held": 1, "population": True},
    "rmia_offline": {"fit": True, "out": 1, "population": True},
    "base": {"fit": True, "out": 1, "held": 1},
    "base_offline": {"fit": True, "out": 1},
    "augmentation": {"queries": True},
    "boundary": {},
    "gradient": {},
    "gradient_all": {"fit": True},
}


@pytest.mark.parametrize("name", ASKED_FOR)
def test_what_an_attack_needs_is_what_it_says(name):
    assert EVERY[name]().needs == Needs(**ASKED_FOR[name])


OFFLINE = {"online": True, "seed": 0, "threshold": None}
DEFAULTS = {
    attacks.RandomAttack: {"seed": 0, "threshold": 0.5},
    attacks.CorrectnessAttack: {"threshold": 0.5},
    attacks.LossAttack: {"normalize": False, "per_class": False, "threshold": None},
    attacks.EntropyAttack: {"normalize": False, "per_class": False, "threshold": None},
    attacks.ConfidenceAttack: {"per_class": False, "threshold": None},
    attacks.MarginAttack: {"per_class": False, "threshold": None},
    attacks.LearnedAttack: {
        "hidden": (10, 20, 50, 70, 100, 150, 200),
        "epochs": 50,
        "estimator": None,
        "features": "raw",
        "per_class": False,
        "max_pairs": 60_000,
        "seed": 0,
        "threshold": None,
    },
    attacks.SimilarityAttack: {"distance": "kl", "seed": 0, "threshold": None},
    attacks.PopulationAttack: {"fpr": 0.1, "threshold": None},
    attacks.CalibratedAttack: {"signal": "loss", "seed": 0, "threshold": None},
    attacks.LiRA: OFFLINE | {"variance": "fixed", "two_sided": False},
    attacks.RMIA: OFFLINE | {"a": 0.3, "gamma": 1.0, "temperature": 1.0},
    attacks.QuantileAttack: {"features": None, "fpr": 0.1, "seed": 0, "threshold": None},
    lambda: attacks.BoundaryAttack(POOL): {
        "pool": POOL,
        "store": None,
        "iterations": 5,
        "probes": 50,
        "seed": 0,
        "threshold": None,
    },
    lambda: attacks.GradientAttack(POOL): {
        "pool": POOL,
        "features": "norm",
        "store": None,
        "threshold": None,
    },
}


@pytest.mark.parametrize("make", DEFAULTS)
def test_what_nobody_sets_stays_as_it_was(make):
    assert make().get_params(deep=False) == DEFAULTS[make]


def test_models_that_are_left_out_are_spread_over_the_order_of_draws(leaky):
    order, records = leave_out.draw_order(leaky.shadow)
    assert sorted(order.tolist()) == list(range(12))
    np.testing.assert_array_equal(records, np.argsort(leaky.shadow.ids))
    assert leave_out.left_out_models(leaky.shadow) == order[[0, 4, 7, 11]].tolist()
    assert leave_out.left_out_models(leaky.shadow, 2) == order[[0, 11]].tolist()
    assert leave_out.left_out_models(leaky.shadow, 20) == order.tolist()
    mixed = np.random.default_rng(0).permutation(len(leaky.shadow.ids))
    models = np.random.default_rng(1).permutation(12)
    other = leaky.shadow.select(models=models, records=mixed)
    again, places = leave_out.draw_order(other)
    np.testing.assert_array_equal(other.ids[places], leaky.shadow.ids[records])
    np.testing.assert_array_equal(models[again], order)
