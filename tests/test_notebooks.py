"""Chapters as files: found, read, parameters; one execution; and each real chapter on `digits`."""

import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from chapters import chapter, save
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_notebook

import mia_utils
from mia_utils.book import execute, notebooks
from mia_utils.book.run import run_notebook
from mia_utils.errors import InputError, NotebookError
from mia_utils.parameters import KINDS, check
from mia_utils.paths import environment

CHAPTERS = notebooks.chapters(ROOT)

# ---- the chapters ----


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_source(source):
    notebook = notebooks.read(source)
    assert all(not cell["outputs"] for cell in notebooks.code_cells(notebook))
    known = notebooks.parameters(notebook)
    assert known.get("dataset") == ("cifar10-mini" if "text" not in known else None)
    assert isinstance(known["seed"], int)
    if not source.stem.startswith("00"):  # which trains nothing
        assert isinstance(known["epochs"], int)
    assert known.keys() <= KINDS.keys(), "a new parameter needs its line in KINDS"
    assert check(known, known) == known
    cells = [cell["source"] for cell in notebooks.code_cells(notebook)]
    assert "check_parameters(globals())" in cells[1]
    read = {name for cell in cells for name in re.findall(r'read_table\("(\w+)"', cell)}
    assert read == set(known.get("tables", ())), "what is read is declared, and the other way"
    assert not any("read_csv" in cell for cell in cells)


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_import_from_fronts_alone(source):
    """`mia_utils` or a wing: a move inside a wing then makes no page old."""
    code = "\n".join(c["source"] for c in notebooks.code_cells(notebooks.read(source)))
    imported = re.findall(r"^\s*(?:from|import)\s+(mia_utils[\w.]*)", code, re.MULTILINE)
    assert imported
    for module in imported:
        path = Path(mia_utils.__file__).parents[1].joinpath(*module.split("."))
        assert path.is_dir(), f"{module} is a file inside a wing"


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_runs_on_digits(source, on_digits):
    executed = notebooks.read(on_digits(source))
    cells = notebooks.code_cells(executed)
    assert all(cell["execution_count"] for cell in cells)
    now = [cell["source"] for cell in notebooks.code_cells(notebooks.read(source))]
    assert [cell["source"] for cell in cells] == now
    assert any(cell["outputs"] for cell in cells)


# ---- found and read ----


def test_a_chapter_is_found_by_number_name_and_path(tmp_path):
    path = save(chapter(), tmp_path / "notebooks/03_metric.ipynb")
    other = save(chapter(), tmp_path / "other.ipynb")
    for name in ("3", "03", "03_metric", str(path)):
        assert notebooks.find_chapter(name, tmp_path) == path
    assert notebooks.find_chapter(other, tmp_path) == other


def test_a_chapter_that_continues_another_has_its_number_and_a_letter(tmp_path):
    names = ("10_last", "06b_more", "06_first", "07_next", "00_before", "6_none", "06B_none")
    for name in names:
        save(chapter(), tmp_path / f"notebooks/{name}.ipynb")
    found = notebooks.chapters(tmp_path)
    assert [p.stem[:3] for p in found] == ["00_", "06_", "06b", "07_", "10_"]
    assert [notebooks.number_of(p) for p in found] == ["", "6", "6b", "7", "10"]
    for name in ("6b", "06b", "06b_more"):
        assert notebooks.find_chapter(name, tmp_path) == found[2]
    assert notebooks.find_chapter("6", tmp_path) == found[1]


@pytest.mark.parametrize("name", ["4", "none", "none.ipynb", "", "..", "notebooks", "\0"])
def test_what_is_no_chapter_is_said_with_those_that_are(tmp_path, name):
    save(chapter(), tmp_path / "notebooks/03_metric.ipynb")
    with pytest.raises(InputError, match="03_metric"):
        notebooks.find_chapter(name, tmp_path)


