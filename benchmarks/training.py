"""How fast models train: against other loops, and against the processor's best."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np

from mia_utils.training.models import build, forward_flops

from . import loops
from .timing import Ratio, one_core, ratio, rounds, seconds

MNIST, CIFAR = ((28, 28, 1), 10), ((32, 32, 3), 10)


def against_others() -> list[Ratio]:
    """The MNIST CNN, one epoch of a quarter (17,500 images), all on one core."""
    records, labels = loops.images(*MNIST, 17_500)
    arguments = ("cnn", records, labels, MNIST[1])
    contestants = {
        "fp32": loops.ours(*arguments),
        "bf16": loops.ours(*arguments, precision="bf16"),
        "author's loop, 8 workers": loops.usual(*arguments, workers=8),
        "author's loop, 0 workers": loops.usual(*arguments, workers=0),
        "plain loop, 2 persistent workers": loops.usual(*arguments, workers=2, persistent=True),
        "ART's PyTorchClassifier.fit": loops.art(*arguments),
    }
    with one_core():
        found = rounds(contestants, 5)
    rows = []
    for precision, goal in (("fp32", "at least 2"), ("bf16", "at least 3")):
        for name in list(contestants)[2:]:
            wanted = goal if "author" in name else "at least 2"
            rows.append(
                ratio(
                    "MNIST CNN",
                    f"{precision} against {name}",
                    found[name] / found[precision],
                    wanted,
                )
            )
    return rows


def other_architectures() -> list[Ratio]:
    """CIFAR models against the author's loop (0 workers, the faster one on one core); no goal."""
    rows = []
    for architecture, count in (("cnn", 1280), ("mlp", 1280), ("alexnet", 640), ("resnet", 256)):
        records, labels = loops.images(*CIFAR, count)
        arguments = (architecture, records, labels, CIFAR[1])
        contestants = {
            "fp32": loops.ours(*arguments),
            "bf16": loops.ours(*arguments, precision="bf16"),
            "usual": loops.usual(*arguments, workers=0),
        }
        with one_core():
            found = rounds(contestants, 3)
        for precision in ("fp32", "bf16"):
            rows.append(
                ratio(
                    f"CIFAR {architecture}",
                    f"{precision} against author's loop, 0 workers",
                    found["usual"] / found[precision],
                )
            )
    return rows


def best_product() -> float:
    """FLOP/s of the best of several bf16 matrix products, 2048 cubed, on the core it is called on."""
    import torch

    a, b = (torch.randn(2048, 2048).to(torch.bfloat16) for _ in range(2))
    a @ b
    return 2 * 2048**3 / min(seconds(lambda: a @ b) for _ in range(5))


def share_of_the_processor() -> list[Ratio]:
    """Operations of a training step a second (3 forward passes), as a share of the best product's."""
    goals = {
        ("resnet", CIFAR): 0.60,
        ("cnn", CIFAR): 0.45,
        ("mlp", CIFAR): 0.45,
        ("alexnet", CIFAR): 0.35,
        ("cnn", MNIST): 0.28,
        ("mlp", MNIST): 0.28,
    }
    rows = []
    for (architecture, (shape, classes)), goal in goals.items():
        count = 256 if architecture == "resnet" else 1280
        records, labels = loops.images(shape, classes, count)
        epoch = loops.ours(architecture, records, labels, classes, precision="bf16")
        flops = 3 * count * forward_flops(build(architecture, shape, classes), shape)
        shares = []
        with one_core():
            epoch()
            for _ in range(5):
                best = best_product()
                shares.append(flops / seconds(epoch) / best)
        name = "MNIST" if shape[2] == 1 else "CIFAR"
        rows.append(
            ratio(
                f"{name} {architecture}",
                "bf16 step, share of the best matrix product",
                np.array(shares),
                f"at least {goal}",
            )
        )
    return rows


def share_of_loading() -> list[Ratio]:
    rows = []
    for name, (shape, classes), count in (("MNIST", MNIST, 12_800), ("CIFAR", CIFAR, 2560)):
        records, labels = loops.images(shape, classes, count)
        contestants = {
            "loading": loops.loading(records, labels),
            "step": loops.ours("cnn", records, labels, classes),
        }
        with one_core():
            found = rounds(contestants, 5)
        rows.append(
            ratio(
                f"{name} cnn",
                "loading, share of a fp32 step",
                found["loading"] / found["step"],
                "at most 0.03",
            )
        )
    return rows


def _pinned(core: int, barrier, queue) -> None:
    records, labels = loops.images(*CIFAR, 2560)
    with one_core(core):
        epoch = loops.ours("cnn", records, labels, CIFAR[1])
        epoch()
        for _ in range(4):
            barrier.wait()
            queue.put(seconds(epoch))


def two_processes() -> list[Ratio]:
    """Models finished in a given time by two processes on two cores, over one process on one."""
    context = multiprocessing.get_context("spawn")
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        return []

    def run(count: int) -> np.ndarray:
        barrier, queue = context.Barrier(count), context.Queue()
        workers = [context.Process(target=_pinned, args=(c, barrier, queue)) for c in cores[:count]]
        for worker in workers:
            worker.start()
        found = np.array([queue.get() for _ in range(4 * count)])
        for worker in workers:
            worker.join()
        return found.reshape(4, count).mean(axis=1)

    first, two, last = run(1), run(2), run(1)
    one = np.concatenate([first, last])
    values = 2 * np.median(one) / two
    return [ratio("CIFAR cnn", "two processes on two cores, over one", values, "at least 1.8")]
