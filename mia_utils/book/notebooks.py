"""Chapters as files: found by name, read as JSON, their code cells and their parameters.

Nothing here needs Jupyter: an .ipynb is JSON, so that `mia sweep --train-only` can read chapters
where only the trainings' own dependencies are installed.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError

NAME = re.compile(r"([0-9]{2}[a-z]?)_(\w+)", re.ASCII)
"""The number and the name of a chapter; those that continue one have its number and a letter."""
PARAMETERS, INJECTED = "parameters", "injected-parameters"


def chapters(root: str | os.PathLike) -> list[Path]:
    """The chapters under ROOT/notebooks, in the order of their numbers."""
    return find(Path(root, "notebooks"), "ipynb")


def find(folder: str | os.PathLike, ending: str) -> list[Path]:
    """The files of that ending in a folder that have a chapter's name, in the order of numbers."""
    found = Path(folder).glob(f"[0-9][0-9]*.{ending}")
    return sorted(path for path in found if NAME.fullmatch(path.stem))


def number_of(chapter: str | os.PathLike) -> str:
    """The number that a reader sees: "6" or "6b", and "" for chapter 00, which has none.

    >>> number_of("notebooks/06b_rmia.ipynb")
    '6b'
    """
    found = NAME.fullmatch(Path(chapter).stem)
    return found[1].lstrip("0") if found else ""


def find_chapter(name: str | os.PathLike, root: str | os.PathLike = ".") -> Path:
    """The notebook that a number, a name or a path stands for: 3, 06b, 03_metric_attacks, a.ipynb.

    Raises
    ------
    InputError
        If there is none.
    """
    name, known = str(name), chapters(root)
    for path in known:
        is_number = re.fullmatch(r"[0-9]+[a-z]?", name, re.ASCII)
        if name == path.stem or (is_number and name.lstrip("0") == number_of(path)):
            return path
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path
    if path.suffix == ".md" and path.with_suffix(".ipynb").is_file():
        raise InputError(f"{path} is the source of a chapter; give its pair {path.stem}.ipynb")
    if path.suffix and path.suffix != ".ipynb":
        raise InputError(f"{path} is not an .ipynb; expected a notebook such as {path.stem}.ipynb")
    where = Path(root, "notebooks")
    if not known:
        raise InputError(
            f"no notebook {name}: there are no chapters in {where.absolute()}; call mia in the "
            "folder of the book's repository, say where that is (--root DIR), or name a file, such as "
            "path/to/chapter.ipynb"
        )
    titles = ", ".join(path.stem for path in known)
    raise InputError(f"no notebook {name}; the chapters in {where} are: {titles}")


def read(path: str | os.PathLike) -> dict:
    """An .ipynb (format 4) as plain dictionaries, the sources of cells as one text each.

    Raises
    ------
    InputError
        If there is no such file, or it is not a notebook of that format.
    """
    path = Path(path)
    if path.suffix != ".ipynb":
        raise InputError(f"{path} is not an .ipynb; expected a notebook such as {path.stem}.ipynb")
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["nbformat"] != 4 or not isinstance(content["metadata"], dict):
            raise ValueError("its format is not 4")
        for cell in content["cells"]:
            source = cell["source"]
            cell["source"] = source if isinstance(source, str) else "".join(source)
            cell["cell_type"], cell["metadata"].get("tags")
            if cell["cell_type"] == "code":
                cell["outputs"] = _outputs(cell["outputs"])
    except FileNotFoundError:
        raise InputError(f"no notebook {path}; the chapters are notebooks/NN_name.ipynb") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error).split("\n")[0]
        raise InputError(f"{path} is not a notebook: {why[:200]}") from None
    return content


def _outputs(outputs: list[dict]) -> list[dict]:
    """Outputs with their texts in one piece each, as notebooks hold them in memory."""
    for output in outputs:
        if isinstance(output.get("text"), list):
            output["text"] = "".join(output["text"])
        for kind, value in output.get("data", {}).items():
            if isinstance(value, list) and not kind.endswith("json"):
                output["data"][kind] = "".join(value)
    return outputs


def tags(cell: dict) -> list[str]:
    """The tags of a cell, [] if it has none."""
    return list(cell["metadata"].get("tags", []))


def code_cells(notebook: Mapping) -> list[Any]:
    """The code cells of the author: those that Papermill injected are left out."""
    return [c for c in notebook["cells"] if c["cell_type"] == "code" and INJECTED not in tags(c)]


def parameters(notebook: Mapping) -> dict:
    """Names and defaults in the cell tagged `parameters`, {} without such a cell.

    Raises
    ------
    InputError
        If that cell is no Python, or a line of it is anything but `name = literal`.
    """
    cell = next((c for c in code_cells(notebook) if PARAMETERS in tags(c)), None)
    found = {}
    try:
        lines = ast.parse(cell["source"]).body if cell else []
    except (SyntaxError, ValueError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"the parameters cell is no Python: {said}") from None
    for line in lines:
        try:
            (target,) = line.targets if isinstance(line, ast.Assign) else (line.target,)
            value = ast.literal_eval(line.value)
            if not isinstance(target, ast.Name):
                raise TypeError
            json.dumps(value)
            found[target.id] = value
        except (AttributeError, ValueError, TypeError):
            raise InputError(
                f"the parameters cell holds {ast.unparse(line)!r}; expected name = literal, of "
                "numbers, texts, lists, tuples and dictionaries"
            ) from None
    return found


def check_python(notebook: dict, path: str | os.PathLike) -> None:
    """Refuse a notebook of another language: chapters run in this interpreter.

    Raises
    ------
    InputError
        If its metadata name another language, or a kernel without naming Python.
    """
    kernel = notebook["metadata"].get("kernelspec", {})
    language = notebook["metadata"].get("language_info", {}).get("name") or kernel.get("language")
    name = kernel.get("name", "python3")
    if (language or ("python" if "python" in name.lower() else name)).lower() != "python":
        raise InputError(
            f"{path} is a notebook of {language or f'kernel {name!r}'}; expected one of Python "
            "(kernelspec: language python, name python3)"
        )


def told_of(notebook: dict) -> dict:
    """What this package wrote about a notebook into it ("mia" in the metadata), else {}."""
    told = notebook["metadata"].get("mia", {})
    return told if isinstance(told, dict) else {}


def is_done(path: Path, run: str) -> bool:
    """Whether `path` is the finished notebook of the run with this hash."""
    try:
        return path.exists() and told_of(read(path)).get("run") == run
    except InputError:
        return False  # something else, or half of it
