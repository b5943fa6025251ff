"""The report as page, JSON, tables and files; and the command that makes it."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from audited import answers
from conftest import no_file_beyond
from sklearn.metrics import roc_auc_score

from mia_utils.audit import AuditData, LossLog, audit
from mia_utils.audit.gate import write_junit
from mia_utils.audit.report import schema
from mia_utils.audit.traces import loss_trace_iqr
from mia_utils.cli.main import main
from mia_utils.errors import InputError
from mia_utils.outputs import Outputs
from mia_utils.signals import loss
from mia_utils.training import TrainConfig
from mia_utils.training.loop import fit


@pytest.fixture(scope="module")
def report():
    outputs = answers(leak=1.5)
    n = outputs.labels.size
    data = AuditData.of(
        outputs,
        groups={"site": np.arange(n) % 3},
        traces=np.linspace(2, 0.1, 5)[:, None] * np.ones(n),
    )
    return audit(data, pictures=np.zeros((n, 4, 4, 3), np.uint8), command="mia audit x.npz")


def test_the_json_is_strict_and_follows_the_published_schema(report):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema())

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads(report.json(), parse_constant=refuse)
    jsonschema.validate(content, schema())
    with_shadows = audit(answers(leak=1.0), answers(models=6, seed=3, balanced=True), records=False)
    jsonschema.validate(with_shadows.content, schema())


def test_the_page_has_every_part(report):
    bs4 = pytest.importorskip("bs4")
    page = bs4.BeautifulSoup(report.html(), "html.parser")
    titles = [title.get_text() for title in page.find_all("h2")]
    assert titles == [
        "The figures behind it",
        "Every attack",
        "What this design could show",
        "Risk by class and group",
        "The most exposed records",
        "Marks left in training",
        "What was checked",
        "What was assumed, and what this cannot show",
        "How to lower the risk",
        "To repeat it",
    ]
    assert report.verdict.split(".")[0] in page.find(class_="verdict").get_text(" ", strip=True)
    assert all(figure.find("title") for figure in page.find_all("svg", role="img"))
    assert len(page.find_all("svg", role="img")) == 3
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.find_all("img"))
    assert all(image["alt"] for image in page.find_all("img"))


def test_the_curves_drawn_are_the_curves(report):
    from mia_utils.evaluation import roc_curve

    outputs = answers(leak=1.5)
    drawn = next(c for c in report.content["curves"] if c["name"] == "loss")
    from mia_utils.attacks import LossAttack

    exact = roc_curve(LossAttack().score(outputs)[0], outputs.members[0])
    at = np.searchsorted(exact.fpr, drawn["fpr"], side="right") - 1
    assert (np.abs(np.array(drawn["tpr"]) - exact.tpr[at]) < 1e-12).mean() > 0.5
    low, high = drawn["band_low"], drawn["band_high"]
    middle = np.interp(0.5, drawn["fpr"], drawn["tpr"])
    assert (
        np.interp(0.5, low["fpr"], low["tpr"]) < middle < np.interp(0.5, high["fpr"], high["tpr"])
    )


def test_frame_and_records(report):
    frame, records = report.frame(), report.records()
    assert frame.loc["loss", "auc low"] < frame.loc["loss", "auc"] < frame.loc["loss", "auc high"]
    assert len(records) == 600 and set(records["group_site"]) == {"0", "1", "2"}
    assert records["rank_loss"].min() == 1
    top = records[records["member"]].sort_values("recognised_at").iloc[0]
    exposed = report.content["exposed"][0]
    assert exposed["recognised_at"] == pytest.approx(top["recognised_at"])
    assert len(report.csv().splitlines()) == 601
    assert "The model" in report._repr_html_() or "Whoever" in report._repr_html_()


def test_without_records_nobody_is_named(tmp_path):
    outputs = answers(leak=1.5)
    names = [f"person-{i}" for i in range(600)]
    report = audit(AuditData.of(outputs, names=names), records=False)
    (tmp_path / "records.csv").write_text("of an earlier report")
    written = report.save(tmp_path)
    assert {path.name for path in written} == {"report.html", "report.json"}
    assert not (tmp_path / "records.csv").exists()
    assert all("person-" not in path.read_text(encoding="utf-8") for path in written)
    with pytest.raises(InputError, match="made without records"):
        report.records()


def test_a_disk_that_fills_up_leaves_the_earlier_report(report, tmp_path):
    report.save(tmp_path / "whole")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "whole").iterdir()}
    assert sizes["report.json"] < sizes["records.csv"], "the first fits, the last does not"
    folder, before = tmp_path / "full", dict.fromkeys(sizes, "earlier")
    folder.mkdir()
    for name, text in before.items():
        (folder / name).write_text(text)
    with (
        pytest.raises(InputError, match="full: cannot be written .*-o FOLDER"),
        no_file_beyond(sizes["report.json"]),
    ):
        report.save(folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    with (
        pytest.raises(InputError, match="limits.xml: cannot be written .*--junit"),
        no_file_beyond(0),
    ):
        write_junit(folder / "limits.xml", "audit", [], report.content)


def test_what_a_killed_audit_left_goes_with_the_next_one(report, tmp_path):
    for name in ("report.html", "limits.xml"):
        (tmp_path / f".{'0' * 32}.{name}").write_text("half")
    names = {path.name for path in report.save(tmp_path)} | {"limits.xml"}
    write_junit(tmp_path / "limits.xml", "audit", [], report.content)
    assert {path.name for path in tmp_path.iterdir()} == names


def test_the_same_seed_gives_the_same_report():
    first, second = (audit(answers(leak=1.0), seed=3).content for _ in range(2))
    for content in (first, second):
        content["made"] = None
    assert first == second


def test_loss_traces_rank_the_record_that_was_learned_late():
    traces = np.array([[2.0, 2.0, 0.1], [1.9, 0.1, 0.1], [1.8, 0.0, 0.1], [0.1, 0.0, 0.1]])
    values = loss_trace_iqr(traces)
    expected = [np.subtract(*np.percentile(t, [75, 25])) for t in traces.T]
    np.testing.assert_allclose(values, expected)
    assert values.argmin() == 2


def test_a_training_keeps_the_losses_that_a_trace_needs():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    records = (rng.normal(size=(60, 4)) + labels[:, None]).astype(np.float32)
    members = rng.random(60) < 0.5
    arguments = (records, labels, 3, members, "mlp", TrainConfig(epochs=4, batch_size=16))
    log = LossLog(labels, epochs=(2, 4))
    watched, plain = fit(*arguments, seed=0, observe=log), fit(*arguments, seed=0)
    np.testing.assert_array_equal(watched.logits, plain.logits)
    assert log.losses.shape == (2, 60)
    np.testing.assert_allclose(log.losses[1], loss(plain.logits, labels), rtol=1e-6)
    report = audit(
        AuditData.of(Outputs(plain.logits, labels, members), traces=log.losses),
        attacks=["loss"],
        accept=["answers"],
    )
    assert report.content["traces"]["epochs"] == 2 and "Marks left in training" in report.html()
    with pytest.raises(InputError, match="no losses of epoch 5"):
        fit(*arguments, seed=0, observe=(late := LossLog(labels, epochs=(5,))))
        late.losses  # noqa: B018


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture
def target(tmp_path):
    outputs = answers(leak=1.5)
    path = tmp_path / "target.npz"
    np.savez(path, logits=outputs.logits[0], labels=outputs.labels, members=outputs.members[0])
    return path


def test_the_command_writes_a_report_and_says_the_verdict(target, tmp_path, capsys):
    assert main(["audit", str(target), "-o", str(tmp_path / "out"), "--attacks", "loss"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Whoever can ask the model") and "600 records" in said.err
    content = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert content["made"]["inputs"][0]["file"] == "target.npz"


def test_the_command_guards_a_build(target, tmp_path, capsys):
    out, junit = str(tmp_path / "out"), tmp_path / "junit.xml"
    call = ["audit", str(target), "-o", out, "--attacks", "loss", "--quiet", "--junit", str(junit)]
    assert main([*call, "--fail-above", "auc>0.55"]) == 3
    root = ElementTree.parse(junit).getroot()
    assert root.get("failures") == "1" and root.find("testcase/failure") is not None
    assert main([*call, "--fail-above", "auc>0.99", "--fail-above", "tpr@0.001>0.5"]) == 0
    root = ElementTree.parse(junit).getroot()
    assert root.get("failures") == "0" and root.get("skipped") == "1"
    assert main([*call, "--fail-above", "auc"]) == 2
    assert "expected a figure and its limit" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, words",
    [
        (["-o", "{target}"], "a file; expected a folder"),
        (["--junit", "{folder}"], "a folder; expected a file"),
        (["--delta", "2"], "expected a probability"),
        (["--rates", "2"], "between 0 and 1"),
        (["--attacks", "lossy"], "no attack is called 'lossy'"),
        (["--book", "javascript:1"], "expected an address"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(
    options, words, target, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("mia_utils.audit.run.checks.check", None)  # the first work that is done
    given = [text.format(target=target, folder=tmp_path) for text in options]
    assert main(["audit", str(target), "-o", str(tmp_path / "out"), *given]) == 2
    assert words in capsys.readouterr().err


def test_the_command_stops_before_a_worthless_audit(tmp_path, capsys):
    outputs = answers()
    labels = np.random.default_rng(0).permutation(outputs.labels)
    np.savez(tmp_path / "t.npz", logits=outputs.logits, labels=labels, members=outputs.members)
    out = tmp_path / "out"
    assert main(["audit", str(tmp_path / "t.npz"), "-o", str(out)]) == 2
    assert "--accept answers" in capsys.readouterr().err and not out.exists()


def test_one_of_several_models_is_chosen(tmp_path, capsys):
    outputs = answers(models=2, leak=1.0)
    path = outputs.save(tmp_path / "two.npz")
    call = ["audit", str(path), "-o", str(tmp_path / "out"), "--attacks", "loss", "--quiet"]
    assert main(call) == 2
    assert "2 models; say which one" in capsys.readouterr().err
    assert main([*call, "--which", "1"]) == 0


def test_ranks_of_records_give_the_areas_of_cross_fitted_attacks():
    report = audit(answers(records=900, leak=1.0), attacks=["modified_entropy", "learned"])
    records = report.records()
    assert sorted(set(records["half"])) == [1, 2]
    for row in report.content["attacks"]:
        area = roc_auc_score(records["member"], -records[f"rank_{row['name']}"])
        assert area == pytest.approx(row["auc"]["value"], abs=1e-9)


def test_a_rate_that_half_of_the_records_are_too_few_for_is_not_measured():
    report = audit(answers(records=2600, leak=2.0), attacks=["loss", "learned"])
    whole, halves = (row["tpr"][1] for row in report.content["attacks"])
    assert whole["fpr"] == halves["fpr"] == 0.01 and whole["value"] is not None
    assert halves["value"] is halves["p"] is halves["low_all"] is None
    assert halves["needs_nonmembers"] == 2000
    assert "needs 2,000 non-members" in report.html()


def test_reference_models_that_held_some_records_are_not_said_to_have_held_none():
    target = answers(records=600, leak=1.0)
    members = np.random.default_rng(1).random((4, 600)) < 0.5
    shadows = answers(records=600, models=4, seed=3).replace(members=members)
    page = audit(target, shadows, attacks=["lira"], accept=["answers"]).html()
    assert "for each record only those that had not held it" in page
