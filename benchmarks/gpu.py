"""How fast models train on a GPU: against the usual loops, alone, several at a time, and compiled.

    python -m benchmarks.gpu [quick] [modern=DATA.npz] [out=FILE.json]
    python -m benchmarks.gpu publish=FILE.json

runs on a machine that has nothing but torch, NumPy, SciPy, scikit-learn, pandas, joblib, tqdm and
safetensors (the author's loop also takes torchvision and Pillow, and is left out without them): about
four minutes, `quick` about two. `modern=` adds the preset "modern" on a random half of the images of
an archive as `load_dataset` reads, with its test accuracy. `publish=` writes what such a run has
measured to book/results/bench_gpu.csv, as the group `gpu` of `python -m benchmarks` does at once.

What is in the images does not change the speed: they are random.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mia_utils import Pool, TrainConfig, train
from mia_utils.data import Masks
from mia_utils.engine.backend import in_threads
from mia_utils.training.device import describe, one_thread
from mia_utils.training.loop import fit
from mia_utils.training.recipes import MODERN
from mia_utils.training.recipes import modern as modern_recipe
from mia_utils.training.worker import Workers

from . import loops
from .timing import Ratio, ratio

DEVICE = "cuda"
SHAPE, CLASSES = (32, 32, 3), 10
CASES = {"CIFAR cnn": ("cnn", 30_000), "CIFAR resnet": ("resnet", 15_000)}
STREAMS = {"CIFAR cnn": (1, 4, 8, 16), "CIFAR resnet": (1, 2, 4)}
COMPILED = {"CIFAR cnn": (1, 8), "CIFAR resnet": (1, 2)}
MODELS, HALF, BATCH = 64, 25_000, MODERN.batch_size


def seconds(work: Callable[[], object]) -> float:
    """Of work on the GPU, until it is done."""
    began = time.perf_counter()
    work()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def say(what: str, value: float, unit: str) -> None:
    print(f"{what:60s} {value:9.4f} {unit}", flush=True)


def fit_one(records, labels, architecture: str, config: TrainConfig, seed: int, worker) -> None:
    with one_thread():
        fit(
            records,
            labels,
            CLASSES,
            np.ones(len(labels), bool),
            architecture,
            config,
            seed=seed,
            precision="bf16",
            device=DEVICE,
            worker=worker,
        )


def together(
    records, labels, architecture, config: TrainConfig, streams: int, models: int
) -> float:
    """Seconds an epoch and model of whole trainings, `streams` at a time, after a first round."""
    workers = Workers(DEVICE, streams)

    def task(seed: int) -> None:
        with workers.one() as worker:
            fit_one(records, labels, architecture, config, seed, worker)

    def run(count: int) -> None:
        errors = [e for _, e in in_threads(task, [(i,) for i in range(count)], streams) if e]
        if errors:
            raise errors[0]

    run(streams)  # records, and compiles
    return seconds(partial(run, models)) / models / config.epochs


def rival(epoch: Callable[[], None], rounds: int) -> float:
    """Seconds an epoch of another loop, the best of some after one to warm up."""
    epoch()
    return min(seconds(epoch) for _ in range(rounds))


def measure(name: str, quick: bool) -> dict[str, float]:
    """Seconds an epoch and model, by kind of loop."""
    architecture, count = CASES[name]
    records, labels = loops.images(SHAPE, CLASSES, count)
    arguments = (architecture, records, labels, CLASSES)
    found: dict[str, float] = {}

    def keep(what: str, value: float) -> None:
        found[what] = value
        say(f"{name}: {what}", value, "s an epoch and model")

    keep("plain loop", rival(loops.plain(*arguments, device=DEVICE), 3))
    try:
        import torchvision  # noqa: F401
        from PIL import Image  # noqa: F401
    except ImportError:
        print("torchvision or Pillow is missing: the author's loop is left out", flush=True)
    else:
        for workers in (8,) if quick else (8, 0):
            epoch = loops.usual(*arguments, workers=workers, device=DEVICE)
            keep(f"author's loop, {workers} workers", rival(epoch, 2 if workers else 1))
    small = architecture == "cnn"
    epochs = (10 if small else 4) // (2 if quick else 1)
    config = TrainConfig(epochs=epochs)
    for streams in STREAMS[name]:
        models = max(2, streams)
        keep(
            f"{streams} at a time", together(records, labels, architecture, config, streams, models)
        )
    compiled = TrainConfig(epochs=epochs, compile=True)
    for streams in COMPILED[name][: 1 if quick else None]:
        began = time.perf_counter()
        value = together(records, labels, architecture, compiled, streams, max(2, streams))
        keep(f"compiled, {streams} at a time", value)
        say(f"{name}: compiling and all, {streams} at a time", time.perf_counter() - began, "s")
    return found


def whole(epochs: int) -> float:
    """Seconds of `train` for 64 small CNNs, each on half of twice as many images, stored."""
    architecture, count = CASES["CIFAR cnn"]
    records, labels = loops.images(SHAPE, CLASSES, 2 * count)
    pool = Pool.from_arrays("random", records, labels)
    rng = np.random.default_rng(0)
    members = np.array([rng.permutation(2 * count) < count for _ in range(MODELS)])
    config = TrainConfig(epochs=epochs)
    masks = Masks(members, np.ones_like(members))
    with tempfile.TemporaryDirectory() as store:
        options = {"precision": "bf16", "device": DEVICE, "store": store, "progress": False}
        return seconds(lambda: train(pool, masks, architecture, config, **options))


def modern(path: str | None, epochs: int) -> dict[str, float]:
    """ResNet-9 with the preset "modern" on 25,000 images: seconds, and with real ones its accuracy."""
    if path is None:
        images, labels = loops.images(SHAPE, CLASSES, HALF + HALF // 10)
        split = np.arange(len(labels)) < HALF
    else:
        with np.load(path, allow_pickle=False) as archive:
            images, labels, split = (archive[k] for k in ("images", "labels", "train"))
    members = np.zeros(len(labels), bool)
    inside = np.flatnonzero(split)
    members[np.random.default_rng(0).permutation(inside)[:HALF]] = True
    config = modern_recipe(epochs=epochs, batch_size=BATCH)
    workers, trained = Workers(DEVICE, 1), []

    def one(seed: int) -> None:
        with workers.one() as worker, one_thread():
            trained.append(
                fit(
                    images,
                    labels,
                    CLASSES,
                    members,
                    "resnet9",
                    config,
                    seed=seed,
                    precision="bf16",
                    device=DEVICE,
                    worker=worker,
                )
            )

    one(0)
    found = {"modern: seconds a model": seconds(lambda: one(1))}
    if path is not None:
        for part, rows in (("train", members), ("test", ~split)):
            right = [(t.logits.argmax(1) == labels)[rows].mean() for t in trained]
            found[f"modern: {part} accuracy"] = float(np.mean(right))
    for what, value in found.items():
        say(what, value, "")
    return found


def run(quick: bool = False, data: str | None = None) -> dict:
    """All that was measured, in seconds; empty without a GPU."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        print("gpu: no CUDA device here, nothing to measure", flush=True)
        return {}
    print(f"{describe(DEVICE)}, torch {torch.__version__}", flush=True)
    epochs = 5 if quick else 15
    measured: dict = {"machine": machine(), "quick": quick, "epochs of 64 CNNs": epochs}
    for name in CASES:
        measured[name] = measure(name, quick)
    measured["64 CNNs"] = whole(epochs)
    say(f"64 CNNs of 30,000 images, {epochs} epochs, trained and stored", measured["64 CNNs"], "s")
    measured["modern"] = modern(data, 10 if quick and data is None else 30)
    return measured


