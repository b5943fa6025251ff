"""The book's Sphinx extension for pages in less time: what they repeat is computed once.

The theme draws the whole table of contents on every page, for which Sphinx copies every section of
every page only to drop it again. Each citation asks all installed packages for pybtex's plain text.
And Jupyter Book has no option for several processes; they may write pages, while not all extensions
let them read some.
"""

from __future__ import annotations

import sys
from typing import Any

PROCESSES = 4
"""As many write pages at most: each holds the book in memory."""


def titles_alone(toc):
    """A page's contents with its title, and below it the pages that it lists, no sections."""
    from sphinx.addnodes import toctree

    alone = toc.deepcopy()
    for top in alone.children:
        if len(top) > 1:
            below = list(top.findall(toctree))
            if below:
                top[1][:] = below
            else:
                top.pop(1)
    return alone


def _draw_titles_alone(app, page: str, template: str, context: dict, doctree) -> None:
    env, whole = app.env, context["toctree"]
    if not hasattr(app, "mia_titles"):
        app.mia_titles = {name: titles_alone(toc) for name, toc in env.tocs.items()}

    def toctree(**options: Any) -> str:
        if not options.get("titles_only"):
            return whole(**options)
        sections, env.tocs = env.tocs, app.mia_titles
        try:
            return whole(**options)
        finally:
            env.tocs = sections

    context["toctree"] = toctree


def _write_side_by_side(app, env) -> None:
    from joblib import cpu_count

    if sys.platform == "linux":  # elsewhere a process is no cheap copy of another
        app.parallel = max(app.parallel, min(PROCESSES, cpu_count()))


def setup(app) -> dict:
    """Register with Sphinx."""
    from pybtex.backends.plaintext import Backend
    from pybtex.plugin import register_plugin

    register_plugin("pybtex.backends", "plaintext", Backend, force=True)
    app.connect("env-check-consistency", _write_side_by_side)  # all pages are read then
    app.connect("html-page-context", _draw_titles_alone)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
