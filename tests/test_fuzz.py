"""Bad input is refused by name or answered rightly: a few hundred of the trials of benchmarks/fuzz."""

import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from benchmarks.fuzz import figures, formats, functions, material, options, trainings
from benchmarks.fuzz.case import ANSWERED, REFUSED, SURFACES, Case, judge
from benchmarks.fuzz.run import CASES, PACKAGES, is_known, run_case, shares
from mia_utils import (
    InputError,
    Outputs,
    Store,
    attacks,
    defenses,
    evaluation,
    independent_masks,
    signals,
    tpr_at_fpr,
)
from mia_utils.audit import AuditData, Limit, LossLog, audit, read_answers
from mia_utils.cli.main import main
from mia_utils.data import first_copies, near_copies, quarters, single_record_masks
from mia_utils.engine.transfer import import_models
from mia_utils.experiments import load_signals, read_run
from mia_utils.text import blind_scores, canaries, mask_names_and_numbers
from mia_utils.text.windows import cut

SLOW = ("grids: TOML", "notebooks: damaged .ipynb", "command line: options")  # read whole chapters
COUNTS = dict.fromkeys(SURFACES, 8) | dict.fromkeys(SLOW, 4)
COUNTS |= {"functions: bad arguments": 120, "functions: the same in other words": 40}
COUNTS |= {name: 15 for name in SURFACES if name.startswith(("trainings", "figures", "data sets"))}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz").resolve()
    (folder / "shared").mkdir()
    formats.prepare(folder / "shared")
    return folder


@pytest.mark.parametrize("surface", SURFACES)
def test_spoiled_input_is_refused_by_name_or_answered_rightly(surface, place):
    for number in range(COUNTS[surface]):
        outcome, said, what = run_case(1, surface, number, place)
        assert outcome in (ANSWERED, REFUSED) or is_known(outcome, what), (number, what, said)


@pytest.mark.parametrize("name", functions.CALLS)
def test_the_call_of_a_function_before_it_is_spoiled_is_answered(name, tmp_path):
    call, make = functions.CALLS[name]
    right = make(np.random.default_rng(0))
    assert judge(Case(name, lambda: call(**right), ["-"]), tmp_path) == (ANSWERED, "")


@pytest.mark.parametrize(
    ("name", "trial"),
    [*trainings.MODELS.items(), *trainings.TEXTS.items()]
    + [*trainings.ATTACKS.items(), *figures.FIGURES.items(), *material.MATERIAL.items()],
)
def test_a_call_before_it_is_spoiled_is_answered(name, trial, tmp_path):
    trainings.prepare()
    right = trial.make(np.random.default_rng(0), tmp_path.resolve())
    case = Case(name, lambda: trial.call(**right), ["-"])
    assert judge(case, tmp_path.resolve()) == (ANSWERED, "")


def test_every_public_name_is_tried_or_said_why_not():
    assert functions.missing() == []


def test_right_command_lines_are_answered(tmp_path, place):
    told = ("run", "publish runs", "data make")  # what they name is not there
    quick = [n for n in options._lines(place) if n not in (*told, "sweep", "sweep grid")]
    assert len(quick) > 10
    for number, name in enumerate(quick):
        folder = place / str(number)
        folder.mkdir()
        options._inputs(np.random.default_rng(0), folder)
        words = options._lines(folder)[name]
        assert judge(Case("", lambda w=words: options._call(w), ["-"]), folder) == (ANSWERED, ""), (
            name
        )


def test_every_kind_of_fault_is_seen(tmp_path):
    def stray():
        (tmp_path.parent / "stray.txt").write_text("x")

    def refuse():
        raise InputError("something is wrong")

    faults = {
        "raised": Case("", lambda: 1 / 0, ["x"]),
        "unnamed": Case("", refuse, ["the file"]),
        "wrong": Case("", lambda: 2, ["x"], lambda answer: f"{answer}"),
        "slow": Case("", lambda: time.sleep(5), ["x"]),
        "strayed": Case("", stray, ["x"]),
        REFUSED: Case("", refuse, ["something"]),
        ANSWERED: Case("", lambda: 2, ["x"]),
    }
    assert {outcome: judge(case, tmp_path, 0.3)[0] for outcome, case in faults.items()} == {
        outcome: outcome for outcome in faults
    }
    assert not (tmp_path.parent / "stray.txt").exists()


