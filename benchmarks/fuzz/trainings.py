"""What trains: pools, settings, defenses, private steps, language models, experiments, attacks that learn.

The data are a few dozen records and one epoch, so that a trial takes a fraction of a second.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from mia_utils import (
    AugmentationAttack,
    BoundaryAttack,
    GradientAttack,
    LearnedAttack,
    LossAttack,
    Masks,
    Oracle,
    Outputs,
    Pool,
    StackedAttack,
    Store,
    load_model,
    query,
    text,
    train,
)
from mia_utils.data import balanced_masks, quarter_masks, write_archive
from mia_utils.defenses import memguard, names, train_defended, train_selena, train_stacked
from mia_utils.experiments import Experiment, epoch_curve, run
from mia_utils.training import (
    DPConfig,
    TrainConfig,
    build,
    epsilon_of,
    layers,
    noise_multiplier,
    sampling,
)

from .case import Case, surface
from .meant import Call, case_of
from .values import pick

N, CLASSES, SIDE = 48, 3, 4
_SMALL = {"epochs": 1, "batch_size": 8}


@cache
def prepare() -> None:
    """Torch makes a folder for its compiler where it is first asked for a layer: not in a trial."""
    import torch._inductor.codecache

    assert torch._inductor.codecache.cache_dir()


# ---- models of records ---------------------------------------------------------------------------


@cache
def _pool() -> Pool:
    rng = np.random.default_rng(0)
    return Pool.from_arrays(
        "tiny", rng.integers(256, size=(N, SIDE, SIDE)).astype(np.uint8), np.arange(N) % CLASSES
    )


def _rows(rng, folder: Path) -> dict:
    """What a training is given, in its parts."""
    features = rng.random() < 0.5
    records = rng.normal(size=(N, 6)).astype(np.float32) if features else _pool().records
    members = np.zeros((1, N), bool)
    members[0, rng.permutation(N)[: N // 2]] = True
    return {
        "records": records,
        "labels": np.arange(N) % CLASSES,
        "members": members,
        "evaluated": np.ones((1, N), bool),
        "architecture": "mlp",
        "seed": 0,
        "precision": "fp32",
        "device": "cpu",
        "jobs": 1,
        "backend": "loky",
        "progress": False,
    }


def _trained(records, labels, members, evaluated, architecture, **options) -> np.ndarray:
    classes, public = ("a", "b", "c"), np.ones(N, bool)
    pool = Pool("own", records, labels, classes, public)
    found = train(pool, Masks(members, evaluated), architecture, TrainConfig(**_SMALL), **options)
    return np.asarray(found.logits)


def _things(rng, folder: Path) -> dict:
    target, _ = quarter_masks(_pool().labels, seed=0)
    return {
        "pool": _pool(),
        "masks": target,
        "architecture": "mlp",
        "config": TrainConfig(**_SMALL),
        "seed": 0,
        "store": str(folder / "store"),
    }


def _of(trainer):
    def trained(**given):
        return np.asarray(trainer(**given, jobs=1, progress=False).logits)

    return trained


def _with_settings(**given) -> np.ndarray:
    target, _ = quarter_masks(_pool().labels, seed=0)
    config = TrainConfig(**{**_SMALL, **given})
    found = train(_pool(), target, "mlp", config, jobs=1, progress=False)
    return np.asarray(found.logits)


def _settings(rng, folder: Path) -> dict:
    one = {
        "epochs": 1,
        "batch_size": 8,
        "lr": 1e-3,
        "weight_decay": 1e-4,
        "optimizer": pick(rng, ["adam", "adamw", "sgd"]),
        "augmentation": "crop_flip",
        "dropout": 0.1,
        "schedule": "constant",
        "lr_drop": 2,
        "compile": False,
    }
    defenses = (
        *({"mixup": 0.2}, {"label_smoothing": 0.1}, {"relax_loss": 0.5}, {"early_stopping": 2}),
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    )
    return one | pick(rng, defenses)


def _privately(**given) -> np.ndarray:
    return _with_settings(dp=DPConfig(**given))


def _promise(rng, folder: Path) -> dict:
    noise = {"noise_multiplier": 1.0} if rng.random() < 0.5 else {"epsilon": 8.0}
    return noise | {
        "delta": 1e-3,
        "max_grad_norm": 1.0,
        "accountant": "rdp",
        "multiplicity": 1,
        "weight_standardisation": False,
    }


def _counted(function):
    """An accountant's function, its arguments in one row."""

    def counted(noise, rate, steps, **promise):
        dp = DPConfig(**promise)
        if function is epsilon_of:
            return epsilon_of(dp, noise, rate, steps)
        return noise_multiplier(dp, rate, steps)

    return counted


