"""One chapter in a process of its own, which ends with the process that started it.

The parent holds its stdin open: when that ends, by whatever end of the parent, the worker kills its
kernel, and the kernel's own workers, and goes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from ..errors import InputError, NotebookError

_START = "from mia_utils.book.worker import main; raise SystemExit(main())"


class Worker:
    """A started execution.

    Parameters
    ----------
    task : mapping
        Keywords of `execute.execute` but `tell`, and `code`: what `grid.code_of` gave.
    processors : int
        How many it may keep busy: others run beside it.
    """

    def __init__(self, task: Mapping, processors: int):
        self.at, self.cells, self.said = 0, 0, ""
        self._out = Path(task["out"])
        self._errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            env={
                **os.environ,
                "LOKY_MAX_CPU_COUNT": str(processors),  # what joblib counts
                "PYTHONUTF8": "1",
                "PYTHONPATH": os.pathsep.join(_paths()),
            },
            start_new_session=True,  # Ctrl-C is for the parent, which then stops its workers
        )
        assert self.process.stdin and self.process.stdout, "both are pipes"
        self._in, self._lines = self.process.stdin, self.process.stdout
        try:
            self._in.write(json.dumps(dict(task)) + "\n")
            self._in.flush()
        except BrokenPipeError:  # it says why, or nothing, in `end`
            pass
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._lines:
            self.at, self.cells, self.said = json.loads(line)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> str:
        """The last line of an ended worker's errors, "" if there is none."""
        self._close()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        self._errors.close()
        return lines[-1] if lines else ""

    def stop(self) -> None:
        """Kill it with its kernel and the kernel's workers, now, and take its pieces away."""
        kill_below(self.process.pid)
        self.process.kill()
        self.process.wait()
        self._close()
        self._errors.close()
        piece = self._out.with_name(f".{self._out.stem}.{self.process.pid}.ipynb")
        piece.unlink(missing_ok=True)

    def _close(self) -> None:
        self._listener.join(timeout=5)
        for pipe in (self._in, self._lines):
            try:
                pipe.close()
            except OSError:  # a task that was never read
                pass


def _paths() -> list[str]:
    """Where this process imports from, so that a worker imports the same package."""
    return [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]


def kill_below(process: int) -> None:
    """Kill all processes that a process has started, and those that they have."""
    import psutil

    try:
        below = psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for child in below:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            pass


def main() -> int:
    """Execute what stdin says; progress goes to stdout, one line for an error to stderr."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, args=(Path(task["out"]),), daemon=True).start()
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed is not progress

    def tell(*state) -> None:
        print(json.dumps(state), file=told, flush=True)

    from . import grid, notebooks
    from .execute import execute

    try:
        if grid.code_of(notebooks.read(task["source"])) != task.pop("code"):
            raise InputError("chapter or package changed since this began; start it again")
        execute(**task, tell=tell)
    except (InputError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _end_with_the_parent(out: Path) -> None:
    sys.stdin.read()
    kill_below(os.getpid())
    out.with_name(f".{out.stem}.{os.getpid()}.ipynb").unlink(missing_ok=True)
    os._exit(1)
