"""Each mistake that makes an audit worthless, planted once: it is found and named."""

import numpy as np
import pytest
from audited import answers

from mia_utils.audit import AuditData, audit
from mia_utils.audit.checks import check
from mia_utils.errors import InputError, InputWarning
from mia_utils.outputs import Outputs

pytestmark = pytest.mark.filterwarnings("ignore::mia_utils.errors.InputWarning")


def _found(outputs, shadows=None, **names):
    return {f.name: f for f in check(AuditData.of(outputs, **names), shadows)[0]}


def _stops(outputs, shadows=None, **names) -> str:
    with pytest.raises(InputError, match="would be worthless") as caught:
        check(AuditData.of(outputs, **names), shadows)
    return str(caught.value)


def test_a_sound_design_is_not_doubted():
    outputs = answers(records=3000, leak=1.0)
    shadows = answers(records=3000, leak=1.0, models=6, seed=5, balanced=True)
    found, made = check(AuditData.of(outputs), shadows)
    assert not [f for f in found if f.severity != "note"]
    assert {"answers", "difference", "copies", "design"} <= set(made)


def test_probabilities_given_as_logits():
    outputs = answers()
    p = np.exp(outputs.logits)
    with pytest.warns(InputWarning):
        wrong = Outputs(p / p.sum(axis=2, keepdims=True), outputs.labels, outputs.members)
    assert "are they probabilities" in _stops(wrong)


def test_labels_in_another_order():
    outputs = answers()
    wrong = outputs.replace(labels=np.random.default_rng(0).permutation(outputs.labels))
    assert "logits and labels in one order" in _stops(wrong)


def test_members_and_others_swapped():
    outputs = answers(records=2000, leak=3.0)
    assert "swapped" in _stops(outputs.replace(members=~outputs.members))


def test_members_and_others_that_differ_without_the_model():
    outputs = answers(records=1000)
    site = np.where(outputs.members[0], "north", "south")
    site[::3] = "west"
    assert "differ without the model" in _stops(outputs, groups={"site": site})
    features = np.random.default_rng(0).normal(size=(1000, 3)) + outputs.members[0][:, None]
    assert "features, labels and groups" in _stops(outputs, features=features)


def test_a_slight_difference_is_told_and_limits_the_verdict():
    outputs = answers(records=6000)
    rng = np.random.default_rng(1)
    site = np.where(rng.random(6000) < np.where(outputs.members[0], 0.54, 0.46), "a", "b")
    found = _found(outputs, groups={"site": site})
    assert found["difference"].severity == "caution"
    # What the groups alone give away must not be held against the model.
    leaky = outputs.logits.copy()
    leaky[0, np.arange(6000), outputs.labels] += 8 * (site == "a")
    report = audit(AuditData.of(outputs.replace(logits=leaky), groups={"site": site}))
    assert report.content["verdict"]["outcome"] == "cannot tell"
    assert "without the model" in report.verdict


@pytest.mark.parametrize("seed", [304, 581, 1927])
def test_folds_that_learn_from_each_other_do_not_doubt_what_chance_gives_often(seed):
    rng = np.random.default_rng(
        seed
    )  # chi-squared of labels by membership: p = 0.009, 0.006, 0.002
    labels, members = rng.integers(4, size=400), rng.permutation(400) < 200
    logits = 3 * np.eye(4)[labels] + rng.normal(size=(400, 4))
    assert "difference" not in _found(Outputs(logits, labels, members))


def test_a_class_or_group_on_one_side_only():
    outputs = answers(records=400)
    site = np.where(outputs.members[0] & (np.arange(400) % 20 == 0), "island", "main")
    found = _found(outputs, groups={"site": site})
    assert "'island': members only" in found["one-sided"].found


