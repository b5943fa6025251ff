"""Chapters as programs: parameters, hashes, execution, pairs; and each real chapter on `digits`."""

import json
import re

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mia_utils.book import notebooks
from mia_utils.errors import InputError, NotebookError

CHAPTERS = notebooks.chapters(ROOT)
MARKDOWN = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# Title

```{code-cell} ipython3
:tags: [parameters]

epochs = 3
```

Prose.

```{code-cell} ipython3
print(epochs)
```
"""


def book(*code, prose="Prose.", parameters="epochs = 3\nname = 'a'\nrate = 0.5\nfast = False"):
    cells = [new_markdown_cell(prose), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    return new_notebook(cells=[*cells, *map(new_code_cell, code)], metadata=dict(notebooks.KERNEL))


def save(notebook, path):
    nbformat.write(notebook, path)
    return path


# ---- the chapters ----


def test_there_are_chapters_and_their_pairs_are_in_sync():
    assert CHAPTERS
    assert notebooks.drifted(ROOT / "notebooks") == []


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_source(source):
    notebook = notebooks.read(source)
    assert all(not cell.outputs for cell in notebooks.code_cells(notebook))
    known = notebooks.parameters(notebook)
    assert known["dataset"] == "cifar10-mini"
    assert isinstance(known["epochs"], int) and isinstance(known["seed"], int)


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_runs_on_digits(source, on_digits):
    executed = notebooks.read(on_digits(source))
    cells = notebooks.code_cells(executed)
    assert all(cell.execution_count for cell in cells)
    assert notebooks.source_hash(executed) == notebooks.source_hash(notebooks.read(source))
    assert any(cell.outputs for cell in cells)


# ---- parameters ----


def test_parameters_are_the_literals_of_their_cell():
    found = notebooks.parameters(book(parameters="a = 1\nb: float = 2.5\nc = (1, 'x')\nd = None"))
    assert found == {"a": 1, "b": 2.5, "c": (1, "x"), "d": None}
    assert notebooks.parameters(new_notebook(cells=[new_code_cell("a = 1")])) == {}


@pytest.mark.parametrize("line", ["a = f()", "import os", "a = b = 1", "print(1)"])
def test_a_parameters_cell_with_anything_else_is_refused(line):
    with pytest.raises(InputError, match="expected name = literal"):
        notebooks.parameters(book(parameters=line))


def test_parameters_are_checked_against_the_defaults():
    known = {"epochs": 3, "name": "a", "rate": 0.5, "fast": False, "free": None}
    given = {"epochs": 4, "rate": 1, "free": [1]}
    assert notebooks.check_parameters(known, given) == {**known, **given}
    for name, value in [
        ("epochs", 2.5),
        ("epochs", "2"),
        ("epochs", True),
        ("name", 3),
        ("rate", "x"),
        ("fast", 1),
    ]:
        with pytest.raises(InputError, match=f"parameter {name} = "):
            notebooks.check_parameters(known, {name: value})
    with pytest.raises(InputError, match="'epoch'; this notebook knows epochs, name, rate"):
        notebooks.check_parameters(known, {"epoch": 1})


def test_texts_become_values_by_the_type_of_the_default():
    known = {"epochs": 3, "name": "a", "rate": 0.5, "fast": False, "sizes": [1], "free": None}
    texts = {"epochs": "7", "name": "7", "rate": "1e-3", "fast": "true", "sizes": "[2, 3]"}
    values = {name: notebooks.parse_parameter(name, text, known) for name, text in texts.items()}
    assert values == {"epochs": 7, "name": "7", "rate": 1e-3, "fast": True, "sizes": [2, 3]}
    assert notebooks.parse_parameter("free", "none", known) is None
    assert notebooks.parse_parameter("epochs", "many", known) == "many"


# ---- hashes ----


def test_source_hash_sees_code_only():
    base = notebooks.source_hash(book("x = 1"))
    assert notebooks.source_hash(book("x = 1", prose="Other prose.")) == base
    assert notebooks.source_hash(book("x = 2")) != base
    assert notebooks.source_hash(book("x = 1", "")) != base
    executed = book("x = 1")
    executed.cells[2].outputs = [nbformat.v4.new_output("stream", text="1")]
    executed.cells.insert(
        2, new_code_cell("epochs = 9", metadata={"tags": ["injected-parameters"]})
    )
    assert notebooks.source_hash(executed) == base


def test_source_hash_separates_cells():
    assert notebooks.source_hash(book("a", "b")) != notebooks.source_hash(book("ab"))


def test_run_hash_depends_on_values_and_package(monkeypatch):
    notebook = book("x = 1")
    base = notebooks.run_hash(notebook, {"a": 1, "b": 2})
    assert notebooks.run_hash(notebook, {"b": 2, "a": 1}) == base
    assert notebooks.run_hash(notebook, {"a": 1, "b": 3}) != base
    monkeypatch.setattr(notebooks, "package_hash", lambda: "another package")
    assert notebooks.run_hash(notebook, {"a": 1, "b": 2}) != base


def test_run_hash_depends_on_the_data(monkeypatch):
    names = []
    monkeypatch.setattr(notebooks, "data_fingerprint", lambda v: names.append(v) or str(len(names)))
    notebook = book("x = 1")
    assert notebooks.run_hash(notebook, {}) != notebooks.run_hash(notebook, {})


def test_data_fingerprint_names_every_data_set():
    one = notebooks.data_fingerprint({"dataset": "digits"})
    assert one == notebooks.data_fingerprint({"shadow_dataset": "digits", "epochs": 3})
    assert one != notebooks.data_fingerprint({"dataset": "digits", "b_dataset": "cifar10-mini"})
    assert notebooks.data_fingerprint({"epochs": 3}) == ""
    with pytest.raises(InputError):
        notebooks.data_fingerprint({"dataset": "no-such-set"})


# ---- execution ----


def test_execute_keeps_the_result_and_what_it_was(tmp_path):
    threads = "print(name, os.environ['OMP_NUM_THREADS'])"
    source = save(book("import os", threads), tmp_path / "a.ipynb")
    out = notebooks.execute(source, tmp_path / "out/a.ipynb", {"name": "z"}, progress=False)
    executed = notebooks.read(out)
    assert executed.cells[-1].outputs[0].text == "z 1\n"
    assert executed.metadata.mia.parameters == {"name": "z"}
    assert executed.metadata.mia.source_hash == notebooks.source_hash(notebooks.read(source))
    assert notebooks.is_done(out, executed.metadata.mia.run)
    assert not notebooks.is_done(out, "another")
    assert [path.name for path in out.parent.iterdir()] == ["a.ipynb"]


@pytest.mark.parametrize(
    "raised, kind, message",
    [
        (
            "from mia_utils.errors import InputError; raise InputError('rate=7; expected less')",
            InputError,
            r"^rate=7; expected less \(cell \[2\] of .*a.failed.ipynb\)$",
        ),
        ("1 / 0", NotebookError, r"^ZeroDivisionError: division by zero \(cell \[2\]"),
    ],
)
def test_a_failing_cell_is_one_line_and_the_notebook_is_kept(tmp_path, raised, kind, message):
    source = save(book(raised), tmp_path / "a.ipynb")
    with pytest.raises(kind, match=message):
        notebooks.execute(source, tmp_path / "out/a.ipynb", progress=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.failed.ipynb"]
    kept = notebooks.read(tmp_path / "out/a.failed.ipynb")
    assert any("error" in str(cell.get("outputs")) for cell in kept.cells)


def test_nothing_starts_with_a_wrong_parameter(tmp_path):
    source = save(book("x = 1"), tmp_path / "a.ipynb")
    with pytest.raises(InputError, match="unknown parameter"):
        notebooks.execute(source, tmp_path / "out/a.ipynb", {"epoch": 1})
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

    source, out = save(book("print(epochs)"), tmp_path / "a.ipynb"), tmp_path / "out/a.ipynb"
    really, tried = papermill.execute_notebook, []

    def dying(*arguments, **options):
        tried.append(None)
        if len(tried) <= deaths:
            raise RuntimeError(message)
        return really(*arguments, **options)

    monkeypatch.setattr(papermill, "execute_notebook", dying)
    if finishes:
        assert notebooks.execute(source, out, progress=False).exists()
    else:
        with pytest.raises(RuntimeError, match=message):
            notebooks.execute(source, out, progress=False)
    assert len(tried) == starts


def test_what_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "a.ipynb").write_text("no json")
    with pytest.raises(InputError, match="is not a notebook"):
        notebooks.read(tmp_path / "a.ipynb")
    with pytest.raises(InputError, match="a.md is not an .ipynb"):
        notebooks.read(tmp_path / "a.md")


def test_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("MIA_A", "before")
    with notebooks.environment(MIA_A="x", MIA_B="y", MIA_C=None):
        import os

        assert (os.environ["MIA_A"], os.environ["MIA_B"]) == ("x", "y")
    assert os.environ["MIA_A"] == "before" and "MIA_B" not in os.environ


# ---- pairs ----


def test_sync_writes_the_same_cells_without_outputs(tmp_path):
    (tmp_path / "01_a.md").write_text(MARKDOWN)
    assert notebooks.drifted(tmp_path) == ["01_a: 01_a.ipynb is missing"]
    assert notebooks.sync(tmp_path) == [tmp_path / "01_a.ipynb"]
    assert notebooks.sync(tmp_path) == [] and notebooks.drifted(tmp_path) == []
    notebook = notebooks.read(tmp_path / "01_a.ipynb")
    nbformat.validate(notebook)
    sources = [cell.source for cell in notebook.cells]
    assert sources == ["# Title", "epochs = 3", "Prose.", "print(epochs)"]
    assert notebooks.parameters(notebook) == {"epochs": 3}
    assert notebook.metadata.kernelspec.name == "python3"


def test_an_edit_changes_the_id_of_its_cell_alone(tmp_path):
    source = tmp_path / "01_a.md"
    source.write_text(MARKDOWN)
    before = [cell.id for cell in notebooks.from_markdown(source).cells]
    source.write_text(MARKDOWN.replace("Prose.", "Better prose."))
    after = [cell.id for cell in notebooks.from_markdown(source).cells]
    assert [a == b for a, b in zip(before, after)] == [True, True, False, True]
    source.write_text(MARKDOWN + "\n```{code-cell} ipython3\nprint(epochs)\n```\n")
    twice = [cell.id for cell in notebooks.from_markdown(source).cells]
    assert twice[:4] == before and len(set(twice)) == 5


def test_drift_is_found_on_both_sides(tmp_path):
    source, paired = tmp_path / "01_a.md", tmp_path / "01_a.ipynb"
    source.write_text(MARKDOWN)
    notebooks.sync(tmp_path)
    source.write_text(MARKDOWN.replace("print(epochs)", "print(1)"))
    assert notebooks.drifted(tmp_path) == ["01_a: 01_a.ipynb is not what 01_a.md gives"]
    notebooks.sync(tmp_path)
    content = json.loads(paired.read_text())
    content["cells"][3]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "1"}]
    paired.write_text(json.dumps(content))
    assert len(notebooks.drifted(tmp_path)) == 1
    source.unlink()
    assert notebooks.drifted(tmp_path) == ["01_a: 01_a.md is missing"]


def test_pair_command(tmp_path, capsys):
    (tmp_path / "01_a.md").write_text(MARKDOWN)
    assert notebooks.main(["check", str(tmp_path)]) == 1
    assert notebooks.main(["sync", str(tmp_path)]) == 0
    assert notebooks.main(["check", str(tmp_path)]) == 0
    assert re.search(r"missing\nwritten: .*01_a.ipynb\npairs: in sync\n$", capsys.readouterr().out)


# ---- tables that a chapter reads ----


def test_a_changed_table_changes_the_run_of_who_reads_it(tmp_path, monkeypatch):
    (tmp_path / "records").mkdir()
    (tmp_path / "records/r1.jsonl").write_text("{}\n")
    monkeypatch.setenv("MIA_RESULTS_PUBLISHED", str(tmp_path))
    readers = [book("x = pd.read_csv(results.published() / 'a.csv')"), book("x = 1")]

    def hashes():
        return [notebooks.run_hash(n, notebooks.parameters(n)) for n in readers]

    before = hashes()
    (tmp_path / "a.csv").write_text("1\n")
    after = hashes()
    assert before[0] != after[0] and before[1] == after[1]
