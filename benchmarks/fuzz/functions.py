"""Public functions: calls that are right, with one or two of their arguments spoiled or worded otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np

import mia_utils
from mia_utils import Outputs, attacks, balanced_masks, data, defenses, evaluation, signals, text
from mia_utils.audit import AuditData, Limit, LossLog, audit
from mia_utils.evaluation import theorems
from mia_utils.text import TokenOutputs
from mia_utils.training import DPConfig, TrainConfig

from .case import Case, differs, numbers, surface
from .values import anything, harmless, pick, spoiled

N, C, M = 48, 3, 4
Arguments = dict
Maker = Callable[[np.random.Generator], Arguments]


def _pairs(rng) -> Arguments:
    members = rng.permutation(N) < N // 2
    return {"scores": rng.normal(size=N) + members, "members": members}


def _logits(rng) -> np.ndarray:
    return rng.normal(size=(N, C)).astype(np.float32)


def _outputs(models: int = 1, seed: int = 0, records: int = N) -> Outputs:
    rng = np.random.default_rng([seed, models])
    labels = np.random.default_rng(0).integers(C, size=records)
    members = (rng.permutation(records) < records // 2)[None]
    if models > 1:
        members = balanced_masks(records, models=models, seed=seed).members
    logits = rng.normal(size=(models, records, C)).astype(np.float32)
    logits[:, np.arange(records), labels] += 2 + members
    return Outputs(logits, labels, members, fingerprint="x" * 8)


@cache
def _shared() -> dict[str, Outputs]:
    wide = _outputs(1, 3, records=4 * N)
    others = ~wide.members[0] & (np.arange(4 * N) >= N)  # none of the target's records
    return {
        "target": _outputs(1),
        "shadows": _outputs(M, 1),
        "wide shadows": _outputs(M, 1, records=4 * N),
        "outside": wide.select(records=others),
    }


def _given(name: str) -> Outputs:
    return _shared()[name]


def _tokens() -> TokenOutputs:
    rng = np.random.default_rng(3)
    documents = [
        -rng.exponential(size=int(rng.integers(4, 9))).astype(np.float32) for _ in range(24)
    ]
    return TokenOutputs.from_documents(
        documents, members=np.arange(24) % 2 == 0, texts=[f"a text of {i} words" for i in range(24)]
    )


def _attack(cls, *, fit: str = "shadows", population: bool = False):
    """A constructor's arguments, and the scores of the attack that they make."""

    def scores(**arguments):
        attack = cls(**arguments)
        if fit:
            if population:
                attack.fit(_given(f"wide {fit}"), population=_given("outside"))
            else:
                attack.fit(_given(fit))
        return attack.score(_given("target"))

    return scores


def _fields(rng) -> Arguments:
    target = _given("target")
    return {
        "logits": np.array(target.logits[0]),
        "labels": target.labels.copy(),
        "members": target.members[0].copy(),
        "evaluated": np.ones(N, bool),
        "ids": np.arange(N),
    }


def _shown(outputs: Outputs) -> list:
    return [np.asarray(outputs.logits), outputs.labels, outputs.members, outputs.evaluated]


def _from_arrays(**given):
    return _shown(Outputs.from_arrays(**given))


def _probabilities(rng) -> Arguments:
    given = _fields(rng)
    logits = given.pop("logits").astype(float)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return {"probabilities": shares / shares.sum(axis=1, keepdims=True), **given, "floor": 1e-7}


def _masks(result) -> list:
    parts = result if isinstance(result, tuple) and not hasattr(result, "members") else (result,)
    return [part.members for part in parts]


def _report(**given) -> list:
    content = audit(**given).content
    return [[row["auc"]["value"] for row in content["attacks"]]]


def _tpr(rng) -> Arguments:
    return {**_pairs(rng), "fpr": 0.5, "level": 0.95}


