"""The verdict is true: where there is nothing, where there is something, and how much of it."""

from itertools import combinations

import numpy as np
import pytest
from audited import answers
from scipy.stats import norm, rankdata

from mia_utils.audit import Limit, audit
from mia_utils.audit import verdict as verdicts
from mia_utils.audit.measure import (
    auc_p_value,
    critical,
    detectable_auc,
    detectable_tpr,
    distinct,
    precision,
    recognised_at,
    tail,
    tpr_p_value,
)
from mia_utils.audit.verdict import percent
from mia_utils.errors import InputError
from mia_utils.outputs import Outputs


def _memberships(records: int, count: int):
    for chosen in combinations(range(records), count):
        members = np.zeros(records, bool)
        members[list(chosen)] = True
        yield members


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_the_chance_of_hits_is_that_of_all_memberships(allowed):
    scores = np.arange(9.0)
    counts = []
    for members in _memberships(9, 4):
        rest = np.sort(scores[~members])[::-1]
        counts.append(int((scores[members] > rest[allowed]).sum()))
    for hits in range(5):
        assert tail(4, 5, allowed, hits) == pytest.approx(np.mean(np.array(counts) >= hits))


@pytest.mark.parametrize("tied", [False, True])
def test_the_p_value_of_an_auc_is_that_of_all_memberships(tied):
    scores = np.array([0, 1, 1, 1, 2, 2, 3, 5, 8, 9.0]) if tied else np.arange(10.0) ** 2
    members = np.isin(np.arange(10), [4, 6, 8, 9])
    ranks = rankdata(scores)
    sums = np.array([ranks[each].sum() for each in _memberships(10, 4)])
    exact = np.mean(sums >= ranks[members].sum())
    assert auc_p_value(scores, members) == pytest.approx(exact, abs=0.01)


def test_few_hits_of_a_rare_score_are_no_proof():
    # 60,000 records, one in a thousand scores 1: the normal limit would call one hit of 50 a proof.
    scores = np.zeros(60_000)
    scores[:60] = 1
    members = np.zeros(60_000, bool)
    members[[0, *range(100, 149)]] = True
    assert auc_p_value(scores, members) == pytest.approx(1 - (1 - 0.001) ** 50, abs=0.01)


def test_p_values_are_valid_where_members_are_random():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=400).round(1)
    found = []
    for _ in range(300):
        members = rng.permutation(400) < 120
        found.append((auc_p_value(scores, members), tpr_p_value(scores, members, 0.1)))
    for level in (0.05, 0.2):
        assert (np.mean(np.array(found) <= level, axis=0) <= level + 0.03).all()


def test_two_names_for_one_ranking_are_one_test():
    scores = np.random.default_rng(0).normal(size=50)
    assert distinct([scores, np.exp(scores), -scores, scores * 3]) == [0, 0, 2, 0]
    report = audit(answers(leak=1.0), attacks=["loss", "margin"])
    assert report.content["verdict"]["tests"] == 2  # AUC and TPR at 10 %, of one ranking


def test_what_a_design_can_show_is_what_it_finds():
    hits = critical(500, 500, 5, 1e-3)
    assert tail(500, 500, 5, hits) <= 1e-3 < tail(500, 500, 5, hits - 1)
    rate = detectable_tpr(1000, 1000, 0.01, 1e-3)
    assert 0.02 < rate < 0.05
    assert detectable_tpr(2, 1000, 0.1, 1e-6) is None
    rng, found = np.random.default_rng(0), 0
    value = detectable_auc(300, 300, 1e-3)
    members = np.arange(600) < 300
    for _ in range(200):
        scores = rng.normal(size=600) + members * np.sqrt(2) * norm.ppf(value)
        found += auc_p_value(scores, members) <= 1e-3
    assert 0.7 < found / 200 < 0.9


def test_recognised_at_counts_other_non_members():
    scores = np.array([9.0, 5, 1, 7, np.nan])
    members = np.array([True, False, False, True, True])
    rate = recognised_at(scores, members)
    np.testing.assert_allclose(rate[:4], [1 / 3, 1 / 2, 1, 1 / 3])
    assert np.isnan(rate[4])


def test_precision_without_leak_is_the_prior():
    assert precision(0.01, 0.01, 0.1) == pytest.approx(0.1)
    assert precision(0.0, 0.0, 0.1) == 0.0


@pytest.mark.parametrize("references", [0, 6])
def test_nothing_is_found_where_there_is_nothing(references):
    shadows = answers(models=references, seed=9, balanced=True) if references else None
    found = [audit(answers(seed=seed), shadows, seed=seed) for seed in range(3)]
    assert [report.content["verdict"]["outcome"] for report in found] == ["none found"] * 3
    verdict = found[0].verdict
    assert verdict.startswith("No leakage was found: none of") and "could have shown" in verdict
    assert ("without reference models" in verdict) == (references == 0)


@pytest.mark.parametrize("references", [0, 8])
def test_a_planted_leak_is_found_and_its_auc_lies_in_the_interval(references):
    shadows = answers(2000, models=8, leak=1.5, seed=9, balanced=True) if references else None
    report = audit(answers(2000, leak=1.5), shadows)
    assert report.leaks
    assert report.content["verdict"]["sentences"][0].startswith("Whoever can ask the model")
    assert (("similar models" in report.verdict) and "of the cases" in report.verdict) or (
        not references
    )
    if references:
        frame = report.frame()
        assert frame.loc["lira", "auc"] > frame.loc["loss", "auc"] + 0.01


