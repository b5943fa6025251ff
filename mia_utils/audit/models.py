"""Somebody else's model, asked about records: PyTorch, scikit-learn and its kind, Hugging Face.

A model is anything with `logits(records) -> array`. Weights are read without running code; the code
that is run is the function that the caller names.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ..data.pool import Pool
from ..errors import InputError, InputWarning
from ..reading import FLOOR

_BATCH = 500
_NESTED = ("state_dict", "model_state_dict", "model")


class Model(Protocol):
    """What an audit asks: one method."""

    def logits(self, records: np.ndarray) -> np.ndarray:
        """Answers (n, classes) for uint8 images (n, H, W, C) or float32 features (n, D)."""
        ...


def ask(model: Model, pool: Pool) -> np.ndarray:
    """A model's logits float32 (N, C) for every record of a pool, batch by batch.

    Raises
    ------
    InputError
        If it fails, or answers in another shape, with text, NaN or infinity.
    """
    classes = len(pool.classes)
    answers = np.empty((len(pool), classes), np.float32)
    for start in range(0, len(pool), _BATCH):
        records = np.asarray(pool.records[start : start + _BATCH])
        try:
            found = np.asarray(model.logits(records))
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"the model failed on records of shape {records.shape}: {type(error).__name__}: "
                f"{' '.join(str(error).split())}"
            ) from None
        if found.shape != (len(records), classes) or found.dtype.kind not in "fiu":
            raise InputError(
                f"the model returned {found.dtype} {found.shape} for {len(records)} records; "
                f"expected floats of shape ({len(records)}, {classes}), one logit a class: "
                f"{', '.join(pool.classes[:10])}{', ...' if classes > 10 else ''}"
            )
        answers[start : start + _BATCH] = found
    if not np.isfinite(answers).all():
        row = int((~np.isfinite(answers)).any(axis=1).argmax())
        raise InputError(f"the model answers record {row} with NaN or infinity")
    return answers


# ---- PyTorch -------------------------------------------------------------------------------------


class TorchModel:
    """A torch.nn.Module in evaluation mode, fed as this package feeds models.

    Images are scaled to [0, 1] and normalised with ImageNet's means and deviations, (B, C, H, W);
    a model that was trained otherwise undoes that in its factory. Features go in as they are.
    """

    def __init__(self, module) -> None:
        from ..training.device import resolve_device

        self.device = resolve_device("auto")
        self.module = module.to(self.device).eval()

    def logits(self, records: np.ndarray) -> np.ndarray:
        from ..training.batches import Loader
        from ..training.epochs import score

        labels = np.zeros(len(records), np.int64)
        return score(self.module, Loader(np.ascontiguousarray(records), labels, self.device))


def load_torch(architecture: str, weights: str | os.PathLike, pool: Pool) -> TorchModel:
    """The model of a factory `module:function` (or an architecture's name) with these weights.

    Raises
    ------
    InputError
        If the factory fails, or the weights are unreadable or another model's.
    """
    from ..training.models import build

    module = build(architecture, pool.shape, len(pool.classes))
    state = load_weights(weights)
    own = module.state_dict()
    for prefix in ("module.", "_orig_mod."):  # DataParallel's, torch.compile's
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    missing, other = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    differing = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    ]
    if missing or other or differing:
        parts = [
            f"{len(names)} {what}, such as {names[0]}"
            for what, names in (
                ("missing", missing),
                ("unknown", other),
                ("of another shape", differing),
            )
            if names
        ]
        raise InputError(
            f"{weights} does not fit {architecture} for {pool.shape} and {len(pool.classes)} "
            f"classes: {'; '.join(parts)}"
        )
    module.load_state_dict(state)
    return TorchModel(module)


def load_weights(path: str | os.PathLike) -> dict:
    """Tensors by name from .safetensors, or from .pt or .pth without unpickling code.

    Raises
    ------
    InputError
        If the file is of another kind, damaged, or holds more than tensors.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected weights, .safetensors or .pt")
    kind = path.suffix.lower()
    try:
        if kind == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if kind in (".pt", ".pth", ".bin", ".ckpt"):
            _check_sums(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise InputError(
                f"{path}: expected .safetensors, .pt or .pth; pickled models (.pkl, .joblib) run "
                "code when they are read: write a function that returns the model, module:function"
            )
    except InputError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if "weights_only" in text.lower() or "unsupported" in text.lower():
            text = "it holds more than tensors, which could run code; save model.state_dict() alone"
        raise InputError(f"{path}: not readable as weights ({text[:200]})") from None
    if isinstance(state, dict):
        for name in _NESTED:
            if isinstance(state.get(name), dict):
                state = state[name]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise InputError(f"{path}: expected tensors by name, as model.state_dict() gives")
    return state


def _check_sums(path: Path) -> None:
    """Compare what torch saved with its checksums, which `torch.load` does not look at."""
    if not zipfile.is_zipfile(path):  # of torch before 1.6: without any
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise InputError(
            f"{path}: {damaged} differs from its checksum; the file is damaged, or was saved without "
            "checksums (torch.serialization.set_crc32_options): save it again"
        )


# ---- scikit-learn --------------------------------------------------------------------------------


class EstimatorModel:
    """A fitted classifier with `predict_proba` and `classes_`; log-probabilities are its logits.

    Probabilities below `floor` count as that; forests give zeros. `classes_` are class numbers, or
    the names of the pool's classes.
    """

    def __init__(self, estimator, classes: tuple[str, ...], floor: float = FLOOR) -> None:
        self.estimator, self.classes, self.floor = estimator, classes, floor
        own = getattr(estimator, "classes_", None)
        own = np.arange(len(classes)) if own is None else own
        if any(np.ndim(value) for value in own):
            raise InputError("the classifier answers several questions at once; expected one label")
        places = {name: place for place, name in enumerate(classes)}
        numbers = {str(place): place for place in range(len(classes))}
        texts = [_plain(value) for value in own]
        table = places if any(text in places for text in texts) else numbers
        unknown = [text for text in texts if text not in table]
        if unknown:
            raise InputError(
                f"the classifier knows the class {unknown[0]!r}; the data's are "
                f"{', '.join(classes[:10])}{', ...' if len(classes) > 10 else ''}"
            )
        self.columns = [table[text] for text in texts]

    def logits(self, records: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(self.probabilities(records), self.floor))

    def probabilities(self, records: np.ndarray) -> np.ndarray:
        """What `predict_proba` says, float64 (n, classes), 0 for classes that it does not know."""
        try:
            found = np.asarray(self.estimator.predict_proba(_rows(records)), dtype=np.float64)
        except Exception as error:
            raise InputError(
                f"{type(self.estimator).__name__} failed on {len(records)} records: "
                f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            ) from None
        if found.ndim == 1 or found.shape[1:] == (1,):
            found = np.column_stack([1 - found.ravel(), found.ravel()])
        if found.shape != (len(records), len(self.columns)):
            raise InputError(
                f"predict_proba returned {found.shape} for {len(records)} records and "
                f"{len(self.columns)} classes; expected one probability a class"
            )
        if not ((found >= 0) & (found <= 1)).all() or (abs(found.sum(axis=1) - 1) > 0.01).any():
            raise InputError(
                "predict_proba returned numbers that are no probabilities, or rows that do not sum "
                "to 1"
            )
        p = np.zeros((len(records), len(self.classes)))
        p[:, self.columns] = found
        return p


def natural_floor(model: EstimatorModel, pool: Pool) -> float:
    """Half of the smallest probability above 0 that the model gives: half a vote of a forest.

    `FLOOR` where its probabilities are no counts (none is 0, or some are tiny).
    """
    p = model.probabilities(np.asarray(pool.records))
    least = float(p[p > 0].min())
    return least / 2 if least > 1e-6 and (p == 0).any() else FLOOR


def _rows(records: np.ndarray) -> np.ndarray:
    return np.asarray(records).reshape(len(records), -1)


def _plain(value) -> str:
    number = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return str(int(value) if number or isinstance(value, (bool, np.bool_)) else value)


def load_estimator(function: str):
    """What `module:function` returns: a classifier, fitted or not.

    Raises
    ------
    InputError
        If it fails or returns something that has no `predict_proba` and `fit`.
    """
    from ..training.factory import load_factory

    made = load_factory(function)
    try:
        estimator = made()
    except Exception as error:
        raise InputError(
            f"{function}() failed: {type(error).__name__}: {' '.join(str(error).split())}; without "
            "--weights it is called without arguments and returns a classifier"
        ) from None
    if not (hasattr(estimator, "predict_proba") and hasattr(estimator, "fit")):
        raise InputError(
            f"{function}() returned {type(estimator).__name__}; expected a classifier with fit and "
            "predict_proba (or, with --weights, a factory f(shape, classes) of a torch.nn.Module)"
        )
    return estimator


def is_fitted(estimator, pool: Pool) -> bool:
    """Does the classifier know its classes, or, where it does not name them, answer at all?"""
    if getattr(estimator, "classes_", None) is not None:
        return True
    try:
        estimator.predict_proba(_rows(np.asarray(pool.records[:1])))
    except Exception:
        return False
    return True


def fitted(
    estimator, pool: Pool, members: np.ndarray, seed: int, floor: float = FLOOR
) -> EstimatorModel:
    """A clone of the classifier, fitted on the members of a pool.

    Raises
    ------
    InputError
        If it cannot be cloned or fitted.
    """
    from sklearn.base import clone

    try:
        copy = clone(estimator)
        seeds = [name for name in copy.get_params() if name.split("__")[-1] == "random_state"]
        copy.set_params(**dict.fromkeys(seeds, seed))  # those of a pipeline's steps, too
        copy.fit(_rows(pool.records[members]), pool.labels[members])
    except Exception as error:
        raise InputError(
            f"{type(estimator).__name__} cannot be fitted anew on {int(members.sum())} records: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from None
    places = tuple(map(str, range(len(pool.classes))))  # what it was fitted on
    return EstimatorModel(copy, places, floor)


# ---- Hugging Face --------------------------------------------------------------------------------


def output_order(names: Sequence[str], classes: Sequence[str], folder) -> list[int]:
    """Which of a model's outputs is whose, by the names of both; whatever the case of their letters.

    Raises
    ------
    InputError
        If the model has another number of classes, and lacks one of the data's.

    Warns
    -----
    InputWarning
        If names say nothing of each other, so that the order alone decides.

    >>> output_order(["Cat", "Dog", "Fox"], ["fox", "cat"], "model")
    [2, 0]
    """
    for fold in (str, str.casefold):
        places = {fold(name): place for place, name in enumerate(names)}
        wanted = [fold(name) for name in classes]
        if len(places) == len(names) and len(set(wanted)) == len(wanted):
            if set(wanted) <= set(places):
                return [places[name] for name in wanted]
    if len(names) != len(classes):
        raise InputError(
            f"{folder} has the classes {', '.join(names[:10])}; the data's are "
            f"{', '.join(classes[:10])}"
        )
    if not any(all(_NUMBERED.fullmatch(name) for name in side) for side in (names, classes)):
        pairs = ", ".join(f"{b!r} for {a!r}" for a, b in zip(names[:5], classes, strict=False))
        warnings.warn(
            f"{folder}: the data's classes are taken in the order of the model's outputs ({pairs}); "
            "if they stand in another, write --classes in the order of the outputs",
            InputWarning,
            stacklevel=2,
        )
    return list(range(len(names)))


_NUMBERED = re.compile(r"(LABEL_)?[0-9]+")
"""Names that say no more than a place does."""


class HuggingFaceModel:
    """An image classifier and its processor from a folder; nothing is fetched, no code is run."""

    def __init__(self, folder: str | os.PathLike, classes: tuple[str, ...]) -> None:
        from ..text.huggingface import load_whole

        try:
            import transformers
        except ModuleNotFoundError:
            raise InputError(
                f"{folder} needs the package transformers: pip install 'mia-utils[huggingface]'"
            ) from None
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            self.processor = transformers.AutoImageProcessor.from_pretrained(folder, **options)
            kind = transformers.AutoModelForImageClassification
            self.model = load_whole(kind, folder, **options).eval()
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{folder}: not an image classifier ({' '.join(str(error).split())[:200]}); "
                "expected config.json, preprocessor_config.json and model.safetensors"
            ) from None
        names = [str(self.model.config.id2label[i]) for i in range(self.model.config.num_labels)]
        self.order = output_order(names, classes, folder)

    def logits(self, records: np.ndarray) -> np.ndarray:
        import torch

        if records.ndim != 4:
            raise InputError("an image classifier needs images, not rows of features")
        images = list(np.repeat(records, 3, axis=3) if records.shape[3] == 1 else records)
        with torch.inference_mode():
            inputs = self.processor(images=images, return_tensors="pt")
            return self.model(**inputs).logits[:, self.order].float().numpy()


def load_model(
    model: str, pool: Pool, *, weights: str | os.PathLike | None = None
) -> tuple[Model | None, Callable | None]:
    """The model that a text names, and the classifier that may be fitted anew (or None).

    The model is None where the classifier is not fitted.

    Raises
    ------
    InputError
        If there is no such model.
    """
    if Path(model).is_dir():
        if weights is not None:
            raise InputError(
                f"--weights {weights} goes with module:function; the folder {model} holds its own"
            )
        return HuggingFaceModel(model, pool.classes), None
    if weights is not None:
        return load_torch(model, weights, pool), None
    if ":" not in model:
        raise InputError(
            f"--model {model!r}; expected module:function (with --weights for PyTorch), or the "
            "folder of a Hugging Face model"
        )
    estimator = load_estimator(model)
    return (
        EstimatorModel(estimator, pool.classes) if is_fitted(estimator, pool) else None
    ), estimator
