"""Executed notebooks made fit for the book: no traces of the machine, unique labels, no errors.

A copy lies at book/runs/DATASET/NN_name.ipynb. Its outputs come from one execution, its prose from
the chapter's source as long as their code is the same; the book shows a banner on copies of which
anything has changed that decided them (`state`).

An executed notebook may come from anybody: what it says of itself is checked like any other input,
and nothing is written outside the folder of copies.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_code_cell, new_markdown_cell

from ..errors import InputError
from ..files import one_line_disk_errors, remove_pieces, write_if_changed
from ..parameters import check
from . import notebooks, same, state
from .execute import KERNEL, as_bytes
from .labels import suffix_labels
from .source import code_hash

DEFAULT_SET = "cifar10-mini"
TEXT_SET = "text"
NOTE = "mia-note"
WIDGET = "application/vnd.jupyter.widget-view+json"
_FOLDER = re.compile(r"\w(?:[\w .+-]{0,98}[\w+-])?")


# ---- outputs -----------------------------------------------------------------------------------


def clean_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs without progress (stderr, widgets), and pieces of one stream joined."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
                continue
        elif WIDGET in output.get("data", {}):
            continue
        kept.append(from_dict({k: v for k, v in output.items() if k != "transient"}))
    return kept


def errors(notebook: NotebookNode) -> list[str]:
    """One line for every error output."""
    return [
        f"cell [{cell.execution_count}]: {output.ename}: {output.evalue}"
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "error"
    ]


# ---- one copy ----------------------------------------------------------------------------------


def read(path: str | os.PathLike) -> NotebookNode:
    """As `notebooks.read`, with attributes."""
    return from_dict(notebooks.read(path))


def source_hash(notebook: NotebookNode) -> str:
    """Hash of the author's code cells: neither prose nor outputs nor injected values."""
    return code_hash(cell["source"] for cell in notebooks.code_cells(notebook))


def record_of(executed: NotebookNode) -> dict:
    """What `mia run` wrote into the notebook that it executed.

    Returns
    -------
    dict
        `run`, `decides`, and `parameters` as the notebook's own parameters cell reads them.

    Raises
    ------
    InputError
        If it was not executed by `mia run`, or what it says cannot be so.
    """
    record = executed.metadata.get("mia")
    if not isinstance(record, dict) or not isinstance(record.get("decides"), dict):
        raise InputError(
            "it does not say what decided it; execute the chapter by mia run NN, mia sweep or "
            "make book"
        )
    given = record.get("parameters")
    if not isinstance(given, dict):
        raise InputError(f"its metadata name the parameters {given!r}; execute it by mia run")
    values = check(notebooks.parameters(executed), given)
    return {**record, "parameters": {name: values[name] for name in given}}


def dataset_of(executed: NotebookNode) -> str:
    """The data set of an executed notebook: as given, else its parameter's default.

    A chapter on texts has none: with parameters of its own it is a copy beside the default one.
    """
    given = executed.metadata.get("mia", {}).get("parameters", {})
    values = {**notebooks.parameters(executed), **given}
    return TEXT_SET if given and "text" in values else str(values.get("dataset", DEFAULT_SET))


def folder_name(name: str) -> str:
    """A name, if it may be that of a folder of copies.

    Raises
    ------
    InputError
        If it holds anything but letters, digits, `_`, `-`, `+`, `.` and blanks, or begins or ends
        with what a file system could take for more than a name.
    """
    if not _FOLDER.fullmatch(name) or ".." in name:
        raise InputError(
            f"{name!r} cannot name a folder of copies; expected letters, digits, _ - + . and "
            "blanks, beginning with a letter or digit"
        )
    return name


def label_ending(folder: str) -> str:
    """What the labels of the copies in a folder end with.

    >>> label_ending("faces 2")
    '-faces-2'
    """
    return "-" + re.sub(r"[^\w-]+", "-", folder)


