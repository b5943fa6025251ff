"""Executed notebooks made fit for the book: no traces of the machine, unique labels, no errors.

A copy lies at book/runs/DATASET/NN_name.ipynb. Its outputs come from one execution, its prose from
the chapter's source as long as their code cells are the same; `mia publish --check` names the
copies whose source has changed since, and the book shows a banner on them.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_code_cell, new_markdown_cell

from . import notebooks
from ..errors import InputError

DEFAULT_SET = "cifar10-mini"
NOTE = "mia-note"
WIDGET = "application/vnd.jupyter.widget-view+json"

# Where a MyST page gives a label: `(label)=`, `:label: x` or `:name: x`, and `$$ (label)`.
DEFINED = re.compile(
    r"^(?:\((?P<target>[\w.:-]+)\)=[ \t]*$"
    r"|[ \t]*:(?:label|name):[ \t]*(?P<option>[\w.:-]+)[ \t]*$"
    r"|.*(?:\$\$|\\end\{\w+\*?\})[ \t]*\((?P<math>[\w.:-]+)\)[ \t]*$)",
    re.MULTILINE,
)
ROLE = re.compile(r"(\{(?:ref|numref|eq|math:numref|prf:ref)\}`)([^`]+)(`)")
LINK = re.compile(r"(\]\(#?)([\w.:-]+)(\))")


# ---- labels ------------------------------------------------------------------------------------


def _figure_names(cell: NotebookNode) -> list[dict]:
    """The figure and image options of a code cell that may hold a name (MyST-NB)."""
    options = cell.metadata.get("mystnb", {})
    return [options[key] for key in ("figure", "image") if "name" in options.get(key, {})]


def labels(cells: list[NotebookNode]) -> set[str]:
    """Every label that these cells define."""
    found = set()
    for cell in cells:
        if cell.cell_type == "markdown":
            found |= {m[m.lastgroup] for m in DEFINED.finditer(cell.source)}
        else:
            found |= {options["name"] for options in _figure_names(cell)}
    return found


def suffix_labels(cells: list[NotebookNode], suffix: str) -> None:
    """Append a suffix to all labels of a notebook, as `rename_labels` does."""
    rename_labels(cells, lambda label: f"{label}{suffix}")


def rename_labels(cells: list[NotebookNode], renamed: Callable[[str], str]) -> None:
    """Rename all labels of a notebook and its own references to them, in place.

    References to labels of other pages stay as they are.
    """
    own = labels(cells)

    def rename(label: str) -> str:
        return renamed(label) if label in own else label

    def definition(match: re.Match) -> str:
        group = match.lastgroup
        start, end = (place - match.start() for place in match.span(group))
        return match[0][:start] + renamed(match[group]) + match[0][end:]

    def role(match: re.Match) -> str:
        titled = re.fullmatch(r"(.*<)([^<>]+)(>)", match[2], re.DOTALL)
        inner = titled[1] + rename(titled[2]) + titled[3] if titled else rename(match[2])
        return match[1] + inner + match[3]

    for cell in cells:
        if cell.cell_type == "markdown":
            text = DEFINED.sub(definition, cell.source)
            text = ROLE.sub(role, text)
            cell.source = LINK.sub(lambda m: m[1] + rename(m[2]) + m[3], text)
        else:
            for options in _figure_names(cell):
                options["name"] = renamed(options["name"])


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


def run_parameters(executed: NotebookNode) -> dict:
    """The parameters that an execution was given, by `mia run` or by plain Papermill."""
    for record in (executed.metadata.get("mia"), executed.metadata.get("papermill")):
        if record and record.get("parameters") is not None:
            return dict(record["parameters"])
    return {}


def dataset_of(executed: NotebookNode) -> str:
    """The data set of an executed notebook: as given, else its parameter's default."""
    values = {**notebooks.parameters(executed), **run_parameters(executed)}
    return str(values.get("dataset", DEFAULT_SET))


def _note(given: dict) -> str:
    listed = ", ".join(f"`{name} = {value!r}`" for name, value in given.items())
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
        What Papermill wrote, or a copy published earlier.
    source : NotebookNode, optional
        The chapter as it is now. Its prose is taken if its code cells are those of `executed`.
    where : str, optional
        Folder under book/runs; by default the data set. In the default set labels stay as they
        are, elsewhere the folder's name is appended to each.

    Raises
    ------
    InputError
        If there is an error output, a code cell that was not executed, or a copy published
        earlier whose source has changed since.
    """
    found = errors(executed)
    if found:
        raise InputError(f"error output in {found[0]}; a book must not hold errors, run it again")
    ran = notebooks.code_cells(executed)
    if any(cell.execution_count is None and cell.source.strip() for cell in ran):
        raise InputError("the notebook holds code cells that were not executed; run it first")
    hashed = notebooks.source_hash(executed)
    again = "published" in executed.metadata.get("mia", {})
    if source is None or notebooks.source_hash(source) != hashed:
        if again:
            raise InputError("this copy is published already and its source has changed since")
        source = executed
    given, dataset = run_parameters(executed), dataset_of(executed)
    results = iter(ran)
    cells: list[NotebookNode] = []
    for cell in source.cells:
        tags = notebooks.tags(cell)
        if notebooks.INJECTED in tags:
            continue
        if cell.cell_type != "code":
            cells.append(from_dict({**cell, "metadata": {"tags": tags} if tags else {}}))
            continue
        cells.append(_code(cell, next(results)))
        if notebooks.PARAMETERS in tags and given:
            cells += _injected(executed, cell.id, given)
    where = where or dataset
    if where != DEFAULT_SET:
        suffix_labels(cells, f"-{where}")
    record = executed.metadata.get("mia", {})
    metadata = {
        **notebooks.KERNEL,
        "mia": {
            "published": True,
            "source_hash": hashed,
            "dataset": dataset,
            "parameters": given,
            **({"run": record["run"]} if "run" in record else {}),
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
    return notebooks.read(path) if path.exists() else None


def copies(root: str | os.PathLike) -> list[Path]:
    """The copies under ROOT/book/runs that are kept: all but the default set's, in order."""
    found = Path(root, "book/runs").glob("*/[0-9][0-9]_*.ipynb")
    return sorted(path for path in found if path.parent.name != DEFAULT_SET)