def test_the_published_trials_found_no_fault_that_is_not_known():
    found = pd.read_csv(ROOT / "book/results/fuzz.csv")
    total = found[found["surface"] == "all"].iloc[0]
    assert found["surface"].tolist() == [*SURFACES, "all"]
    other = dict(zip(found["surface"], found["other"], strict=True))
    known = other.pop("functions: bad arguments")
    assert total["cases"] >= 10_000 and other.pop("all") == known <= 2 * len(functions.OPEN)
    assert not any(other.values())
    assert dict(zip(found["surface"], found["cases"], strict=True)) == {
        **shares(CASES),
        "all": sum(shares(CASES).values()),
    }
    assert all(package in found["versions"][0] for package in PACKAGES)


# ---- what the trials found -----------------------------------------------------------------------

SCORES, MEMBERS = np.arange(6.0), np.arange(6) % 2 == 0
LOGITS = np.eye(3)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: signals.loss(LOGITS, [0, 1, 3]), "labels hold 3"),
        (lambda: signals.margin(LOGITS, [0, -1, 2]), "labels hold -1"),
        (lambda: signals.correct(LOGITS, [0, 1]), "labels have shape"),
        (lambda: signals.modified_entropy(LOGITS, ["a", "b", "c"]), "labels are texts"),
        (lambda: signals.entropy([[1.0], [1.0, 2.0]]), "logits"),
        (lambda: signals.log_confidence(LOGITS[..., None]), "at least 2 classes"),
        (lambda: signals.log_sum_exp(3.0), "logits have shape"),
        (lambda: attacks.kl_divergence(LOGITS, LOGITS[:2]), "log_q"),
        (lambda: defenses.label_only([1]), "list; expected Outputs"),
        (lambda: defenses.rounding(None, 10**12), "decimals=1000000000000"),
        (lambda: defenses.temperature(None, [2]), r"temperature=\[2\]"),
        (lambda: defenses.preset(["none"]), "no defense"),
        (lambda: evaluation.accuracies("x"), "str; expected Outputs"),
        (lambda: evaluation.accuracy(SCORES, MEMBERS, [0.5]), r"threshold=\[0.5\]"),
        (lambda: evaluation.bentley_bound("none", 0.5, 0.5), "acc_train='none'"),
        (lambda: evaluation.attaining_attack([0.5], 0.9, 0.5), r"q=\[0.5\]"),
        (lambda: evaluation.gaussian_epsilon([0.7], 1e-5), r"auc=\[0.7\]"),
        (lambda: evaluation.dp_curve(["x"], 1.0), "fpr are texts"),
        (lambda: evaluation.dp_curve(0.1, [1.0]), r"epsilon=\[1.0\]"),
        (lambda: evaluation.one_run_epsilon(SCORES, MEMBERS, guesses=4), "guesses=4"),
        (
            lambda: evaluation.split_epsilon(SCORES, MEMBERS, [None, *range(5)], shares=[0.5]),
            "labels",
        ),
        (lambda: evaluation.split_epsilon(SCORES, MEMBERS, MEMBERS, seed="x"), "seed='x'"),
        (lambda: evaluation.ratio_interval(MEMBERS, MEMBERS, seed=-1), "seed=-1"),
        (
            lambda: evaluation.group_metrics(SCORES, MEMBERS, MEMBERS, min_records="9"),
            "min_records",
        ),
        (lambda: evaluation.tpr_column("x"), "fpr='x'"),
        (lambda: evaluation.columns(0.1), "fprs=0.1"),
        (lambda: first_copies(1.0), "records"),
        (lambda: near_copies(np.zeros((3, 4, 4))), "images have shape"),
        (lambda: near_copies(np.full((2, 2, 2, 1), np.inf)), "finite"),
        (lambda: near_copies(np.zeros((2, 2, 2, 1)), within="8"), "within='8'"),
        (lambda: single_record_masks([9], [1], k=1, seed=0), r"n=\[9\]"),
        (lambda: blind_scores(["a"] * 4, [1, 0, 1, 0], seed={}), "seed={}"),
        (lambda: canaries(2, seed="x"), "seed='x'"),
        (lambda: mask_names_and_numbers(3), "text=3"),
        (lambda: Outputs.from_arrays(logits=LOGITS, labels=3, members=MEMBERS), "labels"),
        (
            lambda: Outputs.from_probabilities(LOGITS, [0, 1, 2], [1, 0, 1], floor=[1]),
            r"floor=\[1\]",
        ),
        (lambda: Limit.parse(None), "--fail-above None"),
        (lambda: LossLog(["a"]), "labels are texts"),
        (lambda: LossLog([0], epochs=3), "epochs=3"),
        (lambda: LossLog([0])({}, LOGITS[:1]), "epoch={}"),
        (lambda: AuditData.of("x"), "AuditData.of"),
        (lambda: audit("x"), "audit"),
    ],
)
def test_what_is_no_value_at_all_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()