def test_the_source_of_a_pair_is_no_notebook(tmp_path):
    save(chapter(), tmp_path / "a.ipynb").with_suffix(".md").write_text("# a", "utf-8")
    with pytest.raises(InputError, match="give its pair a.ipynb"):
        notebooks.find_chapter(tmp_path / "a.md", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "",
        "[]",
        "1",
        "{}",
        '{"nbformat": 4}',
        '{"nbformat": 3, "metadata": {}}',
        "[" * 9999,
        '{"nbformat": 4, "metadata": {}, "cells": [1]}',
        '{"nbformat": 4, "metadata": [], "cells": []}',
        '{"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "code", "metadata": {}}]}',
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path, content):
    (tmp_path / "a.ipynb").write_text(content, "utf-8")
    with pytest.raises(InputError, match="a.ipynb is not a notebook"):
        notebooks.read(tmp_path / "a.ipynb")


def test_a_file_in_another_coding_is_refused(tmp_path):
    (tmp_path / "a.ipynb").write_bytes('{"nbformat": 4, "ä": 1}'.encode("latin-1"))
    with pytest.raises(InputError, match="is not a notebook"):
        notebooks.read(tmp_path / "a.ipynb")


def test_reading_gives_what_nbformat_gives(tmp_path):
    notebook = chapter("x = 1\ny = 2")
    notebook.cells[2].outputs = [
        nbformat.v4.new_output("stream", text="a\nb\n"),
        nbformat.v4.new_output("display_data", {"text/html": "<p>\n</p>", "image/png": "AA"}),
    ]
    path = save(notebook, tmp_path / "a.ipynb")
    assert notebooks.read(path) == nbformat.read(path, as_version=4)


# ---- the parameters cell ----


def test_parameters_are_the_literals_of_their_cell():
    found = notebooks.parameters(
        chapter(parameters="a = 1\nb: float = 2.5\nc = (1, 'x')\nd = None")
    )
    assert found == {"a": 1, "b": 2.5, "c": (1, "x"), "d": None}
    assert notebooks.parameters(new_notebook(cells=[new_code_cell("a = 1")])) == {}


@pytest.mark.parametrize(
    "line", ["a = f()", "import os", "a = b = 1", "print(1)", "a = {1, 2}", "a: int", "a = b'x'"]
)
def test_a_parameters_cell_with_anything_else_is_refused(line):
    with pytest.raises(InputError, match="expected name = literal"):
        notebooks.parameters(chapter(parameters=line))


def test_a_parameters_cell_that_is_no_python_is_refused():
    with pytest.raises(InputError, match="parameters cell is no Python: "):
        notebooks.parameters(chapter(parameters="epochs = = 3"))


# ---- execution ----


def run(source, out, given=None):
    return execute.execute(source, out, given or {}, run="r", parts={"code": "c"}, dataset="d")


def test_execute_keeps_the_result_and_what_it_was(tmp_path):
    threads = "print(name, os.environ['OMP_NUM_THREADS'])"
    source = save(chapter("import os", threads), tmp_path / "a {x}.ipynb")
    out = run(source, tmp_path / "out/a {x}.ipynb", {"name": "z"})
    executed = nbformat.read(out, as_version=4)
    assert executed.cells[-1].outputs[0].text == "z 1\n"
    told = {"run": "r", "decides": {"code": "c"}, "dataset": "d", "parameters": {"name": "z"}}
    made = executed.metadata.mia.pop("made")
    assert set(made) == {"device", "seconds", "versions"} and made["seconds"] >= 0
    assert executed.metadata.mia == told
    assert notebooks.is_done(out, "r") and not notebooks.is_done(out, "another")
    assert [path.name for path in out.parent.iterdir()] == ["a {x}.ipynb"]


