"""One execution of a notebook by Papermill, in this interpreter, on one thread."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import nbformat

from ..errors import InputError, NotebookError
from ..files import one_line_disk_errors, write_if_changed
from ..paths import environment, ready
from . import notebooks

KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
KERNEL_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONUTF8": "1",
}
"""One thread for each kernel, and figures in the notebook whatever the caller's own settings."""
CHOICE = "MIA_RUNS, --out"
"""What moves executed notebooks to another disk."""
_STARTS = 3
"""Starts of one notebook's kernel before its death is believed."""


def as_bytes(notebook: Mapping) -> bytes:
    """A notebook as the bytes of its file."""
    text = nbformat.writes(nbformat.from_dict(notebook), version=4)
    return (text.rstrip("\n") + "\n").encode()


def write(notebook: Mapping, path: Path) -> bool:
    """Write a notebook atomically if its bytes change; return whether they did."""
    return write_if_changed(path, as_bytes(notebook))


def sign(
    path: Path, *, run: str, parts: Mapping, dataset: str, given: Mapping, seconds: float
) -> None:
    """Write into an executed notebook what decided it, and how it was made."""
    executed = notebooks.read(path)
    executed["metadata"]["mia"] = {
        "run": run,
        "decides": dict(parts),
        "dataset": dataset,
        "parameters": dict(given),
        "made": made(seconds),
    }
    write(executed, path)


def made(seconds: float) -> dict:
    """How an execution went, for the reader of its page: seconds, device, versions."""
    gpus = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    source, field = (gpus[0], "Model:") if gpus else (Path("/proc/cpuinfo"), "model name")
    lines = source.read_text("utf-8").splitlines() if source.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith(field)]
    versions = {name: version(name) for name in ("torch", "numpy")}
    return {
        "seconds": round(seconds),
        "device": named[0] if named else platform.processor() or platform.machine(),
        "versions": {"python": platform.python_version(), **versions},
    }


def pieces(out: Path) -> list[Path]:
    """What executions that were killed have left beside `out`."""
    return [p for p in out.parent.glob(f".{out.stem}.*.ipynb") if not _lives(p.suffixes[-2][1:])]


def _lives(process: str) -> bool:
    if not process.isdecimal() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _manager():
    """A class of kernel managers whose kernel is this interpreter, whatever JUPYTER_PATH holds."""
    from ipykernel.kernelspec import make_ipkernel_cmd
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    class Here(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(argv=make_ipkernel_cmd(), language="python", **_TITLE)

    return Here


_TITLE = {"display_name": KERNEL["kernelspec"]["display_name"]}


def _papermill(source: Path, running: Path, given: Mapping, **options) -> None:
    """Execute, with a new start for a kernel that never answered.

    Kernels that start at the same time may be given the same free port. The later one then dies,
    before any cell.
    """
    import papermill

    for left in reversed(range(_STARTS)):
        try:
            papermill.execute_notebook(
                *(str(path).replace("{", "{{").replace("}", "}}") for path in (source, running)),
                dict(given),
                kernel_name="python3",
                language="python",
                kernel_manager_class=_manager(),
                progress_bar=False,
                extra_arguments=["--log-level=CRITICAL"],  # their own log is noise
                **options,
            )
            return
        except RuntimeError as error:
            if not left or "Kernel died before replying" not in str(error):
                raise


class _Said:
    """A file for what the kernel writes on stderr: the last line of a progress bar is told on."""

    def __init__(self, tell: Callable[[str], None]):
        self._tell = tell

    def write(self, text: str) -> None:
        lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
        if lines and "|" in lines[-1]:
            self._tell(lines[-1])

    def flush(self) -> None:
        """Nothing is held back."""


def execute(
    source: str | os.PathLike,
    out: str | os.PathLike,
    given: Mapping,
    *,
    run: str,
    parts: Mapping,
    dataset: str = "",
    tell: Callable[[int, int, str], None] = lambda cell, cells, said: None,
) -> Path:
    """Execute a notebook by Papermill and write it to `out` when it has finished.

    Parameters
    ----------
    source, out : path
        A notebook that fails is kept beside `out` as NAME.failed.ipynb.
    given : mapping
        Parameters that differ from the defaults, as `parameters.check` reads them.
    run, parts : str, mapping
        The run's hash and what decided it, for the metadata (`state.decides`).
    tell : function (cell, cells, line)
        Called when a cell starts, and with the last line of its progress bar.

    Raises
    ------
    InputError
        If a cell raised one, or the notebook cannot be written (a `DiskError`).
    NotebookError
        If a cell raised anything else, or the kernel died.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    source, out = Path(source), Path(out)
    ready(out.parent, CHOICE)
    for piece in pieces(out):
        piece.unlink(missing_ok=True)
    running = out.with_name(f".{out.stem}.{os.getpid()}.ipynb")
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    start = time.monotonic()
    at, cells = 0, len(notebooks.read(source)["cells"])

    def on_cell(cell, cell_index) -> None:
        nonlocal at
        at = cell_index + 1
        tell(at, cells, "")

    try:
        # Private folders: nothing of the reader's own settings, and no need for a HOME to write to.
        with (
            one_line_disk_errors(out, CHOICE),
            tempfile.TemporaryDirectory(prefix="mia-kernel-") as private,
            environment(
                **KERNEL_ENVIRONMENT, JUPYTER_RUNTIME_DIR=private, IPYTHONDIR=f"{private}/ipython"
            ),
        ):
            _papermill(
                source,
                running,
                given,
                on_cell_start=on_cell,
                stderr_file=_Said(lambda line: tell(at, cells, line)),
            )
            seconds = time.monotonic() - start
            sign(running, run=run, parts=parts, dataset=dataset, given=given, seconds=seconds)
            os.replace(running, out)
        failed.unlink(missing_ok=True)
    except papermill.PapermillExecutionError as error:
        os.replace(running, failed)
        kind = InputError if error.ename == "InputError" else NotebookError
        name = "" if kind is InputError else f"{error.ename}: "
        message = " ".join(f"{name}{error.evalue}".split())
        raise kind(f"{message} (cell [{error.exec_count}] of {source}, kept as {failed})") from None
    except DeadKernelError:
        os.replace(running, failed)
        raise NotebookError(
            f"the kernel died (out of memory?) in cell {at} of {cells} of {source}, kept as {failed}"
        ) from None
    finally:
        running.unlink(missing_ok=True)
    return out
