"""A claim on a model: one process trains it, others wait or come back, nobody waits for the dead.

Clocks of several machines are never compared. A lease is alive as long as its file keeps changing,
seen by whoever waits and measured by the waiter's own monotonic clock.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from ..files import one_line_disk_errors

_BEAT = 5.0
_STALE = 30.0
"""Seconds without a change after which a lease belongs to nobody."""
_LOOK = 0.2


@contextmanager
def lease(
    path: Path, done: Callable[[], bool], choice: str, *, wait: bool = True
) -> Iterator[bool]:
    """Claim what `path` stands for, and keep the claim alive while the block runs.

    Parameters
    ----------
    path : Path
        The lease's file, in a folder that all claimants see.
    done : function
        Whether the work has been finished, by whomever.
    choice : str
        What moves the folder to another disk, for the message.
    wait : bool
        False: a lease that another holds is not waited for.

    Yields
    ------
    bool
        True if the work is the caller's to do. False if it is done; without `wait` also if another
        process is at it.

    Raises
    ------
    DiskError
        If the lease cannot be written.
    """
    content = f"{_machine()}|{os.getpid()}|{uuid.uuid4().hex}"
    with one_line_disk_errors(path, choice):
        path.parent.mkdir(parents=True, exist_ok=True)
        acquired = _acquire(path, content, done, wait)
    if not acquired:
        yield False
        return
    stop = threading.Event()
    beat = threading.Thread(target=_heartbeat, args=(path, content, stop), daemon=True)
    beat.start()
    try:
        # Another may have finished, and given its lease back, between the two looks.
        yield not done()
    finally:
        stop.set()
        beat.join()
        _remove(path, content)


def _acquire(path: Path, content: str, done: Callable[[], bool], wait: bool) -> bool:
    seen, since = None, time.monotonic()
    while not done():
        if _create(path, content):
            return True
        now = _look(path)
        if now is None:  # given back between the two looks
            continue
        if now != seen:
            seen, since = now, time.monotonic()
        if _is_dead(now[0]) or time.monotonic() - since > _STALE:
            _remove(path, now[0])
        elif wait:
            time.sleep(_LOOK)
        else:
            return False
    return False


def _create(path: Path, content: str) -> bool:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        return False
    except OSError:  # a full disk has room for a name, and none for its content
        path.unlink(missing_ok=True)
        raise
    return True


def _look(path: Path) -> tuple[str, int] | None:
    """Content and time of the last change; None if the file is gone."""
    try:
        # Opened, not only asked about: a network disk then asks its server.
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _remove(path: Path, content: str) -> None:
    """Remove a lease if it still is the one of that content."""
    now = _look(path)
    if now is not None and now[0] == content:
        path.unlink(missing_ok=True)


def _is_dead(content: str) -> bool:
    """Whether the owner ran on this machine, among the processes seen here, and is gone."""
    machine, _, rest = content.partition("|")
    pid = rest.partition("|")[0]
    if machine != _machine() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


@cache
def _machine() -> str:
    """One set of process numbers: containers may share a host's name, and hosts a container's."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        boot, numbers = f"{uuid.getnode():x}", ""
    return f"{socket.gethostname()} {boot} {numbers}"


def _heartbeat(path: Path, content: str, stop: threading.Event) -> None:
    while not stop.wait(_BEAT):
        try:
            now = _look(path)
            if now is None or now[0] != content:
                return  # taken over: the file is another's now
            os.utime(path)
        except OSError:
            pass  # a disk that stutters; the next beat may pass