def _sampled(members, **settings) -> list:
    return list(sampling(TrainConfig(**settings), members))


def _guarded(rng, folder: Path) -> dict:
    evaluated = np.zeros((1, 90), bool)
    evaluated[:, 30:60] = True
    members = np.arange(90)[None] < 30
    labels = np.arange(90) % CLASSES
    logits = rng.normal(size=(1, 90, CLASSES)).astype(np.float32)
    return {
        "outputs": Outputs(logits, labels, members, evaluated | members),
        "budget": 0.5,
        "seed": 0,
    }


def _measured(rng, folder: Path) -> dict:
    write_archive(_pool(), folder / "mia_data" / "tiny.npz")
    return {
        "dataset": "tiny",
        "architecture": "mlp",
        "defense": "none",
        "seed": 0,
        "epochs": 1,
        "precision": "fp32",
        "shadow_dataset": "tiny",
        "shadow_architecture": "mlp",
        "shadow_defense": "none",
        "settings": {"batch_size": 8},
        "store": str(folder / "store"),
    }


def _auc(store, **parts) -> list:
    finished = run(Experiment(**parts), store=store, progress=False)
    return [[row["auc"], row["test_accuracy"]] for row in finished.records]


def _looked(rng, folder: Path) -> dict:
    given = _measured(rng, folder)
    kept = ("dataset", "architecture", "seed", "epochs", "precision", "settings")
    return {name: given[name] for name in kept} | {"device": "cpu"}


def _curve(device, **parts) -> list:
    return [epoch_curve(Experiment(**parts), device=device)["auc"].to_numpy()]


_SETS = {"dataset": ("data set",), "shadow_dataset": ("data set",)} | {
    f"shadow_{part}": (part,) for part in ("architecture", "defense")
}
MODELS = {
    "train, arrays": Call(
        _trained,
        _rows,
        optional=("jobs", "backend"),
        negative=("jobs",),
        zero=("seed",),
        fixed=("progress",),
        also={
            "records": ("features", "images", "Pool"),
            "labels": ("label ",),
            "members": ("masks",),
            "evaluated": ("masks",),
        },
    ),
    "train": Call(_of(train), _things, optional=("store",), zero=("seed",)),
    "train_defended": Call(
        _of(train_defended),
        lambda r, f: {**_things(r, f), "defense": pick(r, [n for n in names() if "dp" not in n])},
        optional=("store",),
        zero=("seed",),
        also={"defense": ("MemGuard",)},
    ),
    "train_stacked": Call(_of(train_stacked), _things, optional=("store",), zero=("seed",)),
    "train_selena": Call(
        _of(train_selena),
        lambda r, f: {**_things(r, f), "sub_models": 3, "left_out": 1},
        optional=("store",),
        zero=("seed",),
        also={"sub_models": ("sub-models",)},
    ),
    "memguard": Call(
        lambda **given: np.asarray(memguard(**given).logits), _guarded, zero=("seed",)
    ),
    "TrainConfig, trained": Call(
        _with_settings,
        _settings,
        optional=("dropout", "lr_drop"),
        also={"weight_decay": ("loss NaN",), "lr": ("loss NaN",)},
        zero=(
            *("weight_decay", "dropout", "mixup", "label_smoothing", "relax_loss"),
            *("early_stopping", "momentum"),
        ),
    ),
    "DPConfig, trained": Call(
        _privately,
        _promise,
        optional=("epsilon", "noise_multiplier"),
        also=dict.fromkeys(("max_grad_norm", "noise_multiplier"), ("not finite", "loss NaN")),
        zero=("noise_multiplier",),
    ),
    "epsilon_of": Call(
        _counted(epsilon_of),
        lambda r, f: {
            "noise": 1.0,
            "rate": 0.1,
            "steps": 20,
            "epsilon": 1.0,
            "delta": 1e-5,
            "accountant": "rdp",
        },
        zero=("noise",),
        also={"noise": ("noise",)},
    ),
    "noise_multiplier": Call(
        _counted(noise_multiplier),
        lambda r, f: {
            "noise": 1.0,
            "rate": 0.1,
            "steps": 20,
            "epsilon": 2.0,
            "delta": 1e-5,
            "accountant": "rdp",
        },
        fixed=("noise",),
        also={"rate": ("sampling rate",)},
    ),
    "sampling": Call(
        _sampled, lambda r, f: {"members": 100, "epochs": 2, "batch_size": 10}, fixed=()
    ),
    "build": Call(
        lambda **given: sum(p.numel() for p in build(**given).parameters()),
        lambda r, f: {"architecture": "cnn", "shape": (8, 8, 1), "classes": 3, "dropout": 0.1},
        optional=("dropout",),
        zero=("dropout",),
    ),
    "layers": Call(
        lambda **given: [layer.parameters for layer in layers(**given)],
        lambda r, f: {"architecture": "cnn", "shape": (8, 8, 1), "classes": 3, "dropout": 0.1},
        optional=("dropout",),
        zero=("dropout",),
    ),
    "Experiment": Call(_auc, _measured, optional=("store",), zero=("seed",), also=_SETS),
    "epoch_curve": Call(_curve, _looked, zero=("seed",), also=_SETS),
}


