"""Chapters as programs: their parameters, their hashes, one execution, and the Jupytext pairs.

The hand-edited source of a chapter is `NN_name.md` (MyST); `NN_name.ipynb` beside it has the
same cells without outputs, for Papermill, nbval and Colab: `python -m mia_utils.book.notebooks sync`
writes it.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from ..errors import InputError, NotebookError
from ..files import write_if_changed

PARAMETERS, INJECTED = "parameters", "injected-parameters"
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
KERNEL_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
"""One thread for each kernel, and figures in the notebook whatever the caller's own settings."""
_STARTS = 3
"""Starts of one notebook's kernel before its death is believed."""
TOOLING = frozenset({"__main__.py", "book", "cli"})
"""What starts notebooks or prints them, and can change nothing of what a cell computes."""


# ---- reading -----------------------------------------------------------------------------------


def read(path: str | os.PathLike) -> NotebookNode:
    """Read an .ipynb (format 4).

    Raises
    ------
    InputError
        If there is no such file, or it is not a notebook.
    """
    path = Path(path)
    if path.suffix != ".ipynb":
        raise InputError(f"{path} is not an .ipynb; expected a notebook such as {path.stem}.ipynb")
    if not path.exists():
        raise InputError(f"no notebook {path}; the chapters are notebooks/NN_name.ipynb")
    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a notebook: {str(error).splitlines()[0][:200]}") from None


def chapters(root: str | os.PathLike) -> list[Path]:
    """The chapters under ROOT/notebooks, in the order of their numbers."""
    return sorted(Path(root, "notebooks").glob("[0-9][0-9]_*.ipynb"))


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell, [] if it has none."""
    return cell.metadata.get("tags", [])


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells of the author: those that Papermill injected are left out."""
    return [c for c in notebook.cells if c.cell_type == "code" and INJECTED not in tags(c)]


# ---- parameters --------------------------------------------------------------------------------


def parameters(notebook: NotebookNode) -> dict:
    """Names and defaults in the cell tagged `parameters`, {} without such a cell.

    Raises
    ------
    InputError
        If a line of that cell is anything but `name = literal`.
    """
    cell = next((c for c in code_cells(notebook) if PARAMETERS in tags(c)), None)
    found = {}
    for line in ast.parse(cell.source).body if cell else []:
        try:
            (target,) = line.targets if isinstance(line, ast.Assign) else (line.target,)
            found[target.id] = ast.literal_eval(line.value)
        except (AttributeError, ValueError):
            raise InputError(
                f"the parameters cell holds {ast.unparse(line)!r}; expected name = literal"
            ) from None
    return found


def _kind(value) -> str:
    kinds = {bool: "True or False", int: "an integer", float: "a number", str: "a text"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def _fits(value, default) -> bool:
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, (list, tuple)):
        return isinstance(value, (list, tuple))
    return isinstance(value, type(default))


def check_parameters(known: Mapping, given: Mapping) -> dict:
    """All parameters of a run: the defaults, and over them what was given.

    Raises
    ------
    InputError
        If a name is unknown or a value is of another type than the default.
    """
    for name, value in given.items():
        if name not in known:
            raise InputError(
                f"unknown parameter {name!r}; this notebook knows {', '.join(known) or 'none'}"
            )
        if not _fits(value, known[name]):
            raise InputError(
                f"parameter {name} = {value!r}; expected {_kind(known[name])}, "
                f"as its default {known[name]!r}"
            )
    return {**known, **given}


def parse_parameter(name: str, text: str, known: Mapping):
    """The value that a text from the command line stands for, by the type of the default.

    >>> parse_parameter("epochs", "2", {"epochs": 30})
    2
    """
    default = known.get(name)
    if isinstance(default, str):
        return text
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text, text))
    except (ValueError, SyntaxError):
        return text


# ---- hashes ------------------------------------------------------------------------------------