def test_records_that_are_in_both_groups():
    outputs = answers(records=1000)
    features = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    inside, outside = (np.flatnonzero(kind) for kind in (outputs.members[0], ~outputs.members[0]))
    features[outside[:10]] = features[inside[:10]]
    found = _found(outputs, features=features)
    assert found["duplicates"].found.startswith("10 non-members have the same content")


def test_near_duplicates_are_seen_in_the_answers():
    outputs = answers(records=1000)
    inside, outside = (np.flatnonzero(kind) for kind in (outputs.members[0], ~outputs.members[0]))
    logits, labels = outputs.logits.copy(), outputs.labels.copy()
    logits[0, outside[:10]] = logits[0, inside[:10]] + 1e-6
    labels[outside[:10]] = labels[inside[:10]]
    found = _found(Outputs(logits, labels, outputs.members))
    assert "10 of 500 non-members have answers next to a member's" in found["duplicates"].found


def test_answers_of_trees_that_coincide_are_no_duplicates():
    outputs = answers(records=1000)
    rounded = Outputs(outputs.logits.round(0), outputs.labels, outputs.members)
    assert "duplicates" not in _found(rounded)


def test_reference_models_that_are_the_target_or_copies():
    outputs = answers(leak=1.0)
    shadows = answers(leak=1.0, models=4, seed=3, balanced=True)
    logits, members = shadows.logits.copy(), shadows.members.copy()
    logits[2], members[2] = outputs.logits[0], outputs.members[0]
    text = _stops(outputs, Outputs(logits, shadows.labels, members, names=tuple("abcd")))
    assert "reference model 2 gives the target's own answers" in text
    logits[2] = logits[1]
    text = _stops(outputs, Outputs(logits, shadows.labels, shadows.members))
    assert "reference models 1 and 2 give the same answers" in text


def test_a_target_from_the_balanced_masks_of_its_reference_models():
    models = answers(models=9, records=800, balanced=True, seed=2)
    target, shadows = models.select(models=[0]), models.select(models=range(1, 9))
    assert "how many reference models held a record" in _stops(target, shadows)


def test_too_few_records():
    assert "at least 10 of each" in _stops(answers(records=15))
    found = [f for f in check(AuditData.of(answers(records=600)))[0] if f.name == "numbers"]
    assert ["1.0%" in f.found for f in found] == [True, False] and "1,000" in found[0].advice


def test_classes_that_no_record_has():
    outputs = answers(records=600)
    wide = np.concatenate([outputs.logits, np.full((1, 600, 2), -9, np.float32)], axis=2)
    found = _found(Outputs(wide, outputs.labels, outputs.members))
    assert "2 of 6 classes have no record" in found["classes"].found


def test_labels_that_the_model_does_not_have():
    outputs = answers(records=40)
    with pytest.raises(InputError, match="labels run from"):
        Outputs(outputs.logits, outputs.labels + 1, outputs.members)


def test_a_stop_can_be_accepted_by_name_and_stands_in_the_report():
    outputs = answers()
    wrong = outputs.replace(labels=np.random.default_rng(0).permutation(outputs.labels))
    report = audit(wrong, accept=["answers"], attacks=["loss"])
    assert report.content["verdict"]["outcome"] == "none found"
    found = report.content["checks"]["findings"]
    assert [(f["name"], f["severity"]) for f in found if "one order" in f["found"]] == [
        ("answers", "caution")
    ]
    with pytest.raises(InputError, match="no check is called 'answer'"):
        audit(outputs, accept=["answer"])


def test_reference_models_of_other_records_or_labels():
    outputs, shadows = answers(), answers(models=4, seed=3, balanced=True)
    with pytest.raises(InputError, match="none of the target's records"):
        audit(outputs, shadows.replace(ids=shadows.ids + 10_000))
    other = Outputs(shadows.logits, (shadows.labels + 1) % 4, shadows.members)
    with pytest.raises(InputError, match="are the ids of one list"):
        audit(outputs, other, accept=["answers"])


