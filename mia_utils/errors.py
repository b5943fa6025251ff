"""Errors that the command line prints as one line (no traceback helps their reader), and warnings."""

from __future__ import annotations

import math
import unicodedata


def printable(text: str) -> str:
    """The text with control characters, line breaks and lone surrogates escaped.

    >>> print(printable("two\\nlines"), printable("Zoé"))
    two\\nlines Zoé
    """
    breaking = ("Cc", "Cs", "Zl", "Zp")
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in breaking else character
        for character in text
    )


_LONGEST = 200
_MOST_DIGITS = 100


def shown(value: object) -> str:
    """`repr(value)` on one line for a message, shortened where it is long; it never raises.

    >>> shown(0.5), shown(10**5000), shown("x" * 1000)[-6:]
    ('0.5', 'an integer of 5001 digits', 'xxx...')
    """
    try:
        if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:  # Python may not write it out
            return f"an integer of {int(math.log10(abs(value))) + 1} digits"
        text = " ".join(line.strip() for line in repr(value).splitlines())
    except Exception:  # of the value's own code, or of a number inside that is too long: anything
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class InputError(ValueError):
    """A value that cannot be used. Its message names the value, what was expected and the way out.

    Whatever it quotes, it is one line, and moves no cursor.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class DiskError(InputError):
    """A folder that cannot be written: full, read-only, or not the user's."""


class NotebookError(RuntimeError):
    """A cell of an executed notebook raised; the message names the cell and where it is kept."""


class InputWarning(UserWarning):
    """An input that can be used but is probably not what was meant; the message says what to write."""


class DesignWarning(UserWarning):
    """A comparison that gives memberships away, or hides them, by its design alone."""