def _sha256(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def source_hash(notebook: NotebookNode) -> str:
    """sha256 (hex) of the author's code cells: neither prose nor outputs nor injected values."""
    return _sha256(*(cell.source for cell in code_cells(notebook)))


def package_hash() -> str:
    """sha256 (hex) of the package's sources, without those that cannot change a cell's result."""
    root = Path(__file__).parents[1]
    files = sorted(p for p in root.rglob("*.py") if p.relative_to(root).parts[0] not in TOOLING)
    return _sha256(*(x for p in files for x in (p.relative_to(root).as_posix(), p.read_bytes())))


def data_fingerprint(values: Mapping) -> str:
    """Fingerprints of the pools that the parameters `dataset` and `*_dataset` name, and of the
    records if there is a parameter `records` (a folder, "" for the published ones)."""
    names = {v for k, v in values.items() if k == "dataset" or k.endswith("_dataset")}
    found = [_fingerprint(name, os.environ.get("MIA_DATA")) for name in sorted(filter(None, names))]
    if "records" in values:
        found.append(_records_hash(values["records"]))
    return _sha256(*found) if found else ""


@lru_cache(maxsize=64)
def _fingerprint(name: str, root: str | None) -> str:
    from ..data import load_dataset

    return load_dataset(name, root).fingerprint


def _records_hash(folder: str) -> str:
    from ..experiments.records import published

    return _files_hash(Path(folder or published()).glob("records/*.jsonl"))


def _tables_hash(notebook: NotebookNode) -> str:
    """Of the published tables (book/results/*.csv), if a cell reads them."""
    from ..experiments.records import published

    if not any("experiments.published()" in cell.source for cell in code_cells(notebook)):
        return ""
    return _files_hash(published().glob("*.csv"))


def _files_hash(paths: Iterable[Path]) -> str:
    return _sha256(*(part for path in sorted(paths) for part in (path.name, path.read_bytes())))


def run_hash(notebook: NotebookNode, values: Mapping) -> str:
    """Hash (16 hex digits) of what decides a run: code cells, all parameters, data, package."""
    given = json.dumps(dict(values), sort_keys=True)
    data = data_fingerprint(values) + _tables_hash(notebook)
    return _sha256(source_hash(notebook), given, data, package_hash())[:16]


# ---- execution ---------------------------------------------------------------------------------


def write(notebook: NotebookNode, path: Path) -> bool:
    """Write a notebook atomically if its bytes change; return whether they did."""
    text = nbformat.writes(notebook, version=4).rstrip("\n") + "\n"
    return write_if_changed(path, text.encode())


@contextmanager
def environment(**changes: str | None) -> Iterator[None]:
    """Environment variables for the kernels that start inside; None leaves one as it is."""
    changes = {name: str(value) for name, value in changes.items() if value is not None}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def is_done(path: Path, run: str) -> bool:
    """Whether `path` is the finished notebook of the run with this hash."""
    return path.exists() and read(path).metadata.get("mia", {}).get("run") == run


def _papermill(source: Path, running: Path, given: Mapping, progress: bool) -> None:
    """Execute, with a new start for a kernel that never answered.

    Kernels that start at the same time may be given the same free port. The later one then dies,
    before any cell.
    """
    import papermill

    for left in reversed(range(_STARTS)):
        try:
            papermill.execute_notebook(
                source,
                running,
                given,
                progress_bar=progress,
                extra_arguments=["--log-level=CRITICAL"],  # their own log is noise
            )
            return
        except RuntimeError as error:
            if not left or "Kernel died before replying" not in str(error):
                raise


def execute(
    source: str | os.PathLike,
    out: str | os.PathLike,
    given: Mapping | None = None,
    *,
    run: str | None = None,
    progress: bool = True,
) -> Path:
    """Execute a notebook by Papermill, one thread, and write it to `out` when it has finished.

    `run` is the run's hash if the caller has it already. A notebook that fails is kept beside
    `out` as NAME.failed.ipynb.

    Raises
    ------
    InputError
        If a parameter is unknown or of the wrong type (before anything starts), or if a cell
        raised an InputError.
    NotebookError
        If a cell raised anything else.
    """
    import papermill

    source, out = Path(source), Path(out)
    notebook = read(source)
    given = dict(given or {})
    values = check_parameters(parameters(notebook), given)
    run = run or run_hash(notebook, values)
    out.parent.mkdir(parents=True, exist_ok=True)
    running = out.with_name(f".{out.stem}.{os.getpid()}.ipynb")
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    try:
        with environment(**KERNEL_ENVIRONMENT):
            _papermill(source, running, given, progress)
        executed = read(running)
        executed.metadata["mia"] = {
            "run": run,
            "source_hash": source_hash(notebook),
            "dataset": str(values.get("dataset", "")),
            "parameters": given,
        }
        write(executed, out)
        failed.unlink(missing_ok=True)
    except papermill.PapermillExecutionError as error:
        os.replace(running, failed)
        kind = InputError if error.ename == "InputError" else NotebookError
        name = "" if kind is InputError else f"{error.ename}: "
        message = " ".join(f"{name}{error.evalue}".split())
        raise kind(f"{message} (cell [{error.exec_count}] of {source}, kept as {failed})") from None
    finally:
        running.unlink(missing_ok=True)
    return out


# ---- pairs -------------------------------------------------------------------------------------


def from_markdown(path: Path) -> NotebookNode:
    """The .ipynb of a chapter's .md: no outputs, and cell ids that follow from the cells.

    An id is the hash of the cell's text, so that an edit changes the ids of the edited cells alone.
    """
    import jupytext

    notebook = jupytext.read(path, fmt="md:myst")
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        key = _sha256(cell.cell_type, cell.source)[:12]
        seen[key] = seen.get(key, 0) + 1
        cell.id = key if seen[key] == 1 else f"{key}-{seen[key]}"
    notebook.metadata = nbformat.from_dict(
        {**KERNEL, "jupytext": {"formats": "ipynb,md:myst"}}
        | {k: v for k, v in notebook.metadata.items() if k not in ("jupytext", *KERNEL)}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def pairs(directory: str | os.PathLike) -> list[tuple[Path, Path]]:
    """(NN_name.md, NN_name.ipynb) of every chapter in a folder, whether or not both exist."""
    folder = Path(directory)
    stems = {p.stem for end in ("md", "ipynb") for p in folder.glob(f"[0-9][0-9]_*.{end}")}
    return [(folder / f"{stem}.md", folder / f"{stem}.ipynb") for stem in sorted(stems)]


def _content(notebook: NotebookNode) -> list[tuple]:
    """What a pair must share: not the cell ids and the metadata that Jupytext's own sync writes."""
    return [
        (cell.cell_type, cell.source, cell.metadata, cell.get("outputs", []))
        for cell in notebook.cells
    ]


def drifted(directory: str | os.PathLike) -> list[str]:
    """One line for each pair whose .ipynb is not what its .md gives, or that lacks one half."""
    lines = []
    for source, paired in pairs(directory):
        if not source.exists() or not paired.exists():
            missing = source if paired.exists() else paired
            lines.append(f"{source.stem}: {missing.name} is missing")
        elif _content(from_markdown(source)) != _content(nbformat.read(paired, as_version=4)):
            lines.append(f"{source.stem}: {paired.name} is not what {source.name} gives")
    return lines


def sync(directory: str | os.PathLike) -> list[Path]:
    """Write the .ipynb of every .md in a folder; return those that changed."""
    return [b for a, b in pairs(directory) if a.exists() and write(from_markdown(a), b)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mia_utils.book.notebooks", description=__doc__)
    parser.add_argument("action", choices=["sync", "check"])
    parser.add_argument("directory", nargs="?", default="notebooks")
    arguments = parser.parse_args(argv)
    if arguments.action == "sync":
        for path in sync(arguments.directory):
            print(f"written: {path}")
        return 0
    lines = drifted(arguments.directory)
    print("\n".join(lines) or "pairs: in sync")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
