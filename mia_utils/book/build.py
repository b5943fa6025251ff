"""`make book`'s first half: execute the chapters on the embedded data and publish them.

What has not changed is left alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from . import notebooks, publish
from .contents import RUNS, write_toc
from ..errors import InputError, NotebookError


def _execute(source: Path, raw: Path, run: str) -> float:
    start = time.monotonic()
    notebooks.execute(source, raw, run=run, progress=False)
    return time.monotonic() - start


def run_chapters(root: str | os.PathLike, *, jobs: int = 2) -> list[str]:
    """Execute the chapters whose hash has changed on the default set and publish all of them.

    Returns
    -------
    list of str
        One line for each chapter that failed.
    """
    root = Path(root)
    raw = root / "_build/runs"
    waiting, failures = {}, []
    for source in notebooks.chapters(root):
        notebook = notebooks.read(source)
        run = notebooks.run_hash(notebook, notebooks.parameters(notebook))
        copy = root / RUNS / publish.DEFAULT_SET / source.name
        if notebooks.is_done(copy, run):
            publish.publish(copy, root, where=publish.DEFAULT_SET)
        else:
            waiting[source] = run
    total = len(notebooks.chapters(root))
    print(f"chapters: {total - len(waiting)} of {total} unchanged", flush=True)
    # "spawn": a forked child would inherit the threads and locks of whatever is loaded here.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {
            pool.submit(_execute, source, raw / source.name, run): source
            for source, run in waiting.items()
        }
        for count, future in enumerate(as_completed(futures), 1):
            source = futures[future]
            try:
                seconds = future.result()
                publish.publish(raw / source.name, root, where=publish.DEFAULT_SET)
                outcome = f"{seconds:.0f} s"
            except (InputError, NotebookError, OSError) as error:
                failures.append(f"{source.stem}: {error}")
                outcome = "FAILED"
            print(f"  [{count}/{len(futures)}] {source.stem}: {outcome}", flush=True)
    return failures


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mia_utils.book.build", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args(argv)
    failures = run_chapters(arguments.root, jobs=arguments.jobs)
    for line in failures:
        print(f"book: {line}", file=sys.stderr)
    write_toc(arguments.root)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
