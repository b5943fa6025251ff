"""One experiment of the report's protocol: target and shadow models, a defense, all attacks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from .. import arguments
from ..attacks import (
    Attack,
    ConfidenceAttack,
    CorrectnessAttack,
    EntropyAttack,
    LearnedAttack,
    LossAttack,
    RandomAttack,
)
from ..data import load_dataset, quarter_masks
from ..defenses import train_defended
from ..engine.store import Store
from ..errors import InputError
from ..evaluation import auc, evaluate
from ..evaluation.theorems import accuracies
from ..outputs import Outputs
from ..training.config import TrainConfig, as_seed
from . import records as results


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What decides one run of the report's protocol.

    Parameters
    ----------
    dataset, architecture, defense : str
        Of the target; defenses are those of `mia_utils.defenses`, "none" for none.
    seed : int
        Of the quarters, the training and the attacks.
    epochs : int
    precision : "fp32", "bf16" or "auto"
    shadow_dataset, shadow_architecture, shadow_defense : str
        Of the shadow models, "" for the target's.
    settings : mapping
        Further fields of `TrainConfig`, for target and shadow models.

    Raises
    ------
    InputError
        If a value is of another kind. Names are looked up when they are used.
    """

    dataset: str
    architecture: str = "cnn"
    defense: str = "none"
    seed: int = 0
    epochs: int = 50
    precision: str = "fp32"
    shadow_dataset: str = ""
    shadow_architecture: str = ""
    shadow_defense: str = ""
    settings: Mapping = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in ("dataset", "architecture", "defense"):
            for name in (part, f"shadow_{part}"):
                arguments.text(name, getattr(self, name))
        arguments.one_of("precision", self.precision, ("fp32", "bf16", "auto"))
        arguments.instance("settings", self.settings, Mapping, "a mapping, as {'lr_drop': 40}")
        object.__setattr__(self, "seed", as_seed(self.seed))
        object.__setattr__(self, "epochs", TrainConfig(epochs=self.epochs).epochs)
        for part in ("dataset", "architecture", "defense"):
            name = f"shadow_{part}"
            object.__setattr__(self, name, getattr(self, name) or getattr(self, part))

    @property
    def transfer(self) -> bool:
        """Do the shadow models differ from the target in more than their records?"""
        parts = ("dataset", "architecture", "defense")
        return any(getattr(self, p) != getattr(self, f"shadow_{p}") for p in parts)

    @classmethod
    def of(cls, record: Mapping) -> Experiment:
        """The experiment that a record came from."""
        names = set(cls.__dataclass_fields__) - {"settings"}
        return cls(**{n: record[n] for n in names}, settings=json.loads(record["settings"]))


@dataclass(frozen=True, kw_only=True)
class Finished:
    """An experiment with its models' answers, its attacks and its records.

    `scores` holds float64 (targets, N) for each attack, NaN where it does not apply.
    """

    experiment: Experiment
    run: str
    target: Outputs
    shadows: Outputs
    attacks: dict[str, Attack]
    scores: dict[str, np.ndarray]
    records: list[dict]

    def frame(self):
        """The records as a pandas.DataFrame, one row an attack."""
        import pandas as pd

        return pd.DataFrame(self.records).set_index("attack", drop=False)

    def save(self, root: str | os.PathLike | None = None):
        """Write records and signals (those of a transfer are the target's own run's); see
        `results.save`."""
        judged = None if self.experiment.transfer else self.target
        return results.save(self.records, judged, root=root)


