"""Executed notebooks made fit for the book."""

import shutil

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mia_utils import __main__ as cli
from mia_utils.book import notebooks, publish
from mia_utils.experiments import records as results
from mia_utils.errors import InputError

PROSE = """(gap)=
## The gap

See {ref}`gap`, {ref}`the gap <gap>`, {eq}`eq:gap`,
{numref}`Figure %s <fig-roc>`, [there](#gap),
{prf:ref}`thm-gap`, {ref}`elsewhere` and [chapter 2](02_b.md).

$$
g = a - b
$$ (eq:gap)

```{prf:theorem}
:label: thm-gap
It is (so)= said.
```
"""
SUFFIXED = """(gap-mnist)=
## The gap

See {ref}`gap-mnist`, {ref}`the gap <gap-mnist>`, {eq}`eq:gap-mnist`,
{numref}`Figure %s <fig-roc-mnist>`, [there](#gap-mnist),
{prf:ref}`thm-gap-mnist`, {ref}`elsewhere` and [chapter 2](02_b.md).

$$
g = a - b
$$ (eq:gap-mnist)

```{prf:theorem}
:label: thm-gap-mnist
It is (so)= said.
```
"""


def source(prose=PROSE, code="print(dataset)"):
    cells = [
        new_markdown_cell("# A chapter", id="a"),
        new_code_cell("dataset = 'cifar10-mini'", id="b", metadata={"tags": ["parameters"]}),
        new_markdown_cell(prose, id="c"),
        new_code_cell(code, id="d", metadata={"mystnb": {"figure": {"name": "fig-roc"}}}),
    ]
    return new_notebook(cells=cells, metadata=dict(notebooks.KERNEL))


def executed(given=None, outputs=None, **changes):
    """What Papermill would have written for `source`."""
    notebook = source(**changes)
    if given:
        injected = new_code_cell(f"# Parameters\n{given}", id="i", execution_count=2)
        injected.metadata["tags"] = ["injected-parameters"]
        notebook.cells.insert(2, injected)
    for count, cell in enumerate(notebooks.code_cells(notebook), 1):
        cell.execution_count = count
        cell.metadata["papermill"] = {"start_time": "2020-01-01", "duration": 1.5}
        cell.metadata["execution"] = {"iopub.status.busy": "2020"}
    notebook.cells[-1].outputs = outputs or [new_output("stream", name="stdout", text="x\n")]
    notebook.metadata["papermill"] = {"parameters": given or {}, "output_path": "/home/me/x.ipynb"}
    notebook.metadata["widgets"] = {}
    return notebook


def repository(tmp_path, notebook):
    (tmp_path / "notebooks").mkdir(parents=True)
    nbformat.write(notebook, tmp_path / "notebooks/01_a.ipynb")
    return tmp_path