@pytest.mark.parametrize(
    "options",
    [{"attacks": 3}, {"accept": "numbers"}, {"rates": 0.1}, {"which": "0"}, {"delta": [0]}],
    ids=str,
)
def test_an_option_of_an_audit_of_another_type_is_named(options):
    outputs = Outputs(
        np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2, np.arange(60) < 30
    )
    with pytest.raises(InputError, match=next(iter(options))):
        audit(outputs, **options)


@pytest.mark.parametrize("name", ["members.npy", "labels.npy"])
def test_a_header_that_is_no_python_is_a_damaged_file(name, tmp_path):
    arrays = {"logits": LOGITS, "labels": np.arange(3), "members": np.array([1, 0, 1])}
    for part, array in arrays.items():
        np.save(tmp_path / f"{part}.npy", array)
    content = bytearray((tmp_path / name).read_bytes())
    content[20:100] = b"(" * 80
    (tmp_path / name).write_bytes(bytes(content))
    places = {part: tmp_path / f"{part}.npy" for part in ("labels", "members")}
    with pytest.raises(InputError, match=name):
        read_answers(tmp_path / "logits.npy", **places)


def test_names_from_files_move_no_cursor_in_a_message(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        np.savez(tmp_path / "plain.npz", x=np.zeros(3))
        with zipfile.ZipFile(tmp_path / "plain.npz") as plain:
            archive.writestr("log\x1b[2J\u2028its.npy", plain.read("x.npy"))
    with pytest.raises(InputError) as caught:
        read_answers(tmp_path / "a.npz")
    assert r"log\x1b[2J\u2028its" in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_an_archive_of_models_that_lost_bytes_is_refused_as_damaged(place, tmp_path):
    whole = (place / "shared/models.zip").read_bytes()
    (tmp_path / "m.zip").write_bytes(whole[:5000] + whole[5100:])
    with pytest.raises(InputError, match=r"m\.zip"):
        import_models(Store(tmp_path / "store"), tmp_path / "m.zip")
    assert Store(tmp_path / "store").names() == []


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "a.npz", "-o", ""],
        ["audit", ""],
        ["data", "list", "--data", ""],
        ["store", "import", "", "--store", "s"],
        ["sweep", "", "--dry-run"],
        ["publish", "check", "--root", ""],
        ["notebooks", "check", ""],
    ],
    ids=" ".join,
)
def test_an_empty_path_is_not_the_folder_one_stands_in(words, capsys):
    assert main(words) == 2
    assert "''; expected a path" in capsys.readouterr().err


def test_a_network_that_no_memory_holds_is_refused(capsys):
    words = ["plan", "--shape", "8", str(10**14), "1", "--classes", "10", "--records", "99"]
    assert main([*words, "--architecture", "mlp"]) == 2
    assert f"shape (8, {10**14}, 1)" in capsys.readouterr().err


def test_damaged_records_and_signals_are_named(tmp_path):
    source = min(Path(ROOT / "book/results/signals").glob("*.npz"), key=lambda p: p.stat().st_size)
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / source.name).write_bytes(source.read_bytes()[:2000])
    with pytest.raises(InputError, match=source.name):
        load_signals(source.stem, tmp_path)
    for content in (b"\xff\xfe\xfd", b"3", b"[]"):
        (tmp_path / "r1.jsonl").write_bytes(content)
        with pytest.raises(InputError, match="r1.jsonl"):
            read_run(tmp_path / "r1.jsonl")
    record = json.loads(
        next((ROOT / "book/results/records").glob("*.jsonl")).read_text().split("\n")[0]
    )
    (tmp_path / f"{record['run']}.jsonl").write_text(json.dumps(record | {"seconds": 10**400}))
    with pytest.raises(InputError, match="seconds"):
        read_run(tmp_path / f"{record['run']}.jsonl")


@pytest.mark.parametrize(
    "call, told",
    [
        (
            lambda: independent_masks(2, models=2**63, seed=0),
            "models=9223372036854775808; expected",
        ),
        (lambda: quarters([[0], [1, 2]], seed=0), "labels"),
        (lambda: near_copies(np.full((2, 2, 2, 1), 1e308)), "images hold values"),
        (lambda: tpr_at_fpr(np.arange(4), np.arange(4) > 1, 5e-324), "fpr=5e-324; no data set"),
        (lambda: canaries(10**18), "count=1000000000000000000"),
    ],
)
def test_numbers_too_large_for_the_machine_are_refused_by_name(call, told):
    with pytest.raises(InputError, match=re.escape(told)):
        call()


def test_a_window_longer_than_any_document_is_the_document():
    starts, stops = np.array([0, 5]), np.array([5, 8])
    for a, b in zip(cut(starts, stops, 10**30), cut(starts, stops, 5), strict=True):
        np.testing.assert_array_equal(a, b)
