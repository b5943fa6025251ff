"""The command line: quick, strict, one line for each error."""

import errno
import subprocess
import sys
from importlib import import_module

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mia_utils import __main__ as cli
from mia_utils.book import notebooks, run
from mia_utils.cli import data as command


@pytest.fixture
def notebook(tmp_path):
    cells = [
        new_code_cell("epochs = 3\nfail = False", metadata={"tags": ["parameters"]}),
        new_code_cell("import os; print(epochs, os.environ.get('MIA_DATA'))"),
        new_code_cell("import mia_utils.errors as e\nif fail: raise e.InputError('no data')"),
    ]
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=dict(notebooks.KERNEL)), path)
    return path


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MIA_RUNS", str(tmp_path / "runs"))


def error_line(capsys):
    captured = capsys.readouterr().err.strip().splitlines()
    assert captured[-1].startswith("mia: error: ")
    return captured[-1]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_parser(name, capsys):
    module, function = cli.COMMANDS[name][0].split(":")
    assert callable(getattr(import_module(module), function))
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0 and f"usage: mia {name}" in capsys.readouterr().out


def test_help_lists_the_commands_and_imports_none_of_them():
    code = (
        "import sys, mia_utils.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'papermill', 'nbformat'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert all(f"    {name} " in out for name in cli.COMMANDS)
    assert out.endswith("[]\n")


def test_no_command_and_unknown_command_are_usage_errors(capsys):
    for argv in ([], ["fly"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(argv)
        assert stop.value.code == 2


def test_run_executes_once(notebook, tmp_path, capsys):
    argv = ["run", str(notebook), "-p", "epochs", "5", "--data", str(tmp_path / "pools")]
    assert cli.main(argv) == 0
    path = next((tmp_path / "runs").glob("*/a.ipynb"))
    assert capsys.readouterr().out == f"done: {path}\n"
    assert notebooks.read(path).cells[2].outputs[0].text == f"5 {tmp_path / 'pools'}\n"
    stamp = path.stat().st_mtime_ns
    assert cli.main(argv) == 0
    assert capsys.readouterr().out == f"nothing changed since: {path}\n"
    assert path.stat().st_mtime_ns == stamp


def test_run_to_a_chosen_path(notebook, tmp_path, capsys):
    out = tmp_path / "here/b.ipynb"
    assert cli.main(["run", str(notebook), "--out", str(out)]) == 0
    assert notebooks.read(out).metadata.mia.parameters == {}
    assert not (tmp_path / "runs").exists()


def test_input_errors_are_one_line_and_code_2(notebook, tmp_path, capsys):
    assert cli.main(["run", str(notebook), "-p", "epoch", "5"]) == 2
    assert "unknown parameter 'epoch'; this notebook knows epochs, fail" in error_line(capsys)
    assert cli.main(["run", str(notebook), "-p", "epochs", "many"]) == 2
    assert "epochs = 'many'; expected an integer" in error_line(capsys)
    assert cli.main(["run", str(tmp_path / "none.ipynb")]) == 2
    assert "none.ipynb; the chapters are" in error_line(capsys)
    assert not (tmp_path / "runs").exists()


def test_an_input_error_inside_the_notebook_is_one_line_too(notebook, tmp_path, capsys):
    assert cli.main(["run", str(notebook), "-p", "fail", "true"]) == 2
    assert error_line(capsys).startswith("mia: error: no data (cell [4] of ")
    assert [path.name for path in (tmp_path / "runs").glob("*/*")] == ["a.failed.ipynb"]


def test_full_disk_and_interruption(notebook, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "/disk/x")

    monkeypatch.setattr(run, "run_notebook", full)
    assert cli.main(["run", str(notebook)]) == 2
    assert error_line(capsys).startswith("mia: error: No space left on device: /disk/x; free some")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_notebook", interrupted)
    assert cli.main(["run", str(notebook)]) == 130
    assert capsys.readouterr().err.startswith("mia: stopped")


def test_a_bug_is_no_input_error(notebook, monkeypatch):
    monkeypatch.setattr(run, "run_notebook", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", str(notebook)])


def test_data_list_shows_what_is_where(tmp_path, capsys):
    (tmp_path / "mnist.npz").write_bytes(b"")
    (tmp_path / "faces/train/anna").mkdir(parents=True)
    assert cli.main(["data", "list", "--data", str(tmp_path)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["cifar10-mini"] == lines["digits"] == "inside the package"
    assert lines["mnist"] == str(tmp_path / "mnist.npz")
    assert lines["faces"].startswith("image folder")
    assert lines["cifar100"].startswith("not here")


def test_data_check_looks_into_a_set(tmp_path, capsys):
    assert cli.main(["data", "check", "digits"]) == 0
    assert "digits: 1797 records of shape (8, 8, 1), 10 classes" in capsys.readouterr().out
    assert cli.main(["data", "check", "no-such-set", "--data", str(tmp_path)]) == 2
    assert "no-such-set" in error_line(capsys)
    assert cli.main(["data", "make"]) == 2
    assert "needs a name" in error_line(capsys)


def test_every_embedded_set_can_be_loaded():
    from mia_utils.data import load_dataset

    assert [load_dataset(name).name for name in command.INSIDE] == list(command.INSIDE)


def test_publish_needs_a_book(tmp_path, capsys):
    assert cli.main(["publish", "--root", str(tmp_path)]) == 2
    assert "no folder" in error_line(capsys)