# ---- language models -----------------------------------------------------------------------------


@cache
def _corpus() -> text.Corpus:
    return text.Corpus.of([f"text {i} of a number {i * i}" for i in range(12)], vocabulary=260)


def _text_settings(rng, folder: Path) -> dict:
    return {
        "epochs": 1,
        "layers": 1,
        "width": 8,
        "heads": 2,
        "context": 16,
        "batch_size": 4,
        "lr": 1e-3,
        "warmup": 2,
        "weight_decay": 0.01,
        "looks": (1,),
        "dp": None,
    }


_TEXT = text.TextConfig(epochs=1, layers=1, width=8, heads=2, context=32, batch_size=4)


def _text_models(**given) -> text.TextModels:
    return text.train_text(**{"config": _TEXT, "progress": False, "jobs": 1, **given})


def _with_text_settings(**given) -> np.ndarray:
    config = text.TextConfig(**given)
    models = _text_models(corpus=_corpus(), copies=np.arange(12) % 2 == 0, config=config)
    return np.asarray(models.outputs().log_probs)


def _answered(folder: Path) -> text.TextModels:
    return _text_models(corpus=_corpus(), copies=np.arange(12) % 2 == 0, store=folder / "store")


def _said(method: str):
    def said(folder, **given):
        found = getattr(_answered(folder), method)(**given)
        return np.asarray(found.log_probs if method == "outputs" else found[0])

    return said


def _characters(rng, folder: Path) -> dict:
    codes, _ = text.encode([f"text {i:02}" for i in range(12)])
    return {
        "codes": codes,
        "members": np.arange(12) % 2 == 0,
        "epochs": (1,),
        "seed": 0,
        "context": 4,
        "width": 8,
        "batch_size": 32,
        "lr": 2e-3,
    }


def _read(rng, folder: Path) -> dict:
    (folder / "texts").mkdir(exist_ok=True)
    words = np.array(
        [
            "a",
            "quick",
            "brown",
            "fox",
            "jumps",
            "over",
            "the",
            "lazy",
            "dog",
            "and",
            "runs",
            "away",
            "from",
            "it",
        ]
    )
    for number in range(6):
        told = " ".join(rng.choice(words, 30))
        (folder / "texts" / f"{number}.txt").write_text(told, encoding="utf-8")
    return {
        "root": str(folder / "texts"),
        "documents": 3,
        "length": 60,
        "least": 20,
        "similarity": 0.9,
        "vocabulary": 260,
        "suffixes": (".txt",),
        "seed": 0,
    }


def _extracted(folder, **given) -> list:
    found = text.extraction(_answered(folder).outputs(), **given)
    return [found.log_probability, found.within(3)]


def _generated(folder, **given) -> list:
    return text.generate(_answered(folder).load(0), **given)


def _encoded(texts) -> list:
    codes, alphabet = text.encode(texts)
    return [codes, len(alphabet)]


