"""One thread a process, nothing of the user's own caches, and the chapters executed on `digits`."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
# One processor, too: who trains without saying on how many does it here, in this process. Starting
# processes costs seconds of imports, which those pay that ask for them (`jobs=2`).
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
os.environ["MPLBACKEND"] = "agg"

import pytest  # noqa: E402
from filelock import FileLock  # noqa: E402

from mia_utils.book import execute, grid, notebooks, trainings  # noqa: E402
from mia_utils.paths import environment  # noqa: E402

ROOT = Path(__file__).parents[1]
EXECUTED = ROOT / "_build/tests"
DIGITS = {
    "dataset": "digits",
    "epochs": 2,
    "exact_epochs": 2,
    "dp_epochs": 2,
    "units": (10, 50),
    "documents": 100,
    "width": 64,
    "pool_documents": 64,
    "fresh_documents": 40,
    "vocabulary": 400,
    "private_epochs": 1,
}
"""What the tests give each chapter, as far as it has such a parameter."""


def pytest_configure(config):
    """No test reads or writes the user's own data, trained models and runs, or asks their cluster."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in a script's background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="mia-tests-"))
    for name in [name for name in os.environ if name.startswith("MIA_")]:
        del os.environ[name]
    for place in ("data", "store", "runs", "results"):
        os.environ[f"MIA_{place.upper()}"] = str(folder / place)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


FIRST = ("test_notebooks.py::test_chapter_runs", "test_book.py::test_the_book_builds")
LAST = ("test_book.py", "test_pages_browser.py")


def pytest_collection_modifyitems(items):
    """Chapters first (they take longest), then the book is built; what looks at it comes last.

    So one worker builds while the other has something else to do.
    """

    def place(item) -> int:
        begun = [item.nodeid.startswith(f"tests/{name}") for name in FIRST]
        return begun.index(True) if any(begun) else 2 + (item.path.name in LAST)

    items.sort(key=place)


NO_TRAINING = """import importlib

def refused(specs, *arguments, **options):
    raise RuntimeError(f"{len(specs)} models that `mia sweep --train-only` has not trained")

importlib.import_module("mia_utils.engine.train").train_models = refused
importlib.import_module("mia_utils.text.train").run_into_store = refused
"""
"""What a kernel runs first, so that a chapter finds in the store whatever it asks for, or fails."""


def execute_on_digits(source: Path) -> Path:
    """The chapter prepared by Papermill with DIGITS and run by nbval, its outputs kept.

    Its models are trained before, by what `mia sweep --train-only` runs: the chapter itself may train
    none. A chapter whose code, data and package are unchanged since its last success is not run again.
    """
    import papermill

    notebook = notebooks.read(source)
    known = notebooks.parameters(notebook)
    given = {name: value for name, value in DIGITS.items() if name in known}
    path = EXECUTED / source.name
    EXECUTED.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        cell = grid.cell(source, given, out=path)
        if cell.state == grid.DONE:
            return path
        began = time.monotonic()
        with environment(MIA_STORE=str(EXECUTED / "store")):
            trainings.run_trainings(notebook, cell.values)
        papermill.execute_notebook(source, path, given, prepare_only=True, progress_bar=False)
        _nbval(path)
        seconds = time.monotonic() - began
        decided = {"run": cell.run, "parts": cell.parts}
        execute.sign(path, **decided, dataset="digits", given=given, seconds=seconds)
    return path


def _nbval(path: Path) -> None:
    ipython = EXECUTED / "ipython"
    startup = ipython / "profile_default/startup/no_training.py"
    startup.parent.mkdir(parents=True, exist_ok=True)
    startup.write_text(NO_TRAINING, "utf-8")
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "--color=no", "--nbval-lax"]
    result = subprocess.run(
        [*command, "--nbval-current-env", "-p", "nbval.plugin", "-p", "nbval_outputs", path.name],
        cwd=EXECUTED,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
            **execute.KERNEL_ENVIRONMENT,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a second of imports, of which none is needed
            "PYTHONPATH": os.pathsep.join((str(ROOT / "tests"), str(ROOT))),
            "MIA_STORE": str(EXECUTED / "store"),
            "IPYTHONDIR": str(ipython),
        },
        capture_output=True,
        text=True,
    )
    said = f"{result.stdout}{result.stderr}"
    assert result.returncode == 0, f"{path.name} on digits:\n{said}"


@contextmanager
def no_file_beyond(most: int):
    """No file of this process grows beyond a size, as on a full disk; pytest's own log may, after.

    Nor do those of processes begun inside, which `coverage` then leaves alone: it writes files.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    measured = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        if measured is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = measured


@pytest.fixture(scope="session")
def on_digits():
    """The function `execute_on_digits`."""
    return execute_on_digits


@pytest.fixture(scope="session")
def html(tmp_path_factory, on_digits) -> Path:
    """The HTML of the book, built once, by the worker that asks first.

    (pytest-xdist's groups would keep its tests together, but pytest 9 ignores them.)
    """
    from book_html import build

    if "PYTEST_XDIST_WORKER" not in os.environ:
        return build(tmp_path_factory.mktemp("book"), on_digits)
    root = tmp_path_factory.getbasetemp().parent / "book"
    with FileLock(root.with_suffix(".lock")):
        if not root.exists():
            root.mkdir()
            build(root, on_digits)
            (root / "built").touch()
    assert (root / "built").exists(), "the build failed in the other worker"
    return root / "_build/html"
