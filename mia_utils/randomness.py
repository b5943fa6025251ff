"""Independent streams of random numbers, named where they are used."""

from __future__ import annotations

import hashlib
import json
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from .errors import InputError, shown

if TYPE_CHECKING:
    import torch


def _entropy(seed: int, stream: str, parts: tuple[int | str, ...]) -> np.random.SeedSequence:
    """256 bits that follow from all that names a stream, and from nothing less."""
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed={shown(seed)}; expected an integer >= 0")
    named = [int(seed), stream, *(p if isinstance(p, str) else int(p) for p in parts)]
    digest = hashlib.sha256(json.dumps(named).encode()).digest()
    return np.random.SeedSequence(int.from_bytes(digest, "big"))


def numpy_generator(seed: int, stream: str, *parts: int | str) -> np.random.Generator:
    """A NumPy generator of its own for (seed, stream, parts).

    Streams of which anything differs have nothing to do with each other: what they start from is a
    hash of the whole name. A wide seed counts in full.

    Parameters
    ----------
    seed : int >= 0, of any width
    stream : str
        What is drawn: "dp noise".
    parts : integers or texts
        What tells draws of that kind apart: an epoch, a name.

    Raises
    ------
    InputError
        If the seed is no integer or negative.
    """
    return np.random.default_rng(_entropy(seed, stream, parts))


def torch_generator(
    seed: int, stream: str, *parts: int | str, device: str = "cpu"
) -> torch.Generator:
    """As `numpy_generator`, for torch.

    `Generator.manual_seed` reads 32 bits of its seed on a CPU; here all 624 words of the state are
    set. Elsewhere the state is 64 bits, and all of them are.
    """
    import torch

    entropy, generator = _entropy(seed, stream, parts), torch.Generator(device)
    if generator.device.type != "cpu":
        return generator.manual_seed(int(entropy.generate_state(1, np.uint64)[0]))
    # Seed, position and flags are those of a fresh generator; its words begin at the fourth place.
    state = generator.manual_seed(0).get_state()
    words = entropy.generate_state(624, np.uint32).astype(np.int64)
    state.view(torch.int64)[3:627] = torch.from_numpy(words)
    return generator.set_state(state)
