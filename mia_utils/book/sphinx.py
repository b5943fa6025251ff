"""The book's Sphinx extension: what Sphinx reads instead of a page's text, and loads on a page."""

from __future__ import annotations

import os
import pkgutil
import re
from pathlib import Path

from . import publish
from .contents import RUNS

BANNER = """```{admonition} This copy is older than its source
:class: warning
The code of this chapter has changed since it was executed here. The text and the results below
belong to the earlier code.
```"""
MODULES = re.compile(r"^% modules: ([\w.]+)$", re.MULTILINE)
TITLE = re.compile(r"^# .*$", re.MULTILINE)
LINKED = re.compile(r"\]\(([0-9][0-9]_\w+)\.(?:md|ipynb)(#[\w-]+)?\)")


def modules(package: str) -> list[str]:
    """Names of a module and of all below it, without private ones and command-line ends."""
    from importlib import import_module

    module = import_module(package)
    below = pkgutil.iter_modules(getattr(module, "__path__", ()), f"{package}.")
    hidden = ("_", "command")
    names = (info.name for info in below if not info.name.split(".")[-1].startswith(hidden))
    return [package, *(found for name in sorted(names) for found in modules(name))]


def module_sections(match: re.Match) -> str:
    """A `% modules: a.b` line of a page as one section for each module, by autodoc."""
    return "\n\n".join(module_section(name) for name in modules(match[1]))


def module_section(name: str) -> str:
    """One module with its members; a package alone, since what it offers is described at home."""
    from importlib import import_module

    members = "" if hasattr(import_module(name), "__path__") else "   :members:\n"
    return f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n{members}```"


def page_source(root: str | os.PathLike, docname: str, text: str) -> str:
    """What Sphinx shall read instead of a page's text.

    A copy gets its banner, and links to chapters that its data set lacks lead to the default set.
    """
    page = Path(root, f"{docname}.ipynb")
    if page.parent.parent != Path(root) / RUNS:
        return MODULES.sub(module_sections, text)
    import nbformat

    notebook = nbformat.reads(text, as_version=4)
    if publish.is_old(notebook, publish.source_of(root, page)):
        first = notebook.cells[0]
        first.source = TITLE.sub(lambda title: f"{title[0]}\n\n{BANNER}\n", first.source, count=1)

    def link(match: re.Match) -> str:
        here = page.with_name(f"{match[1]}.ipynb").exists()
        folder = "" if here else f"../{publish.DEFAULT_SET}/"
        return f"]({folder}{match[1]}.ipynb{match[2] or ''})"

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINKED.sub(link, cell.source)
    return nbformat.writes(notebook)


def setup(app) -> dict:
    """Register with Sphinx."""

    def source_read(app, docname: str, source: list[str]) -> None:
        source[0] = page_source(app.srcdir, docname, source[0])

    def without_thebe(app, page, template, context, doctree) -> None:
        # Jupyter Book always loads it; it fetches its library from a server when it is started.
        scripts = context["script_files"]
        context["script_files"] = [
            s for s in scripts if "thebe" not in f"{s}{getattr(s, 'attributes', '')}".lower()
        ]

    app.connect("source-read", source_read)
    app.connect("html-page-context", without_thebe)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
