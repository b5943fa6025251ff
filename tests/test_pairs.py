"""The pairs of chapters: NN_name.md is edited, NN_name.ipynb follows."""

import json

import nbformat
import pytest
from conftest import ROOT

from mia_utils.__main__ import main
from mia_utils.book import notebooks, pairs
from mia_utils.errors import InputError

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


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "01_a.md"
    path.write_text(MARKDOWN, "utf-8")
    return path


def edit(path, change):
    content = json.loads(path.read_text("utf-8"))
    change(content["cells"])
    path.write_text(json.dumps(content), "utf-8")


def test_the_pairs_of_the_book_are_in_sync():
    assert pairs.drifted(ROOT / "notebooks") == [], "run: mia notebooks sync"


def test_sync_writes_the_same_cells_without_outputs(source, tmp_path):
    assert pairs.drifted(tmp_path) == ["01_a: 01_a.ipynb is missing"]
    assert pairs.sync(tmp_path) == [tmp_path / "01_a.ipynb"]
    assert pairs.sync(tmp_path) == [] and pairs.drifted(tmp_path) == []
    notebook = nbformat.read(tmp_path / "01_a.ipynb", as_version=4)
    nbformat.validate(notebook)
    sources = [cell.source for cell in notebook.cells]
    assert sources == ["# Title", "epochs = 3", "Prose.", "print(epochs)"]
    assert notebooks.parameters(notebook) == {"epochs": 3}
    assert notebook.metadata.kernelspec.name == "python3"


def test_an_edit_changes_the_id_of_its_cell_alone(source):
    before = [cell.id for cell in pairs.from_markdown(source).cells]
    source.write_text(MARKDOWN.replace("Prose.", "Better prose."), "utf-8")
    after = [cell.id for cell in pairs.from_markdown(source).cells]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, True]
    source.write_text(MARKDOWN + "\n```{code-cell} ipython3\nprint(epochs)\n```\n", "utf-8")
    twice = [cell.id for cell in pairs.from_markdown(source).cells]
    assert twice[:4] == before and len(set(twice)) == 5


def test_drift_is_found_on_both_sides(source, tmp_path):
    paired = tmp_path / "01_a.ipynb"
    pairs.sync(tmp_path)
    source.write_text(MARKDOWN.replace("print(epochs)", "print(1)"), "utf-8")
    assert pairs.drifted(tmp_path) == ["01_a: 01_a.ipynb is not what 01_a.md gives"]
    pairs.sync(tmp_path)
    said = {"output_type": "stream", "name": "stdout", "text": "1"}
    edit(paired, lambda cells: cells[3].update(outputs=[said]))
    assert len(pairs.drifted(tmp_path)) == 1
    source.unlink()
    assert pairs.drifted(tmp_path) == ["01_a: 01_a.md is missing"]


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda cells: cells[3].update(source="print(-1)"), r"cell 4 \('print\(-1\)'\)"),
        (lambda cells: cells.append({**cells[3], "id": "new"}), "cell 5"),
        (lambda cells: cells.pop(), "moved, removed or tagged"),
        (lambda cells: cells.reverse(), "moved, removed or tagged"),
        (lambda cells: cells[3]["metadata"].update(tags=["x"]), "moved, removed or tagged"),
    ],
)
def test_an_edit_of_the_ipynb_is_named_and_not_overwritten(source, tmp_path, change, named):
    pairs.sync(tmp_path)
    paired = tmp_path / "01_a.ipynb"
    edit(paired, change)
    edited = paired.read_bytes()
    with pytest.raises(InputError, match=named):
        pairs.sync(tmp_path)
    assert paired.read_bytes() == edited
    assert "; edited there: " in pairs.drifted(tmp_path)[0]
    assert pairs.sync(tmp_path, discard=True) == [paired] and pairs.drifted(tmp_path) == []


def test_outputs_are_no_edit(source, tmp_path):
    pairs.sync(tmp_path)
    paired = tmp_path / "01_a.ipynb"
    said = {"output_type": "stream", "name": "stdout", "text": "1"}
    edit(paired, lambda cells: cells[3].update(outputs=[said], execution_count=1))
    assert pairs.sync(tmp_path) == [paired]


def test_pair_command(source, tmp_path, capsys):
    folder = str(tmp_path)
    assert main(["notebooks", "check", folder]) == 1
    assert main(["notebooks", "sync", folder]) == 0
    assert main(["notebooks", "check", folder]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [f"written: {tmp_path / '01_a.ipynb'}", "pairs: in sync"]
    assert main(["notebooks", "check", str(tmp_path / "none")]) == 2
    assert "no chapter in" in capsys.readouterr().err
