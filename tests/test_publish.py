"""Executed notebooks and records made fit for the book."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT, no_file_beyond
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mia_utils.__main__ import main
from mia_utils.book import merge, notebooks, publish, same, state
from mia_utils.book.execute import KERNEL
from mia_utils.book.labels import labels
from mia_utils.errors import InputError
from mia_utils.experiments import records as results

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

````{solution} thm-gap
:class: dropdown
````
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

````{solution} thm-gap-mnist
:class: dropdown
````
"""


def source(prose=PROSE, code="print(dataset)"):
    cells = [
        new_markdown_cell("# A chapter", id="a"),
        new_code_cell(
            "dataset = 'cifar10-mini'\nepochs = 30", id="b", metadata={"tags": ["parameters"]}
        ),
        new_markdown_cell(prose, id="c"),
        new_code_cell(code, id="d", metadata={"mystnb": {"figure": {"name": "fig-roc"}}}),
    ]
    return new_notebook(cells=cells, metadata=dict(KERNEL))


def decides(notebook, given):
    values = {**notebooks.parameters(notebook), **(given or {})}
    recorded = {"data": {"mnist": "m", "cifar10": "c", "digits": "d"}}
    return state.decides(notebook, values, recorded=recorded)


def executed(given=None, outputs=None, **changes):
    """What `mia run` would have written for `source`."""
    notebook = source(**changes)
    record = {"run": "r", "decides": decides(notebook, given), "parameters": given or {}}
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
    notebook.metadata["mia"] = {**record, "dataset": "/home/me"}
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
    assert copy.metadata.mia.decides == executed({"dataset": "mnist"}).metadata.mia.decides
    assert publish.changes(copy, source()) == []
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
        labels(publish.published(executed({"dataset": name}), source()).cells)
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
    assert publish.old_copies(root) == {}
    write(source(prose="New prose."), root / "notebooks/01_a.ipynb")
    assert publish.old_copies(root) == {}
    assert publish.refresh(root, dry_run=True) == [path] and "New prose." not in path.read_text()
    assert publish.refresh(root) == [path] and "New prose." in path.read_text()
    assert publish.refresh(root) == []
    before = path.read_bytes()
    write(source(code="print(2)"), root / "notebooks/01_a.ipynb")
    assert publish.old_copies(root) == {path: ["code"]}
    assert publish.refresh(root) == [] and path.read_bytes() == before
    with pytest.raises(InputError, match="published already and its chapter's code has changed"):
        publish.publish(path, root)


def test_a_change_of_the_package_makes_a_copy_old(tmp_path, monkeypatch):
    copy = publish.published(executed({"dataset": "mnist"}), source())
    monkeypatch.setattr(state, "package_hash", lambda cells: "another package")
    assert publish.changes(copy, source()) == ["package"]


def embedded(folder, package, output="same", **parts):
    """A chapter as `make book` executes it on the embedded images, with one table and one text."""
    table = nbformat.v4.new_output(
        "display_data", {"text/html": f"<th id='T_{package[:5]}_level0'>"}
    )
    text = nbformat.v4.new_output("stream", text=output)
    decides = {"code": "code", "parameters": "{}", "package": package, **parts}
    made = {"versions": {"python": "3.11.7", "torch": "2.14.1", "numpy": "2.4.6"}}
    notebook = executed()
    notebooks.code_cells(notebook)[-1].outputs = [table, text]
    notebook.metadata.mia |= {"decides": decides, "made": made}
    return write(notebook, folder / "01_a.ipynb").parent


def test_a_page_stays_where_an_edit_of_the_package_changed_no_output_of_its_chapter(
    tmp_path, monkeypatch, capsys
):
    root = repository(tmp_path, source())
    run = write(executed({"dataset": "mnist"}), tmp_path / "run/01_a.ipynb")
    path, _ = publish.publish(run, root)
    was = publish.read(path).metadata.mia.decides["package"]
    for step, now in enumerate(["b" * 64, "c" * 64]):  # two edits, one after the other
        monkeypatch.setattr(state, "package_hash", lambda cells, now=now: now)
        assert publish.old_copies(root) == {path: ["package"]}
        before = embedded(tmp_path / f"before{step}", was)
        embedded(root / "book/runs/cifar10-mini", now)
        monkeypatch.setattr(publish, "copies", lambda root: [path])
        assert main(["publish", "same", str(before), "--root", str(root)]) == 0
        assert "same: 01_a" in capsys.readouterr().out
        assert publish.old_copies(root) == {}
        copy = publish.read(path)
        assert publish.changes_that_show(copy, source(), root, "01_a") == ([], True)
        assert publish.changes_that_show(copy, source(), root, "02_b") == (["package"], False)
        was = now
    assert same.same(root, "01_a", "c" * 64, "b" * 64)
    assert not same.same(root, "01_a", "b" * 64, "d" * 64)


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"output": "other"}, "1 of 2 outputs are not the same"),
        ({"code": "other"}, "differs in more than the package: code"),
        ({"device": "cuda"}, "differs in more than the package: device"),
    ],
)
def test_a_chapter_with_other_outputs_or_another_cause_keeps_no_page(tmp_path, changed, told):
    before = embedded(tmp_path / "before", "a" * 64)
    after = embedded(tmp_path / "after", "b" * 64, **changed)
    assert list(same.compare(before, after)) == [("01_a", told)]
    with pytest.raises(InputError, match="holds no executed chapter"):
        list(same.compare(tmp_path / "nowhere", after))


