"""What `TokenOutputs` is made of, read and checked; one line says what cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..arrays import as_array, as_integers, as_numbers
from ..errors import InputError, shown

_ROUNDING = 1e-4  # a log-softmax of half precision may lie this far above 0
_FEWEST = 2  # log-probabilities of a document: of one alone there is no mean, no lowest share
_AT_ONCE = 2**22  # tokens


def as_floats(value, name: str, dimensions: int) -> np.ndarray:
    """float32 with so many dimensions; the first may be missing where there is one model."""
    lists = "write TokenOutputs.from_documents(log_probs, members) for lists, one a document"
    try:
        array = as_numbers(value, name)
    except InputError as error:
        raise InputError(f"{error}: {lists}" if dimensions == 2 else str(error)) from None
    if array.ndim == dimensions - 1:
        array = array[None]
    if array.ndim != dimensions:
        expected = ("(models, tokens)", "(models, documents, neighbours)")[dimensions == 3]
        raise InputError(f"{name} have shape {array.shape}; expected {expected}: {lists}")
    return array if array.dtype == np.float32 else array.astype(np.float32)


def as_offsets(value, tokens: int) -> np.ndarray:
    offsets = as_integers(value, "offsets")
    if offsets.ndim != 1 or offsets.size < 2:
        raise InputError(
            f"offsets have shape {offsets.shape}; expected (documents + 1,), from 0 to the number "
            "of tokens, and at least one document"
        )
    lengths = np.diff(offsets)
    if offsets[0] or offsets[-1] != tokens or (lengths < 0).any():
        hint = ""
        if offsets.sum() == tokens:
            hint = ": write numpy.concatenate([[0], numpy.cumsum(lengths)]) if these are lengths"
        raise InputError(
            f"offsets run from {offsets[0]} to {offsets[-1]}"
            f"{' and fall' if (lengths < 0).any() else ''}; expected from 0 to {tokens}, the number "
            f"of log-probabilities of a model, never falling{hint}"
        )
    return offsets


def check_lengths(lengths: np.ndarray, ids: np.ndarray) -> None:
    short = np.flatnonzero(lengths < _FEWEST)
    if short.size:
        first = short[0]
        what = "is empty" if lengths[first] == 0 else "has one log-probability"
        raise InputError(
            f"document {ids[first]} {what} ({short.size} such documents); an attack needs at least "
            f"{_FEWEST}: leave it out, or join it with the next"
        )


def as_log_probs(array: np.ndarray, offsets: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Log-probabilities that are numbers and at most 0, what rounding put above it set to 0."""
    above = False
    for model, row in enumerate(array):
        for start in range(0, row.size, _AT_ONCE):
            part = row[start : start + _AT_ONCE]
            bad = ~(np.isfinite(part) & (part <= _ROUNDING))
            if bad.any():
                _refuse_log_prob(row, model, start + int(bad.argmax()), offsets, ids)
            above |= bool((part > 0).any())
    return np.minimum(array, 0) if above else array


def _refuse_log_prob(row: np.ndarray, model: int, token: int, offsets, ids) -> None:
    value, first = float(row[token]), int(np.searchsorted(offsets, token, side="right")) - 1
    if np.isnan(value):
        advice = "leave the first token of a document out if nothing precedes it"
    elif value == -np.inf:
        advice = "write numpy.maximum(log_probs, -100) if a token may have the probability 0"
    elif not (row < 0).any() and row.max() <= 1:
        advice = "write numpy.log(p) if these are probabilities"
    else:
        advice = "write -losses if these are losses"
    raise InputError(
        f"log_probs of model {model} hold {value:g} at token {token - offsets[first]} of document "
        f"{ids[first]}; expected finite log-probabilities of at most 0: {advice}"
    )