class CarelessEntropyAttack(EntropyAttack):
    """Entropy as sum of p log p in single precision, where 0 log 0 is not a number.

    Such a record passes no comparison `entropy <= threshold`: it scores -inf, never a member. The
    report's code may have done so; `EntropyAttack` is the right one.
    """

    def _metric(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        z = np.asarray(logits, dtype=np.float32)
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -(p * np.log(p)).sum(axis=-1)
        return np.where(np.isnan(entropy), np.inf, entropy).astype(np.float64)


def attacks_for(experiment: Experiment, *, same_classes: bool = True) -> dict[str, Attack]:
    """The report's attacks by name, and what its figure 8 needs.

    `learned` is the report's machine learning attack, on probabilities and label; it needs shadow
    models with as many classes as the target. The three that do not: `learned_class_free`, and loss
    and entropy divided by log C. `entropy_careless` shows what rounding can do to an entropy.
    """
    seed = experiment.seed
    attacks: dict[str, Attack] = {
        "random": RandomAttack(seed=seed),
        "correctness": CorrectnessAttack(),
        "loss": LossAttack(),
        "confidence": ConfidenceAttack(),
        "entropy": EntropyAttack(),
        "entropy_careless": CarelessEntropyAttack(),
        "learned": LearnedAttack(seed=seed),
        "learned_class_free": LearnedAttack(features="class_free", seed=seed),
    }
    if not same_classes:
        del attacks["learned"]
    if experiment.shadow_dataset != experiment.dataset:
        attacks["loss_normalized"] = LossAttack(normalize=True)
        attacks["entropy_normalized"] = EntropyAttack(normalize=True)
    return attacks


def models(
    experiment: Experiment,
    *,
    store: str | os.PathLike | Store | None = None,
    progress: bool = True,
) -> tuple[Outputs, Outputs]:
    """Target and shadow model, trained unless the store has them, with their defenses applied.

    They are those of the first chapters: `quarter_masks(labels, seed=seed, shadow_models=1)`. With
    another data set for the shadow model it is that set's shadow quarter.

    Raises
    ------
    InputError
        As `load_dataset` and `train_defended`.
    """
    e = experiment
    config = training_config(e)
    outputs = []
    for side, prefix in enumerate(("", "shadow_")):
        dataset, architecture, defense = (
            getattr(e, prefix + part) for part in ("dataset", "architecture", "defense")
        )
        pool = load_dataset(dataset)
        masks = quarter_masks(pool.labels, seed=e.seed, shadow_models=1)[side]
        outputs.append(
            train_defended(
                pool,
                masks,
                architecture,
                config,
                defense,
                seed=e.seed,
                precision=e.precision,
                store=store,
                progress=progress,
            )
        )
    return outputs[0], outputs[1]


def training_config(experiment: Experiment) -> TrainConfig:
    """How target and shadow models are trained, before a defense changes it."""
    return replace(TrainConfig(epochs=experiment.epochs), **_known(experiment.settings))


def _known(settings: Mapping) -> dict:
    unknown = {name for name in settings if name not in TrainConfig.__dataclass_fields__}
    if unknown or "epochs" in settings:
        raise InputError(
            f"settings {sorted(map(str, unknown or {'epochs'}))}; expected fields of TrainConfig other than "
            "epochs, which is a parameter of its own"
        )
    if "dp" in settings:
        raise InputError(
            f"settings {{'dp': {settings['dp']!r}}}; a private training is a defense: "
            "defense='dp_eps8', or another of mia_utils.defenses"
        )
    return dict(settings)


def run(
    experiment: Experiment,
    *,
    store: str | os.PathLike | Store | None = None,
    progress: bool = True,
) -> Finished:
    """Train what the store lacks, attack the target with every attack, return the records.

    Raises
    ------
    InputError
        As `models`.
    """
    store = Store.of(store)
    target, shadows = models(experiment, store=store, progress=progress)
    same = target.classes == shadows.classes
    attacks = attacks_for(experiment, same_classes=same)
    common, right = _provenance(experiment, target, shadows, store), accuracies(target)
    scores, records = {}, []
    for name, attack in attacks.items():
        attack.fit(shadows)
        scores[name] = attack.score(target)
        own = attack.score(shadows)
        judged = evaluate(scores[name], target, threshold=attack.threshold_, seed=experiment.seed)
        own_auc = [
            auc(s[used], held[used])
            for s, held, used in zip(own, shadows.members, shadows.evaluated, strict=True)
        ]
        for number, metrics in enumerate(judged.targets):
            threshold: float | None = attack.threshold_
            if threshold is not None and not np.isfinite(threshold):
                threshold = None
            values = common | metrics.row()
            values |= {
                "layout": results.LAYOUT,
                "attack": name,
                "target": number,
                "train_accuracy": right.train[number],
                "test_accuracy": right.test[number],
                "gap": right.train[number] - right.test[number],
                "threshold": threshold,
                "shadow_auc": float(np.mean(own_auc)),
                "model": target.names[number],
            }
            records.append({column: _plain(values[column]) for column in results.SCHEMA})
    return Finished(
        experiment=experiment,
        run=common["run"],
        target=target,
        shadows=shadows,
        attacks=attacks,
        scores=scores,
        records=records,
    )


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def _provenance(experiment: Experiment, target: Outputs, shadows: Outputs, store: Store) -> dict:
    """What all records of a run share."""
    # A stack is named by its base models, joined by "+".
    names = [part for name in (*target.names, *shadows.names) for part in name.split("+")]
    made = [store.record(name) for name in names]
    first = made[0]
    settings = json.dumps(dict(experiment.settings), sort_keys=True)
    common = asdict(experiment) | {
        "settings": settings,
        "precision": first["precision"],
        "fingerprint": target.fingerprint,
        "shadow_fingerprint": shadows.fingerprint,
        "recipe": first["recipe"],
        "device": first["device"],
    }
    return common | {
        "run": results.run_name(common),
        "shadows": list(shadows.names),
        **{name: first["versions"][name] for name in ("python", "torch", "numpy")},
        "processor": first["processor"],
        "seconds": round(sum(record["seconds"] for record in made), 3),
    }
