"""The command line: quick, strict, one line for each error."""

import errno
import subprocess
import sys
import tomllib
from importlib import import_module

import nbformat
import pytest
from chapters import chapter, save
from conftest import ROOT, no_file_beyond
from nbformat.v4 import new_code_cell, new_notebook

import mia_utils.cli.run
from mia_utils.book import notebooks
from mia_utils.book.execute import KERNEL
from mia_utils.cli import main as cli


@pytest.fixture
def notebook(tmp_path):
    cells = [
        new_code_cell("epochs = 3\nfail = False", metadata={"tags": ["parameters"]}),
        new_code_cell("import os; print(epochs, os.environ.get('MIA_DATA'))"),
        new_code_cell("import mia_utils.errors as e\nif fail: raise e.InputError('no data')"),
    ]
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=dict(KERNEL)), path)
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
        "import sys, mia_utils.cli.main as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'papermill', 'nbformat'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert all(f"    {name}" in out for name in cli.COMMANDS)
    assert out.endswith("[]\n")


def test_a_chapter_starts_before_anything_that_it_may_not_need(notebook):
    """Its own kernel imports what it uses; those who start it wait for no attack and no network."""
    code = (
        "import sys, pathlib, mia_utils.cli.run, mia_utils.cli.sweep, mia_utils.book.worker as w\n"
        f"mia_utils.book.grid.cell(pathlib.Path({str(notebook)!r}), {{}})\n"
        "print(sorted({'torch', 'sklearn', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout == "[]\n", out.stderr


def test_no_command_and_unknown_command_are_one_line(capsys):
    for argv in ([], ["fly"], ["book"], ["publish", "fly"], ["run"], ["run", "1", "--dat", "x"]):
        assert cli.main(argv) == 2
        assert error_line(capsys).endswith("--help")


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out.startswith("mia-utils 0.")


def test_importing_the_package_is_quick():
    code = "import sys, mia_utils; mia_utils.__all__; print({'torch', 'pandas', 'scipy'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert out == "set()\n"


def test_every_public_name_is_there():
    import mia_utils

    assert (
        all(getattr(mia_utils, name) for name in mia_utils.__all__) and len(mia_utils.__all__) > 30
    )


def test_run_executes_once(notebook, tmp_path, capsys):
    argv = ["run", str(notebook), "-p", "epochs", "5", "--data", str(tmp_path / "pools")]
    assert cli.main(argv) == 0
    path = next((tmp_path / "runs").glob("*/a.ipynb"))
    assert capsys.readouterr().out == f"done: {path}\n"
    assert notebooks.read(path)["cells"][2]["outputs"][0]["text"] == f"5 {tmp_path / 'pools'}\n"
    stamp = path.stat().st_mtime_ns
    assert cli.main(argv) == 0
    assert capsys.readouterr().out == f"nothing changed since: {path}\n"
    assert path.stat().st_mtime_ns == stamp
    assert cli.main([*argv[:4], "5.0", *argv[5:]]) == 0  # the same number
    assert capsys.readouterr().out == f"nothing changed since: {path}\n"
    assert cli.main([*argv, "--force"]) == 0
    assert capsys.readouterr().out == f"done: {path}\n" and path.stat().st_mtime_ns > stamp


def test_run_to_a_chosen_path(notebook, tmp_path, capsys):
    out = tmp_path / "here/b.ipynb"
    assert cli.main(["run", str(notebook), "--out", str(out)]) == 0
    assert notebooks.told_of(notebooks.read(out))["parameters"] == {}
    assert not (tmp_path / "runs").exists()
    for folder in (f"{tmp_path}/new/", tmp_path / "here"):
        assert cli.main(["run", str(notebook), "--out", str(folder)]) == 0
        assert notebooks.read(f"{folder}/a.ipynb")
    assert cli.main(["run", str(notebook), "--out", str(tmp_path / "out.txt")]) == 2
    assert "expected a file such as out.ipynb" in error_line(capsys)


def test_a_disk_that_takes_no_notebook_is_named_with_the_way_out(notebook, tmp_path, capsys):
    with no_file_beyond(1000):
        assert cli.main(["run", str(notebook)]) == 2
    said = error_line(capsys)
    assert f"{tmp_path / 'runs'}" in said and "cannot be written" in said and "MIA_RUNS" in said
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]


def test_a_source_is_never_an_output(notebook, tmp_path, capsys):
    pair = save(chapter(), tmp_path / "01_b.ipynb")
    pair.with_suffix(".md").write_text("# b", "utf-8")
    before = notebook.read_bytes(), pair.read_bytes()
    (tmp_path / "link.ipynb").symlink_to(notebook)
    for out in (notebook, f"{tmp_path}/", tmp_path / "link.ipynb", pair):
        assert cli.main(["run", str(notebook), "--force", "--out", str(out)]) == 2
        assert "would overwrite a source" in error_line(capsys)
    assert (notebook.read_bytes(), pair.read_bytes()) == before


def test_input_errors_are_one_line_and_code_2(notebook, tmp_path, capsys):
    assert cli.main(["run", str(notebook), "-p", "epoch", "5"]) == 2
    assert "unknown parameter 'epoch'; this notebook knows epochs, fail" in error_line(capsys)
    assert cli.main(["run", str(notebook), "-p", "epochs", "many"]) == 2
    assert "epochs = 'many': expected an integer" in error_line(capsys)
    assert cli.main(["run", str(tmp_path / "none.ipynb")]) == 2
    assert "none.ipynb; the chapters in" in error_line(capsys)
    assert not (tmp_path / "runs").exists()


def test_a_chapter_by_number_needs_the_folder_of_the_book(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "01"]) == 2
    assert "call mia in the folder of the book" in error_line(capsys)


