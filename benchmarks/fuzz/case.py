"""One trial, and how what became of it is judged."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mia_utils import InputError

ANSWERED, REFUSED = "answered", "refused"
OUTCOMES = (ANSWERED, REFUSED, "unnamed", "raised", "wrong", "slow", "strayed")
"""What a case may end in; all after the first two are faults."""
SECONDS = 20
"""A case that takes longer hangs."""


@dataclass(frozen=True)
class Case:
    """A call with bad input.

    Parameters
    ----------
    what : str
        How the input was spoiled, to repeat it by hand.
    call : function
        What a user would call; returns the answer.
    names : sequence of str
        A refusal must hold one of these: what the user calls the input.
    wrong : function, optional
        What is wrong with the answer in spite of the bad input, "" if nothing.
    values : sequence of str, optional
        A refusal must hold one of these, too: what was given.
    """

    what: str
    call: Callable[[], Any]
    names: Sequence[str]
    wrong: Callable[[Any], str] = lambda answer: ""
    values: Sequence[str] = ()


Maker = Callable[[np.random.Generator, Path], Case]
SURFACES: dict[str, tuple[Maker, int]] = {}
"""By name: what makes a case from random numbers and an empty folder, and its weight."""


def surface(name: str, weight: int = 1) -> Callable[[Maker], Maker]:
    """Register what makes the cases of one surface."""

    def register(make: Maker) -> Maker:
        SURFACES[name] = (make, weight)
        return make

    return register


class Hangs(BaseException):
    """A case took too long."""


class Strays(BaseException):
    """A case writes outside its folder."""


_watched: list[Path] = []
_hooked = False


def _audit(event: str, arguments: tuple) -> None:
    """Of Python's own audit events: refuse to write outside the folder of a case."""
    if not _watched:
        return
    if event == "open":
        path, _, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else 0
        paths = [path] if writes else []
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
        paths = [arguments[0]]
    elif event in ("os.rename", "os.link", "os.symlink"):
        paths = list(arguments[:2])
    else:
        return
    for path in paths:
        if not isinstance(path, (str, bytes, os.PathLike)):
            continue  # of a file that is open already
        text = os.path.realpath(os.fsdecode(path))
        if not text.startswith((str(_watched[0]), "/dev/", "/proc/")):
            raise Strays(f"{event} {text}")


@contextmanager
def _confined(folder: Path) -> Iterator[None]:
    """Everything that looks for a place finds it in `folder`; other places cannot be written."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    before, place, compiled = dict(os.environ), os.getcwd(), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a module that a case imports first is Python's to keep
    for name in ("HOME", "TMPDIR", "MIA_DATA", "MIA_STORE", "MIA_RUNS", "MIA_RESULTS"):
        os.environ[name] = str(folder / name.lower())
    (folder / "tmpdir").mkdir(exist_ok=True)
    os.chdir(folder)
    _watched.append(folder.resolve())
    try:
        yield
    finally:
        _watched.clear()
        sys.dont_write_bytecode = compiled
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)


def _alarm(number, frame) -> None:
    raise Hangs


def judge(case: Case, folder: Path, seconds: float = SECONDS) -> tuple[str, str]:
    """The outcome of a case, and what was said."""
    before = signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with _confined(folder), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with np.errstate(all="ignore"):
                answer = case.call()
        fault = case.wrong(answer)
        return ("wrong", fault) if fault else (ANSWERED, "")
    except InputError as error:
        return _refusal(case, str(error))
    except Hangs:
        return "slow", f"more than {seconds} s"
    except Strays as error:
        return "strayed", str(error)
    except Exception as error:
        where = _place(error.__traceback__)
        return "raised", f"{type(error).__name__}: {' '.join(str(error).split())[:200]} at {where}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _refusal(case: Case, said: str) -> tuple[str, str]:
    lines = said.strip().splitlines()
    named = any(name.lower() in said.lower() for name in case.names if name)
    named = named and (not case.values or any(value in said for value in case.values))
    if len(lines) != 1 or not named:
        return "unnamed", said[:300]
    return REFUSED, said[:300]


def _place(trace) -> str:
    """The last line of the package in a traceback."""
    found = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "mia_utils" in code.co_filename:
            found = f"{Path(code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found or "outside the package"


def differs(found, expected) -> str:
    """What tells two answers apart, "" if nothing does."""
    a, b = numbers(found), numbers(expected)
    if a.shape != b.shape:
        return f"{a.size} numbers, {b.size} expected"
    if not np.allclose(a, b, rtol=1e-5, atol=1e-7, equal_nan=True):
        place = int(np.argmax(~np.isclose(a, b, rtol=1e-5, atol=1e-7, equal_nan=True)))
        return f"{a[place]!r}, {b[place]!r} expected"
    return ""


def numbers(answer) -> np.ndarray:
    """All numbers of an answer, in order, as float64 (n,)."""
    parts = list(_parts(answer))
    return np.concatenate(parts) if parts else np.empty(0)


def _parts(answer) -> Iterator[np.ndarray]:
    if isinstance(answer, dict):
        for value in answer.values():
            yield from _parts(value)
    elif isinstance(answer, (bool, int, float, np.generic)):
        if np.asarray(answer).dtype.kind in "biuf":
            yield np.array([float(answer)])
    elif isinstance(answer, np.ndarray):
        if answer.dtype.kind in "biuf":
            yield answer.astype(np.float64).ravel()
    elif isinstance(answer, (list, tuple)):
        for value in answer:
            yield from _parts(value)
    elif hasattr(answer, "__dataclass_fields__"):
        for name in answer.__dataclass_fields__:
            yield from _parts(getattr(answer, name))