def write(notebook, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def test_traces_of_the_machine_are_gone():
    copy = publish.published(executed({"dataset": "mnist"}), source())
    text = nbformat.writes(copy)
    assert "papermill" not in text and "/home/me" not in text and "2020" not in text
    assert set(copy.metadata) == {"kernelspec", "language_info", "mia"}
    assert copy.metadata.mia.source_hash == notebooks.source_hash(source())
    nbformat.validate(copy)


def test_given_parameters_are_hidden_as_code_and_told_in_a_sentence():
    copy = publish.published(executed({"dataset": "mnist", "epochs": 3}), source())
    injected = [cell for cell in copy.cells if "injected-parameters" in notebooks.tags(cell)]
    assert [notebooks.tags(cell) for cell in injected] == [["injected-parameters", "remove-cell"]]
    told = "*This copy was executed with* `dataset = 'mnist'`, `epochs = 3`."
    assert copy.cells[3].source == told
    assert [c.id for c in copy.cells] == ["a", "b", "b-given", "b-note", "c", "d"]
    plain = publish.published(executed(), source())
    assert [c.id for c in plain.cells] == ["a", "b", "c", "d"]


def test_labels_get_the_data_set_and_references_follow():
    copy = publish.published(executed({"dataset": "mnist"}), source())
    assert copy.cells[4].source == SUFFIXED
    assert copy.cells[5].metadata.mystnb.figure.name == "fig-roc-mnist"
    default = publish.published(executed(), source())
    assert default.cells[2].source == PROSE
    assert default.cells[3].metadata.mystnb.figure.name == "fig-roc"
    as_default = publish.published(executed({"dataset": "digits"}), source(), where="cifar10-mini")
    assert as_default.cells[4].source == PROSE


def test_labels_of_two_data_sets_never_meet():
    names = [
        publish.labels(publish.published(executed({"dataset": name}), source()).cells)
        for name in ("mnist", "cifar10", "cifar10-mini")
    ]
    assert all(len(found) == 4 for found in names)
    assert len(set.union(*names)) == 12


def test_progress_is_stripped_and_streams_are_joined():
    outputs = [
        new_output("stream", name="stdout", text="a\n"),
        new_output("stream", name="stderr", text="50%|#####"),
        new_output("stream", name="stdout", text="b\n"),
        new_output("display_data", {publish.WIDGET: {}, "text/plain": "bar"}),
        new_output("display_data", {"image/png": "AAAA", "text/plain": "<Figure>"}),
        new_output("stream", name="stdout", text="c\n"),
    ]
    kept = publish.clean_outputs(outputs)
    assert [o.get("text", o.output_type) for o in kept] == ["a\nb\n", "display_data", "c\n"]
    assert [o.text for o in outputs if "text" in o] == ["a\n", "50%|#####", "b\n", "c\n"]


def test_errors_and_cells_that_did_not_run_are_refused():
    failed = executed(outputs=[new_output("error", ename="KeyError", evalue="'x'", traceback=[])])
    with pytest.raises(InputError, match=r"cell \[2\]: KeyError: 'x'"):
        publish.published(failed, source())
    with pytest.raises(InputError, match="not executed"):
        publish.published(source(), source())


def test_prose_comes_from_the_source_while_the_code_is_the_same():
    today = source(prose="Today's prose.")
    assert publish.published(executed(), today).cells[2].source == "Today's prose."
    changed = source(prose="Today's prose.", code="print(1)")
    assert publish.published(executed(), changed).cells[2].source == PROSE


def test_publishing_twice_gives_the_same_bytes(tmp_path):
    root = repository(tmp_path, source())
    run = write(executed({"dataset": "mnist"}), tmp_path / "run/01_a.ipynb")
    path, changed = publish.publish(run, root)
    first = path.read_bytes()
    assert changed and path == root / "book/runs/mnist/01_a.ipynb"
    assert publish.publish(run, root) == (path, False)
    assert publish.publish(path, root) == (path, False)  # a copy of the copy
    assert path.read_bytes() == first


def test_a_later_run_of_the_same_result_differs_in_nothing():
    later = executed({"dataset": "mnist"})
    for cell in notebooks.code_cells(later):
        cell.metadata["papermill"]["start_time"] = "2030-12-31"
    one = publish.published(executed({"dataset": "mnist"}), source())
    assert nbformat.writes(publish.published(later, source())) == nbformat.writes(one)


def test_old_copies_are_found_and_prose_is_refreshed(tmp_path):
    root = repository(tmp_path, source())
    run = write(executed({"dataset": "mnist"}), tmp_path / "run/01_a.ipynb")
    path, _ = publish.publish(run, root)
    assert publish.old_copies(root) == []
    write(source(prose="New prose."), root / "notebooks/01_a.ipynb")
    assert publish.old_copies(root) == []
    assert publish.refresh(root) == [path] and "New prose." in path.read_text()
    assert publish.refresh(root) == []
    before = path.read_bytes()
    write(source(code="print(2)"), root / "notebooks/01_a.ipynb")
    assert publish.old_copies(root) == [path]
    assert publish.refresh(root) == [] and path.read_bytes() == before
    with pytest.raises(InputError, match="published already and its source has changed"):
        publish.publish(path, root)


def test_the_data_set_is_the_given_one_or_the_default():
    assert publish.dataset_of(executed({"dataset": "mnist"})) == "mnist"
    assert publish.dataset_of(executed()) == "cifar10-mini"


# ---- results ----


def published_run(dataset):
    """A published record file of that data set, with its signals' file."""
    frame = results.read(ROOT / "book/results")
    frame = frame[(frame["dataset"] == dataset) & (frame["shadow_dataset"] == dataset)]
    frame = frame[frame["architecture"] == frame["shadow_architecture"]].sort_values("seconds")
    name = frame["run"].iloc[0]
    return [ROOT / f"book/results/{f}" for f in (f"records/{name}.jsonl", f"signals/{name}.npz")]


def copy_run(dataset, root):
    for path in published_run(dataset):
        to = root / path.parent.name / path.name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    return to.stem


def test_results_are_merged_checked_and_the_second_time_unchanged(tmp_path, monkeypatch, capsys):
    root = repository(tmp_path / "repo", source())
    (root / "book").mkdir()
    monkeypatch.setenv("MIA_RESULTS", str(tmp_path / "results"))
    name = copy_run("digits", tmp_path / "results")
    argv = ["publish", "--results", "--root", str(root)]
    assert cli.main(argv) == 0
    assert "publish: 2 files of results changed" in capsys.readouterr().out
    files = f"records/{name}.jsonl", f"signals/{name}.npz"
    copies = [root / "book/results" / file for file in files]
    before = [path.read_bytes() for path in copies]
    assert cli.main(argv) == 0
    assert "publish: 0 files of results changed" in capsys.readouterr().out
    assert [path.read_bytes() for path in copies] == before
    broken = tmp_path / f"results/records/{name}.jsonl"
    broken.write_text(broken.read_text().replace('"seed": ', '"seed": 0.5, "sede": '))
    assert cli.main(argv) == 2
    assert "line 1 lacks [] and has unknown ['sede']" in capsys.readouterr().err
    assert copies[0].read_bytes() == before[0]


def test_verify_repeats_what_is_cheap_and_fails_on_a_difference(tmp_path, monkeypatch, capsys):
    from mia_utils.book import contents as book

    root = repository(tmp_path / "repo", source())
    monkeypatch.setattr(book, "SETS", {"digits": "Digits"})
    name = copy_run("digits", root / "book/results")
    argv = ["publish", "--verify", "--root", str(root)]
    assert cli.main([*argv, "--longest", "0"]) == 2
    assert "no published run on ['digits'] of at most 0 s" in capsys.readouterr().err
    assert cli.main(argv) == 0
    said = capsys.readouterr().out
    assert f"{name} loss seed" in said and "differs" not in said
