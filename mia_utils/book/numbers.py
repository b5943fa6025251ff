"""Chapters have the numbers of their files, 6b among them, wherever Sphinx writes a number.

Sphinx counts the pages of a numbered table of contents; what it counted is replaced before it
numbers the figures.
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


def _wrap(app) -> None:
    """Renumber between the two steps of Sphinx: sections are counted, figures not yet."""
    from sphinx.environment.collectors.toctree import TocTreeCollector

    count = TocTreeCollector.assign_figure_numbers

    def assign(self, env) -> list[str]:
        renumber(env, str(app.srcdir))
        return count(self, env)

    if count.__qualname__ != assign.__qualname__:  # several builds in one process
        TocTreeCollector.assign_figure_numbers = assign  # type: ignore[method-assign]


def setup(app) -> dict:
    """Register with Sphinx."""
    app.connect("builder-inited", _wrap)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
