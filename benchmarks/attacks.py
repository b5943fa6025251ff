"""How fast attacks are and how much memory they take; ours and ART's on the same answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from mia_utils import RMIA, LearnedAttack, LiRA, Outputs, balanced_masks
from mia_utils.evaluation import paired_auc_difference
from mia_utils.signals import log_softmax

from .timing import Ratio, in_a_process, one_core, peak_memory, ratio, rounds, seconds


def _outputs(path: Path, models: int, records: int, classes: int) -> Outputs:
    """Memory-mapped answers with a leak, every record in half of the models."""
    rng = np.random.default_rng(0)
    logits = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(models, records, classes)
    )
    labels = rng.integers(0, classes, records)
    members = balanced_masks(records, models=models, seed=0).members
    for row, held in zip(logits, members, strict=True):
        row[:] = rng.standard_normal((records, classes), np.float32)
        row[np.arange(records), labels] += 3 + held
    logits.flush()
    return Outputs(
        np.load(path, mmap_mode="r", allow_pickle=False), labels, members, fingerprint="bench"
    )


def _likelihood(folder: str, classes: int) -> dict[str, float]:
    """In a process of its own: seconds, and the most memory that was resident (without the map)."""
    path = Path(folder, f"{classes}.npy")
    shadows = _outputs(path, 64, 60_000, classes)
    target = _outputs(Path(folder, "target.npy"), 2, 60_000, classes)
    found = {}
    with one_core():
        for name, attack in (("LiRA", LiRA()), ("RMIA", RMIA())):
            population = target.select(records=slice(0, 10_000))
            audited = target.select(records=slice(10_000, None))

            def work(attack=attack, population=population, audited=audited):
                attack.fit(shadows, population).score(audited)

            found[name] = seconds(work)
    mapped = 0
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith(("Shared_Clean", "Private_Clean")):
            mapped += int(line.split()[1]) * 1024
    found["memory"] = peak_memory() - mapped
    return found


def likelihood() -> list[Ratio]:
    """LiRA and RMIA over 64 models x 60,000 records: share of 20 s, and of 1 GB (2 GB at 100)."""
    rows = []
    for classes, limit in ((10, 2**30), (100, 2 * 2**30)):
        with tempfile.TemporaryDirectory() as folder:
            found = in_a_process(_likelihood, folder, classes)
        case = f"64 models x 60,000 records x {classes} classes"
        for name in ("LiRA", "RMIA"):
            share = found[name] / 20
            rows.append(Ratio(case, f"{name}, share of 20 s", share, share, share, "at most 1"))
        share = found["memory"] / limit
        rows.append(
            Ratio(case, f"memory, share of {limit >> 30} GB", share, share, share, "at most 1")
        )
    return rows


def learned() -> list[Ratio]:
    """Our ML attack and ART's black-box attack, taught by the same shadow answers."""
    from art.attacks.inference.membership_inference import MembershipInferenceBlackBox
    from art.estimators.classification import BlackBoxClassifier

    from mia_utils import TrainConfig, load_dataset, quarter_masks, train

    pool = load_dataset("cifar10-mini")
    config = TrainConfig(epochs=15)
    target, shadow = (
        train(pool, masks, "cnn", config, progress=False)
        for masks in quarter_masks(pool.labels, seed=0, shadow_models=1)
    )
    one_hot = np.eye(10, dtype=np.float32)

    def parts(outputs):
        used = outputs.evaluated[0]
        p = np.exp(log_softmax(outputs.logits[0][used]))
        held = outputs.members[0][used]
        return p.astype(np.float32), one_hot[outputs.labels[used]], held

    def art():
        p, y, held = parts(shadow)
        classifier = BlackBoxClassifier(lambda x: x, (10,), 10)
        attack = MembershipInferenceBlackBox(
            classifier, attack_model_type="nn", nn_model_epochs=100
        )
        attack.fit(
            x=None, y=y[held], test_x=None, test_y=y[~held], pred=p[held], test_pred=p[~held]
        )
        q, labels, _ = parts(target)
        return attack.infer(x=None, y=labels, pred=q, probabilities=True).ravel()

    def mine():
        return LearnedAttack(seed=0).fit(shadow).score(target)[0][target.evaluated[0]]

    with one_core():
        found = rounds({"art": art, "ours": mine}, 3)
        held = parts(target)[2]
        difference = paired_auc_difference(mine(), art(), held)
    case = "ML attack, 1,000 shadow answers"
    return [
        ratio(case, "seconds of ART's black-box attack over ours", found["art"] / found["ours"]),
        Ratio(case, "AUC minus that of ART's black-box attack", *difference),
    ]
