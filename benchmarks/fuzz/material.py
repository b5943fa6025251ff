"""What is read and written beside answers: data sets, language models' answers, published results."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from mia_utils import LiRA, Oracle, Pool, text
from mia_utils.attacks import boundary_distance
from mia_utils.data import at_hand, data_root, open_pool, title, write_archive, write_mapped
from mia_utils.experiments import (
    cost_table,
    costs,
    crossed,
    load_signals,
    outdated,
    plain,
    read,
    read_run,
    read_table,
    reported,
    transfer,
)
from mia_utils.text import TokenOutputs
from mia_utils.training import faults

from .. import RESULTS
from .case import Case, surface
from .meant import Call, case_of
from .values import pick

N = 24


@cache
def _pool() -> Pool:
    images = np.random.default_rng(0).integers(256, size=(N, 4, 4)).astype(np.uint8)
    return Pool.from_arrays("tiny", images, np.arange(N) % 3)


def _tokens(models: int = 1, seed: int = 0) -> TokenOutputs:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(np.random.default_rng(0).integers(4, 9, N))])
    shape = (models, offsets[-1])
    members = np.stack([rng.permutation(N) < N // 2 for _ in range(models)])
    return TokenOutputs(
        log_probs=-rng.exponential(size=shape).astype(np.float32),
        offsets=offsets,
        members=members if models > 1 else members[0],
        texts=tuple(f"a Text of {i} words" for i in range(N)),
        mean=-rng.exponential(size=shape).astype(np.float32),
        std=rng.exponential(size=shape).astype(np.float32) + 0.1,
        lowercase_log_probs=-rng.exponential(size=(models, N)),
        neighbour_log_probs=-rng.exponential(size=(models, N, 2)),
        fingerprint="x" * 8,
    )


def _scored(cls):
    return lambda **given: cls(**given).score(_tokens())


def _compared(attack, window, aggregate, threshold) -> np.ndarray:
    whole = text.DocumentAttack(attack, window=window, aggregate=aggregate, threshold=threshold)
    return whole.fit(_tokens(8, 1)).score(_tokens(1, 2))


def _walked(**given) -> np.ndarray:
    def answer(records):
        return (records.reshape(len(records), -1).mean(axis=1) > 127).astype(np.int64)

    return boundary_distance(Oracle(answer), **given)


def _saved(pool, path, compress) -> int:
    return len(write_archive(pool, path, compress=compress))


def _written(pool, folder) -> int:
    write_mapped(pool, folder)
    return len(list(Path(folder).iterdir()))


@cache
def _frame() -> pd.DataFrame:
    return read(RESULTS)


def _run() -> str:
    return min((RESULTS / "signals").glob("*.npz"), key=lambda path: path.stat().st_size).stem


def _results(folder: Path) -> Path:
    """A folder with one published run."""
    for place, ending in (("records", ".jsonl"), ("signals", ".npz")):
        (folder / place).mkdir(exist_ok=True)
        name = f"{_run()}{ending}"
        shutil.copyfile(RESULTS / place / name, folder / place / name)
    return folder


_READ = {"negative": ("threshold",), "zero": ("threshold",), "endless": ("threshold",)}
MATERIAL = {
    # ---- data
    "data_root": Call(
        lambda given: len(str(data_root(given))),
        lambda r, f: {"given": str(f)},
        optional=("given",),
        also={"given": ("data",)},
    ),
    "at_hand": Call(
        lambda root: len(at_hand(root)),
        lambda r, f: {"root": str(f)},
        optional=("root",),
        also={"root": ("data",)},
    ),
    "open_pool": Call(
        lambda path: len(open_pool(path)),
        lambda r, f: {"path": str(_archive(f))},
        also={"path": ("no such file", "not readable", "not a readable")},
    ),
    "title": Call(lambda name: len(title(name)), lambda r, f: {"name": "cifar10"}),
    "write_archive": Call(
        _saved, lambda r, f: {"pool": _pool(), "path": str(f / "a.npz"), "compress": False}
    ),
    "write_mapped": Call(_written, lambda r, f: {"pool": _pool(), "folder": str(_empty(f))}),
    "boundary_distance": Call(
        _walked,
        lambda r, f: {
            "records": _pool().records,
            "labels": np.arange(6) % 2,
            "ids": np.arange(6),
            "iterations": 1,
            "probes": 2,
            "seed": 0,
        },
        zero=("seed",),
        also={"labels": ("ids",), "ids": ("labels",)},
    ),
    "faults": Call(
        lambda recipe: len(faults(recipe)),
        lambda r, f: {"recipe": 2},
        optional=("recipe",),
        zero=("recipe",),
    ),
    # ---- language models' answers
    "LowercaseAttack": Call(
        _scored(text.LowercaseAttack), lambda r, f: {"threshold": 1.0}, **_READ
    ),
    "NeighbourhoodAttack": Call(
        _scored(text.NeighbourhoodAttack), lambda r, f: {"threshold": 1.0}, **_READ
    ),
    "MinKPlusPlusAttack": Call(
        _scored(text.MinKPlusPlusAttack),
        lambda r, f: {"share": 0.2, "window": 3, "aggregate": "max", "threshold": 1.0},
        **_READ | {"optional": ("window", "threshold")},
    ),
    "DocumentAttack": Call(
        _compared,
        lambda r, f: {"attack": LiRA(), "window": 3, "aggregate": "mean", "threshold": 1.0},
        **_READ | {"optional": ("window", "threshold")},
    ),
    "LossRatioAttack": Call(
        lambda seed, threshold: _compared(
            text.LossRatioAttack(seed=seed, threshold=threshold), None, "mean", None
        ),
        lambda r, f: {"seed": 0, "threshold": 1.0},
        **_READ | {"optional": ("threshold",), "zero": ("seed", "threshold")},
    ),
    "as_records": Call(
        lambda outputs: text.as_records(outputs).logits, lambda r, f: {"outputs": _tokens()}
    ),
    "Canary": Call(
        lambda form, secret: text.Canary(form, secret).space,
        lambda r, f: {"form": "The code is {}", "secret": "042"},
    ),
    # ---- published results
    "load_signals": Call(
        lambda run, folder: load_signals(run, folder),
        lambda r, f: {"run": _run(), "folder": str(_results(f))},
        optional=("folder",),
        also={"run": ("signals",), "folder": ("signals",)},
    ),
    "read_run": Call(
        lambda path: len(read_run(path)),
        lambda r, f: {"path": str(_results(f) / "records" / f"{_run()}.jsonl")},
        also={"path": ("records",)},
    ),
    "read": Call(
        lambda folder: len(read(folder)),
        lambda r, f: {"folder": str(_results(f))},
        optional=("folder",),
    ),
    "read_table": Call(
        lambda name, declared: len(read_table(name, declared)),
        lambda r, f: {"name": "kills", "declared": ("kills",)},
        also={"name": ("table",), "declared": ("tables",)},
    ),
    "transfer": Call(
        lambda frame, axis, attack, figure: transfer(frame, axis, attack, figure).to_numpy(),
        lambda r, f: (
            {"frame": _frame(), "axis": "architecture", "attack": "loss"}
            | {"figure": "balanced_accuracy"}
        ),
        fixed=(),
    ),
    "crossed": Call(
        lambda frame, axis: len(list(crossed(frame, axis))),
        lambda r, f: {"frame": _frame(), "axis": "architecture"},
    ),
    "plain": Call(lambda frame: len(plain(frame)), lambda r, f: {"frame": _frame()}),
    "reported": Call(lambda frame: len(reported(frame)), lambda r, f: {"frame": _frame()}),
    "outdated": Call(lambda frame: int(outdated(frame).sum()), lambda r, f: {"frame": _frame()}),
    "costs": Call(
        lambda frame, dataset, architecture: len(
            cost_table(costs(frame, [(dataset, architecture)]))
        ),
        lambda r, f: {"frame": _frame(), "dataset": "mnist", "architecture": "mlp"},
        also={"dataset": ("data set",)},
    ),
}


def _archive(folder: Path) -> Path:
    return Path(str(write_archive(_pool(), folder / "own.npz").path))


def _empty(folder: Path) -> Path:
    (folder / "own").mkdir(exist_ok=True)
    return folder / "own"


@surface("data sets, tokens, published results", 2)
def material(rng, folder: Path) -> Case:
    name = pick(rng, list(MATERIAL))
    return case_of(name, MATERIAL[name], rng, folder)