def as_per_token(value, name: str, shape: tuple[int, int], offsets, ids) -> np.ndarray:
    array = (
        as_floats(value, name, 2) if name != "ranks" else np.atleast_2d(as_integers(value, name))
    )
    if array.shape != shape:
        raise InputError(
            f"{name} {_have(name)} shape {array.shape}, log_probs {shape}; expected one number a "
            "token in both"
        )
    for model, row in enumerate(array):
        # A mean of log p is at most 0, a deviation or a rank at least 0.
        bad = ~np.isfinite(row) | ((row > _ROUNDING) if name == "mean" else (row < 0))
        if bad.any():
            token = int(bad.argmax())
            document = int(np.searchsorted(offsets, token, side="right")) - 1
            raise InputError(
                f"{name} of model {model} {_have(name)} {row[token]:g} at token "
                f"{token - offsets[document]} of document {ids[document]}; expected finite numbers "
                f"of at {'most' if name == 'mean' else 'least'} 0"
            )
    return array if name != "ranks" else array.astype(np.int32, copy=False)


def _have(name: str) -> str:
    return "have" if name.endswith("s") else "has"


def as_per_document(value, name: str, dimensions: int, shape: tuple[int, int]) -> np.ndarray:
    array = as_floats(value, name, dimensions)
    if array.shape[:2] != shape or 0 in array.shape:
        expected = "(models, documents)" if dimensions == 2 else "(models, documents, neighbours)"
        raise InputError(
            f"{name} have shape {array.shape}; expected {expected} with {shape[0]} and {shape[1]}"
        )
    bad = ~(np.isfinite(array) & (array <= _ROUNDING))
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name}{list(place)} is {array[place]:g}; expected a mean log-probability, finite and "
            "at most 0"
        )
    return np.minimum(array, 0)


def as_texts(texts, documents: int) -> tuple[str, ...] | None:
    if texts is None:
        return None
    if isinstance(texts, str):
        raise InputError("texts is one text; expected a list, one text a document")
    if not isinstance(texts, Iterable):
        raise InputError(f"texts are {shown(texts)}; expected a list of str, one a document")
    found = tuple(texts.tolist() if isinstance(texts, np.ndarray) else texts)
    wrong = [text for text in found if not isinstance(text, str)]
    if wrong:
        raise InputError(f"texts hold {shown(wrong[0])}; expected a list of str, one a document")
    if len(found) != documents:
        raise InputError(f"{len(found)} texts for {documents} documents")
    return found


def as_groups(groups: Mapping, documents: int) -> dict[str, np.ndarray]:
    if groups is not None and not isinstance(groups, Mapping):
        raise InputError(
            f"groups are a {type(groups).__name__}; expected a dict from a name to one value a "
            'document, such as {"year": [...]}'
        )
    found = {str(name): np.asarray(values).astype(str) for name, values in (groups or {}).items()}
    for name, values in found.items():
        if values.shape != (documents,):
            raise InputError(
                f"group {name!r} has shape {values.shape}; expected one value a document, "
                f"({documents},)"
            )
    return found


# ---- lists of documents --------------------------------------------------------------------------


def flattened(nested: Sequence, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (D,) and numbers (M, T) of M times D sequences, or of D of one model."""
    try:
        by_model = nested if np.ndim(nested[0][0]) else [nested]
        rows = [[_numbers(each, name) for each in documents] for documents in by_model]
    except (TypeError, IndexError, KeyError):
        raise InputError(
            f"{name}: expected a list with one sequence of numbers a document, none of them empty, "
            "or a list of such lists, one a model"
        ) from None
    lengths = [np.array([each.size for each in documents]) for documents in rows]
    for model, own in enumerate(lengths):
        check_same_lengths(own, lengths[0], f"{name} of model {model}")
    return lengths[0], np.stack([np.concatenate([e.ravel() for e in row]) for row in rows])


def _numbers(document, name: str) -> np.ndarray:
    """One document's numbers; where an interface gave None there is NaN, which is named later."""
    if isinstance(document, (list, tuple)) and None in document:
        document = [np.nan if value is None else value for value in document]
    return np.atleast_1d(as_array(document, name))


def check_same_lengths(own: np.ndarray, lengths: np.ndarray, what: str) -> None:
    if own.size != lengths.size:
        raise InputError(f"{what}: {own.size} documents; the others have {lengths.size}")
    differing = np.flatnonzero(own != lengths)
    if differing.size:
        first = differing[0]
        raise InputError(
            f"{what}: document {first} has {own[first]} tokens, elsewhere {lengths[first]} "
            f"({differing.size} such documents); expected the same tokens for all"
        )
