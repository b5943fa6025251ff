"""What the surfaces of several formats share."""

from __future__ import annotations

import io
from pathlib import Path

from mia_utils import InputError

from ..values import damaged

ROOT = Path(__file__).parents[3]
N, C = 40, 3  # records and classes of what is made


def damage_file(rng, path: Path) -> str:
    content, how = damaged(rng, path.read_bytes())
    path.write_bytes(content)
    return how


def command(main, argv: list[str]) -> int:
    """A command line as a function: what it prints after "mia: error: " is an InputError."""
    import contextlib

    said, shown = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
        try:
            code = main(argv)
        except SystemExit as stop:
            code = stop.code
    errors = [line for line in said.getvalue().splitlines() if line.startswith("mia: error: ")]
    if code == 2 and errors:
        raise InputError(errors[-1].removeprefix("mia: error: "))
    if code not in (0, 1, 3, None):
        raise RuntimeError(f"exit code {code}: {said.getvalue()[-200:]}")
    return int(code or 0)
