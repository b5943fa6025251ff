"""Names and numbers taken out of texts before a model is trained on them."""

from __future__ import annotations

import re

from .. import arguments

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_DIGIT = re.compile(r"\d")


def mask_names_and_numbers(text: str) -> str:
    """Every digit becomes 0, every capitalised word `Name`.

    A rule of thumb, and meant to show what such rules do: it takes out the first words of sentences,
    and leaves names in capitals or in lower case.

    Raises
    ------
    InputError
        If it is no text.

    >>> mask_names_and_numbers("Call Émile O'Brien at 555-0199, she said to NATO.")
    'Name Name Name at 000-0000, she said to NATO.'
    """

    arguments.text("text", text)

    def masked(word: re.Match) -> str:
        found = word.group()
        return "Name" if found[0].isupper() and any(map(str.islower, found)) else found

    return _DIGIT.sub("0", _WORD.sub(masked, text))