def _made(texts, vocabulary, name) -> list:
    corpus = text.Corpus.of(texts, vocabulary=vocabulary, name=name)
    return [corpus.tokens, corpus.offsets]


def _exposed(folder, secret, form) -> np.ndarray:
    return text.exposure(_answered(folder), [text.Canary(form, secret)])


TEXTS = {
    "train_text": Call(
        lambda **given: np.asarray(_text_models(**given).outputs().log_probs),
        lambda r, f: {
            "corpus": _corpus(),
            "copies": np.arange(12) % 2 == 0,
            "config": _TEXT,
            "seed": 0,
            "precision": "fp32",
            "device": "cpu",
            "jobs": 1,
            "backend": "loky",
            "store": str(f / "store"),
        },
        optional=("jobs", "backend", "store"),
        negative=("jobs",),
        zero=("seed",),
        also={"copies": ("has no member",)},
    ),
    "TextConfig, trained": Call(
        _with_text_settings,
        _text_settings,
        also={"weight_decay": ("loss NaN",), "lr": ("loss NaN",)},
        zero=("warmup", "weight_decay"),
    ),
    "train_characters": Call(
        lambda **given: list(text.train_characters(**given).values()),
        _characters,
        zero=("seed",),
    ),
    "TextModels.outputs": Call(
        _said("outputs"),
        lambda r, f: {"folder": f, "epoch": 1, "lowercase": True, "neighbours": 1, "seed": 0},
        optional=("epoch",),
        zero=("seed", "neighbours"),
        fixed=("folder",),
    ),
    "TextModels.ask": Call(
        _said("ask"),
        lambda r, f: {"folder": f, "documents": ["a text", "of a number"]},
        fixed=("folder",),
        also={"documents": ("document", "tokens", "token ")},
    ),
    "read_corpus": Call(
        lambda **given: text.read_corpus(**given).tokens,
        _read,
        optional=("root", "documents", "least", "suffixes"),
        zero=("seed",),
        also={"root": ("folder",), "suffixes": ("distinct documents",)},
        fixed=(),
    ),
    "Corpus.of": Call(
        _made,
        lambda r, f: {"texts": ["a text", "and one more"], "vocabulary": 260, "name": "own"},
        also={"texts": ("document",)},
    ),
    "encode": Call(_encoded, lambda r, f: {"texts": ["ab", "ba"]}),
    "docstrings": Call(
        # All of the library would take half a minute.
        lambda **given: 1 if given["root"] is None else len(text.docstrings(**given)),
        lambda r, f: {"length": 5, "root": _sources(f)},
        optional=("root",),
        also={"length": ("characters",), "root": ("under", "folder")},
    ),
    "extraction": Call(
        _extracted, lambda r, f: {"folder": f, "prompt": 2, "length": 2}, fixed=("folder",)
    ),
    "Extraction.within": Call(
        lambda tries: text.Extraction(
            np.array([True]), np.array([[False]]), np.log([[0.5]])
        ).within(tries),
        lambda r, f: {"tries": 2.0},
    ),
    "generate": Call(
        _generated,
        lambda r, f: {
            "folder": f,
            "tokens": [65, 66],
            "length": 3,
            "temperature": 1.0,
            "seed": 0,
        },
        zero=("temperature", "seed"),
        fixed=("folder",),
        also={"tokens": ("token ",), "length": ("tokens",)},
    ),
    "exposure": Call(
        _exposed,
        lambda r, f: {"folder": f, "form": "The code is {}", "secret": "42"},
        fixed=("folder",),
    ),
}


def _sources(folder: Path) -> str:
    (folder / "sources").mkdir(exist_ok=True)
    (folder / "sources" / "a.py").write_text('"""A sentence."""\n', encoding="utf-8")
    return str(folder / "sources")


# ---- attacks that learn, or that ask trained models ----------------------------------------------


def _shadows(folder: Path) -> Outputs:
    masks = balanced_masks(N, models=2, seed=0)
    config, store = TrainConfig(**_SMALL), folder / "store"
    return train(_pool(), masks, "mlp", config, store=store, jobs=1, progress=False)


def _answers(models: int, seed: int) -> Outputs:
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % CLASSES
    members = balanced_masks(N, models=2 * models, seed=seed).members[:models]
    logits = rng.normal(size=(models, N, CLASSES)).astype(np.float32)
    logits[:, np.arange(N), labels] += 2 * members
    return Outputs(logits, labels, members, fingerprint="x" * 8)


