"""Chapters have the numbers of their files, 6b among them, wherever Sphinx writes a number.

Sphinx counts the pages of a numbered table of contents; what it counted is replaced before it
numbers the figures. Copies on other data are in no numbered table: their figures would be counted on
from page to page, and get the numbers of the chapter afterwards.
"""

from __future__ import annotations

from docutils import nodes

from . import decorate, notebooks


def renumber(env, root: str) -> None:
    """Give the pages at which readers meet chapters the numbers of their files, in place."""
    for docname, sections in env.toc_secnumbers.items():
        if not decorate.is_met(root, docname):
            continue
        number = notebooks.number_of(docname)
        for place, counted in sections.items():
            if counted:
                sections[place] = (number, *counted[1:])
        for node in (env.titles[docname], *env.tocs[docname].findall(nodes.reference)):
            if node.get("secnumber"):
                node["secnumber"] = [number, *node["secnumber"][1:]]


def number_copies(env, root: str) -> None:
    """Give figures, tables and formulas of a copy the numbers that they have where the chapter is met."""
    for docname, kinds in env.toc_fignumbers.items():
        number = notebooks.number_of(docname)
        if not number or not decorate.is_copy(docname) or decorate.is_met(root, docname):
            continue
        for numbered in kinds.values():
            for place, name in enumerate(sorted(numbered, key=lambda name: numbered[name]), 1):
                numbered[name] = (number, place)


def _wrap(app) -> None:
    """Renumber between the two steps of Sphinx: sections are counted, figures not yet."""
    from sphinx.environment.collectors.toctree import TocTreeCollector

    count = TocTreeCollector.assign_figure_numbers

    def assign(self, env) -> list[str]:
        before = env.toc_fignumbers
        renumber(env, str(app.srcdir))
        changed = count(self, env)
        number_copies(env, str(app.srcdir))
        return [name for name in changed if env.toc_fignumbers[name] != before.get(name)]

    if count.__qualname__ != assign.__qualname__:  # several builds in one process
        TocTreeCollector.assign_figure_numbers = assign  # type: ignore[method-assign]


def setup(app) -> dict:
    """Register with Sphinx."""
    app.connect("builder-inited", _wrap)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
