"""What is known of the data sets that the book names, before any of them is at hand."""

from __future__ import annotations

from dataclasses import dataclass

from .. import arguments


@dataclass(frozen=True)
class Facts:
    """One data set.

    Parameters
    ----------
    title : str
        How the book calls it.
    shape : (H, W, C)
        Of one image.
    classes, records : int
    train : int or None
        Records of the public training split, None if that is not known.
    torchvision : str or None
        The class of `torchvision.datasets` that downloads it.
    embedded : bool
        Does it lie inside the package?
    """

    title: str
    shape: tuple[int, int, int]
    classes: int
    records: int
    train: int | None
    torchvision: str | None = None
    embedded: bool = False


CATALOG = {
    "mnist": Facts("MNIST", (28, 28, 1), 10, 70_000, 60_000, "MNIST"),
    "cifar10": Facts("CIFAR-10", (32, 32, 3), 10, 60_000, 50_000, "CIFAR10"),
    "cifar100": Facts("CIFAR-100", (32, 32, 3), 100, 60_000, 50_000, "CIFAR100"),
    # Open to participants of the competition aist4010-spring2023-a1 on Kaggle alone.
    "a1k": Facts("A1K", (64, 64, 3), 1_000, 95_134, None),
    "cifar10-mini": Facts("CIFAR-10 mini", (32, 32, 3), 10, 2_000, 1_655, embedded=True),
    "digits": Facts("Digits", (8, 8, 1), 10, 1_797, 1_500, embedded=True),
}
"""The data sets by name, in the order in which the book offers them."""

REPORTED = tuple(name for name, facts in CATALOG.items() if not facts.embedded)
"""The report's data sets, and whatever is added to the catalog without being embedded."""
EMBEDDED = tuple(name for name, facts in CATALOG.items() if facts.embedded)
DOWNLOADED = tuple(name for name, facts in CATALOG.items() if facts.torchvision)


def title(name: str) -> str:
    """How the book calls a data set: its name, if the catalog does not know it.

    >>> title("cifar10"), title("faces")
    ('CIFAR-10', 'faces')
    """
    arguments.text("name", name)
    return CATALOG[name].title if name in CATALOG else name
