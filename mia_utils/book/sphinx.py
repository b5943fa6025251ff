"""The book's Sphinx extension: what Sphinx reads instead of a page's text, and loads on a page."""

from __future__ import annotations

import os
import pkgutil
import re
from pathlib import Path

from ..training.accounting import faults
from . import contents, decorate, publish, tables

BANNER = """```{{admonition}} This copy is older than its source
:class: warning
Since this page was executed, {changes} changed. The text and the results below belong to what was
there before.
```"""
EARLIER = (
    "*Executed with an earlier version of the package. In this chapter's small run, which `make book` "
    "executes, it and today's give the same outputs, every one of them ([](../../architecture.md)).*"
)
CHANGES = {
    "code": "the code of the chapter",
    "package": "code of the package that it uses",
    "parameters": "its parameters",
    "data": "its data",
    "architectures": "its model",
    "tables": "the tables that it reads",
    "private": f"the training of private models (before that, {faults(None)})",
}
MODULES = re.compile(r"^% (modules|files): ([\w.]+)$", re.MULTILINE)
HIDDEN = re.compile(r"_|cli$")
CHAPTERS = re.compile(r"^% chapters$", re.MULTILINE)
COPIES = re.compile(r"^% copies$", re.MULTILINE)
TITLE = re.compile(r"^# .*$", re.MULTILINE)


def modules(package: str, *, deep: bool = True) -> list[str]:
    """Names of a module and of those below it, without private ones and the command line.

    `deep=False` leaves out packages below it, and all of theirs.
    """
    from importlib import import_module

    below = pkgutil.iter_modules(getattr(import_module(package), "__path__", ()), f"{package}.")
    shown = (
        info.name
        for info in sorted(below, key=lambda info: info.name)
        if not HIDDEN.match(info.name.split(".")[-1]) and (deep or not info.ispkg)
    )
    return [package, *(found for name in shown for found in modules(name))]


def module_sections(match: re.Match) -> str:
    """A `% modules: a.b` line of a page as one section for each module, by autodoc.

    `% files: a` leaves out the packages below a.
    """
    names = modules(match[2], deep=match[1] == "modules")
    return "\n\n".join(module_section(name) for name in names)


def module_section(name: str) -> str:
    """One module with its members; a package alone, since what it offers is described at home."""
    from importlib import import_module

    members = "" if hasattr(import_module(name), "__path__") else "   :members:\n"
    return f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n{members}```"


def page_source(root: str | os.PathLike, docname: str, text: str) -> str:
    """What Sphinx shall read instead of a page's text.

    An executed chapter gets what `decorate` adds, and a banner if it is older than its source.
    """
    if not decorate.is_copy(docname):
        text = MODULES.sub(module_sections, text)
        text = COPIES.sub(lambda _: decorate.table_of_copies(root), text)
        text = CHAPTERS.sub(lambda _: decorate.map_of_chapters(root, docname), text)
        text = tables.with_tables(root, text)
        return decorate.linked_chapters(root, docname, text)
    import nbformat

    page = Path(root, f"{docname}.ipynb")
    notebook = nbformat.reads(text, as_version=4)
    source = publish.source_of(root, page)
    changes, earlier = publish.changes_that_show(notebook, source, root, page.stem)
    if changes or earlier:
        told = " and ".join(CHANGES[part] for part in changes)
        told = BANNER.format(changes=told) if changes else EARLIER
        first = notebook.cells[0]
        first.source = TITLE.sub(lambda title: f"{title[0]}\n\n{told}\n", first.source, count=1)
    decorate.decorate(root, docname, notebook)
    return nbformat.writes(notebook)


def _add_copies(app, config) -> None:
    """The copies on other data, below their page: _toc.yml does not list them."""
    from sphinx_external_toc.api import Document, FileItem, TocTree

    pages = contents.appendix(app.srcdir)
    site = config.external_site_map
    if pages and contents.APPENDIX in site:
        site[contents.APPENDIX].subtrees.append(TocTree([FileItem(page) for page in pages]))
        for page in pages:
            site[page] = Document(page)


def _skip(app, what: str, name: str, member, skip: bool, options) -> bool | None:
    """Leave out what scikit-learn adds to an estimator."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app) -> dict:
    """Register with Sphinx.

    Raises
    ------
    ConfigError
        If a chapter was not executed: Sphinx would stumble over what refers to it.
    """
    from sphinx.errors import ConfigError

    absent = contents.missing(app.srcdir)
    if absent:
        raise ConfigError(f"{len(absent)} pages are not there yet ({absent[0]}); run: make book")

    def source_read(app, docname: str, source: list[str]) -> None:
        source[0] = page_source(app.srcdir, docname, source[0])

    app.connect("config-inited", _add_copies, priority=950)  # after sphinx_external_toc
    app.connect("source-read", source_read)
    app.connect("autodoc-skip-member", _skip)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
