"""How to lower the risk, each with the chapter of the book that shows what it does and costs."""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, metadata
from typing import NamedTuple

from ..errors import InputError


class Advice(NamedTuple):
    """What to do, the chapter of the book that is about it, and its page."""

    text: str
    chapter: str
    page: str

    def link(self, address: str | None) -> str | None:
        """Where the chapter is in a book at this address."""
        return address and f"{address.rstrip('/')}/{self.page}.html"


_DEFENSES = "book/runs/cifar10/08_defenses"
_PRIVATE = "book/runs/cifar10/09_differential_privacy"
ADVICE = (
    Advice(
        "Stop training earlier, or regularise: most of what attacks find is overfitting.",
        "Defenses",
        _DEFENSES,
    ),
    Advice(
        "Give back less: labels only, or few classes, and limit how often one person may ask.",
        "Defenses",
        _DEFENSES,
    ),
    Advice(
        "Train on more records, and drop duplicates and needless outliers.",
        "Claims",
        "book/runs/cifar10/12_claims",
    ),
    Advice(
        "Train with differential privacy, the one defense that comes with a guarantee.",
        "Differential privacy",
        _PRIVATE,
    ),
)

_TEXT = ("Text generation", "book/runs/text/16_text_generation")
TEXT_ADVICE = (
    Advice("Leave one copy of every text: what stands there often is what comes back.", *_TEXT),
    Advice("Pass over the texts few times, once if there are enough of them.", *_TEXT),
    Advice(
        "Take out of the texts what nobody may learn: names, numbers, keys. That hides these, and "
        "not that a text was used.",
        *_TEXT,
    ),
    Advice(
        "Give back less: no log-probabilities, or those of few tokens. Attacks with reference models "
        "lose less by it.",
        *_TEXT,
    ),
    Advice(
        "Train with differential privacy, the one defense that comes with a guarantee; say for what: "
        "a document, or an author.",
        *_TEXT,
    ),
)
"""For language models."""


def book_address(given: str | None = None) -> str | None:
    """Where the book is: as given, else $MIA_BOOK, else what the installed package says.

    A web address, or the path from the report to the folder of the built book. None if nobody
    says.

    Raises
    ------
    InputError
        If it has a scheme other than http and https.
    """
    address = given or os.environ.get("MIA_BOOK") or _published()
    scheme = re.match(r"\s*([a-zA-Z][a-zA-Z0-9+.-]*):", address or "")
    if scheme and scheme[1].lower() not in ("http", "https"):
        raise InputError(
            f"--book {address!r}; expected an address, https://..., or the path from the report to "
            "the folder of the built book"
        )
    return address or None


def _published() -> str | None:
    try:
        urls = metadata("mia-utils").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a checkout
        return None
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation")
