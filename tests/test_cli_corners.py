"""Command lines in places where they are seldom written."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
from audited import answers

from mia_utils.cli import main as cli
from mia_utils.errors import InputError, NotebookError

pytestmark = pytest.mark.filterwarnings("ignore::mia_utils.errors.InputWarning")


@pytest.fixture
def calling(monkeypatch):
    """Makes `mia data list` raise what a test says."""

    def raises(error: BaseException):
        class Command:
            @staticmethod
            def call(arguments):
                raise error

        monkeypatch.setattr(cli, "parse", lambda argv: Command)

    return raises


def test_a_command_may_be_called_from_a_thread_which_gets_no_signals(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(cli.main, ["data", "nothing"]).result() == 2
    assert signal.getsignal(signal.SIGTERM) is before
    assert "invalid choice: 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("no module", name="nowhere"), OSError("of no number")]
)
def test_what_is_nobody_s_input_is_no_line(error, calling):
    calling(error)
    with pytest.raises(type(error)):
        cli.main(["data", "list"])


def test_a_notebook_that_failed_is_a_line_and_another_code(calling, capsys):
    calling(NotebookError("cell 3:\n  it failed"))
    assert cli.main(["data", "list"]) == 1
    assert capsys.readouterr().err == "mia: error: cell 3: it failed\n"


def test_a_reader_that_has_gone_is_no_error():
    """As in `mia data list | true`."""
    ours, theirs = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "mia_utils", "data", "list"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(theirs)
        os.close(ours)
        assert process.communicate()[1] == "" and process.returncode == 0


def test_a_package_that_is_used_from_its_folder_says_so(monkeypatch, capsys):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(cli, "version", absent)
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == "mia-utils unknown (not installed)\n"


# ---- mia audit ----


def _saved(path, outputs, **more):
    np.savez(path, logits=outputs.logits, labels=outputs.labels, members=outputs.members, **more)
    return str(path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights", "w.pt"], "--weights goes with --model"),
        (["--size", "4"], "--size goes with --model"),
        (["--model", "cnn"], "give answers or a model, not both"),
    ],
)
def test_options_of_another_kind_of_audit_are_refused(words, said, tmp_path, capsys):
    path = _saved(tmp_path / "a.npz", answers(records=60))
    assert cli.main(["audit", path, *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--model needs --data PATH and --members FILE"),
        (["--data", "d.csv"], "--model needs --members FILE, or a table with a column member"),
    ],
)
def test_a_model_without_its_data_is_refused(words, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "d.csv").write_text("label,x\n0,1\n1,2\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["audit", "--model", "m:f", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("names", [list("0123"), list("abcd")])
def test_reference_models_answer_in_the_target_s_order_of_classes(names, tmp_path, capsys):
    """Classes by name are put in order; numbers mean the same place in both files."""
    target, shadows = (
        answers(records=400, leak=1.0),
        answers(records=400, leak=1.0, models=4, seed=2, balanced=True),
    )
    moved = shadows.replace(logits=shadows.logits[..., ::-1], labels=3 - shadows.labels)
    _saved(tmp_path / "target.npz", target, classes=names)
    if names[0] == "a":
        _saved(tmp_path / "shadows.npz", moved, classes=names[::-1])
    else:
        _saved(tmp_path / "shadows.npz", shadows, classes=names)
    files = [str(tmp_path / name) for name in ("target.npz", "shadows.npz")]
    out = ["--out", str(tmp_path / "report"), "--no-records", "--attacks", "margin", "reference"]
    assert cli.main(["audit", files[0], "--shadows", files[1], *out]) == 0
    assert "reference: 4 models, 400 records, 4 classes" in capsys.readouterr().err


def test_the_cost_of_reference_networks_is_told_before_the_first_is_trained(
    tmp_path, monkeypatch, capsys
):
    def asked(model, material, members, **options):
        assert "4 reference models: about" in capsys.readouterr().err, "told first"
        assert options["shadows"] == 4
        raise InputError("not trained here")

    np.savez(tmp_path / "d.npz", features=np.eye(6), labels=np.arange(6) % 2)
    np.save(tmp_path / "m.npy", np.arange(6) < 3)
    monkeypatch.setattr("mia_utils.audit.asked.answers_of", asked)
    monkeypatch.setattr("mia_utils.engine.plan.calibrate", lambda *given, **options: 1e9)
    files = ["--data", str(tmp_path / "d.npz"), "--members", str(tmp_path / "m.npy")]
    words = ["audit", "--model", "mlp", *files, "--weights", "w.pt", "--shadows", "4"]
    assert cli.main(words) == 2
    assert capsys.readouterr().err == "mia: error: not trained here\n"


def test_an_empty_path_is_not_the_folder_one_stands_in(capsys):
    assert cli.main(["store", "list", "--store", ""]) == 2
    assert "''; expected a path ('.' for this folder)" in capsys.readouterr().err
