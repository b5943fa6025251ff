"""Errors that the command line prints as one line (no traceback helps their reader), and warnings."""

from __future__ import annotations

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