def machine() -> dict[str, str]:
    """What the seconds were measured on."""
    return {
        "processor": describe(DEVICE),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def ratios(measured: dict) -> list[Ratio]:
    """How many times faster than the other loops, from what `run` gives."""
    rows = []
    for name in CASES:
        found = measured[name]
        ours = {k: v for k, v in found.items() if "at a time" in k}
        for rival_name in (k for k in found if k not in ours):
            for kind, value in ours.items():
                rows.append(ratio(name, f"{kind}, over {rival_name}", [found[rival_name] / value]))
    epochs = measured["epochs of 64 CNNs"]
    for rival_name, goal in (("author's loop, 8 workers", 20), ("plain loop", 8)):
        if rival_name in measured["CIFAR cnn"]:
            alone = measured["CIFAR cnn"][rival_name] * MODELS * epochs
            what = f"{epochs} epochs, trained and stored, over {rival_name}"
            speed_up = [alone / measured["64 CNNs"]]
            rows.append(ratio("64 CIFAR cnn", what, speed_up, f"at least {goal}"))
    return rows


def speed() -> list[Ratio]:
    """For `python -m benchmarks gpu`."""
    measured = run()
    return ratios(measured) if measured else []


def main(arguments: list[str]) -> int:
    given = dict(a.partition("=")[::2] for a in arguments)
    if "publish" in given:
        from .__main__ import write

        measured = json.loads(Path(given["publish"]).read_text("utf-8"))
        about = {**measured["machine"], "rounds": "short" if measured["quick"] else "full"}
        write("gpu", ratios(measured), about)
        return 0
    measured = run("quick" in given, given.get("modern"))
    for row in ratios(measured) if measured else []:
        verdict = {"yes": "met", "no": "NOT met", "": ""}[row.met]
        print(f"{row.benchmark:16s} {row.what:58s} {row.value:7.2f} {row.goal:13s} {verdict}")
    if "out" in given:
        Path(given["out"]).write_text(json.dumps(measured, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
