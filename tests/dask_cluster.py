"""A Dask cluster of this machine: scheduler and workers are processes that tests start and kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

_DASK = [sys.executable, "-m", "dask"]


class Cluster:
    """A scheduler in a process of its own; `address` is where it listens."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0")
        self.workers: list[subprocess.Popen] = []
        while not self._file.exists():
            assert self.scheduler.poll() is None
            time.sleep(0.05)
        self.address = json.loads(self._file.read_text())["address"]

    def add_worker(self, threads: int = 1) -> subprocess.Popen:
        # Without a nanny the process is the worker itself: killed, nobody starts it again.
        worker = self._start("worker", "--nthreads", str(threads), "--no-nanny")
        self.workers.append(worker)
        return worker

    def _start(self, *what: str) -> subprocess.Popen:
        options = ["--no-dashboard", "--scheduler-file", str(self._file), "--host", "127.0.0.1"]
        return subprocess.Popen(
            [*_DASK, *what, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._file.parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