def test_a_copy_that_does_not_say_what_decided_it_is_old():
    copy = publish.published(executed({"dataset": "mnist"}), source())
    del copy.metadata.mia["decides"]
    assert publish.changes(copy, source()) == ["code"] and publish.changes(copy, None) == []


def test_the_data_set_is_the_given_one_or_the_default():
    assert publish.dataset_of(executed({"dataset": "mnist"})) == "mnist"
    assert publish.dataset_of(executed()) == "cifar10-mini"


def test_a_larger_run_of_a_chapter_on_texts_stands_beside_the_default_one():
    notebook = new_notebook(
        cells=[new_code_cell("text = ''\nepochs = 2", metadata={"tags": ["parameters"]})]
    )
    notebook.metadata["mia"] = {"parameters": {}}
    assert publish.dataset_of(notebook) == "cifar10-mini"
    notebook.metadata["mia"] = {"parameters": {"epochs": 9}}
    assert publish.dataset_of(notebook) == "text"


# ---- notebooks of anybody ----


def test_a_dry_run_writes_nothing(tmp_path):
    root = repository(tmp_path, source())
    run = write(executed({"dataset": "mnist"}), tmp_path / "run/01_a.ipynb")
    assert publish.publish(run, root, dry_run=True)[1] and not (root / "book").exists()
    publish.publish(run, root)
    assert not publish.publish(run, root, dry_run=True)[1]


EVIL = [
    "../../../evil",
    "/tmp/evil",
    "..",
    ".",
    "",
    ".hidden",
    "a/b",
    "a\\b",
    "x\ny",
    "a ",
    "a.",
    "a..b",
]
EVIL += ["<script>", "a`b", "$(x)", "x" * 101, "a\0"]


@pytest.mark.parametrize("name", EVIL)
def test_nothing_is_written_outside_the_folder_of_copies(tmp_path, name):
    root = repository(tmp_path / "repository", source())
    notebook = executed({"dataset": "mnist"})
    notebook.metadata.mia["parameters"]["dataset"] = name
    run = write(notebook, tmp_path / "run/01_a.ipynb")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="01_a.ipynb: "):
        publish.publish(run, root)
    with pytest.raises(InputError, match="cannot name a folder"):
        publish.folder_name(name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "file", ["1_a.ipynb", "01_a b.ipynb", "01_ä.ipynb", "../01_a.ipynb", "a.ipynb"]
)
def test_a_copy_has_the_name_of_a_chapter(tmp_path, file):
    with pytest.raises(InputError, match="no chapter's name"):
        publish.place(tmp_path, "mnist", file)


def test_a_link_out_of_the_folder_of_copies_is_refused(tmp_path):
    root = repository(tmp_path / "repository", source())
    (root / "book/runs").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (root / "book/runs/mnist").symlink_to(tmp_path / "elsewhere")
    run = write(executed({"dataset": "mnist"}), tmp_path / "run/01_a.ipynb")
    with pytest.raises(InputError, match="remove that link"):
        publish.publish(run, root)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "record, said",
    [
        (None, "does not say what decided it"),
        ([], "does not say what decided it"),
        ({"parameters": {}}, "does not say what decided it"),
        ({"decides": {}, "parameters": ["x"]}, "name the parameters"),
        ({"decides": {}, "parameters": {"x`y": 1}}, "unknown parameter"),
        ({"decides": {}, "parameters": {"epochs": "many"}}, "epochs = 'many'"),
    ],
)
def test_what_a_notebook_says_of_itself_is_checked(record, said):
    notebook = executed()
    notebook.metadata["mia"] = nbformat.from_dict(record)
    with pytest.raises(InputError, match=said):
        publish.published(notebook, source())


