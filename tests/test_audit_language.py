"""Audits of language models: from log-probabilities of tokens to a report."""

import json

import numpy as np
import pytest
from tokens import token_outputs

from mia_utils import InputError, Outputs
from mia_utils.__main__ import main
from mia_utils.audit import audit
from mia_utils.audit.language import TOKEN_RECIPES
from mia_utils.audit.report import schema
from mia_utils.text.attacks import MinKAttack
from mia_utils.text.outputs import TokenOutputs

N = 600


def target(leak: float, **changes) -> TokenOutputs:
    outputs = token_outputs(1, N, seed=11, leak=leak, masks="independent", pool=3)
    year = np.where(np.random.default_rng(1).random(N) < 0.5, "2020", "2021")
    texts = [f"{text} {number}" for number, text in enumerate(outputs.texts)]
    return outputs.replace(groups={"year": year}, texts=texts, **changes)


def shadows(leak: float, models: int = 6) -> TokenOutputs:
    return token_outputs(models, N, seed=10, leak=leak, pool=3)


@pytest.fixture(scope="module")
def report():
    return audit(target(0.5), shadows(0.5), seed=1)


def test_a_model_that_leaks_is_proven_to(report):
    content = report.content
    assert report.leaks and "of the texts it was trained on" in report.verdict
    assert "how likely each of its tokens is" in report.verdict
    assert {row["name"] for row in content["attacks"]} == TOKEN_RECIPES.keys()
    assert not content["not_run"] and content["lead"] == "lira"
    assert content["subject"]["perplexity_members"] < content["subject"]["perplexity_nonmembers"]
    assert {row["column"] for row in content["groups"]} == {"year"}


def test_the_report_is_what_its_schema_says_and_a_page(report):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads(report.json()), schema())
    page = report.html()
    assert "Privacy audit of a language model" in page and "Min-K%++" in page
    assert "of a classifier" not in page and "one copy of every text" in page


def test_perplexities_beyond_all_numbers_are_no_number():
    jsonschema = pytest.importorskip("jsonschema")
    outputs = target(0.5)
    report = audit(outputs.replace(log_probs=outputs.log_probs * 1000), attacks=["loss"])
    assert report.content["subject"]["perplexity_nonmembers"] is None
    jsonschema.validate(json.loads(report.json()), schema())


def test_scores_are_those_of_the_attacks(report):
    scores = report.records().set_index("id")["score_min_k"]
    np.testing.assert_allclose(scores, MinKAttack().score(target(0.5))[0])


def test_without_a_leak_none_is_found_and_what_is_missing_is_said():
    plain = target(0.0, lowercase_log_probs=None, neighbour_log_probs=None, mean=None, std=None)
    report = audit(plain)
    assert report.content["verdict"]["outcome"] == "none found"
    why = {row["title"]: row["why"] for row in report.content["not_run"]}
    assert "outputs.replace(mean=" in why["Min-K%++"]
    assert "outputs.replace(neighbour_log_probs=" in why["Against perturbed texts"]
    assert why["LiRA"] == "needs reference models"
    assert len(why) == 3 + 6  # the fields, and what needs reference models


def mismatched(leak: float) -> TokenOutputs:
    """Members of another source: other words, and text that is easier by itself."""
    outputs = target(leak)
    held = outputs.members[0]
    texts = [f"{text} {'old' if m else 'new'}" for text, m in zip(outputs.texts, held, strict=True)]
    return outputs.replace(texts=texts)


def test_members_that_differ_without_the_model_stop_an_audit():
    with pytest.raises(InputError, match="from their words and groups alone .*--accept difference"):
        audit(mismatched(0.4))
    report = audit(mismatched(0.4), accept=["difference"])
    assert report.content["verdict"]["outcome"] == "cannot tell"
    assert "can be told apart without the model" in report.verdict


def test_groups_and_lengths_can_tell_them_apart_too():
    outputs = target(0.0)
    year = np.where(outputs.members[0], "2020", "20-21")
    with pytest.raises(InputError, match="check 'difference'"):
        audit(outputs.replace(groups={"year": year}))
    longer = outputs.replace(texts=None, members=(outputs.lengths > 20)[None])
    with pytest.raises(InputError, match="from lengths and groups alone"):
        audit(longer)


