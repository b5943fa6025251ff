"""`mia publish`, `mia book` and `mia plan`: what they print of what was done, and their exit codes."""

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as xml
from argparse import Namespace

import pytest
from conftest import ROOT

from mia_utils.book import build, contents, execute, grid, merge, pictures, publish, same, trainings
from mia_utils.cli import main as cli
from mia_utils.training import models


def said(capsys, *words):
    """Exit code, what was printed, and the errors of a command in the repository's root."""
    code = cli.main([*words, "--root", str(ROOT)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def no_toc(monkeypatch):
    """The table of contents would change, and is not written."""
    monkeypatch.setattr(contents, "write_toc", lambda root: True)


# ---- publish ----


@pytest.mark.parametrize(
    ("dry", "word"), [([], "published"), (["--dry-run"], "would be published")]
)
def test_what_is_published_is_named_and_what_is_not_executed_counted(
    dry, word, monkeypatch, no_toc, capsys, tmp_path
):
    given = [Namespace(out=f"{i}.ipynb", state=state) for i, state in enumerate("dwd")]
    monkeypatch.setattr(grid, "DONE", "d")
    monkeypatch.setattr(grid, "read_grid", lambda path: [])
    monkeypatch.setattr(grid, "cells", lambda blocks, root: given)
    monkeypatch.setattr(
        publish, "publish", lambda path, root, dry_run: (f"page of {path}", path == "0.ipynb")
    )
    code, out, _ = said(capsys, "publish", "runs", "--grid", "small.toml", *dry)
    lines = out.splitlines()
    assert code == 0 and lines[:2] == [f"{word}: page of 0.ipynb", "unchanged: page of 2.ipynb"]
    assert lines[2] == "publish: 1 cells of the grid are not executed; run: mia sweep small.toml"
    assert ("table of contents rewritten: _toc.yml" in lines) == (not dry)


def test_publishing_nothing_is_refused(capsys):
    code, _, error = said(capsys, "publish", "runs")
    assert code == 2 and "needs executed notebooks or --grid GRID" in error


@pytest.mark.parametrize(("dry", "word"), [([], " merged"), (["--dry-run"], " would be merged")])
def test_every_outcome_of_a_merge_is_told(dry, word, monkeypatch, capsys):
    plan = merge.Merge(["r1"], {"r0": "r1"}, ["r2", "r3"], ["r4"], ["r5"], ["r6"])
    monkeypatch.setattr(merge, "merge", lambda *given, **options: plan)
    code, out, _ = said(capsys, "publish", "results", "--all", *dry)
    assert code == 0 and out.splitlines() == [
        "merged: r1",
        "replaced: r0, by r1",
        "kept: r4 is published with other figures; name it to replace them",
        "left: r5, a published run of a later recipe has its place",
        "left: r6 is no cell of a grid of the book; name it to publish it",
        f"publish: 1 runs{word}, 2 unchanged",
    ]


@pytest.mark.parametrize(("old", "code"), [({}, 0), ({"a.ipynb": ["code", "package"]}, 1)])
def test_pages_older_than_their_source_are_named_and_counted(old, code, monkeypatch, capsys):
    monkeypatch.setattr(publish, "old_copies", lambda root: old)
    monkeypatch.setattr(publish, "copies", lambda root: [1, 2, 3])
    found, out, _ = said(capsys, "publish", "check")
    *named, last = out.splitlines()
    assert found == code and len(named) == len(old)
    assert all(line.startswith("a.ipynb: since it was executed, ") for line in named)
    assert last == f"publish: {len(old)} of 3 copies are older than their source"


@pytest.mark.parametrize(("dry", "word"), [([], ""), (["--dry-run"], "would be ")])
def test_refreshed_prose_is_named(dry, word, monkeypatch, capsys):
    monkeypatch.setattr(publish, "refresh", lambda root, dry_run: ["a.ipynb"] if root else None)
    code, out, _ = said(capsys, "publish", "refresh", *dry)
    assert (code, out) == (0, f"prose {word}refreshed: a.ipynb\n")


def test_chapters_with_other_outputs_are_left_and_told(monkeypatch, capsys, tmp_path):
    compared = [("01_a", {"outputs": 7}), ("02_b", "has other outputs")]
    monkeypatch.setattr(same, "compare", lambda before, after: compared)
    monkeypatch.setattr(same, "add", lambda root, rows: f"{len(rows)} of the table")
    code, out, _ = said(capsys, "publish", "same", str(tmp_path))
    assert code == 1 and out.splitlines() == [
        "same: 01_a, 7 outputs",
        "left: 02_b has other outputs",
        "publish: 1 chapters noted in 1 of the table",
    ]


# ---- book ----


@pytest.mark.parametrize(("state", "code"), [(grid.DONE, 0), (grid.FAILED, 1)])
def test_a_chapter_of_the_book_that_failed_is_named(state, code, monkeypatch, no_toc, capsys):
    cell = Namespace(state=state, title="01_a seed=0", error="it failed")
    monkeypatch.setattr(build, "build", lambda root, jobs, on_change: [cell])
    found, _, error = said(capsys, "book", "run")
    assert found == code and error == ("book: 01_a seed=0: it failed\n" if code else "")


def test_the_contents_say_whether_they_changed(monkeypatch, capsys):
    for changed in (True, False):
        monkeypatch.setattr(contents, "write_toc", lambda root, changed=changed: changed)
        code, out, _ = said(capsys, "book", "contents")
        assert (code, out) == (0, f"_toc.yml: {'rewritten' if changed else 'unchanged'}\n")


def test_every_drawing_of_the_book_can_be_made_anew(monkeypatch):
    made: dict[str, bytes] = {}
    monkeypatch.setattr(
        pictures, "write_if_changed", lambda path, content: made.update({path: content})
    )
    assert pictures.write(ROOT) == []
    assert made and all(path.is_file() for path in made), "and each is committed"
    for path, content in made.items():
        if path.suffix == ".svg":
            assert xml.fromstring(content).tag.endswith("svg"), path
        elif path.suffix == ".png":
            assert content.startswith(b"\x89PNG"), path
    (card,) = [content for path, content in made.items() if path.name == "card.png"]
    assert [int.from_bytes(card[at : at + 4]) for at in (16, 20)] == [1200, 630]


def test_a_process_that_has_ended_lives_no_more():
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert not execute._lives(str(os.getpid())) and not execute._lives("no number")
    assert execute._lives("1") and not execute._lives(str(ended.pid))


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("a += b", {"a", "b"}),
        ("[x + y for x in z]", {"y", "z"}),
        ("lambda x: x + y", {"y"}),
        ("def f(x):\n    w = x\n    return w + y", {"y"}),
    ],
)
def test_names_of_their_own_are_not_what_a_line_needs(code, used):
    assert trainings._used(ast.parse(code)) == used


# ---- plan ----


def test_a_plan_that_cannot_be_made_is_refused_by_name(monkeypatch, capsys):
    quick = ["plan", "--dataset", "digits", "--architecture", "mlp"]
    monkeypatch.setenv("MIA_FLOPS", "1e9")
    assert cli.main([*quick, "--seed", "0", "--models", "1"]) == 2
    assert "--models 1; the quarters need a target and a shadow" in capsys.readouterr().err
    for text in ("fast", "0", "inf"):
        monkeypatch.setenv("MIA_FLOPS", text)
        assert cli.main(quick) == 2
        assert f"MIA_FLOPS='{text}'; expected operations a second" in capsys.readouterr().err
    monkeypatch.setenv("MIA_FLOPS", "1e9")
    monkeypatch.setitem(models.ARCHITECTURES, "mlp", _too_large)
    assert cli.main(quick) == 2
    assert "cannot be built here: no memory for it" in capsys.readouterr().err


def _too_large(*given):
    raise RuntimeError("no memory\nfor it")
