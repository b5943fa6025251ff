"""Seconds and memory of whole audits, of the sizes that people have.

`python -m benchmarks.audit_speed [NAME ...]` writes book/results/audit_speed.csv. Each audit runs in a
process of its own on one thread. Seconds are those of the processor, so that other work on the
machine does not count; memory is the most that was resident, with what was mapped of files. Audits
that are named are measured anew, the others keep their rows.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from mia_utils import InputError, Outputs, balanced_masks
from mia_utils.audit import audit, read_answers

from . import RESULTS, command
from .timing import in_a_process, peak_memory

LIMITS = {
    # name: (records, classes, reference models, seconds, GB), 0: no limit
    "answers alone": (60_000, 10, 0, 30, 1),
    "16 reference models": (60_000, 10, 16, 60, 2),
    "ImageNet's size, float16, mapped: loss, Attack-P": (1_000_000, 1_000, 0, 0, 2),
    "ImageNet's size, float16, mapped: all attacks": (1_000_000, 1_000, 0, 0, 2),
}
QUICK = ["correctness", "loss", "population"]
"""Attacks of the shorter of the two largest; all of them take eight minutes more."""


def _answers(records: int, classes: int, models: int) -> Outputs:
    rng = np.random.default_rng(models)
    labels = np.random.default_rng(0).integers(classes, size=records)
    if models == 1:
        members = rng.random((1, records)) < 0.5
    else:
        members = balanced_masks(records, models=models, seed=1).members
    logits = rng.standard_normal((models, records, classes), np.float32)
    logits[:, np.arange(records), labels] += 3 + members
    return Outputs(logits, labels, members)


def _mapped(folder: Path, records: int, classes: int) -> None:
    """Answers that are written, and later read, a block at a time."""
    rng = np.random.default_rng(0)
    labels, members = rng.integers(classes, size=records), rng.random(records) < 0.5
    logits = np.lib.format.open_memmap(
        folder / "logits.npy", mode="w+", dtype=np.float16, shape=(records, classes)
    )
    for start in range(0, records, 10_000):
        rows = np.arange(start, min(start + 10_000, records))
        block = rng.standard_normal((rows.size, classes), np.float32)
        block[np.arange(rows.size), labels[rows]] += 5 + members[rows]
        logits[rows] = block
    logits.flush()
    np.save(folder / "labels.npy", labels)
    np.save(folder / "members.npy", members)


def _run(name: str, folder: str) -> tuple[float, float]:
    """Processor seconds and GB of one audit with its report."""
    import torch

    torch.set_num_threads(1)
    records, classes, models, _, _ = LIMITS[name]
    if classes == 1_000:
        paths = {part: Path(folder, f"{part}.npy") for part in ("labels", "members")}
        target = read_answers(Path(folder, "logits.npy"), **paths)
        shadows = None
    else:
        target = _answers(records, classes, 1)
        shadows = _answers(records, classes, models) if models else None
    began = time.process_time()
    report = audit(
        target,
        shadows,
        attacks=QUICK if name.endswith("Attack-P") else None,
        progress=lambda step: print(f"    {step} ({peak_memory() / 2**30:.2f} GB)", flush=True),
    )
    report.save(Path(folder, "report"))
    return time.process_time() - began, peak_memory() / 2**30


def main(chosen: list[str]) -> int:
    warnings.simplefilter("ignore")
    unknown = set(chosen) - set(LIMITS)
    if unknown:
        raise InputError(f"{sorted(unknown)}; expected some of {list(LIMITS)}")
    path = RESULTS / "audit_speed.csv"
    rows = {}
    if chosen and path.exists():
        rows = {row["audit"]: row for row in pd.read_csv(path, dtype=str).to_dict("records")}
    for name in chosen or LIMITS:
        records, classes, models, seconds, memory = LIMITS[name]
        with tempfile.TemporaryDirectory() as folder:
            if classes == 1_000:
                in_a_process(_mapped, Path(folder), records, classes)
            took, used = in_a_process(_run, name, folder)
        rows[name] = {
            "audit": name,
            "records": records,
            "classes": classes,
            "reference models": models,
            "processor seconds": f"{took:.0f}",
            "at most (s)": seconds or "",
            "GB": f"{used:.2f}",
            "at most (GB)": memory,
        }
        print(rows[name], flush=True)
    table = pd.DataFrame([rows[name] for name in LIMITS if name in rows])
    table.to_csv(path, index=False, lineterminator="\n")
    return 0


if __name__ == "__main__":
    command(main)
