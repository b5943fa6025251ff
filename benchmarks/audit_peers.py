"""Our audit beside two tools from PyPI, on the same answers: a planted leak and 200 sets without one.

`python -m benchmarks.audit_peers [SETS]` writes book/results/audit_peers.csv, in about ten
minutes of two cores. It needs adversarial-robustness-toolbox and sacroml, in an environment of their own.

Neither peer takes a decision as ours does, so that what its user would read counts as "reports a
leak". sacroml's report counts how many of its ten repetitions have a significant AUC; one is
enough here, without and with its own correction. ART returns memberships; an accuracy above one
half on records that its attack was not fitted on counts.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import time
import warnings
from importlib.metadata import version

import numpy as np
from joblib import Parallel, delayed
from sklearn.metrics import roc_auc_score

from mia_utils import Outputs
from mia_utils.audit import audit
from mia_utils.evaluation import clopper_pearson, tpr_at_fpr

from . import RESULTS, command

SETS, PLANTED = 200, 10
RECORDS, CLASSES, LEAK = 400, 4, 1.5
COLUMNS = (
    *("tool", "attack", "AUC", "TPR at 10 % FPR", "epsilon at least", "planted leaks reported"),
    *("null sets with a leak reported", "low", "high", "null sets", "processor seconds"),
)


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
    report = audit(outputs, seed=seed, records=False, accept=("answers",))
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
    return {"ART": ("black box, random forest", auc, tpr, None, bool(accurate))}


def sacroml(outputs: Outputs, seed: int) -> dict:
    """Its worst-case attack with its default settings: a random forest, ten random splits."""
    from sacroml.attacks.worst_case_attack import WorstCaseAttack

    p, members = probabilities(outputs), outputs.members[0]
    attack = WorstCaseAttack(write_report=False, n_dummy_reps=0, reproduce_split=seed + 1)
    attack.attack_from_preds(p[members], p[~members])
    found = attack._get_global_metrics(attack.attack_metrics)
    auc = float(np.mean([m["AUC"] for m in attack.attack_metrics]))
    rate = float(np.mean([m["TPR@0.1%"] for m in attack.attack_metrics]))  # it is the rate 0.1
    what = "worst case, random forest"
    return {
        "sacroml": (what, auc, rate, None, found["n_sig_auc_p_vals"] > 0),
        "sacroml, corrected": (what, auc, rate, None, found["n_sig_auc_p_vals_corrected"] > 0),
    }


def _judge(seed: int) -> dict[str, tuple]:
    """What each tool says of one set, and the seconds it took."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    outputs, found = answers(seed, LEAK if seed < PLANTED else 0.0), {}
    for tool in (ours, art, sacroml):
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            result = tool(outputs, seed)
        seconds = time.process_time() - began
        found |= {name: (*values, seconds) for name, values in result.items()}
    return found


def main(chosen: list[str]) -> int:
    sets = int(chosen[0]) if chosen else SETS
    found: dict[str, dict] = {}
    judged = Parallel(2, return_as="generator")(delayed(_judge)(s) for s in range(PLANTED + sets))
    for seed, results in enumerate(judged):
        for name, (attack, auc, tpr, epsilon, leaks, seconds) in results.items():
            row = found.setdefault(
                name, {"attack": attack, "planted": [], "null": 0, "seconds": []}
            )
            row["seconds"].append(seconds)
            if seed < PLANTED:
                row["planted"].append((auc, tpr, epsilon, leaks))
            else:
                row["null"] += bool(leaks)
        if seed % 20 == 0:
            print(seed, {name: row["null"] for name, row in found.items()}, flush=True)
    with open(RESULTS / "audit_peers.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, row in found.items():
            means = [
                None if None in values else float(np.mean(values))
                for values in list(zip(*row["planted"], strict=True))[:3]
            ]
            low, high = clopper_pearson(row["null"], sets)
            numbers = ["" if mean is None else f"{mean:.3f}" for mean in means]
            reported = f"{sum(p[3] for p in row['planted'])} of {PLANTED}"
            share = [f"{value:.3f}" for value in (row["null"] / sets, float(low), float(high))]
            seconds = f"{np.median(row['seconds']):.2f}"
            title = {
                "mia audit": "mia audit",
                "ART": f"ART {version('adversarial-robustness-toolbox')}",
            }
            tool = title.get(name, f"{name} ({version('sacroml')})")
            writer.writerow([tool, row["attack"], *numbers, reported, *share, sets, seconds])
    return 0


if __name__ == "__main__":
    command(main)
