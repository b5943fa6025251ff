"""Names and numbers taken out of texts before a model is trained on them."""

from __future__ import annotations

import re

_NAME = re.compile(r"\b[A-Z][^\W\d_]*[a-z][^\W\d_]*\b")
_DIGIT = re.compile(r"\d")


def mask_names_and_numbers(text: str) -> str:
    """Every digit becomes 0, every capitalised word `Name`.

    A rule of thumb, and meant to show what such rules do: it takes out the first words of sentences,
    and leaves names in capitals or in lower case.

    >>> mask_names_and_numbers("Call Zoé at 555-0199, she said.")
    'Name Name at 000-0000, she said.'
    """
    return _DIGIT.sub("0", _NAME.sub("Name", text))
