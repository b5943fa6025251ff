"""Values that nobody meant, drawn by hypothesis, and arrays spoiled in the ways that people spoil them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

NUMBERS = st.one_of(
    st.integers(),
    st.integers(-3, 3),
    st.floats(),
    st.sampled_from([0, 1, -1, 0.5, -0.0, 5e-324, 1e308, 2**31, 2**63, 10**30, float("nan")]),
    st.sampled_from([float("inf"), float("-inf"), True, False, np.float32(0.1), np.int8(-1)]),
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12),
    st.sampled_from(
        ["", " ", "nan", "inf", "-1", "1e3", "1e-3", "0x10", "1_000", "1,5", "None", "True", "[]"]
    ),
    st.sampled_from(
        ["a/b", "..", "x\ny", "<script>alert(1)</script>", "\u202eabc", "é", "%s", "{0}", "a" * 300]
    ),
    st.sampled_from(["loss", "lira", "all", "digits", "cnn", "mlp", "dp", "none", "2024-01-01"]),
)
OTHERS = st.one_of(
    st.none(),
    st.lists(st.integers(-2, 5), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.binary(max_size=4),
    st.tuples(st.floats(), st.floats()),
)
ANYTHING = st.one_of(NUMBERS, TEXTS, OTHERS)
_DRAWN = 400


@lru_cache(maxsize=8)
def drawn(kind: str) -> tuple:
    """A few hundred values of a kind, the same at every call."""
    found: list = []
    strategy = {"numbers": NUMBERS, "texts": TEXTS, "anything": ANYTHING}[kind]

    @seed(0)
    @settings(
        max_examples=_DRAWN,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(strategy)
    def gather(value):
        found.append(value)

    gather()
    return tuple(found)


def pick(rng: np.random.Generator, options):
    """One of a sequence, whatever its elements are."""
    return options[int(rng.integers(len(options)))]


def anything(rng: np.random.Generator, kind: str = "anything"):
    return pick(rng, drawn(kind))


# ---- arrays --------------------------------------------------------------------------------------


def spoiled(rng: np.random.Generator, array: np.ndarray):
    """An array as it should not be, and how it was spoiled."""
    name = pick(rng, list(_SPOILED))
    return _SPOILED[name](rng, np.array(array)), name


def _put(value):
    def put(rng, array):
        if not array.size:
            return array
        kind = array.dtype.kind
        array = array.astype(np.float64) if kind in "biu" and value != value else array
        try:
            array.flat[int(rng.integers(array.size))] = value
        except (OverflowError, ValueError):
            array = array.astype(object)
            array.flat[int(rng.integers(array.size))] = value
        return array

    return put


def _cast(dtype):
    def cast(rng, array):
        try:
            return array.astype(dtype)
        except (TypeError, ValueError):
            return array.astype(str)

    return cast


_SPOILED = {
    "a NaN": _put(float("nan")),
    "an infinity": _put(float("inf")),
    "1e308": _put(1e308),
    "-1": _put(-1),
    "2**62": _put(2**62),
    "a row less": lambda rng, a: a[..., :-1] if a.ndim else a,
    "a row twice": lambda rng, a: np.concatenate([a, a[-1:]]) if a.ndim and len(a) else a,
    "empty": lambda rng, a: a[:0] if a.ndim else a[None][:0],
    "transposed": lambda rng, a: a.T,
    "an axis more": lambda rng, a: a[None],
    "an axis at the end": lambda rng, a: a[..., None],
    "a scalar": lambda rng, a: a.flat[0] if a.size else a,
    "all the same": lambda rng, a: np.full_like(a, a.flat[0]) if a.size else a,
    "as text": _cast(str),
    "as objects": _cast(object),
    "complex": _cast(complex),
    "as dates": _cast("datetime64[s]"),
    "int8": _cast(np.int8),
    "float16": _cast(np.float16),
    "bytes": _cast("S3"),
    "masked": lambda rng, a: np.ma.MaskedArray(a, np.arange(a.size).reshape(a.shape) == 0),
    "ragged": lambda rng, a: [list(np.ravel(a)[:2]), list(np.ravel(a)[:3])],
    "none in it": lambda rng, a: [None, *np.ravel(a)[1:].tolist()],
    "negated": lambda rng, a: (
        ~a if a.dtype == bool else a if a.dtype.kind == "U" else -a.astype(float)
    ),
    "text in it": lambda rng, a: [*np.ravel(a)[1:].tolist(), "x"],
}


def harmless(rng: np.random.Generator, array: np.ndarray):
    """The same numbers in another wrapping, and which."""
    name = pick(rng, list(_HARMLESS))
    return _HARMLESS[name](np.array(array)), name


def _tensor(array):
    import torch

    return array if array.dtype.kind == "U" else torch.tensor(array)


def _series(array):
    import pandas as pd

    return pd.Series(array) if array.ndim == 1 else array


_HARMLESS = {
    "a list": lambda a: a.tolist(),
    "Fortran's order": np.asfortranarray,
    "with gaps": lambda a: np.repeat(a, 2, axis=0)[::2],
    "read-only": lambda a: np.lib.stride_tricks.as_strided(a, writeable=False),
    "the other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "a tensor": _tensor,
    "a series": _series,
    "0 and 1": lambda a: a.astype(np.uint8) if a.dtype == bool else a,
}


# ---- bytes ---------------------------------------------------------------------------------------


def damaged(rng: np.random.Generator, content: bytes) -> tuple[bytes, str]:
    """Bytes as disks, networks and editors leave them, and what happened."""
    n = len(content)
    kind = int(rng.integers(8))
    place = int(rng.integers(max(1, n)))
    if kind == 0:
        return content[:place], f"cut after {place} bytes"
    if kind == 1:
        bit = int(rng.integers(8))
        return (
            content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :],
            f"bit {bit} of byte {place} flipped",
        )
    if kind == 2:
        many = bytearray(content)
        for at in rng.integers(n, size=20):
            many[at] = int(rng.integers(256))
        return bytes(many), "20 bytes changed"
    if kind == 3:
        extra = rng.bytes(int(rng.integers(1, 40)))
        return content[:place] + extra + content[place:], f"{len(extra)} bytes put in at {place}"
    if kind == 4:
        end = min(n, place + int(rng.integers(1, 200)))
        return content[:place] + content[end:], f"bytes {place} to {end} lost"
    if kind == 5:
        end = min(n, place + int(rng.integers(1, 200)))
        zeros = b"\0" * (end - place)
        return content[:place] + zeros + content[end:], f"bytes {place} to {end} zero"
    if kind == 6:
        return content + rng.bytes(int(rng.integers(1, 100))), "bytes at the end"
    return content + content, "twice"