def _two(rng) -> Arguments:
    given = _pairs(rng)
    return {
        "scores_a": given["scores"],
        "scores_b": given["scores"] + rng.normal(size=N),
        "members": given["members"],
    }


def _token_fields(rng) -> Arguments:
    tokens = _tokens()
    return {
        "log_probs": np.array(tokens.log_probs),
        "offsets": tokens.offsets.copy(),
        "members": tokens.members.copy(),
        "ids": np.arange(24),
    }


def _token_attack(cls):
    def scores(**arguments):
        return cls(**arguments).score(_tokens())

    return scores


E = evaluation
CALLS: dict[str, tuple[Callable, Maker]] = {
    # ---- evaluation
    "auc": (E.auc, _pairs),
    "roc_curve": (E.roc_curve, _pairs),
    "best_threshold": (E.best_threshold, _pairs),
    "tpr_at_fpr": (E.tpr_at_fpr, lambda r: {**_pairs(r), "fpr": 0.5}),
    "tpr_at_fpr_interval": (E.tpr_at_fpr_interval, _tpr),
    "auc_interval": (E.auc_interval, lambda r: {**_pairs(r), "level": 0.95}),
    "null_auc_range": (E.null_auc_range, lambda r: {**_pairs(r), "level": 0.95}),
    "roc_band": (E.roc_band, lambda r: {**_pairs(r), "level": 0.95}),
    "accuracy": (E.accuracy, lambda r: {**_pairs(r), "threshold": 0.5}),
    "balanced_accuracy": (E.balanced_accuracy, lambda r: {**_pairs(r), "threshold": 0.5}),
    "accuracy_interval": (E.accuracy_interval, lambda r: {**_pairs(r), "threshold": 0.5}),
    "balanced_accuracy_interval": (
        E.balanced_accuracy_interval,
        lambda r: {**_pairs(r), "threshold": 0.5, "level": 0.9},
    ),
    "clopper_pearson": (E.clopper_pearson, lambda r: {"hits": 3, "trials": 9, "level": 0.95}),
    "mean_interval": (E.mean_interval, lambda r: {"values": r.random(5), "level": 0.95}),
    "prediction_interval": (E.prediction_interval, lambda r: {"values": r.random(5), "level": 0.9}),
    "ratio_interval": (
        E.ratio_interval,
        lambda r: {"a": r.random(N) < 0.9, "b": r.random(N) < 0.5, "seed": 0},
    ),
    "paired_auc_difference": (E.paired_auc_difference, _two),
    "tpr_ratio_interval": (E.tpr_ratio_interval, lambda r: {**_two(r), "fpr": 0.5, "seed": 0}),
    "group_metrics": (
        E.group_metrics,
        lambda r: {**_pairs(r), "groups": r.choice(["a", "b"], N), "min_records": 5, "level": 0.95},
    ),
    "holm": (E.holm, lambda r: {"p_values": r.random(5)}),
    "one_run_epsilon": (
        E.one_run_epsilon,
        lambda r: {
            "scores": r.normal(size=N),
            "included": r.random(N) < 0.5,
            "guesses": [10, 20],
            "delta": 1e-5,
        },
    ),
    "split_epsilon": (
        E.split_epsilon,
        lambda r: {
            **_pairs(r),
            "labels": r.integers(2, size=N),
            "shares": [0.1, 0.5],
            "delta": 0.0,
            "level": 0.95,
            "seed": 0,
        },
    ),
    "many_runs_epsilon": (
        E.many_runs_epsilon,
        lambda r: {
            "with_record": r.normal(1, 1, 30),
            "without_record": r.normal(size=30),
            "threshold": 0.5,
            "delta": 0.0,
            "level": 0.9,
        },
    ),
    "gaussian_epsilon": (E.gaussian_epsilon, lambda r: {"auc": 0.7, "delta": 1e-5}),
    "dp_curve": (E.dp_curve, lambda r: {"fpr": np.linspace(0, 1, 5), "epsilon": 1.0, "delta": 0.0}),
    "bentley_bound": (E.bentley_bound, lambda r: {"acc_train": 0.9, "acc_test": 0.6, "q": 0.5}),
    "attaining_attack": (
        E.attaining_attack,
        lambda r: {"q": 0.5, "acc_train": 0.9, "acc_test": 0.6},
    ),
    "evaluate": (
        E.evaluate,
        lambda r: {
            "attack": r.normal(size=(1, N)),
            "members": r.permutation(N)[None] < N // 2,
            "evaluated": np.ones((1, N), bool),
            "fprs": [0.5],
            "level": 0.95,
            "threshold": 0.0,
        },
    ),
    "tpr_column": (E.tpr_column, lambda r: {"fpr": 0.01}),
    "columns": (E.columns, lambda r: {"fprs": (0.1, 0.01)}),
    "generalization_gap": (E.generalization_gap, lambda r: {"outputs": _given("target")}),
    "accuracies": (E.accuracies, lambda r: {"outputs": _given("target")}),
    "check_correctness_theorem": (
        theorems.check_correctness_theorem,
        lambda r: {"outputs": _given("target")},
    ),
    # ---- signals
    **{
        name: (getattr(signals, name), lambda r: {"logits": _logits(r)})
        for name in ("confidence", "entropy", "log_confidence", "log_softmax", "log_sum_exp")
    },
    **{
        name: (
            getattr(signals, name),
            lambda r: {"logits": _logits(r), "labels": r.integers(C, size=N)},
        )
        for name in ("loss", "margin", "modified_entropy", "correct")
    },
    # ---- Outputs
    "Outputs": (lambda **given: _shown(Outputs(**given)), _fields),
    "Outputs.from_probabilities": (
        lambda **given: _shown(Outputs.from_probabilities(**given)),
        _probabilities,
    ),
    "Outputs.from_arrays": (
        _from_arrays,
        lambda r: {**_fields(r), "classes": ["a", "b", "c"]},
    ),
    "Outputs.select": (
        lambda **given: _shown(_given("shadows").select(**given)),
        lambda r: {"models": [0, 1], "records": np.arange(5)},
    ),
    "Outputs.judged_on": (
        lambda **given: _shown(_given("target").judged_on(**given)),
        lambda r: {"evaluated": r.random((1, N)) < 0.9},
    ),
    # ---- data
    "Pool.from_arrays": (
        lambda **given: _pool_numbers(data.Pool.from_arrays(**given)),
        lambda r: {
            "name": "own",
            "records": r.integers(256, size=(N, 5, 5)).astype(np.uint8),
            "labels": np.arange(N) % C,
            "classes": ["a", "b", "c"],
            "train": np.arange(N) < 40,
        },
    ),
    "balanced_masks": (
        lambda **given: _masks(data.balanced_masks(**given)),
        lambda r: {"n": N, "models": 4, "seed": 0},
    ),
    "independent_masks": (
        lambda **given: _masks(data.independent_masks(**given)),
        lambda r: {"n": N, "models": 4, "seed": 0},
    ),
    "quarter_masks": (
        lambda **given: _masks(data.quarter_masks(**given)),
        lambda r: {"labels": np.arange(N) % C, "seed": 0, "shadow_models": 1, "stratify": True},
    ),
    "quarters": (data.quarters, lambda r: {"labels": np.arange(N) % C, "seed": 0}),
    "single_record_masks": (
        lambda **given: _masks(data.single_record_masks(**given)),
        lambda r: {"n": N, "records": [1, 2], "k": 2, "seed": 0},
    ),
    "load_dataset": (
        lambda **given: len(data.load_dataset(**given, download=False)),
        lambda r: {"name": "digits", "size": None, "on_damaged": "error"},
    ),
    "first_copies": (
        data.first_copies,
        lambda r: {"records": r.integers(3, size=(N, 2, 2)).astype(np.uint8)},
    ),
    "near_copies": (
        data.near_copies,
        lambda r: {"images": r.integers(256, size=(N, 4, 4, 1)).astype(np.uint8), "within": 8.0},
    ),
    # ---- configurations
    "TrainConfig": (
        lambda **given: str(TrainConfig(**given)),
        lambda r: {
            "epochs": 5,
            "batch_size": 16,
            "optimizer": "sgd",
            "lr": 0.1,
            "lr_drop": 3,
            "weight_decay": 1e-4,
            "dropout": 0.5,
            "augmentation": "none",
            "mixup": 0.2,
            "label_smoothing": 0.1,
            "relax_loss": 0.0,
            "early_stopping": 0,
            "momentum": 0.9,
            "nesterov": True,
            "schedule": "constant",
        },
    ),
    "DPConfig": (
        lambda **given: str(DPConfig(**given)),
        lambda r: {"epsilon": 4.0, "delta": 1e-5, "max_grad_norm": 1.0, "accountant": "rdp"},
    ),
    "TextConfig": (
        lambda **given: str(text.TextConfig(**given)),
        lambda r: {
            "epochs": 3,
            "looks": (1, 2),
            "layers": 2,
            "width": 16,
            "heads": 2,
            "context": 32,
            "batch_size": 4,
            "lr": 1e-3,
            "warmup": 2,
            "weight_decay": 0.01,
        },
    ),
    # ---- attacks
    "LossAttack": (_attack(attacks.LossAttack), lambda r: {"per_class": False, "threshold": 0.0}),
    "ConfidenceAttack": (_attack(attacks.ConfidenceAttack), lambda r: {"per_class": False}),
    "EntropyAttack": (
        _attack(attacks.EntropyAttack),
        lambda r: {"normalize": False, "per_class": True},
    ),
    "MarginAttack": (_attack(attacks.MarginAttack), lambda r: {"per_class": False}),
    "ModifiedEntropyAttack": (
        _attack(attacks.ModifiedEntropyAttack),
        lambda r: {"per_class": True},
    ),
    "CorrectnessAttack": (_attack(attacks.CorrectnessAttack), lambda r: {"threshold": 0.5}),
    "RandomAttack": (
        _attack(attacks.RandomAttack, fit=""),
        lambda r: {"seed": 0, "threshold": 0.5},
    ),
    "LiRA": (
        _attack(attacks.LiRA),
        lambda r: {"online": True, "variance": "fixed", "two_sided": False, "seed": 0},
    ),
    "BASE": (_attack(attacks.BASE), lambda r: {"online": True, "scale": 0.33, "seed": 0}),
    "RMIA": (
        _attack(attacks.RMIA, population=True),
        lambda r: {"online": False, "a": 0.3, "gamma": 1.0, "temperature": 1.0, "seed": 0},
    ),
    "ReferenceAttack": (_attack(attacks.ReferenceAttack), lambda r: {"seed": 0}),
    "CalibratedAttack": (
        _attack(attacks.CalibratedAttack),
        lambda r: {"signal": "loss", "seed": 0},
    ),
    "SimilarityAttack": (
        _attack(attacks.SimilarityAttack),
        lambda r: {"distance": "kl", "seed": 0},
    ),
    "PopulationAttack": (
        _attack(attacks.PopulationAttack, population=True),
        lambda r: {"fpr": 0.5, "threshold": 0.5},
    ),
    "QuantileAttack": (
        _attack(attacks.QuantileAttack, population=True),
        lambda r: {"fpr": 0.5, "seed": 0, "threshold": 0.0},
    ),
    "kl_divergence": (
        attacks.kl_divergence,
        lambda r: {
            "log_p": signals.log_softmax(_logits(r)),
            "log_q": signals.log_softmax(_logits(r)),
        },
    ),
    # ---- defenses
    "label_only": (
        lambda **given: _shown(defenses.label_only(**given)),
        lambda r: {"outputs": _given("target")},
    ),
    "top_k": (
        lambda **given: _shown(defenses.top_k(**given)),
        lambda r: {"outputs": _given("target"), "k": 2},
    ),
    "rounding": (
        lambda **given: _shown(defenses.rounding(**given)),
        lambda r: {"outputs": _given("target"), "decimals": 2},
    ),
    "temperature": (
        lambda **given: _shown(defenses.temperature(**given)),
        lambda r: {"outputs": _given("target"), "value": 2.0},
    ),
    "noise": (
        lambda **given: _shown(defenses.noise(**given)),
        lambda r: {"outputs": _given("target"), "scale": 0.5, "on": "logits", "seed": 0},
    ),
    "preset": (lambda **given: defenses.preset(**given).name, lambda r: {"name": "none"}),
    # ---- text
    "TokenOutputs": (
        lambda **given: numbers(TokenOutputs(**given).log_probs),
        _token_fields,
    ),
    "TokenOutputs.select": (
        lambda **given: numbers(_tokens().select(**given).log_probs),
        lambda r: {"models": [0], "documents": np.arange(5)},
    ),
    "PerplexityAttack": (
        _token_attack(text.PerplexityAttack),
        lambda r: {"window": None, "aggregate": "max"},
    ),
    "MinKAttack": (_token_attack(text.MinKAttack), lambda r: {"share": 0.2, "window": None}),
    "ZlibAttack": (_token_attack(text.ZlibAttack), lambda r: {"total": True, "window": None}),
    "blind_scores": (
        text.blind_scores,
        lambda r: {
            "texts": [f"text {i} {'yes' if i % 2 else 'no'}" for i in range(24)],
            "members": np.arange(24) % 2 == 0,
            "features": "words",
            "folds": 3,
            "seed": 0,
        },
    ),
    "canaries": (
        lambda **given: [c.secret for c in text.canaries(**given)],
        lambda r: {"count": 3, "digits": 4, "seed": 0},
    ),
    "mask_names_and_numbers": (text.mask_names_and_numbers, lambda r: {"text": "Ann has 3 cats"}),
    # ---- audit
    "Limit.parse": (lambda **given: str(Limit.parse(**given)), lambda r: {"text": "tpr@0.01>0.1"}),
    "LossLog": (
        lambda labels, epochs, epoch, logits: _traced(labels, epochs, epoch, logits),
        lambda r: {"labels": np.arange(N) % C, "epochs": (1,), "epoch": 1, "logits": _logits(r)},
    ),
    "AuditData.of": (
        lambda **given: _shown(AuditData.of(**given).outputs),
        lambda r: {
            "outputs": _given("target"),
            "names": np.arange(N).astype(str),
            "groups": {"site": r.choice(["a", "b"], N)},
            "classes": ["a", "b", "c"],
            "features": r.normal(size=(N, 2)),
            "traces": r.random((3, N)),
        },
    ),
    "audit": (
        _report,
        lambda r: {
            "target": _given("target"),
            "which": None,
            "attacks": ["loss"],
            "accept": (),
            "rates": (0.5,),
            "delta": 0.0,
            "level": 0.95,
            "records": True,
            "seed": 0,
        },
    ),
}
"""Public callables by name: the call, and right arguments for it."""
_IN_OTHER_WORDS = [
    *("answers", "model", "record", "images", "attack A", "attack B", "hits of A", "hits of B"),
    "scores",
]
"""What messages call `outputs`, `records`, `scores_a`, `a`, and what `evaluate` takes as `attack`."""