def code_span(text: str) -> str:
    """Markdown that shows a text as it is, whatever is in it.

    >>> code_span("a`b")
    '``a`b``'
    """
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{text}{blank}{fence}"


def _note(given: dict) -> str:
    listed = ", ".join(code_span(f"{name} = {value!r}") for name, value in given.items())
    return f"*This copy was executed with* {listed}."


def _code(cell: NotebookNode, executed: NotebookNode) -> NotebookNode:
    metadata = {k: v for k, v in cell.metadata.items() if k not in ("papermill", "execution")}
    return new_code_cell(
        cell.source,
        id=cell.id,
        metadata=from_dict(metadata),
        execution_count=executed.execution_count,
        outputs=clean_outputs(executed.outputs),
    )


def published(
    executed: NotebookNode, source: NotebookNode | None = None, *, where: str | None = None
) -> NotebookNode:
    """The copy for the book of an executed notebook.

    Parameters
    ----------
    executed : NotebookNode
        What `mia run` wrote, or a copy published earlier.
    source : NotebookNode, optional
        The chapter as it is now. Its prose is taken if its code cells are those of `executed`.
    where : str, optional
        Folder under book/runs; by default the data set. In the default set labels stay as they
        are, elsewhere the folder's name is appended to each.

    Raises
    ------
    InputError
        If there is an error output, a code cell that was not executed, a name that cannot be a
        folder's, no record of what decided it, or a copy published earlier whose code has changed.
    """
    found = errors(executed)
    if found:
        raise InputError(f"error output in {found[0]}; a book must not hold errors, run it again")
    ran = notebooks.code_cells(executed)
    if any(cell.execution_count is None and cell.source.strip() for cell in ran):
        raise InputError("the notebook holds code cells that were not executed; run it first")
    if source is None or source_hash(source) != source_hash(executed):
        if "published" in executed.metadata.get("mia", {}):
            raise InputError("this copy is published already and its chapter's code has changed")
        source = executed
    record = record_of(executed)
    given, dataset = record["parameters"], dataset_of(executed)
    where = folder_name(where or dataset)
    results = iter(ran)
    cells: list[NotebookNode] = []
    for number, cell in enumerate(source.cells):
        cell.setdefault("id", f"cell-{number}")
        tags = notebooks.tags(cell)
        if notebooks.INJECTED in tags:
            continue
        if cell.cell_type != "code":
            cells.append(from_dict({**cell, "metadata": {"tags": tags} if tags else {}}))
            continue
        cells.append(_code(cell, next(results)))
        if notebooks.PARAMETERS in tags and given:
            cells += _injected(executed, cell.id, given)
    if where != DEFAULT_SET:
        suffix_labels(cells, label_ending(where))
    metadata = {
        **KERNEL,
        "mia": {
            "published": True,
            "run": state.run_hash(record["decides"]),
            "decides": record["decides"],
            "dataset": dataset,
            "parameters": given,
            **({"made": record["made"]} if isinstance(record.get("made"), dict) else {}),
        },
    }
    return from_dict({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def _injected(executed: NotebookNode, anchor: str, given: dict) -> list[NotebookNode]:
    """Papermill's cell, hidden, and a line that tells the reader what it says."""
    cells = [
        new_code_cell(
            cell.source,
            id=f"{anchor}-given",
            metadata=from_dict({"tags": [notebooks.INJECTED, "remove-cell"]}),
            execution_count=cell.execution_count,
        )
        for cell in executed.cells
        if notebooks.INJECTED in notebooks.tags(cell)
    ]
    tags = from_dict({"tags": [NOTE]})
    return [*cells, new_markdown_cell(_note(given), id=f"{anchor}-note", metadata=tags)]


# ---- the folder of copies ----------------------------------------------------------------------


def source_of(root: str | os.PathLike, copy: str | os.PathLike) -> NotebookNode | None:
    """The chapter that a copy was made from, as it is now, or None if it is gone."""
    path = Path(root, "notebooks", Path(copy).name)
    return read(path) if path.exists() else None


def copies(root: str | os.PathLike) -> list[Path]:
    """The copies under ROOT/book/runs that are kept: all but the default set's, in order."""
    folders = (path for path in Path(root, "book/runs").glob("*") if path.name != DEFAULT_SET)
    return sorted(path for folder in folders for path in notebooks.find(folder, "ipynb"))


def place(root: str | os.PathLike, folder: str, file: str) -> Path:
    """ROOT/book/runs/FOLDER/FILE, if it lies there and nowhere else.

    Raises
    ------
    InputError
        If one of the names cannot be one, or leads elsewhere (a link).
    """
    if not file.endswith(".ipynb") or not notebooks.NAME.fullmatch(file[: -len(".ipynb")]):
        raise InputError(f"{file!r} is no chapter's name; expected NN_name.ipynb")
    runs = Path(root, "book/runs")
    path = runs / folder_name(folder) / file
    if path.resolve() != runs.resolve() / folder / file:
        raise InputError(f"{path} leads to {path.resolve()}; remove that link")
    return path


def publish(
    executed: str | os.PathLike,
    root: str | os.PathLike,
    *,
    where: str | None = None,
    dry_run: bool = False,
) -> tuple[Path, bool]:
    """Make one executed notebook a page of the book under `root`.

    Returns
    -------
    (Path, bool)
        The copy, and whether its bytes change.

    Raises
    ------
    InputError
        As `published` and `place`, with the file's name.
    """
    executed = Path(executed)
    notebook = read(executed)
    try:
        copy = published(notebook, source_of(root, executed), where=where)
        path = place(root, where or copy.metadata.mia.dataset, executed.name)
    except InputError as error:
        raise InputError(f"{executed}: {error}") from None
    content = as_bytes(copy)
    if dry_run:
        return path, not path.exists() or path.read_bytes() != content
    with one_line_disk_errors(path, "--root"):
        changed = write_if_changed(path, content)
        remove_pieces(path.parent, path.name)
    return path, changed


def changes(copy: NotebookNode, source: NotebookNode | None) -> list[str]:
    """The parts of what decides a copy (`state.decides`) that have changed since its execution.

    A part that cannot be found today has changed. Without its chapter a copy stays as it is.
    """
    if source is None:
        return []
    record = copy.metadata.get("mia", {})
    decided = record.get("decides")
    if not isinstance(decided, dict):
        return ["code", *state.private_training(source)]
    try:
        values = check(notebooks.parameters(source), record["parameters"])
        return state.changed(decided, state.decides(source, values, recorded=decided))
    except (InputError, KeyError):
        return ["parameters"]


def changes_that_show(
    copy: NotebookNode, source: NotebookNode | None, root: str | os.PathLike, chapter: str
) -> tuple[list[str], bool]:
    """As `changes`, without an edit of the package that changed no output; whether there was one."""
    parts = changes(copy, source)
    if source is None or "package" not in parts:
        return parts, False
    now = state.package_hash([cell["source"] for cell in notebooks.code_cells(source)])
    if not same.same(root, chapter, copy.metadata.mia.decides["package"], now):
        return parts, False
    return [part for part in parts if part != "package"], True


def old_copies(root: str | os.PathLike) -> dict[Path, list[str]]:
    """The copies under book/runs of which something has changed that shows, and what."""
    state.forget()
    found = {
        path: changes_that_show(read(path), source_of(root, path), root, path.stem)[0]
        for path in copies(root)
    }
    return {path: parts for path, parts in found.items() if parts}


def refresh(root: str | os.PathLike, *, dry_run: bool = False) -> list[Path]:
    """Bring today's prose into all copies whose code has not changed; return those rewritten."""
    found = []
    for path in copies(root):
        copy, source = read(path), source_of(root, path)
        if source is None or "decides" not in copy.metadata.mia:
            continue
        if source_hash(copy) == source_hash(source):
            if publish(path, root, where=path.parent.name, dry_run=dry_run)[1]:
                found.append(path)
    return found
