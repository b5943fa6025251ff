"""A program that is killed (SIGKILL) at a chosen moment, or at one of its changes on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

LINE = 300  # bytes of a line of the log, so that its size tells how many there are
_HOOK = f"""
import os, signal, sys

os.environ.setdefault("KILLED_MAIN", str(os.getpid()))
_place, _at = os.environ["KILLED_PLACE"], int(os.environ["KILLED_AT"])
_log = os.open(os.environ["KILLED_LOG"], os.O_CREAT | os.O_APPEND | os.O_RDWR)
_changes = {{"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0}}

def _path(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        written = arguments[2] or 0
        return arguments[0] if written & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else None
    return arguments[_changes[event]] if event in _changes else None

def _watch(event, arguments):
    path = _path(event, arguments)
    if path is None:
        return
    path = os.path.abspath(os.fsdecode(path))
    if not path.startswith(_place):
        return
    os.write(_log, f"{{event}} {{path}}"[: {LINE} - 1].ljust({LINE} - 1).encode()[: {LINE} - 1] + b"\\n")
    if os.fstat(_log).st_size // {LINE} == _at:
        os.kill(int(os.environ["KILLED_MAIN"]), signal.SIGKILL)
        os.killpg(0, signal.SIGKILL)

sys.addaudithook(_watch)
"""
"""What every process of the program runs first: it logs each change below a folder, just before it
is made, and kills the program at the change of a given number."""


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes
    ----------
    killed : bool
        False: it had ended by itself before.
    seconds : float
        It ran.
    changes : list of (str, Path)
        What it did, or was about to do when it was killed, and to which path.
    orphans : float
        Seconds until the last of its processes was gone.
    said : str
        Its last words.
    """

    killed: bool
    code: int
    seconds: float
    changes: list[tuple[str, Path]] = field(repr=False)
    orphans: float
    said: str


def run(
    argv: Sequence[str],
    place: Path,
    environment: Mapping[str, str],
    *,
    after: float | None = None,
    at: int = 0,
    processors: int = 1,
    patience: float = 60.0,
) -> Ended:
    """Run a Python program, by its arguments to the interpreter, in a folder of its own.

    Parameters
    ----------
    place : path
        Changes are counted below it.
    after : float, optional
        Seconds after which its main process is killed; the others have to notice.
    at : int
        The number of the change on disk before which all of its processes are killed, 0 for none.
    patience : float
        Seconds that its other processes may go on for when the main one has ended.
    """
    hook, log = place.parent / "hook", place.parent / f"{place.name}.log"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(_HOOK, "utf-8")
    log.unlink(missing_ok=True)
    root = str(Path(__file__).resolve().parents[1])
    given = {
        **os.environ,
        **environment,
        "PYTHONPATH": os.pathsep.join((str(hook), root)),
        "KILLED_PLACE": str(place) + os.sep,
        "KILLED_LOG": str(log),
        "KILLED_AT": str(at),
    }
    given.pop("KILLED_MAIN", None)
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *argv],
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: _limit(processors),
    )
    killed = False
    try:
        said = process.communicate(timeout=after)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        killed = True
        process.wait()
        said = ""
    seconds = time.monotonic() - began
    ended = time.monotonic()
    while left := _processes(log):
        if time.monotonic() - ended > patience:
            raise RuntimeError(f"{left} go on though their program has ended")
        time.sleep(0.05)
    killed |= process.returncode == -signal.SIGKILL
    return Ended(
        killed, process.returncode, seconds, _read(log), time.monotonic() - ended, said[-2000:]
    )


def _limit(processors: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])


def _processes(log: Path) -> list[int]:
    """Those of one program, by what each of them inherits."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("KILLED_LOG") == str(log):
                found.append(process.pid)
        except psutil.Error:
            pass
    return found


def _read(log: Path) -> list[tuple[str, Path]]:
    if not log.exists():
        return []
    lines = log.read_text("utf-8", errors="replace").splitlines()
    return [(kind, Path(path.rstrip())) for kind, _, path in (x.partition(" ") for x in lines)]
