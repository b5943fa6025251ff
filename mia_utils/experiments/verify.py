"""Published records repeated from their recipes: the same figures, or figures that might have been.

On the processor and the versions that made a record the same bits must come out. Elsewhere sums are
rounded in another order, and training amplifies that: then a figure must lie where one more run
would, in the 99.9 % prediction interval over the published seeds.
"""

from __future__ import annotations

import math
import os
import platform
import tempfile
from typing import NamedTuple

import numpy as np

from .. import arguments
from ..errors import InputError
from ..evaluation import prediction_interval
from ..training.device import describe
from .experiment import Experiment, run

CHEAP = 900.0
"""Seconds of training up to which a run on real data counts as cheap."""
LEVEL = 0.999
UNTIMED = ("seconds", "processor", "python", "torch", "numpy")
"""Columns that say how a record was made, not what was measured."""
_GROUP = (
    *("dataset", "architecture", "defense", "attack", "target"),
    *("shadow_dataset", "shadow_architecture", "shadow_defense"),
    *("epochs", "settings", "precision", "device"),
)


class Check(NamedTuple):
    """One record repeated: `verdict` is "same", "within", "differs" or "few seeds"."""

    run: str
    attack: str
    seed: int
    published: float  # AUC
    repeated: float
    verdict: str

    @property
    def failed(self) -> bool:
        return self.verdict == "differs"


def choose(frame, datasets, *, count: int | None = None, longest: float = CHEAP, seed: int = 0):
    """Runs (names) on the given data sets that took at most `longest` seconds; all, or `count` of
    them at random. Target and shadow models must be of those data sets, trained on this device.

    Raises
    ------
    InputError
        If there is none.
    """
    made = frame.drop_duplicates("run").sort_values("run")
    here = made["dataset"].isin(datasets) & made["shadow_dataset"].isin(datasets)
    runs = made[here & (made["seconds"] <= longest) & (made["device"] == "cpu")]["run"].to_numpy()
    if not runs.size:
        raise InputError(f"no published run on {sorted(datasets)} of at most {longest:.0f} s")
    if count is not None and count < runs.size:
        runs = np.sort(
            np.random.default_rng(arguments.seed(seed)).choice(runs, count, replace=False)
        )
    return [str(name) for name in runs]


def verify(frame, name: str, *, store: str | os.PathLike | None = None) -> list[Check]:
    """Repeat one run from its recipe, training its models anew, and compare every record.

    Parameters
    ----------
    frame : pandas.DataFrame
        All published records.
    name : str
        The run.
    store : path, default a folder that is deleted afterwards
        Without that run's models, or nothing is repeated.
    """
    published = frame[frame["run"] == name]
    with tempfile.TemporaryDirectory() as fresh:
        finished = run(
            Experiment.of(published.iloc[0].to_dict()), store=store or fresh, progress=False
        )
    repeated = {(r["attack"], r["target"]): r for r in finished.records}
    return [
        _compare(frame, row, repeated.get((row["attack"], row["target"])))
        for row in published.to_dict("records")
    ]


def _compare(frame, old: dict, new: dict | None) -> Check:
    key = old["run"], old["attack"], old["seed"], old["auc"]
    if new is None:
        return Check(*key, float("nan"), "differs")
    made_alike = all(old[c] == new[c] for c in ("processor", "torch", "numpy"))
    same = all(_equal(old[c], new[c]) for c in new if c not in UNTIMED)
    if same:
        return Check(*key, new["auc"], "same")
    if made_alike:
        return Check(*key, new["auc"], "differs")
    like = frame
    for column in _GROUP:
        like = like[like[column] == old[column]]
    if len(like) < 3:
        return Check(*key, new["auc"], "few seeds")
    figures = ("auc", "test_accuracy")
    inside = all(_inside(like[f].to_numpy(), new[f], old["n_nonmembers"]) for f in figures)
    return Check(*key, new["auc"], "within" if inside else "differs")


def _equal(a, b) -> bool:
    missing = [x is None or (isinstance(x, float) and np.isnan(x)) for x in (a, b)]
    if any(missing):
        return all(missing)
    if isinstance(a, float):  # a threshold's last bits may be rounded in another order
        return math.isclose(a, b, rel_tol=1e-12)
    return a == b


def _inside(values: np.ndarray, value: float, records: int) -> bool:
    """In the prediction interval, widened by one record's worth (seeds may agree exactly)."""
    _, low, high = prediction_interval(values, level=LEVEL)
    return bool(low - 1 / records <= value <= high + 1 / records)


def report(checks: list[Check]) -> str:
    """Lines for a log: the machine, each record, and how many came out how."""
    import torch

    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    lines = [f"python {platform.python_version()}, {versions}, {describe('cpu')}"]
    lines += [
        f"{c.verdict:10s}{c.run} {c.attack} seed {c.seed}: AUC {c.published:.6f} published, "
        f"{c.repeated:.6f} repeated"
        for c in checks
    ]
    verdicts = [c.verdict for c in checks]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    return "\n".join([*lines, f"verify: {len(checks)} records: {counts}"])
