"""The exceptions that the command line prints as one line: no traceback helps their reader."""

from __future__ import annotations


class InputError(ValueError):
    """A value that cannot be used. Its message names the value, what was expected and the way out."""


class DiskError(InputError):
    """A folder that cannot be written: full, read-only, or not the user's."""


class NotebookError(RuntimeError):
    """A cell of an executed notebook raised; the message names the cell and where it is kept."""
