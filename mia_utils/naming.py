"""Names of classes and records as the numbers that `Outputs` keeps, and texts that are numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from .arrays import as_array, as_integers
from .errors import InputError

_WORDS = (
    *(("true", "false"), ("1", "0"), ("1.0", "0.0"), ("yes", "no"), ("t", "f"), ("y", "n")),
    *(("in", "out"), ("train", "test"), ("member", "non-member"), ("member", "nonmember")),
)
"""What people write in place of true and false."""


def class_numbers(labels, classes: Sequence[str] | None) -> np.ndarray:
    """Labels as numbers: names become positions in `classes`, anything else comes back as it is.

    Raises
    ------
    InputError
        If labels are names and there are no classes, classes repeat, or a label is none of them.
    """
    array = as_array(labels, "labels")
    if array.dtype.kind != "U":
        return array
    found = np.unique(array)
    if classes is None:
        shown = ", ".join(map(repr, found[:5].tolist()))
        raise InputError(
            f"labels are names ({shown}{', ...' if found.size > 5 else ''}); say which logit is "
            "whose: pass classes=[...] (--classes A B ...), the names in the order of the logits"
        )
    names = [str(name) for name in classes]
    places = {name: place for place, name in enumerate(names)}
    if len(places) < len(names):
        raise InputError(f"classes repeat: {max(names, key=names.count)!r} is there twice")
    missing = [str(name) for name in found if str(name) not in places]
    if missing:
        raise InputError(
            f"label {missing[0]!r} is no class of the model ({len(missing)} such names); its "
            f"classes are {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
        )
    return np.array([places[str(name)] for name in array.ravel()], np.int64).reshape(array.shape)


def member_mask(members, ids, records: int) -> np.ndarray:
    """Members as a mask: a mask comes back as it is, ids of members become one.

    Raises
    ------
    InputError
        If members are ids and there are none to compare with, or a member is not among them.
    """
    array = as_array(members, "members")
    if array.dtype.kind == "b" or array.ndim != 1:
        return array
    texts = array.dtype.kind == "U"
    if array.size == records and not texts and np.isin(array, (0, 1)).all():
        return array
    if texts and array.size == records:
        lowered = np.char.lower(array)
        for yes, no in _WORDS:
            if np.isin(lowered, (yes, no)).all():
                return lowered == yes
    if ids is None:
        if texts or array.size != records:
            raise InputError(
                f"members has {array.size} values for {records} records, such as "
                f"{array[:1].tolist()[0] if array.size else None!r}; expected true or false for every "
                "record, or the ids of members and ids of all records: pass ids= (--ids)"
            )
        return array
    known = as_array(ids, "ids")
    # A list read from text names numbers, too.
    known, wanted = known.astype(str), array.astype(str)
    missing = np.setdiff1d(wanted, known)
    if missing.size:
        raise InputError(
            f"member {str(missing[0])!r} is not among the ids ({missing.size} of {array.size} "
            f"members are not); ids are such as {str(known[0]) if known.size else None!r}"
        )
    return np.isin(known, wanted)


def id_numbers(ids) -> np.ndarray:
    """Ids as int64: numbers stay, texts of whole numbers become them, other texts their hash."""
    array = as_array(ids, "ids")
    if array.dtype.kind != "U":
        return as_integers(array, "ids")
    texts = [str(text) for text in array.ravel()]
    numbers = [_as_number(text) for text in texts]
    if all(number is not None for number in numbers):
        found = np.array(numbers, np.int64)
    else:
        found = np.array([_hash(text) for text in texts], np.int64)
    return found.reshape(array.shape)


def is_number(text: str) -> bool:
    """Whether a text is one that `float` reads."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_number(text: str) -> int | None:
    plain = text.isascii() and text.isdecimal() and len(text) <= 18
    return int(text) if plain and str(int(text)) == text else None


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