@pytest.mark.parametrize(
    "raised, kind, message",
    [
        (
            "from mia_utils.errors import InputError; raise InputError('rate=7; expected less')",
            InputError,
            r"^rate=7; expected less \(cell \[2\] of .*a.failed.ipynb\)$",
        ),
        ("1 / 0", NotebookError, r"^ZeroDivisionError: division by zero \(cell \[2\]"),
        ("import os; os._exit(1)", NotebookError, r"^the kernel died .* in cell 3 of 3 of"),
    ],
)
def test_a_failing_cell_is_one_line_and_the_notebook_is_kept(tmp_path, raised, kind, message):
    source = save(chapter(raised), tmp_path / "a.ipynb")
    with pytest.raises(kind, match=message):
        run(source, tmp_path / "out/a.ipynb")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.failed.ipynb"]
    assert notebooks.read(tmp_path / "out/a.failed.ipynb")["cells"]


def test_nothing_starts_with_a_wrong_parameter(tmp_path):
    source = save(chapter("x = 1"), tmp_path / "a.ipynb")
    with pytest.raises(InputError, match="unknown parameter"):
        run_notebook(source, {"epoch": 1}, out=tmp_path / "out/b.ipynb")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "message, deaths, starts, finishes",
    [
        ("Kernel died before replying to kernel_info", 1, 2, True),
        ("Kernel died before replying to kernel_info", 9, 3, False),
        ("Kernel died", 1, 1, False),  # in the middle: a cell's own doing
    ],
)
def test_a_kernel_that_never_answered_is_started_again(
    tmp_path, monkeypatch, message, deaths, starts, finishes
):
    import papermill

    source, out = save(chapter("print(epochs)"), tmp_path / "a.ipynb"), tmp_path / "out/a.ipynb"
    really, tried = papermill.execute_notebook, []

    def dying(*arguments, **options):
        tried.append(None)
        if len(tried) <= deaths:
            raise RuntimeError(message)
        return really(*arguments, **options)

    monkeypatch.setattr(papermill, "execute_notebook", dying)
    if finishes:
        assert run(source, out).exists()
    else:
        with pytest.raises(RuntimeError, match=message):
            run(source, out)
    assert len(tried) == starts


def test_the_kernel_is_this_interpreter_whatever_jupyter_path_holds(tmp_path, monkeypatch):
    spec = tmp_path / "share/kernels/python3/kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    notebook = chapter("import sys; print(sys.executable)")
    notebook.metadata.kernelspec.name = "an-environment-elsewhere"
    out = run(save(notebook, tmp_path / "a.ipynb"), tmp_path / "b.ipynb")
    assert notebooks.read(out)["cells"][-1]["outputs"][0]["text"] == f"{sys.executable}\n"


@pytest.mark.parametrize(
    "metadata, said",
    [
        ({"kernelspec": {"name": "ir", "language": "R", "display_name": "R"}}, "notebook of R;"),
        ({"kernelspec": {"name": "nowhere", "display_name": "?"}}, "kernel 'nowhere'"),
    ],
)
def test_a_notebook_of_another_language_is_refused(tmp_path, metadata, said):
    notebook = chapter("x = 1")
    notebook.metadata = nbformat.from_dict(metadata)
    with pytest.raises(InputError, match=said):
        run_notebook(save(notebook, tmp_path / "a.ipynb"))


def test_nothing_is_written_below_a_home_that_is_read_only(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.write_text("")  # a file: nobody, not even root, can write below it
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(home))
    out = run(save(chapter("print(1)"), tmp_path / "a.ipynb"), tmp_path / "b.ipynb")
    assert notebooks.read(out)["cells"][-1]["outputs"][0]["text"] == "1\n"


def test_pieces_of_killed_executions_are_taken_away_and_those_of_others_left(tmp_path):
    out = tmp_path / "a.ipynb"
    dead, living = tmp_path / ".a.999999999.ipynb", tmp_path / f".a.{os.getppid()}.ipynb"
    for path in (dead, living):
        path.write_text("{}", "utf-8")
    run(save(chapter("x = 1"), tmp_path / "source.ipynb"), out)
    assert not dead.exists() and living.exists()


def test_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("MIA_A", "before")
    with environment(MIA_A="x", MIA_B="y", MIA_C=None):
        assert (os.environ["MIA_A"], os.environ["MIA_B"]) == ("x", "y")
    assert os.environ["MIA_A"] == "before" and "MIA_B" not in os.environ
