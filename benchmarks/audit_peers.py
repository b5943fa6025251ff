"""Our audit beside two tools from PyPI, on the same answers: a planted leak and 200 sets without one.

`python -m benchmarks.audit_peers [SETS]` writes book/results/audit_peers.csv. What each tool says of
each set goes to book/results/audit_peers_sets.csv as it comes: a run that was stopped goes on from
there. It needs adversarial-robustness-toolbox and sacroml, in an environment of their own.

Neither peer takes a decision as ours does, so that what its user would read counts as "reports a
leak". sacroml's report counts how many of its ten repetitions have a significant AUC; one is
enough here, without and with its own correction. ART returns memberships; an accuracy above one
half on records that its attack was not fitted on counts.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from mia_utils import Outputs
from mia_utils.audit import audit
from mia_utils.evaluation import clopper_pearson, tpr_at_fpr

from . import RESULTS, command, save

SETS, PLANTED = 200, 10
RECORDS, CLASSES, LEAK = 400, 4, 1.5
COLUMNS = ("set", "tool", "attack", "auc", "tpr", "epsilon", "leak", "seconds")
FIGURES = {"auc": "AUC", "tpr": "TPR at 10 % FPR", "epsilon": "epsilon at least"}


def answers(seed: int, leak: float) -> Outputs:
    """A model that is right about most records, and surer by `leak` about members."""
    rng = np.random.default_rng([seed, 3])
    labels = rng.integers(CLASSES, size=RECORDS)
    logits = rng.normal(size=(RECORDS, CLASSES))
    members = rng.permutation(RECORDS) < RECORDS // 2
    logits[np.arange(RECORDS), labels] += 2 + leak * members
    return Outputs(logits, labels, members)


def probabilities(outputs: Outputs) -> np.ndarray:
    z = outputs.logits[0].astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def ours(outputs: Outputs, seed: int) -> dict:
    # Chance alone makes one check in a thousand stop an audit: the sets are known to be sound.
    report = audit(outputs, seed=seed, records=False, accept=("answers", "difference"))
    best = max(report.content["attacks"], key=lambda row: row["auc"]["value"])
    bounds = [row["epsilon"]["low_all"] for row in report.content["attacks"] if row["epsilon"]]
    return {
        "mia audit": (
            "all without reference models",
            best["auc"]["value"],
            best["tpr"][0]["value"],
            max(bounds),
            report.leaks,
        )
    }


def art(outputs: Outputs, seed: int) -> dict:
    """Its black-box attack (a random forest on the answers), fitted on half of the records."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
    from art.estimators.classification import BlackBoxClassifier

    p, labels, members = probabilities(outputs), outputs.labels, outputs.members[0]
    learn = np.zeros(RECORDS, bool)
    for kind in (members, ~members):  # half of each
        learn[np.random.default_rng(seed).permutation(np.flatnonzero(kind))[::2]] = True
    model = BlackBoxClassifier(lambda x: x, (CLASSES,), CLASSES)
    np.random.seed(seed)  # the attack draws from NumPy's global numbers
    attack = MembershipInferenceBlackBox(model, attack_model_type="rf")
    rows = (learn & members, learn & ~members)
    attack.fit(p[rows[0]], labels[rows[0]], p[rows[1]], labels[rows[1]])
    scores = attack.infer(p[~learn], labels[~learn], probabilities=True)
    scores = np.asarray(scores).reshape(len(scores), -1)[:, -1]
    truth = members[~learn]
    accurate = ((scores > 0.5) == truth).mean() > 0.5
    auc = roc_auc_score(truth, scores)
    tpr = tpr_at_fpr(scores.astype(np.float64), truth, 0.1)
    name = f"ART {version('adversarial-robustness-toolbox')}"
    return {name: ("black box, random forest", auc, tpr, None, bool(accurate))}


def sacroml(outputs: Outputs, seed: int) -> dict:
    """Its worst-case attack with its default settings: a random forest, ten random splits."""
    from sacroml.attacks.worst_case_attack import WorstCaseAttack

    p, members = probabilities(outputs), outputs.members[0]
    attack = WorstCaseAttack(write_report=False, n_dummy_reps=0, reproduce_split=seed + 1)
    attack.attack_from_preds(p[members], p[~members])
    found = attack._get_global_metrics(attack.attack_metrics)
    auc = float(np.mean([m["AUC"] for m in attack.attack_metrics]))
    rate = float(np.mean([np.interp(0.1, m["fpr"], m["tpr"]) for m in attack.attack_metrics]))
    name, what = f"sacroml {version('sacroml')}", "worst case, random forest"
    return {
        name: (what, auc, rate, None, found["n_sig_auc_p_vals"] > 0),
        f"{name}, corrected": (what, auc, rate, None, found["n_sig_auc_p_vals_corrected"] > 0),
    }


def judge(seed: int) -> list[dict]:
    """What each tool says of one set, and the seconds of processor it took: a row a tool."""
    outputs, rows = answers(seed, LEAK if seed < PLANTED else 0.0), []
    for tool in (ours, art, sacroml):
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            found = tool(outputs, seed)
        seconds = round(time.process_time() - began, 3)
        for name, values in found.items():
            row = dict(zip(COLUMNS, (seed, name, *values, seconds), strict=True))
            if seed >= PLANTED:  # where nothing leaks it counts alone whether a tool says so
                row |= dict.fromkeys(FIGURES)
            rows.append(row | {"leak": int(row["leak"])})
    return rows


def table(sets: pd.DataFrame) -> pd.DataFrame:
    """One row a tool: means over the planted sets, the share of null sets in which it reports."""
    rows = []
    for tool, found in sets.groupby("tool", sort=False):
        planted, null = found[found["set"] < PLANTED], found[found["set"] >= PLANTED]
        alarms = int(null["leak"].sum())
        low, high = clopper_pearson(alarms, len(null))
        means = {name: planted[column].mean() for column, name in FIGURES.items()}
        rows.append(
            {
                "tool": tool,
                "attack": found["attack"].iloc[0],
                **{name: "" if np.isnan(mean) else f"{mean:.3f}" for name, mean in means.items()},
                "planted leaks reported": f"{int(planted['leak'].sum())} of {len(planted)}",
                "null sets with a leak reported": f"{alarms / len(null):.3f}",
                "low": f"{float(low):.3f}",
                "high": f"{float(high):.3f}",
                "null sets": len(null),
                "processor seconds": f"{found['seconds'].median():.2f}",
            }
        )
    return pd.DataFrame(rows)


def main(chosen: list[str]) -> int:
    last = PLANTED + (int(chosen[0]) if chosen else SETS)
    path = RESULTS / "audit_peers_sets.csv"
    done = set(pd.read_csv(path)["set"]) if path.exists() else set()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for seed in sorted(set(range(last)) - done):
        rows = pd.DataFrame(judge(seed), columns=COLUMNS)
        rows.to_csv(path, mode="a", header=not path.exists(), index=False, lineterminator="\n")
        if seed % 20 == 0:
            print(f"{seed} of {last}", flush=True)
    save(table(pd.read_csv(path)), "audit_peers.csv")
    return 0


if __name__ == "__main__":
    command(main)