def publish(
    executed: str | os.PathLike, root: str | os.PathLike, *, where: str | None = None
) -> tuple[Path, bool]:
    """Make one executed notebook a page of the book under `root`.

    Returns
    -------
    (Path, bool)
        The copy, and whether its bytes changed.

    Raises
    ------
    InputError
        As `published`, with the file's name.
    """
    executed = Path(executed)
    notebook = notebooks.read(executed)
    try:
        copy = published(notebook, source_of(root, executed), where=where)
    except InputError as error:
        raise InputError(f"{executed}: {error}") from None
    folder = where or copy.metadata.mia.dataset
    path = Path(root, "book/runs", folder, executed.name)
    return path, notebooks.write(copy, path)


def is_old(copy: NotebookNode, source: NotebookNode | None) -> bool:
    """Whether a chapter's code has changed since this copy of it was executed."""
    hashed = copy.metadata["mia"]["source_hash"]
    return source is not None and hashed != notebooks.source_hash(source)


def old_copies(root: str | os.PathLike) -> list[Path]:
    """The copies under book/runs whose source has changed since."""
    return [path for path in copies(root) if is_old(notebooks.read(path), source_of(root, path))]


def refresh(root: str | os.PathLike) -> list[Path]:
    """Bring today's prose into all copies whose code has not changed; return those rewritten."""
    old = set(old_copies(root))
    return [
        path
        for path in copies(root)
        if path not in old and publish(path, root, where=path.parent.name)[1]
    ]


# ---- command -----------------------------------------------------------------------------------


def add_publish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("executed", nargs="*", type=Path, help="notebooks that `mia run` wrote")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository, default: here")
    parser.add_argument(
        "--results",
        action="store_true",
        help="merge the records and signals in MIA_RESULTS into book/results",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="name copies older than their source")
    what.add_argument("--refresh", action="store_true", help="bring changed prose into all copies")
    what.add_argument(
        "--verify", action="store_true", help="repeat the cheap runs on real data, print a log"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data sets, else MIA_DATA")
    parser.add_argument(
        "--longest", type=float, metavar="SECONDS", help="with --verify: what is cheap (900)"
    )
    parser.set_defaults(call=_publish)


def _verify(arguments: argparse.Namespace, folder: Path) -> int:
    from . import contents as book
    from ..experiments import records as results, verify

    root = arguments.data and arguments.data.expanduser().resolve()
    longest = verify.CHEAP if arguments.longest is None else arguments.longest
    frame = results.read(folder)
    checks = []
    with notebooks.environment(MIA_DATA=root), tempfile.TemporaryDirectory() as store:
        for name in verify.choose(frame, set(book.SETS), longest=longest):
            checks += verify.verify(frame, name, store=store)
    print(verify.report(checks))
    return 1 if any(check.failed for check in checks) else 0


def _publish(arguments: argparse.Namespace) -> int:
    from .contents import write_toc

    root = arguments.root
    if not (root / "book").is_dir():
        raise InputError(f"no folder {root / 'book'}; call it in the repository or give --root")
    if arguments.check:
        old = old_copies(root)
        for path in old:
            print(f"{path}: its chapter's code has changed since it was executed")
        print(f"publish: {len(old)} of {len(copies(root))} copies are older than their source")
        return 1 if old else 0
    if arguments.verify:
        return _verify(arguments, root / "book/results")
    if arguments.results:
        from ..experiments import records as results

        changed = results.merge(results.results_root(), root / "book/results")
        for path in changed:
            print(f"{'merged' if path.exists() else 'replaced'}: {path}")
        print(f"publish: {len(changed)} files of results changed")
    for path in refresh(root) if arguments.refresh else ():
        print(f"prose refreshed: {path}")
    for executed in arguments.executed:
        path, changed = publish(executed, root)
        print(f"{'published' if changed else 'unchanged'}: {path}")
    if write_toc(root):
        print("table of contents rewritten: _toc.yml")
    return 0
