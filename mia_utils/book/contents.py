"""The book as a whole: executing its chapters, its table of contents, and what Sphinx is told.

`python -m mia_utils.book.contents run` executes the chapters on the embedded data set (what has not changed
is left alone), `toc` rewrites _toc.yml from the files at hand. As a Sphinx extension this module
puts a banner on copies older than their source and lists the package's modules for the reference.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from . import notebooks, publish
from ..data.catalog import TITLES, title
from ..errors import InputError, NotebookError

RUNS = Path("book/runs")

PARTS = (
    # (caption, pages before the chapters, last chapter's number, pages after them)
    ("Introduction", ["book/ten_lines", "book/notation"], 1, []),
    ("Attack", [], 7, []),
    ("Defense", [], 9, []),
    ("Experiments", [], 13, ["book/reproduce", "book/scaling", "book/performance"]),
    ("Discussion", [], 99, ["book/api", "book/bibliography"]),
)

# ---- table of contents -------------------------------------------------------------------------


def _chapter(chapter: Path, found: dict[str, set[str]]) -> dict:
    order = {name: place for place, name in enumerate(TITLES)}
    others = sorted(found.get(chapter.name, ()), key=lambda name: (order.get(name, 99), name))
    entry: dict = {"file": (RUNS / publish.DEFAULT_SET / chapter.stem).as_posix()}
    if others:
        entry["sections"] = [
            {"file": (RUNS / name / chapter.stem).as_posix(), "title": f"on {title(name)}"}
            for name in others
        ]
    return entry


def toc(root: str | os.PathLike) -> str:
    """The text of _toc.yml: chapters from notebooks/, and below each its copies on other data.

    The default set's copies need not exist: `make book` makes them.
    """
    import yaml

    found: dict[str, set[str]] = {}
    for copy in publish.copies(root):
        found.setdefault(copy.name, set()).add(copy.parent.name)
    remaining = notebooks.chapters(root)
    parts = []
    for caption, before, last, after in PARTS:
        mine = [path for path in remaining if int(path.name[:2]) <= last]
        remaining = remaining[len(mine) :]
        entries = [
            *({"file": page} for page in before),
            *(_chapter(path, found) for path in mine),
            *({"file": page} for page in after),
        ]
        if entries:
            parts.append({"caption": caption, "chapters": entries})
    contents = {"format": "jb-book", "root": "book/index", "parts": parts}
    head = "# Written by `python -m mia_utils.book.contents toc` from the files at hand.\n"
    return head + yaml.safe_dump(contents, sort_keys=False, allow_unicode=True)


def write_toc(root: str | os.PathLike) -> bool:
    """Rewrite ROOT/_toc.yml; return whether it changed."""
    path, text = Path(root, "_toc.yml"), toc(root)
    if path.exists() and path.read_text("utf-8") == text:
        return False
    path.write_text(text, "utf-8")
    return True


# ---- execution ---------------------------------------------------------------------------------


def _execute(source: Path, raw: Path, run: str) -> float:
    start = time.monotonic()
    notebooks.execute(source, raw, run=run, progress=False)
    return time.monotonic() - start


def run_chapters(root: str | os.PathLike, *, jobs: int = 2) -> list[str]:
    """Execute the chapters whose hash has changed on the default set and publish all of them.

    Returns
    -------
    list of str
        One line for each chapter that failed.
    """
    root = Path(root)
    raw = root / "_build/runs"
    waiting, failures = {}, []
    for source in notebooks.chapters(root):
        notebook = notebooks.read(source)
        run = notebooks.run_hash(notebook, notebooks.parameters(notebook))
        copy = root / RUNS / publish.DEFAULT_SET / source.name
        if notebooks.is_done(copy, run):
            publish.publish(copy, root, where=publish.DEFAULT_SET)
        else:
            waiting[source] = run
    total = len(notebooks.chapters(root))
    print(f"chapters: {total - len(waiting)} of {total} unchanged", flush=True)
    # "spawn": a forked child would inherit the threads and locks of whatever is loaded here.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {
            pool.submit(_execute, source, raw / source.name, run): source
            for source, run in waiting.items()
        }
        for count, future in enumerate(as_completed(futures), 1):
            source = futures[future]
            try:
                seconds = future.result()
                publish.publish(raw / source.name, root, where=publish.DEFAULT_SET)
                outcome = f"{seconds:.0f} s"
            except (InputError, NotebookError, OSError) as error:
                failures.append(f"{source.stem}: {error}")
                outcome = "FAILED"
            print(f"  [{count}/{len(futures)}] {source.stem}: {outcome}", flush=True)
    return failures


# ---- Sphinx ------------------------------------------------------------------------------------

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


# ---- command -----------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mia_utils.book.contents", description=__doc__)
    parser.add_argument("action", choices=["run", "toc"])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args(argv)
    failures = []
    if arguments.action == "run":
        failures = run_chapters(arguments.root, jobs=arguments.jobs)
    for line in failures:
        print(f"book: {line}", file=sys.stderr)
    write_toc(arguments.root)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
