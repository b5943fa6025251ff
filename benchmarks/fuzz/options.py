"""Every command with every option: right command lines, with a value spoiled, left out, or one too many."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np

from mia_utils.book import grid
from mia_utils.cli.main import COMMANDS, Parser, main
from mia_utils.errors import printable

from .case import Case, surface
from .formats.answers import some_answers
from .formats.common import ROOT, command
from .formats.prepared import shared_place
from .values import anything, pick


def _inputs(rng: np.random.Generator, folder: Path) -> None:
    """Files that right command lines name."""
    arrays = some_answers(rng)
    np.savez(folder / "answers.npz", **arrays)
    np.save(folder / "logits.npy", arrays["logits"])
    np.save(folder / "labels.npy", arrays["labels"])
    np.save(folder / "members.npy", arrays["members"])
    (folder / "own").mkdir()
    np.savez(folder / "own.npz", features=arrays["logits"], labels=arrays["labels"])
    (folder / "grid.toml").write_text(
        '[[grid]]\nchapter = "01_baselines"\ndataset = "digits"\nepochs = 1\n', encoding="utf-8"
    )


def _lines(folder: Path) -> dict[str, list[str]]:
    """A right command line of every command that neither trains, executes nor downloads."""
    shared = str(shared_place(folder) / "trained")
    data, root = ["--data", str(folder)], ["--root", str(ROOT)]
    audit = ["audit", "answers.npz", "-o", "report", "--attacks", "loss", "--accept", "numbers"]
    return {
        "audit": [*audit, "--rates", "0.5", "--delta", "1e-5", "--seed", "1"],
        "audit limits": [*audit, "--fail-above", "auc>0.9", "--junit", "junit.xml", "--quiet"],
        "audit one file each": [
            *["audit", "logits.npy", "--labels", "labels.npy", "--members", "members.npy"],
            *["-o", "report", "--attacks", "loss", "--classes", "a", "b", "c", "--no-records"],
        ],
        "audit groups": [*audit, "--groups", "group_site", "--book", "https://example.org"],
        "run": [
            "run",
            "01_baselines",
            "-p",
            "dataset",
            "none-such",
            "--out",
            "x.ipynb",
            *data,
            *root,
        ],
        "sweep": [
            *["sweep", "--chapter", "01_baselines", "-p", "dataset", "digits", "--dry-run"],
            *[*data, *root, "--jobs", "1"],
        ],
        "sweep grid": ["sweep", "grid.toml", "--dry-run", *data, *root, "--store", shared],
        "plan": [
            *["plan", "--shape", "8", "8", "1", "--classes", "10", "--records", "100"],
            *["--members", "25", "--architecture", "mlp", "--models", "2", "--epochs", "2"],
            *["--batch-size", "32", "--precision", "fp32", "--device", "cpu", "--workers", "1"],
        ],
        "store list": ["store", "list", "--store", shared],
        "store verify": ["store", "verify", "--store", shared],
        "store prune": ["store", "prune", "--store", shared, "--older-than", "30d", "--keep", "1G"],
        "store export": ["store", "export", "out.zip", "--store", shared, "--all"],
        "store import": [
            *[
                "store",
                "import",
                str(shared_place(folder) / "models.zip"),
                "--store",
                str(folder / "s"),
            ],
        ],
        "data list": ["data", "list", *data],
        "data check": ["data", "check", "own", *data, "--near"],
        "data make": ["data", "make", "own", *data, "--size", "8", "--skip-damaged"],
        "publish results": ["publish", "results", *root, "--dry-run"],
        "publish runs": ["publish", "runs", "none.ipynb", *root, "--dry-run"],
        "notebooks check": ["notebooks", "check", str(ROOT / "notebooks")],
    }


_SLOW = ("run", "sweep", "sweep grid", "publish results")
_PLACES = ("-o", "--out", "--junit", "--store", "--data", "--root")


def _value(rng: np.random.Generator, folder: Path) -> str:
    """Something in the place of a value; no path that leads out of the folder of the case."""
    text = pick(
        rng, [str(anything(rng, "texts")), str(anything(rng, "numbers")), "answers.npz", "own"]
    )
    text = text.replace("\0", "")
    outside = text.startswith(("/", "~")) or ".." in text
    return f"x{text}".replace("..", "") if outside else text


@surface("command line: options", 14)
def options(rng, folder):
    _inputs(rng, folder)
    lines = _lines(folder)
    names = list(lines)
    name = pick(rng, names)
    if name in _SLOW and rng.random() < 0.7:  # what reads whole chapters takes seconds
        name = pick(rng, [n for n in names if n not in _SLOW])
    words = list(lines[name])
    begin = 2 if name.split()[0] in ("store", "data", "publish", "notebooks") else 1
    place = int(rng.integers(begin, len(words)))
    action = pick(rng, ["value", "value", "value", "gone", "twice", "other", "empty"])
    value = _value(rng, folder)
    if action == "value":
        if words[place].startswith("-") and place + 1 < len(words):
            place += 1
        if words[place] in ("--dry-run",) or words[place] == str(ROOT):
            place = begin
        words[place] = value
    elif action == "gone" and words[place] != "--dry-run" and str(ROOT) not in words[place]:
        del words[place]
    elif action == "twice":
        words.insert(place, words[place])
    elif action == "empty" and words[place] != "--dry-run" and words[place] != str(ROOT):
        words[place] = ""
    else:
        action = "other"
        words += [pick(rng, _every_option()), value]
    if name.startswith("sweep") and "--dry-run" not in words:
        words.append("--dry-run")
    said = [word.lstrip("-") for word in (*words, *lines[name]) if len(word.lstrip("-")) > 1]
    said += [repr(value), value, printable(value), "shape", "expected", "argument"]
    return Case(f"mia {json.dumps(words)[:300]}", lambda: _call(words), said)


def _call(words: list[str]) -> int:
    """The command, but no chapter is executed: it is read, and its parameters are."""

    def read(source, given, *, out=None, force=False):
        return grid.cell(source, given, out=None if out is None else Path(out)), False

    with mock.patch("mia_utils.cli.run.run_notebook", read):
        return command(main, words)


def _every_option() -> list[str]:
    found: set[str] = set()
    for target, _ in COMMANDS.values():
        module, function = target.split(":")
        parser = Parser(prog="mia")
        getattr(import_module(module), function)(parser)
        found |= set(_options(parser))
    return sorted(found - {"--help", "-h", "--force", "--train-only", "--model", "--yes", *_PLACES})


def _options(parser: argparse.ArgumentParser):
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _options(each)
