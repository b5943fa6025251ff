"""Parameters mean the same wherever they come from, or are refused in one line."""

import datetime
import subprocess
import sys

import numpy as np
import pytest
from chapters import chapter, save

from mia_utils.book import notebooks
from mia_utils.errors import InputError
from mia_utils.parameters import KINDS, check, check_parameters

KNOWN = {
    "dataset": "cifar10-mini",
    "architecture": "cnn",
    "epochs": 30,
    "seed": 0,
    "precision": "fp32",
    "masks": ("top3",),
    "units": (10, 20),
    "settings": {},
    "epsilon": 8.0,
    "mislabelled": 0.2,
}


@pytest.mark.parametrize(
    "name, given, meant",
    [
        ("epochs", 5, 5),
        ("epochs", 5.0, 5),
        ("epochs", "5", 5),
        ("epochs", "5.0", 5),
        ("epochs", "1e1", 10),
        ("epochs", 1e1, 10),
        ("epochs", np.int64(7), 7),
        ("seed", 0.0, 0),
        ("dataset", "2024", "2024"),
        ("dataset", "001", "001"),
        ("dataset", "True", "True"),
        ("dataset", "Größen mit Blank", "Größen mit Blank"),
        ("masks", "('top1',)", ("top1",)),
        ("masks", '["top1", "noise"]', ("top1", "noise")),
        ("masks", ["top1"], ("top1",)),
        ("units", "(5, 1e1)", (5, 10)),
        ("settings", "{'lr': 0.001}", {"lr": 0.001}),
        ("settings", '{"lr_drop": null}', {"lr_drop": None}),
        ("epsilon", 2, 2.0),
        ("epsilon", "1e-1", 0.1),
        ("mislabelled", "0.5", 0.5),
    ],
)
def test_a_value_is_read_as_what_it_means(name, given, meant):
    read = check(KNOWN, {name: given})[name]
    assert read == meant and type(read) is type(meant)
    cell = {**KNOWN, name: given}
    check_parameters(cell)
    assert cell == {**KNOWN, name: meant}


@pytest.mark.parametrize(
    "name, given, said",
    [
        ("epochs", "ten", "an integer of at least 1"),
        ("epochs", 2.5, "an integer"),
        ("epochs", 0, "at least 1"),
        ("epochs", True, "an integer"),
        ("epochs", None, "an integer"),
        ("epochs", [3], "an integer"),
        ("epochs", "inf", "an integer"),
        ("epochs", float("nan"), "an integer"),
        ("epochs", datetime.date(2024, 1, 1), "an integer"),
        ("seed", -1, "at least 0"),
        ("seed", "9" * 5000, "an integer"),
        ("dataset", 2024, "quote it .*-r instead of -p"),
        ("dataset", 1, "001"),
        ("dataset", True, "quote it"),
        ("dataset", 1000.0, "1e3"),
        ("dataset", "", "a name"),
        ("dataset", " mnist", "a name"),
        ("dataset", "a\nb", "a name"),
        ("dataset", None, "a name"),
        ("precision", "fp16", "one of fp32, bf16, auto"),
        ("masks", "top1", r"several, such as \('top1', 'top3'\)"),
        ("masks", (1,), "quote it"),
        ("masks", "('top1'", "several"),
        ("units", (0,), "several"),
        ("settings", {"lr": "1e-3"}, r"lr = '1e-3' is a text; expected a number \(YAML .* 1.0e-3"),
        ("settings", "{'lr': '1e-3'}", "is a text"),
        ("settings", {"learning_rate": 1}, "'learning_rate'; expected fields of TrainConfig: aug"),
        ("settings", {"epochs": 1}, "a parameter of its own"),
        ("settings", {"lr": -1}, r"lr=-1(\.0)?; expected a positive number"),
        ("settings", {"lr": datetime.date(2024, 1, 1)}, "is a date; expected numbers and texts"),
        ("settings", {1: 2}, "the key 1 is no text"),
        ("settings", "lr", "a mapping, such as"),
        ("settings", [1], "a mapping, such as"),
        ("epsilon", 0, "a number above 0"),
        ("mislabelled", 1, "a share between 0 and 1"),
    ],
)
def test_a_value_that_cannot_be_meant_is_one_line(name, given, said):
    with pytest.raises(InputError, match=f"^parameter {name}.*{said}") as error:
        check(KNOWN, {name: given})
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=said):
        check_parameters({**KNOWN, name: given})


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(InputError, match="'epoch'; this notebook knows dataset, architecture"):
        check(KNOWN, {"epoch": 1})


def test_other_notebooks_are_read_by_their_defaults():
    known = {"n": 3, "x": 0.5, "on": False, "t": "a", "free": None, "several": [1.5, 2.0]}
    given = {"n": "-4", "x": "1e-3", "on": "true", "t": "7", "free": "none", "several": "(1, 2)"}
    meant = {"n": -4, "x": 1e-3, "on": True, "t": "7", "free": None, "several": (1.0, 2.0)}
    assert check(known, given) == meant
    for name, value in [("n", 2.5), ("x", "x"), ("on", 1), ("t", 3), ("free", {1})]:
        with pytest.raises(InputError, match=f"parameter {name} = "):
            check(known, {name: value})


def test_a_name_of_the_chapters_with_another_default_is_read_by_that_default():
    assert check({"k": "x", "records": 3}, {"k": "2", "records": "4"}) == {"k": "2", "records": 4}


def test_names_that_are_no_parameters_are_left_alone():
    namespace = {"epochs": 5.0, "np": np, "other": "5.0"}
    check_parameters(namespace)
    assert namespace == {"epochs": 5, "np": np, "other": "5.0"}


def test_every_kind_says_what_it_expects():
    assert all(kind.expected for kind in KINDS.values())


@pytest.mark.parametrize(
    "options, said",
    [
        (["-p", "epochs", "5.0"], "5 digits {}"),
        (["-p", "epochs", "1e1"], "10 digits {}"),
        (["-y", "settings: {lr: 1.0e-3}"], "3 digits {'lr': 0.001}"),
        (["-p", "epochs", "ten"], None),
        (["-y", "settings: {lr: 1e-3}"], None),
        (["-p", "dataset", "2024"], None),
    ],
)
def test_papermill_alone_gives_the_same_values_and_the_same_line(tmp_path, options, said):
    first = "from mia_utils import check_parameters\ncheck_parameters(globals())"
    notebook = chapter(
        first,
        "print(epochs, dataset, settings)",
        parameters="dataset = 'digits'\nepochs = 3\nsettings = {}",
    )
    source, out = save(notebook, tmp_path / "a.ipynb"), tmp_path / "b.ipynb"
    command = [sys.executable, "-m", "papermill", str(source), str(out), *options]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode == 0) == bool(said)
    if said:
        assert notebooks.read(out)["cells"][-1]["outputs"][0]["text"] == f"{said}\n"
    else:
        assert f"InputError: parameter {options[1].split(':')[0]}" in result.stderr