def test_a_name_with_umlauts_and_blanks_has_a_folder_and_labels_without():
    copy = publish.published(executed(), source(), where="Größe 2")
    assert "gap-Größe-2" in labels(copy.cells)


TEXTS = ["a`b", "``", "`", "<script>alert(1)</script>", "a\nb", "*x*", "{ref}`gap`", "``a``"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_parameter_is_shown_as_it_is(text):
    from markdown_it import MarkdownIt

    note = publish._note({"name": text, "n": 1})
    html = MarkdownIt().render(note)
    soup = BeautifulSoup(html, "html.parser")
    assert [code.get_text() for code in soup.select("code")] == [f"name = {text!r}", "n = 1"]
    assert not soup.select("script") and len(soup.select("em")) == 1


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


def repository_with_book(tmp_path):
    root = repository(tmp_path / "repo", source())
    (root / "book/grids").mkdir(parents=True)
    shutil.copy(ROOT / "notebooks/10_experiments.ipynb", root / "notebooks")
    return root


def test_results_are_merged_checked_and_the_second_time_unchanged(tmp_path, monkeypatch, capsys):
    root = repository_with_book(tmp_path)
    monkeypatch.setenv("MIA_RESULTS", str(tmp_path / "results"))
    name = copy_run("digits", tmp_path / "results")
    argv = ["publish", "results", name, "--root", str(root)]
    assert main([*argv, "--dry-run"]) == 0
    assert "publish: 1 runs would be merged" in capsys.readouterr().out
    assert not (root / "book/results").exists()
    assert main(argv) == 0
    assert f"merged: {name}\npublish: 1 runs merged, 0 unchanged" in capsys.readouterr().out
    files = f"records/{name}.jsonl", f"signals/{name}.npz"
    copies = [root / "book/results" / file for file in files]
    before = [path.read_bytes() for path in copies]
    assert main(argv) == 0
    assert "publish: 0 runs merged, 1 unchanged" in capsys.readouterr().out
    assert [path.read_bytes() for path in copies] == before
    broken = tmp_path / f"results/records/{name}.jsonl"
    broken.write_text(broken.read_text().replace('"seed": ', '"seed": 0.5, "sede": '))
    assert main(argv) == 2
    assert "line 1 lacks [] and has unknown ['sede']" in capsys.readouterr().err
    assert copies[0].read_bytes() == before[0]


def test_trial_runs_are_named_and_not_published(tmp_path, monkeypatch, capsys):
    root = repository_with_book(tmp_path)
    monkeypatch.setenv("MIA_RESULTS", str(tmp_path / "results"))
    name = copy_run("digits", tmp_path / "results")
    argv = ["publish", "results", "--root", str(root)]
    assert main(argv) == 0
    assert f"left: {name} is no cell of a grid of the book" in capsys.readouterr().out
    assert not (root / "book/results").exists()
    shutil.copy(ROOT / "book/grids/embedded.toml", root / "book/grids")
    assert main(argv) == 0
    assert f"merged: {name}" in capsys.readouterr().out
    assert main([*argv, "--all", name]) == 2
    assert main([*argv[:2], "r1", *argv[2:]]) == 2
    assert "no run r1" in capsys.readouterr().err


def changed(root, name, new=None, **columns):
    """Rewrite a run's records with other values, under another name if there is one."""
    path = root / f"records/{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    columns |= {"run": new} if new else {}
    text = "".join(json.dumps({**row, **columns}) + "\n" for row in rows)
    path.with_stem(new or name).write_text(text)
    return new or name


def test_time_decides_nothing(tmp_path):
    """Neither seconds nor the machine nor the order of merging."""
    first, second, book = (tmp_path / name for name in ("first", "second", "book"))
    name = copy_run("digits", first)
    copy_run("digits", second)
    changed(second, name, seconds=9999.0, processor="another", torch="9.9")
    assert merge.merge(first, book).new == [name]
    before = (book / f"records/{name}.jsonl").read_bytes()
    assert merge.merge(second, book).same == [name]
    changed(second, name, auc=0.75)
    assert merge.merge(second, book).kept == [name]
    assert (book / f"records/{name}.jsonl").read_bytes() == before
    assert merge.merge(second, book, named=[name]).new == [name]
    assert (book / f"records/{name}.jsonl").read_bytes() != before


def test_a_later_recipe_takes_the_place_of_an_earlier_one_in_any_order(tmp_path):
    source = tmp_path / "made"
    old = copy_run("digits", source)
    new = changed(source, old, "rfedcba987654321", recipe=1000)
    results = []
    for number, order in enumerate([(old, new), (new, old), ()]):
        book = tmp_path / str(number)
        for run in order:
            merge.merge(source, book, runs=[run])
        merge.merge(source, book)
        results.append([path.name for path in sorted(book.rglob("*.*"))])
    assert results[0] == results[1] == results[2] == [f"{new}.jsonl"]


def test_two_runs_of_one_recipe_that_exclude_each_other_are_named(tmp_path):
    source, book = tmp_path / "made", tmp_path / "book"
    one = copy_run("digits", source)
    other = changed(source, one, "rfedcba987654321", fingerprint="0" * 64)
    with pytest.raises(InputError, match="name the one that shall stay"):
        merge.merge(source, book)
    assert not book.exists()
    assert merge.merge(source, book, named=[other]).new == [other]
    assert merge.merge(source, book, runs=[other]).same == [other]
    assert merge.merge(source, book, named=[one]).replaced == {other: one}


def test_a_disk_that_takes_no_page_is_named_with_the_book(tmp_path, capsys):
    root = repository(tmp_path / "repo", source())
    (root / "book").mkdir()
    ran = write(executed({"dataset": "digits"}), tmp_path / "01_a.ipynb")
    with no_file_beyond(1000):
        assert main(["publish", "runs", str(ran), "--root", str(root)]) == 2
    said = capsys.readouterr().err
    assert f"{root / 'book/runs/digits/01_a.ipynb'}: cannot be written" in said and "--root" in said
    assert not [path for path in (root / "book").rglob("*") if path.is_file()]


def test_what_a_killed_call_left_of_a_page_goes_with_the_next(tmp_path):
    root = repository(tmp_path / "repo", source())
    ran = write(executed({"dataset": "digits"}), tmp_path / "01_a.ipynb")
    (root / "book/runs/digits").mkdir(parents=True)
    (root / f"book/runs/digits/.{'0' * 32}.01_a.ipynb").write_text("half")
    page, _ = publish.publish(ran, root)
    assert list(page.parent.iterdir()) == [page]


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("[!.]*.*")}


