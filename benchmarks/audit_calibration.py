"""Is the verdict of an audit true? 200 sets with nothing to find, 200 with a leak of known size.

`python -m benchmarks.audit_calibration` writes book/results/audit_calibration.csv, in about ten
minutes on one core.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from scipy.stats import norm
from sklearn.ensemble import RandomForestClassifier

from mia_utils import Outputs
from mia_utils.audit import AuditData, audit
from mia_utils.evaluation import clopper_pearson

from . import RESULTS, command, write_rows

SETS = 200
COLUMNS = ("kind", "sets", "asked", "hits", "share", "low", "high", "goal")


def _random_members(rng, records: int, share: float) -> np.ndarray:
    members = np.zeros(records, bool)
    members[rng.permutation(records)[: round(share * records)]] = True
    return members


def _logits(rng, records: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(classes, size=records)
    logits = rng.normal(size=(records, classes))
    logits[np.arange(records), labels] += 2
    return logits, labels


def _plain(rng, records=1000, classes=5, share=0.5) -> AuditData:
    logits, labels = _logits(rng, records, classes)
    return AuditData.of(Outputs(logits, labels, _random_members(rng, records, share)))


def _tied(rng) -> AuditData:
    logits, labels = _logits(rng, 800, 3)
    return AuditData.of(Outputs(logits.round(0), labels, _random_members(rng, 800, 0.5)))


def _probabilities(rng) -> AuditData:
    logits, labels = _logits(rng, 800, 10)
    p = np.exp(logits)
    p = (p / p.sum(axis=1, keepdims=True)).round(3)
    p /= p.sum(axis=1, keepdims=True)
    members = _random_members(rng, 800, 0.4)
    return AuditData.of(Outputs.from_probabilities(p, labels, members, floor=5e-4))


def _forest(rng) -> AuditData:
    x, y = rng.normal(size=(900, 6)), rng.integers(2, size=900)
    x[:, 0] += 1.5 * y
    forest = RandomForestClassifier(30, random_state=0).fit(x[:300], y[:300])
    p = forest.predict_proba(x[300:])
    members = _random_members(rng, 600, 0.5)
    return AuditData.of(Outputs.from_probabilities(p, y[300:], members), features=x[300:])


def _groups(rng) -> AuditData:
    data = _plain(rng, 1200)
    columns = {name: rng.integers(size, size=1200) for name, size in (("a", 6), ("b", 3))}
    return AuditData.of(data.outputs, groups=columns)


def _with_references(rng) -> tuple[AuditData, Outputs]:
    records, classes, models = 800, 4, 8
    logits, labels = _logits(rng, records, classes)
    held = rng.random((models, records)).argsort(axis=0) < models // 2
    others = logits + rng.normal(size=(models, records, classes))
    others[:, np.arange(records), labels] += held
    own = logits + rng.normal(size=(records, classes))
    target = Outputs(own, labels, _random_members(rng, records, 0.5))
    return AuditData.of(target), Outputs(others, labels, held)


NULL: dict[str, Callable] = {
    "logits": _plain,
    "small (60 records)": lambda rng: _plain(rng, 60, 2),
    "few members (5 %)": lambda rng: _plain(rng, 1000, 3, 0.05),
    "few non-members (10 %)": lambda rng: _plain(rng, 1000, 3, 0.9),
    "tied": _tied,
    "rounded probabilities": _probabilities,
    "random forest": _forest,
    "groups": _groups,
    "reference models": _with_references,
    "many classes": lambda rng: _plain(rng, 1500, 60),
}
"""Sets in which memberships were dealt at random after the answers were made."""

LEAKS = (0.2, 0.5, 1.0, 2.0, 3.0)
"""By how many standard deviations of the margin members are surer."""


def _planted(rng, leak: float) -> AuditData:
    """Two classes; the margin is normal, of members `leak` higher: AUC and TPRs are known."""
    members = _random_members(rng, 2000, 0.5)
    labels = np.ones(2000, int)
    labels[rng.permutation(2000)[:1000]] = 0
    margin = 1.5 + rng.normal(size=2000) + leak * members
    signed = np.where(labels == 1, margin, -margin)
    return AuditData.of(Outputs(np.stack([np.zeros(2000), signed], axis=1), labels, members))


def _null(seed: int, kind: str) -> bool:
    """Does the verdict say "leaks"?"""
    made = NULL[kind](np.random.default_rng([seed, 1]))
    data, shadows = made if isinstance(made, tuple) else (made, None)
    report = audit(data, shadows, seed=seed, records=False, accept=("answers",))
    return report.leaks


def _inside(seed: int) -> list[tuple[str, bool]]:
    """For each figure of the margin attack: does its interval hold the true value?"""
    leak = LEAKS[seed % len(LEAKS)]
    data = _planted(np.random.default_rng([seed, 2]), leak)
    attacks = ["loss", "margin", "entropy"]
    report = audit(data, seed=seed, records=False, attacks=attacks)
    row = next(row for row in report.content["attacks"] if row["name"] == "margin")
    truth = {"auc": norm.cdf(leak / np.sqrt(2))}
    found = [("AUC", row["auc"]["low"] <= truth["auc"] <= row["auc"]["high"])]
    for point in row["tpr"]:
        if point["value"] is not None:
            value = norm.sf(norm.isf(point["fpr"]) - leak)
            name = f"TPR at {point['fpr']:.0%} FPR"
            found.append((name, point["low"] <= value <= point["high"]))
    proven = [(r["auc"]["low_all"] <= truth["auc"]) for r in report.content["attacks"]]
    # The loss and the margin are the same ranking here; the entropy knows less.
    found.append(("AUC, lower limit of the best attack", all(proven)))
    return found


def _row(kind: str, asked: str, hits: int, sets: int, goal: str) -> dict:
    low, high = clopper_pearson(hits, sets)
    numbers = {"share": hits / sets, "low": float(low), "high": float(high)}
    rounded = {name: f"{value:.3f}" for name, value in numbers.items()}
    return {"kind": kind, "sets": sets, "asked": asked, "hits": hits, **rounded, "goal": goal}


def main(chosen: list[str]) -> int:
    warnings.simplefilter("ignore")
    kinds = list(NULL)
    rows, total = [], 0
    for number, kind in enumerate(kinds):
        seeds = range(number, SETS, len(kinds))
        hits = sum(_null(seed, kind) for seed in seeds)
        total += hits
        rows.append(_row(f"null: {kind}", 'verdict "leaks"', hits, len(seeds), ""))
        print(rows[-1], flush=True)
    rows.append(_row("null: all", 'verdict "leaks"', total, SETS, "at most 0.05"))
    inside: dict[str, int] = {}
    for seed in range(SETS):
        for name, held in _inside(seed):
            inside[name] = inside.get(name, 0) + held
    for name, hits in inside.items():
        rows.append(_row("planted", f"{name} in the interval", hits, SETS, "at least 0.9"))
        print(rows[-1], flush=True)
    write_rows(RESULTS / "audit_calibration.csv", COLUMNS, rows)
    return 0


if __name__ == "__main__":
    command(main)