def _learned(**given) -> np.ndarray:
    attack = LearnedAttack(**given).fit(_answers(2, 1))
    return attack.score(_answers(1, 2))


def _stacked(attacks, seed, threshold) -> np.ndarray:
    attack = StackedAttack(attacks, seed=seed, threshold=threshold)
    return attack.fit(_answers(2, 1)).score(_answers(1, 2))


def _asking(cls):
    def scores(folder, **given):
        return cls(**given, store=folder / "store").score(_shadows(folder))

    return scores


def _queried(folder, **given) -> np.ndarray:
    found = query(given.pop("outputs", _shadows(folder)), **given, store=folder / "store")
    return np.asarray(found.logits)


def _opened(folder, name) -> int:
    _shadows(folder)
    model, _ = load_model(name, folder / "store")
    return sum(p.numel() for p in model.parameters())


def _asked_labels(answer, records) -> np.ndarray:
    return Oracle(lambda batch: np.full(len(batch), answer)).labels(records)


ATTACKS = {
    "LearnedAttack": Call(
        _learned,
        lambda r, f: {
            "hidden": (4,),
            "epochs": 2,
            "features": "sorted",
            "per_class": False,
            "max_pairs": 60_000,
            "seed": 0,
            "threshold": 0.5,
        },
        optional=("threshold",),
        zero=("seed",),
    ),
    "StackedAttack": Call(
        _stacked,
        lambda r, f: (
            {"attacks": [LossAttack(), LearnedAttack(hidden=(4,))], "seed": 0} | {"threshold": 0.5}
        ),
        optional=("threshold",),
        zero=("seed",),
    ),
    "BoundaryAttack": Call(
        _asking(BoundaryAttack),
        lambda r, f: {
            "folder": f,
            "pool": _pool(),
            "iterations": 1,
            "probes": 2,
            "seed": 0,
            "threshold": 1.0,
        },
        optional=("threshold",),
        negative=("threshold",),
        endless=("threshold",),
        zero=("seed",),
        fixed=("folder",),
    ),
    "GradientAttack": Call(
        _asking(GradientAttack),
        lambda r, f: {"folder": f, "pool": _pool(), "features": "norm", "threshold": 1.0},
        optional=("threshold",),
        negative=("threshold",),
        endless=("threshold",),
        fixed=("folder",),
    ),
    "AugmentationAttack": Call(
        lambda threshold, target: AugmentationAttack(threshold=threshold).score(target),
        lambda r, f: {"threshold": 0.5, "target": [_answers(1, 2), _answers(1, 2)]},
        optional=("threshold",),
        negative=("threshold",),
        endless=("threshold",),
    ),
    "query": Call(
        _queried,
        lambda r, f: {
            "folder": f,
            "outputs": _shadows(f),
            "pool": _pool(),
            "transform": pick(r, ["flip", ("shift", 1, 0), ("noise", 0.1)]),
            "seed": 0,
        },
        zero=("seed",),
        fixed=("folder",),
    ),
    "load_model": Call(
        _opened,
        lambda r, f: {"folder": f, "name": _shadows(f).names[0]},
        fixed=("folder",),
        also={"name": ("model",)},
    ),
    "Oracle": Call(
        _asked_labels,
        lambda r, f: {"answer": 1, "records": np.zeros((3, 2), np.float32)},
        fixed=("answer",),
    ),
    "Store": Call(
        lambda root: len(Store(root).names()),
        lambda r, f: {"root": str(f / "store")},
        optional=("root",),
        also={"root": ("path", "store")},
    ),
}


@surface("trainings: models, defenses, experiments", 4)
def models(rng, folder: Path) -> Case:
    prepare()
    name = pick(rng, list(MODELS))
    return case_of(name, MODELS[name], rng, folder)


@surface("trainings: language models", 2)
def language_models(rng, folder: Path) -> Case:
    prepare()
    name = pick(rng, list(TEXTS))
    return case_of(name, TEXTS[name], rng, folder)


@surface("trainings: attacks that learn or ask models", 2)
def attacks(rng, folder: Path) -> Case:
    prepare()
    name = pick(rng, list(ATTACKS))
    return case_of(name, ATTACKS[name], rng, folder)