def test_killed_at_any_change_a_merge_leaves_nothing_that_the_next_call_takes_for_whole(
    tmp_path, monkeypatch
):
    """A new run with its signals, in the place of a published one that has signals, too; with what
    earlier kills left of writing records."""
    source, before = tmp_path / "made", tmp_path / "before"
    old = copy_run("digits", before)
    copy_run("digits", source)
    new = changed(source, old, "rfedcba987654321", recipe=1000)
    (source / f"records/{old}.jsonl").unlink()
    (source / f"signals/{old}.npz").rename(source / f"signals/{new}.npz")
    for folder, text in ((source, ""), (before, (before / f"records/{old}.jsonl").read_text())):
        (folder / f"records/.{'0' * 32}.{old}.jsonl").write_text(text)

    def merged(name, killed_at=0):
        shutil.copytree(before, tmp_path / name)
        left = killed_at

        def change(make):
            def counted(*arguments, **options):
                nonlocal left
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
                return make(*arguments, **options)

            return counted

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(Path, "write_bytes", change(Path.write_bytes))
            patch.setattr(os, "replace", change(os.replace))
            patch.setattr(Path, "unlink", change(Path.unlink))
            merge.merge(source, tmp_path / name)
        merge.merge(source, tmp_path / name)
        assert len(results.read(tmp_path / name)["run"].unique()) == 1
        return contents(tmp_path / name), left

    wanted, _ = merged("undisturbed")
    assert sorted(path.name for path in wanted) == [f"{new}.jsonl", f"{new}.npz"]
    for killed_at in range(1, 20):
        found, left = merged(str(killed_at), killed_at)
        assert found == wanted, killed_at
        if left > 0:
            break
    assert killed_at > 7


def test_too_many_bytes_of_signals_are_not_published(tmp_path, monkeypatch):
    name = copy_run("digits", tmp_path / "made")
    monkeypatch.setattr(merge, "ALL_BYTES", 100)
    with pytest.raises(InputError, match="at most 100 are published"):
        merge.merge(tmp_path / "made", tmp_path / "book", named=[name])
    assert not (tmp_path / "book").exists()


def test_verify_repeats_what_is_cheap_and_fails_on_a_difference(tmp_path, monkeypatch, capsys):
    from mia_utils.data import catalog

    root = repository(tmp_path / "repo", source())
    monkeypatch.setattr(catalog, "REPORTED", ("digits",))
    name = copy_run("digits", root / "book/results")
    argv = ["publish", "verify", "--root", str(root)]
    assert main([*argv, "--longest", "0"]) == 2
    assert "no published run on ['digits'] of at most 0 s" in capsys.readouterr().err
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert f"{name} loss seed" in said and "differs" not in said