def test_an_input_error_inside_the_notebook_is_one_line_too(notebook, tmp_path, capsys):
    assert cli.main(["run", str(notebook), "-p", "fail", "true"]) == 2
    assert error_line(capsys).startswith("mia: error: no data (cell [4] of ")
    assert [path.name for path in (tmp_path / "runs").glob("*/*")] == ["a.failed.ipynb"]


def test_full_disk_and_interruption(notebook, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "/disk/x")

    monkeypatch.setattr(mia_utils.cli.run, "run_notebook", full)
    assert cli.main(["run", str(notebook)]) == 2
    assert error_line(capsys).startswith("mia: error: No space left on device: /disk/x; free some")

    def read_only(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", "/root/.cache")

    monkeypatch.setattr(mia_utils.cli.run, "run_notebook", read_only)
    assert cli.main(["run", str(notebook)]) == 2
    assert (
        "Read-only file system: /root/.cache; if it cannot be written, point MIA_DATA"
        in error_line(capsys)
    )

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(mia_utils.cli.run, "run_notebook", interrupted)
    assert cli.main(["run", str(notebook)]) == 130
    assert capsys.readouterr().err.startswith("mia: stopped")


def test_what_is_not_installed_is_named_with_its_extra(notebook, monkeypatch, capsys):
    def missing(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'papermill'", name="papermill.engines")

    monkeypatch.setattr(mia_utils.cli.run, "run_notebook", missing)
    assert cli.main(["run", str(notebook)]) == 2
    assert "papermill is not installed: pip install 'mia-utils[book]'" in error_line(capsys)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(cli.EXTRAS.values()) <= set(extras["optional-dependencies"])


def test_a_bug_is_no_input_error(notebook, monkeypatch):
    monkeypatch.setattr(mia_utils.cli.run, "run_notebook", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", str(notebook)])


@pytest.mark.parametrize("verb", ["runs", "results", "check", "refresh", "verify"])
def test_publish_needs_a_book(tmp_path, capsys, verb):
    assert cli.main(["publish", verb, "--root", str(tmp_path)]) == 2
    assert "no folder" in error_line(capsys)


ODD = """
run
run ''
run .
run 99
run 1 -p epochs
run 1 -p epochs 5 6
run 1 -p epochs 5 -p epochs 6
run 1 -p epochs ten
run 1 -p epochs 0
run 1 -p epochs -1
run 1 -p epochs nan
run 1 -p epoch 5
run 1 -p dataset nowhere
run 1 -p dataset ../../etc
run 1 -p dataset ''
run 1 -p architecture nowhere:net
run 1 -p architecture :
run 1 -p precision fp8
run 1 --out /dev/null
run 1 --out README.md
run 1 --data README.md -p dataset mine
run 1 --backend spark
run 1 --backend dask
run 1 --scheduler tcp://a:1
run 1 --jobs 2
run README.md
run notebooks/01_baselines.md
run notebooks
run 8 -p masks top1
run 10 -p settings lr
run 10 -p settings {'lr':'1e-3'}
run 10 -p settings {1:2}
sweep
sweep nowhere.toml
sweep .
sweep README.md
sweep book/grids/embedded.toml --chapter 1
sweep book/grids/embedded.toml -p epochs 5
sweep book/grids/embedded.toml --jobs 0
sweep book/grids/embedded.toml --jobs two
sweep --chapter
sweep --chapter 99
sweep --chapter 1 -p epochs
sweep --chapter 1 -p epochs ten --dry-run
sweep --chapter 1 -p
publish
publish runs
publish runs README.md
publish runs nowhere.ipynb
publish runs notebooks/01_baselines.ipynb
publish runs --grid nowhere.toml
publish runs --check
publish results --all --grid book/grids/embedded.toml
publish results r0
publish results ../../x
publish check notebooks/01_baselines.ipynb
publish check --results
publish refresh 1
publish verify --longest cheap
publish verify --longest -1
book
book run --jobs 0
book contents --jobs 2
book contents --root nowhere
book run --root nowhere
notebooks
notebooks sync nowhere
notebooks sync README.md
notebooks check --discard
plan
plan --dataset nowhere
plan --dataset digits --shape 8 8 1
plan --dataset digits --classes 10
plan --dataset digits --workers 0
plan --dataset digits --models 0
plan --dataset digits --epochs 0
plan --dataset digits --epochs 1.5
plan --dataset digits --batch-size 0
plan --dataset digits --architecture nowhere
plan --dataset digits --architecture nowhere:net
plan --dataset digits --records 0
plan --dataset digits --members 9999999
plan --dataset digits --seed -1
plan --dataset digits --store nowhere
plan --dataset mnist --seed 0
plan --shape 32 32
plan --shape 0 32 3 --classes 10 --records 100
plan --shape 32 32 3
plan --shape 32 32 3 --classes 0 --records 100
plan --shape 32 32 3 --classes 10 --records 100 --precision int8
store
store list --store nowhere
store list --keep 1G
store prune
store prune --keep ''
store prune --keep infG
store prune --keep nan
store prune --older-than soon
store prune --older-than -1d
data
data make
data check nowhere
data check ''
data check digits --size 0
data check digits --size big
data list digits mnist
"""


@pytest.mark.parametrize("line", ODD.strip().splitlines())
def test_odd_arguments_give_one_line_and_no_traceback(line, tmp_path, monkeypatch, capsys):
    import shlex

    monkeypatch.chdir(ROOT)
    for place in ("DATA", "STORE", "RESULTS"):
        monkeypatch.setenv(f"MIA_{place}", str(tmp_path / place))
    (tmp_path / "STORE/models").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(shlex.split(line)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("mia: error: ") and len(captured.err) < 900
    assert sorted(tmp_path.rglob("*")) == before
