"""Single photographs under attack, for the pages that show them: `python -m benchmarks.photographs`.

Trains one target and sixteen shadow models on halves of a data set's images (by default the
embedded ones: three minutes on one core), attacks the target, and writes what the pages show of
drawn photographs to book/results/photographs.json. `python -m benchmarks.photographs cifar10` does
the same on other data; the pages say which it was.
"""

from __future__ import annotations

import base64
import io
import json

import numpy as np
from PIL import Image

from mia_utils import (
    RMIA,
    CalibratedAttack,
    ConfidenceAttack,
    CorrectnessAttack,
    EntropyAttack,
    LiRA,
    LossAttack,
    TrainConfig,
    balanced_masks,
    evaluate,
    independent_masks,
    load_dataset,
    signals,
    train,
)
from mia_utils.files import write_if_changed

from . import RESULTS, command

SHADOWS, EPOCHS, POOL, SEED = 16, 30, 2000, 0
SHOWN, FPR = 36, 0.05
ATTACKS = {
    "correctness": CorrectnessAttack(),
    "loss": LossAttack(),
    "confidence": ConfidenceAttack(),
    "entropy": EntropyAttack(),
    "calibrated loss": CalibratedAttack(),
    "LiRA": LiRA(),
    "RMIA": RMIA(),
}


def _photograph(image: np.ndarray) -> str:
    """A PNG as a data address."""
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _halves(members: np.ndarray) -> np.ndarray:
    """Drawn records, as many members as non-members, in a drawn order."""
    rng = np.random.default_rng([SEED, SHOWN])
    drawn = [
        rng.choice(np.flatnonzero(members == held), SHOWN // 2, replace=False)
        for held in (True, False)
    ]
    return rng.permutation(np.concatenate(drawn))


def _standing(scores: np.ndarray, members: np.ndarray, i: int) -> list:
    """Share of the non-members below one record, ties half, and whether FPR lets it be accused."""
    others = scores[~members]
    below = (others < scores[i]).mean() + (others == scores[i]).mean() / 2
    return [round(float(below), 4), bool(scores[i] > np.quantile(others, 1 - FPR, method="higher"))]


def main(arguments: list[str]) -> int:
    name = arguments[0] if arguments else "cifar10-mini"
    pool = load_dataset(name)
    if pool.labels.size > POOL:
        pool = pool.sample(POOL, seed=SEED)
    n = pool.labels.size
    config = TrainConfig(epochs=EPOCHS)
    target = train(pool, independent_masks(n, models=1, seed=SEED + 1), "cnn", config, seed=SEED)
    shadows = train(pool, balanced_masks(n, models=SHADOWS, seed=SEED), "cnn", config, seed=SEED)
    order = np.random.default_rng([SEED, 6]).permutation(n)
    population, audited = np.sort(order[: n // 5]), np.sort(order[n // 5 :])
    judged, z = target.select(records=audited), target.select(records=population)
    members, logits, labels = judged.members[0], judged.logits[0], judged.labels
    scores, quality = {}, {}
    for attack, estimator in ATTACKS.items():
        found = estimator.fit(shadows, z).score(judged)
        scores[attack] = found[0]
        metrics = evaluate(found, judged)
        quality[attack] = [round(x, 4) for x in metrics.auc]
    verdict = ATTACKS["LiRA"].predict(judged)[0]
    margins = signals.margin(shadows.logits[:, audited], labels)
    own = signals.margin(logits, labels)
    held = shadows.members[:, audited]
    right = logits.argmax(axis=1) == labels

    def told(i: int) -> dict:
        p = np.exp(signals.log_softmax(logits[i]))
        return {
            "photograph": _photograph(np.asarray(pool.records[audited[i]])),
            "class": str(pool.classes[labels[i]]),
            "member": bool(members[i]),
            "accused": bool(verdict[i]),
            "answers": [[str(pool.classes[c]), round(float(p[c]), 4)] for c in np.argsort(-p)[:3]],
            "margin": round(float(own[i]), 3),
            "with": np.sort(margins[held[:, i], i]).round(3).tolist(),
            "without": np.sort(margins[~held[:, i], i]).round(3).tolist(),
            "scores": {a: _standing(s, members, i) for a, s in scores.items()},
        }

    facts = {
        "dataset": name,
        "architecture": "cnn",
        "epochs": EPOCHS,
        "images": n,
        "shadow_models": SHADOWS,
        "nonmembers": int((~members).sum()),
        "members": int(members.sum()),
        "fpr": FPR,
        "train_accuracy": round(float(right[members].mean()), 4),
        "test_accuracy": round(float(right[~members].mean()), 4),
        "lira_accuracy": round(float((verdict == members).mean()), 4),
        "auc": quality,
        "photographs": [told(i) for i in _halves(members)],
    }
    text = json.dumps(facts, indent=1, allow_nan=False) + "\n"
    write_if_changed(RESULTS / "photographs.json", text.encode())
    return 0


if __name__ == "__main__":
    command(main)