def test_an_interval_holds_the_auc_that_was_planted():
    inside = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        members = np.arange(600) % 2 == 0
        margin = rng.normal(size=600) + members
        logits = np.stack([np.zeros(600), margin], axis=1)[None]
        report = audit(Outputs(logits, np.ones(600, int), members[None]), attacks=["margin"])
        row = report.content["attacks"][0]["auc"]
        inside += row["low"] <= norm.cdf(1 / np.sqrt(2)) <= row["high"]
    assert inside >= 17


def test_a_leak_of_one_group_is_named():
    quiet = answers(3000, seed=4)
    site = np.random.default_rng(2).choice(["a", "b", "c", "d", "e", "f"], 3000)
    logits = quiet.logits.copy()
    hit = (site == "b") & quiet.members[0]
    logits[0, hit, quiet.labels[hit]] += 0.8
    from mia_utils.audit import AuditData

    data = AuditData.of(quiet.replace(logits=logits), groups={"site": site})
    report = audit(data, attacks=["loss"])
    worst = min((g for g in report.content["groups"] if g["p"] is not None), key=lambda g: g["p"])
    assert worst["group"] == "b" and worst["p_adjusted"] <= 0.01


def test_a_cross_fitted_attack_is_judged_on_the_other_half():
    names = ["modified_entropy", "population", "learned"]
    rows = audit(answers(leak=1.0), attacks=names).content["attacks"]
    assert {row["name"] for row in rows} == set(names)
    assert all(row["cross_fitted"] and row["epsilon"] is None for row in rows)


@pytest.mark.parametrize("references", [4, 6])
def test_several_attacks_in_one_are_judged_where_reference_models_suffice(references):
    target = answers(leak=1.5, seed=1)
    shadows = answers(leak=1.5, seed=2, models=references, balanced=True)
    content = audit(target, shadows, attacks=["margin", "stacked"], records=False).content
    found = {row["name"]: row["auc"]["value"] for row in content["attacks"]}
    if references < 6:
        assert list(found) == ["margin"] and "needs 6 reference" in content["not_run"][0]["why"]
    else:
        assert found["stacked"] > found["margin"] > 0.5 and not content["not_run"]


def test_cross_fitting_finds_nothing_in_pure_noise():
    # Trees that were judged on the records they learned from would separate these perfectly.
    rng = np.random.default_rng(5)
    noise = Outputs(
        rng.normal(size=(1, 1000, 3)), rng.integers(3, size=1000), rng.random(1000) < 0.5
    )
    report = audit(noise, attacks=["learned"], accept=["answers"])
    assert 0.43 < report.content["attacks"][0]["auc"]["value"] < 0.57


def test_infinite_and_constant_scores_are_ranked():
    outputs = answers()
    same = Outputs(np.zeros_like(outputs.logits), outputs.labels, outputs.members)
    report = audit(same, accept=["answers"])
    assert not report.leaks and report.frame().loc["loss", "auc"] == 0.5


def test_the_epsilon_of_a_constant_score_is_zero():
    outputs = answers()
    same = Outputs(np.zeros_like(outputs.logits), outputs.labels, outputs.members)
    report = audit(same, attacks=["loss"], accept=["answers"])
    assert report.content["attacks"][0]["epsilon"]["low_all"] == 0
    assert report.content["attacks"][0]["epsilon"]["largest"] > 1


@pytest.mark.parametrize(
    "share, text",
    [(0, "0 %"), (1, "100 %"), (0.0123, "1.2 %"), (0.99996, "over 99.9 %"), (1e-6, "under 0.01 %")],
)
def test_a_share_is_never_rounded_to_certainty(share, text):
    assert percent(share) == text


# ---- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["tpr>0.1", "auc@0.1>0.6", "auc>2", "tpr@2>0.1", "f1>0.2", "auc<1"]
)
def test_limits_of_another_form_are_refused(text):
    with pytest.raises(InputError, match="expected a figure and its limit"):
        Limit.parse(text)


def test_a_limit_fails_only_where_the_lower_limit_exceeds_it():
    report = audit(answers(2000, leak=1.5))
    best = max(row["auc"]["low_all"] for row in report.content["attacks"])
    over, under = report.against([Limit("auc", best - 0.01), Limit("auc", best + 0.01)])
    assert over.failed and not under.failed
    (point,) = report.against([Limit.parse("precision@0.1>0.5")])
    assert point.failed and 0.5 < point.lower < 1
    (small,) = report.against([Limit.parse("tpr@0.001>0.01")])
    assert small.lower is None and not small.failed and "not measurable" in small.text
    with pytest.raises(InputError, match="--rates"):
        report.against([Limit.parse("tpr@0.05>0.01")])


def test_only_evaluated_records_are_judged():
    outputs = answers(1200, leak=1.5)
    evaluated = np.ones((1, 1200), bool)
    evaluated[0, 800:] = False
    part = outputs.judged_on(evaluated)
    report = audit(part, answers(1200, models=6, leak=1.5, seed=9, balanced=True))
    assert report.content["subject"]["judged"] == 800
    assert {r["members"] + r["nonmembers"] for r in report.content["attacks"]} == {800}
    records = report.records()
    assert records["recognised_at"].isna().sum() == 400
    whole = audit(outputs.select(records=np.arange(800)), attacks=["loss"])
    seen = next(r for r in report.content["attacks"] if r["name"] == "loss")
    assert seen["auc"]["value"] == whole.content["attacks"][0]["auc"]["value"]


def test_a_limit_that_proves_nothing_is_not_quoted_as_proof():
    figure = {"value": 0.549, "low_all": 0.498}
    assert "at least" not in verdicts._what(figure, "auc", False)
    figure = {"value": 0.518, "low_all": 0.50041}
    assert "(at least 0.5004; guessing: 0.5)" in verdicts._what(figure, "auc", False)
    figure = {"value": 0.02, "low_all": 0.009, "fpr": 0.01}
    assert "at least" not in verdicts._what(figure, "tpr", False)