def _traced(labels, epochs, epoch, logits):
    log = LossLog(labels, epochs)
    log(epoch, logits)
    return log.losses


def _pool_numbers(pool) -> list:
    return [np.asarray(pool.records), pool.labels, pool.train]


def _mutated(rng, arguments: Arguments) -> tuple[Arguments, list[str], list[str]]:
    """Arguments of which one or two are spoiled; their names, and how."""
    chosen = list(rng.permutation(list(arguments))[: 1 + (rng.random() < 0.2)])
    spoilt, how = dict(arguments), []
    for name in map(str, chosen):
        value = arguments[name]
        if isinstance(value, np.ndarray) and rng.random() < 0.8:
            spoilt[name], kind = spoiled(rng, value)
        else:
            spoilt[name] = _small(anything(rng))
            kind = repr(spoilt[name])[:60]
        how.append(f"{name}: {kind}")
    return spoilt, [str(name) for name in chosen], how


def _small(value):
    """No size that merely needs more time and memory than a trial has."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value % 1000 if whole and 10**4 < value < 2**62 else value


def _says_nothing(arguments: Arguments) -> bool:
    """Is there a number that is none, or that float64 does not hold with its neighbours?"""
    for value in arguments.values():
        array = np.asarray(value, dtype=object).ravel()
        for each in array:
            try:
                if not abs(float(each)) < 1e300:
                    return True
            except (TypeError, ValueError, OverflowError):
                continue
    return False


def _singular(name: str) -> list[str]:
    """How a message may call an argument."""
    words = {name, name.rstrip("s"), name.removesuffix("es")}
    words |= {word.replace("_", other) for word in words for other in (" ", "-")}
    return sorted(word for word in words if len(word) > 1)


@surface("functions: bad arguments", 30)
def bad_arguments(rng, folder: Path) -> Case:
    name = pick(rng, list(CALLS))
    call, make = CALLS[name]
    arguments = make(rng)
    spoilt, chosen, how = _mutated(rng, arguments)
    names = [word for argument in chosen for word in _singular(argument)]
    # What several arguments say together may be blamed on another of them.
    names += [word for argument in arguments for word in _singular(argument)]
    names += [repr(spoilt[argument])[:30] for argument in chosen] + _IN_OTHER_WORDS
    names += [f"{argument}=" for argument in arguments]

    def wrong(answer) -> str:
        found = numbers(answer)
        if _says_nothing(spoilt):  # what is no number gives none
            return ""
        if np.isnan(found).any() and not np.isnan(numbers(call(**arguments))).any():
            return f"{name}: NaN, without a word"
        return ""

    return Case(f"{name}({'; '.join(how)})", lambda: call(**spoilt), names, wrong)


@surface("functions: the same in other words", 10)
def same_arguments(rng, folder: Path) -> Case:
    name = pick(rng, [n for n, (_, make) in CALLS.items() if _arrays(make(rng))])
    call, make = CALLS[name]
    arguments = make(rng)
    chosen = pick(rng, _arrays(arguments))
    other, how = harmless(rng, arguments[chosen])
    expected = call(**arguments)
    return Case(
        f"{name}({chosen}: {how})",
        lambda: call(**{**arguments, chosen: other}),
        [chosen],
        lambda answer: differs(answer, expected),
    )


def _arrays(arguments: Arguments) -> list[str]:
    return [name for name, value in arguments.items() if isinstance(value, np.ndarray)]


NOT_HERE = {
    "Oracle": "asks a function of the user's",
    "Store": "surface store",
    "load_model": "surface store",
    "query": "asks stored models",
    "train": "its pools, masks and configurations are here",
    "check_parameters": "surface notebooks",
    "InputError": "an error",
    "Pool": "Pool.from_arrays",
    "Masks": "a pair of arrays",
    "AugmentationAttack": "asks stored models",
    "BoundaryAttack": "asks stored models",
    "GradientAttack": "asks stored models",
    "LearnedAttack": "trains a network",
    "StackedAttack": "made of other attacks",
}
"""Public names of the package that have no call above, and why."""

OPEN: dict[str, str] = {}
"""Calls whose trials are known to end in Python's or NumPy's own error, and with what."""


def missing() -> list[str]:
    """Public names of the package that nothing here calls."""
    public = [n for n in mia_utils.__all__ if callable(getattr(import_module("mia_utils"), n))]
    return [name for name in public if name not in CALLS and name not in NOT_HERE]
