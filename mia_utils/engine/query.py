"""Ask stored models again, about changed records: flipped, shifted, or with noise."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from .. import arguments
from ..data import Pool
from ..errors import InputError, shown
from ..outputs import Outputs, check_stored
from .load import load_model
from .store import Store

Transform = str | tuple | Callable[[np.ndarray], np.ndarray]

_BATCH = 500
_LOUDEST = 1e30
"""Standard deviation of noise: more of it is no float32."""
_KNOWN = '"flip", ("shift", dy, dx), ("noise", sigma) or a function of a batch'


def query(
    outputs: Outputs,
    pool: Pool,
    transform: Transform,
    *,
    store: str | os.PathLike | Store | None = None,
    seed: int = 0,
) -> Outputs:
    """What the same models answer about transformed records; everything else stays as it was.

    Several queries of a record go to an attack as a sequence: `LiRA().fit([shadows, flipped])`.
    Batches of records are transformed as they are asked about, so that no copy of the pool is made.

    Parameters
    ----------
    outputs : Outputs
        With the names of stored models. Its records (`ids`) are asked about, whether or not a
        pair is evaluated.
    pool : Pool
        The pool that the models were trained on.
    transform : str, tuple or function
        "flip" mirrors left and right. ("shift", dy, dx) moves the picture down and to the right
        (negative: up, left) by whole pixels, and reflects it at the border. ("noise", sigma) adds
        Gaussian noise to images on the scale where black is 0 and white is 1, cut off at both ends;
        to feature rows as they are. A function gets float32 (B, H, W, C) in 0..255, or (B, D)
        features, and returns the same shape; it must treat a record alike whatever the batch.
    store : path or Store, default $MIA_STORE or ~/.cache/mia/store
    seed : int
        Of the noise. A record's noise depends on the seed and its id alone: all models are asked
        about the same noisy record.

    Raises
    ------
    InputError
        If the outputs carry no names or are masked, the pool is another one, the transform is
        unknown or does not suit the records, or a model is not in the store.
    """
    check_stored(outputs, pool, "query")
    if outputs.masked:
        raise InputError(
            "query got masked answers, and the store holds the model without its mask; query the "
            "answers before the mask, and mask what comes back: mask(query(plain, pool, ...))"
        )
    arguments.seed(seed)
    change = _named(transform, pool, seed)
    store = Store.of(store)
    logits = np.empty_like(outputs.logits, subok=False)
    for row, name in zip(logits, outputs.names, strict=True):
        _ask(row, name, outputs, pool, change, store)
    return outputs.replace(logits=logits)


def _ask(row: np.ndarray, name: str, outputs: Outputs, pool: Pool, change, store: Store) -> None:
    """Write one model's logits (N, C) of the changed records into `row`."""
    import torch

    from ..training.batches import Loader
    from ..training.device import alone, resolve_device
    from ..training.epochs import score

    device = resolve_device("auto")
    with alone(0):
        model = load_model(name, store)[0].to(device, memory_format=torch.channels_last)
        for start in range(0, len(row), _BATCH):
            part = slice(start, start + _BATCH)
            ids = outputs.ids[part]
            records = np.asarray(pool.records[ids], dtype=np.float32)
            changed = np.asarray(change(records, ids), dtype=np.float32)
            if changed.shape != records.shape:
                raise InputError(
                    f"the transform turned a batch of shape {records.shape} into {changed.shape}; "
                    "expected the same shape"
                )
            loader = Loader(np.ascontiguousarray(changed), outputs.labels[part], device)
            row[part] = score(model, loader)


def _named(transform: Transform, pool: Pool, seed: int):
    """The transform as a function of (records float32, ids)."""
    if callable(transform):
        return lambda records, ids: transform(records)
    parts = (transform,) if isinstance(transform, str) else transform
    if not isinstance(parts, tuple | list) or any(isinstance(part, bool) for part in parts):
        raise InputError(f"transform is {transform!r}; expected {_KNOWN}")
    match parts:
        case (("flip" | "shift" as name), *_) if not pool.is_image:
            raise InputError(
                f"{name!r} needs images; pool {pool.name!r} has feature rows of shape "
                f'{pool.shape}: use ("noise", sigma) or a function'
            )
        case ["flip"]:
            return lambda records, ids: records[:, :, ::-1]
        case "shift", int(dy), int(dx) if abs(dy) < pool.shape[0] and abs(dx) < pool.shape[1]:
            return lambda records, ids: _shift(records, dy, dx)
        case "noise", int() | float() as sigma if 0 <= sigma <= _LOUDEST:
            return lambda records, ids: _noise(records, ids, sigma, seed)
    raise InputError(f"transform is {shown(transform)}; expected {_KNOWN}")


def _shift(records: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Moved down by dy and right by dx, reflected at the border; (B, H, W, C)."""
    height, width = records.shape[1:3]
    padded = np.pad(records, ((0, 0), (abs(dy),) * 2, (abs(dx),) * 2, (0, 0)), mode="reflect")
    top, left = abs(dy) - dy, abs(dx) - dx
    return padded[:, top : top + height, left : left + width]


def _noise(records: np.ndarray, ids: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noise = np.stack(
        [
            np.random.default_rng((seed, i)).standard_normal(records.shape[1:], np.float32)
            for i in ids
        ]
    )
    if records.ndim == 2:
        return records + np.float32(sigma) * noise
    return np.clip(records + np.float32(255 * sigma) * noise, 0, 255)
