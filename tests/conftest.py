"""One thread a process, nothing of the user's own caches, and the chapters executed on `digits`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["MPLBACKEND"] = "agg"

import pytest  # noqa: E402
from filelock import FileLock  # noqa: E402

from mia_utils.book import execute, grid, notebooks  # noqa: E402

ROOT = Path(__file__).parents[1]
EXECUTED = ROOT / "_build/tests"
DIGITS = {"dataset": "digits", "epochs": 2}
"""What the tests give each chapter, as far as it has such a parameter."""


def pytest_configure(config):
    """No test reads or writes the user's own data, trained models and runs, or asks their cluster."""
    folder = Path(tempfile.mkdtemp(prefix="mia-tests-"))
    for name in [name for name in os.environ if name.startswith("MIA_")]:
        del os.environ[name]
    for place in ("data", "store", "runs", "results"):
        os.environ[f"MIA_{place.upper()}"] = str(folder / place)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items):
    """Chapters first (they take longest), the book last (it needs them)."""
    place = {"test_notebooks.py": 0, "test_book.py": 2}
    items.sort(key=lambda item: place.get(item.path.name, 1))


def execute_on_digits(source: Path) -> Path:
    """The chapter prepared by Papermill with DIGITS and run by nbval, its outputs kept.

    A chapter whose code, data and package are unchanged since its last success is not run again.
    """
    import papermill

    known = notebooks.parameters(notebooks.read(source))
    given = {name: value for name, value in DIGITS.items() if name in known}
    path = EXECUTED / source.name
    EXECUTED.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        cell = grid.cell(source, given, out=path)
        if cell.state == grid.DONE:
            return path
        papermill.execute_notebook(source, path, given, prepare_only=True, progress_bar=False)
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-o", "addopts=", "-q", "--color=no"]
            + ["--nbval-lax", "--nbval-current-env", "-p", "nbval_outputs", path.name],
            cwd=EXECUTED,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
                **execute.KERNEL_ENVIRONMENT,
                "PYTHONPATH": str(ROOT / "tests"),
                "MIA_STORE": str(EXECUTED / "store"),
            },
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, f"{source.name} on digits:\n{result.stdout}{result.stderr}"
        execute.sign(path, run=cell.run, parts=cell.parts, dataset="digits", given=given)
    return path


@pytest.fixture(scope="session")
def on_digits():
    """The function `execute_on_digits`."""
    return execute_on_digits