def test_reference_models_are_aligned_by_ids():
    outputs = answers(leak=1.0)
    shadows = answers(leak=1.0, models=6, seed=3, balanced=True)
    order = np.random.default_rng(0).permutation(600)
    moved = Outputs(
        shadows.logits[:, order], shadows.labels[order], shadows.members[:, order], ids=order
    )
    names = ["lira", "base"]
    first, second = (audit(outputs, s, attacks=names).frame() for s in (shadows, moved))
    np.testing.assert_allclose(first["auc"], second["auc"])
    pictures = np.arange(600, dtype=np.int64)[:, None, None] * np.ones((600, 4, 4), np.int64)
    known = moved.select(records=np.arange(400))
    fewer = audit(outputs, known, attacks=names, pictures=pictures)
    assert "200 of 600 records are left out" in fewer.content["notes"][0]
    # What is left keeps its own picture.
    for each in fewer.content["exposed"]:
        assert (fewer._pictures[each["row"]] == int(each["id"])).all()


def _rare(skill: float, records: int = 2000, seed: int = 0) -> Outputs:
    """A model of a class that three in a hundred records have, and that it never names."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(records) < 0.03).astype(int)
    p = np.clip(0.05 + 0.02 * rng.random(records) + skill * labels, 0.001, 0.45)
    members = rng.random(records) < 0.5
    return Outputs.from_probabilities(np.stack([1 - p, p], 1)[None], labels, members[None])


@pytest.mark.parametrize("skill", [0.0, 0.02, 0.3])
def test_a_model_that_never_names_a_rare_class_is_not_doubted(skill):
    assert "answers" not in {n for n, f in _found(_rare(skill)).items() if f.severity != "note"}


def test_sound_models_of_few_records_are_hardly_ever_doubted():
    doubted = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = rng.choice(3, 100, p=[0.7, 0.2, 0.1])
        logits = rng.normal(size=(1, 100, 3)) * 0.3 + np.log([0.7, 0.2, 0.1])
        logits[0, np.arange(100), labels] += 0.5
        outputs = Outputs(logits.astype(np.float32), labels, rng.random((1, 100)) < 0.5)
        doubted += "answers" in _found(outputs)
    assert doubted <= 1


def test_members_whose_loss_is_higher_are_doubted_though_accuracy_is_the_same():
    outputs = answers(records=2000)
    logits = outputs.logits.copy()
    logits[0, np.arange(2000), outputs.labels] = 20 - 5.0 * outputs.members[0]
    stopped = _stops(outputs.replace(logits=logits))
    assert "higher loss than others" in stopped and "were they swapped? Write members" in stopped


@pytest.mark.parametrize("known", [0, 1])
def test_a_feature_that_hardly_any_record_has_is_no_reason_to_fail(known):
    outputs = answers(records=300)
    features = np.full((300, 2), np.nan)
    features[:, 0] = np.random.default_rng(0).normal(size=300)
    features[:known, 1] = 1.0
    assert "difference" not in _found(outputs, features=features)


def test_one_record_of_a_kind_can_be_insisted_on_none_cannot():
    outputs = answers(records=300)
    one = outputs.replace(members=np.arange(300)[None] == 7)
    report = audit(one, accept=["numbers"])
    assert report.content["verdict"]["outcome"] == "none found"
    with pytest.raises(InputError, match="0 members and 300 non-members.*some of each"):
        audit(outputs.replace(members=np.zeros((1, 300), bool)), accept=["numbers"])


def test_names_are_said_as_texts():
    outputs = answers(records=400, leak=0.5)
    logits = outputs.logits.copy()
    inside, outside = (np.flatnonzero(outputs.members[0] == kind)[:40] for kind in (True, False))
    labels = outputs.labels.copy()
    labels[outside], logits[0, outside] = labels[inside], logits[0, inside]
    said = _found(Outputs(logits, labels, outputs.members))["duplicates"].found
    assert "beside" in said and "np.str_" not in said