def test_swapped_members_and_copies_are_seen():
    outputs = target(1.0)
    with pytest.raises(InputError, match="higher perplexity .*were they swapped"):
        audit(outputs.replace(members=~outputs.members))
    held = outputs.members[0]
    texts = list(outputs.texts)
    copied = np.flatnonzero(~held)[:60]
    for to, of in zip(copied, np.flatnonzero(held), strict=False):
        texts[to] = f"  {texts[of]}\n"
    with pytest.raises(InputError, match="60 non-members have the same content as a member"):
        audit(outputs.replace(texts=texts))


def test_a_target_among_its_reference_models_is_seen():
    own = target(0.5)
    six = shadows(0.5)
    mixed = six.replace(log_probs=np.vstack([six.log_probs[:5], own.log_probs]))
    with pytest.raises(InputError, match="the target's own answers"):
        audit(own, mixed)


def test_two_kinds_of_models_are_not_compared():
    logits = Outputs(np.zeros((2, N, 2)), np.zeros(N, int), shadows(0.0, 2).members)
    with pytest.raises(InputError, match="expected two of a kind"):
        audit(target(0.5), logits)


def test_some_of_the_records_by_id():
    half = shadows(0.5).select(documents=np.arange(0, N, 2))
    report = audit(target(0.5), half)
    assert report.content["subject"]["records"] == N // 2
    assert "300 of 600 records are left out" in report.content["notes"][0]


def test_the_command_reads_files_of_log_probabilities(tmp_path, capsys):
    path, other = tmp_path / "target.npz", tmp_path / "shadow.npz"
    target(0.5).save(path), shadows(0.5).save(other)
    out = tmp_path / "report"
    assert main(["audit", str(path), "--shadows", str(other), "-o", str(out), "--seed", "1"]) == 0
    told = capsys.readouterr()
    assert "1 model, 600 documents of 2 to 39 tokens" in told.err
    assert "how likely each of its tokens" in told.out
    content = json.loads((out / "report.json").read_text("utf-8"))
    assert content["subject"]["scale"] == "log-probabilities"
    assert [each["file"] for each in content["made"]["inputs"]] == ["target.npz"]


def test_the_command_reads_own_columns_and_a_file_of_members(tmp_path, capsys):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    outputs = target(1.0)
    rows = np.repeat(np.arange(N), outputs.lengths)
    frame = pandas.DataFrame(
        {
            "document": np.array([f"doc-{row}" for row in rows]),
            "logprob": outputs.log_probs[0],
            "year": outputs.groups["year"][rows],
        }
    )
    frame.to_parquet(tmp_path / "mine.parquet")
    held = [f"doc-{row}" for row in np.flatnonzero(outputs.members[0])]
    (tmp_path / "members.txt").write_text("\n".join(held), encoding="utf-8")
    asked = ["audit", str(tmp_path / "mine.parquet"), "-o", str(tmp_path / "report")]
    assert main([*asked, "--members", str(tmp_path / "members.txt"), "--groups", "year"]) == 0
    assert "groups by year" in capsys.readouterr().err
    exposed = json.loads((tmp_path / "report/report.json").read_text("utf-8"))["exposed"]
    assert exposed[0]["id"].startswith("doc-")
    assert main(asked) == 2 and "--groups year" in capsys.readouterr().err
    assert main([*asked, "--probabilities"]) == 2
    assert "--probabilities goes with a classifier's answers" in capsys.readouterr().err


def test_small_groups_are_of_one_kind_by_chance_and_large_ones_are_not():
    outputs = target(0.5)
    held = outputs.members[0]
    alone = np.array([f"file {number // 2}" for number in range(N)])
    report = audit(outputs.replace(groups={"source": alone}), attacks=["loss"])
    assert "one-sided" not in {f["name"] for f in report.content["checks"]["findings"]}
    island = np.where(held & (np.cumsum(held) <= 25), "island", "rest")
    findings = audit(
        outputs.replace(groups={"source": island}), attacks=["loss"], accept=["difference"]
    ).content["checks"]["findings"]
    assert any("'island': members only (25 records)" in f["found"] for f in findings)
