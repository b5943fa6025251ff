"""A user's own log-probabilities: arrays of an .npz, a long table, or a table with a list a document."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import as_integers
from ..errors import InputError
from ..naming import id_numbers, member_mask
from ..text_tables import plain
from .archive import mapped_arrays
from .outputs import PER_TOKEN, TokenOutputs
from .tables import column_names, read_columns

Table = dict[str, np.ndarray]

NAMES = {
    "log_probs": ("log_probs", "log_prob", "logprobs", "logprob", "token_log_probs"),
    "offsets": ("offsets", "offset"),
    "lengths": ("lengths", "length"),
    "members": ("members", "member", "is_member", "membership"),
    "evaluated": ("evaluated",),
    "ids": ("documents", "document", "doc", "ids", "id", "record_id"),
    "model": ("models", "model"),
    "position": ("positions", "position"),
    "mean": ("mean",),
    "std": ("std",),
    "ranks": ("ranks", "rank"),
    "texts": ("texts", "text"),
    "lowercase_log_probs": ("lowercase_log_probs", "lowercase_log_prob"),
    "neighbour_log_probs": ("neighbour_log_probs", "neighbor_log_probs"),
}
"""What arrays and columns may be called; `group_NAME` and what `groups` names are groups."""
_OWN = ("texts_utf8", "texts_offsets", "meta")  # of TokenOutputs.save
_OF_ARRAYS = ("offsets", "lengths")
_OF_TABLES = ("model", "position")
_OF_TOKENS = ("token", "tokens", "token_id", "token_ids")
"""What exporters write beside log-probabilities; nothing here asks for it."""
_IDENTITY = ("ids", "model", "members", "evaluated")
_PER_DOCUMENT = ("members", "evaluated", "texts", "lowercase_log_probs", "neighbour_log_probs")


def holds_tokens(path: str | os.PathLike) -> bool:
    """Does a file of answers hold log-probabilities of tokens, not a classifier's answers?

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    return any(name.strip().lower() in NAMES["log_probs"] for name in column_names(path))


def read_tokens(
    path: str | os.PathLike, *, members=None, groups: Sequence[str] = ()
) -> TokenOutputs:
    """Log-probabilities that a language model gave, from one file; its repr says what was understood.

    Parameters
    ----------
    path : .npz, .parquet or .csv
        An archive of arrays named as `TokenOutputs` names them (also what its `save` wrote), with
        `offsets` or `lengths`; or `log_probs` (documents, longest), filled up, with `lengths`.

        A long table, one row a token: `document`, `log_prob`, `member`; if there `model`,
        `position` (from 0 or 1; by default the order of the rows), `mean`, `std`, `rank`, and what
        belongs to a document, the same in all of its rows: `text`, `evaluated`, groups.

        A .parquet table with one row a document (and model), in which `log_probs` holds lists, as may
        `mean`, `std`, `ranks` and `neighbour_log_probs`.
    members : mask or ids of members, in place of those in the file
    groups : sequence of str
        More columns that group documents.

    Raises
    ------
    InputError
        If a column is missing or unknown, models or rows disagree about a document, or as
        `TokenOutputs`.
    """
    return read_named(path, members=members, groups=groups)[0]


def read_named(
    path: str | os.PathLike, *, members=None, groups: Sequence[str] = ()
) -> tuple[TokenOutputs, np.ndarray]:
    """As `read_tokens`, and what the file calls each document, str (D,)."""
    path = Path(path)
    arrays = path.suffix.lower() == ".npz"
    table = mapped_arrays(path) if arrays else read_texts(path, groups)
    if arrays and "meta" in table and {"log_probs", "offsets"} <= table.keys():
        whole = TokenOutputs.load(path)
        missing = [name for name in groups if name.removeprefix("group_") not in whole.groups]
        if missing:
            known = ", ".join(whole.groups) or "none"
            raise InputError(f"{path} has no groups {missing[0]!r}; it has {known}")
        if members is not None:
            if np.asarray(members).dtype.kind == "U":  # what was saved of names are their numbers
                members = id_numbers(members)
            whole = whole.replace(members=members)
        return whole, whole.ids.astype(str)
    try:
        found, grouped = _named(table, groups, _OF_TABLES if arrays else _OF_ARRAYS)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if "log_probs" not in found:
        raise InputError(
            f"{path} holds {', '.join(table) or 'nothing'}; expected log_probs: "
            + ("an array" if arrays else "a column of numbers (a row a token) or of lists")
        )
    if members is not None:
        found["members"] = members
    elif "members" not in found:
        raise InputError(
            f"{path} holds {', '.join(table)}; expected also members: true or false for every "
            "document, or a file of its own (--members FILE)"
        )
    make: Callable[[Table, Table, bool], TokenOutputs]
    if arrays:
        make = _of_arrays
    else:
        make = _of_lists if found["log_probs"].dtype == object else _of_rows
    try:
        return _with_names(make(found, grouped, members is not None), found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_texts(path: Path, groups: Sequence[str]) -> Table:
    """Columns of a table, those with names and documents as they are written."""
    return read_columns(
        path, lambda name: _is_named(name, groups), lambda name: _field(name) == "texts"
    )


def _field(name: str) -> str | None:
    plain_name = name.strip().lower()
    return next((field for field, names in NAMES.items() if plain_name in names), None)


def _with_names(outputs: TokenOutputs, found: Table) -> tuple[TokenOutputs, np.ndarray]:
    names = _first_seen(found["ids"])[0] if "ids" in found else outputs.ids
    return outputs, names.astype(str)


def _named(table: Table, groups, others: Sequence[str]) -> tuple[Table, Table]:
    """Columns by the names of `TokenOutputs`, and groups; anything else is refused."""
    found: Table = {}
    grouped: Table = {}
    for name in groups:
        if name not in table:
            raise InputError(f"has no column {name!r}; it holds {', '.join(table)}")
    for name, values in table.items():
        field = _field(name)
        if name.startswith("group_") or name in groups:
            grouped[name.removeprefix("group_")] = values
        elif field in found:
            raise InputError(f"{name} says the same as another column; keep one of them")
        elif field is not None and field not in others:
            found[field] = _read(values, field)
        elif name not in _OWN and name.strip().lower() not in _OF_TOKENS:
            known = ", ".join(names[0] for f, names in NAMES.items() if f not in others)
            raise InputError(
                f"unknown {name!r}; expected {known}, or group_NAME (--groups {name} if it "
                "groups documents)"
            )
    return found, grouped


def _is_named(name: str, groups: Sequence[str]) -> bool:
    """Does a column of a text table hold names, which are kept as they are written?"""
    return name in groups or name.startswith("group_") or _field(name) in (*_IDENTITY, "texts")


def _read(values: np.ndarray, field: str) -> np.ndarray:
    if field in _IDENTITY:
        values = complete(plain(values), field)
        words = field == "members" and values.dtype.kind == "U" and values.ndim == 1
        return member_mask(values, None, values.size) if words else values
    return complete(values, field) if field == "texts" and values.dtype.kind == "U" else values


def complete(values: np.ndarray, field: str) -> np.ndarray:
    """`values`, if none of them is missing; `field` is one of `NAMES`.

    Raises
    ------
    InputError
        Otherwise, with the first row.
    """
    missing = values == "" if values.dtype.kind == "U" else values != values
    if np.any(missing):
        row = int(np.argwhere(missing)[0][0])
        raise InputError(
            f"row {row} has nothing under {NAMES[field][0]} ({int(np.sum(missing))} such rows); fill it in"
        )
    return values


# ---- arrays --------------------------------------------------------------------------------------


def _of_arrays(found: Table, grouped: Table, _: bool) -> TokenOutputs:
    lengths = found.pop("lengths", None)
    if ("offsets" in found) == (lengths is not None):
        raise InputError(
            "expected offsets (documents + 1,), from 0 to the number of tokens, or lengths "
            "(documents,)" + (", one of the two" if lengths is not None else "")
        )
    if lengths is not None:
        lengths = as_integers(lengths, "lengths")
        if lengths.ndim != 1 or (lengths < 0).any():
            raise InputError(f"lengths have shape {lengths.shape} or fall below 0")
        found["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
        for name in ("log_probs", *PER_TOKEN):
            if name in found:
                found[name] = _unpadded(found[name], lengths)
    if "texts" in found:
        found["texts"] = found["texts"].astype(str).tolist()
    fields: dict[str, Any] = found | {"groups": grouped}
    return TokenOutputs(**fields)


def _unpadded(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(..., D, longest or more) without what fills documents up, as (..., T); other shapes as they
    are."""
    padded = values.ndim > 1 and values.shape[-2] == lengths.size
    padded = padded and values.shape[-1] >= lengths.max(initial=0)
    if not padded or values.shape[-1] == lengths.sum():
        return values
    return values[..., np.arange(values.shape[-1]) < lengths[:, None]]


# ---- tables --------------------------------------------------------------------------------------


def _of_lists(found: Table, grouped: Table, given: bool) -> TokenOutputs:
    rows = found["log_probs"].size
    models, documents, place, ids = _grid(found, rows)
    if "ids" not in found and models > 1:
        raise InputError(
            "several models and no ids; expected a column document that says which is which"
        )
    if np.bincount(place, minlength=models * documents).max() > 1:
        twice = int(np.bincount(place).argmax())
        raise InputError(
            f"document {ids[twice % documents]} is there twice; ids must differ, and a model may "
            "have one row a document"
        )
    order = np.argsort(place)  # model by model, each in the order of the documents

    def shaped(name: str) -> list:
        if found[name].dtype != object:
            raise InputError(f"{name} holds numbers and log_probs lists; expected lists in both")
        ordered = found[name][order]
        return [ordered[m * documents : (m + 1) * documents].tolist() for m in range(models)]

    fields: dict = {name: shaped(name) for name in PER_TOKEN if name in found}
    fields |= _of_documents(found, grouped, place, models, documents, given)
    return TokenOutputs.from_documents(
        shaped("log_probs"), fields.pop("members"), ids=ids, **fields
    )


def _of_rows(found: Table, grouped: Table, given: bool) -> TokenOutputs:
    if "ids" not in found:
        raise InputError(
            "log_prob has one number a row; expected also a column document that says whose token "
            "it is"
        )
    models, documents, place, ids = _grid(found, found["log_probs"].size)
    if "position" in found:
        position = as_integers(found["position"], "position")
        order = np.lexsort((position, place))
    else:
        position, order = None, np.argsort(place, kind="stable")
    counts = np.bincount(place, minlength=models * documents).reshape(models, documents)
    if position is not None:
        _check_positions(position[order], counts.ravel(), np.tile(ids, models))
    lengths = counts[0]
    for model, own in enumerate(counts):
        if (own != lengths).any():
            first = int((own != lengths).argmax())
            raise InputError(
                f"document {ids[first]} has {own[first]} tokens of model {model} and "
                f"{lengths[first]} of model 0; expected the same tokens for all models"
            )

    def shaped(name: str) -> np.ndarray:
        return found[name][order].reshape(models, -1)

    fields: dict = {name: shaped(name) for name in PER_TOKEN if name in found}
    fields |= _of_documents(found, grouped, place, models, documents, given)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return TokenOutputs(shaped("log_probs"), offsets, fields.pop("members"), ids=ids, **fields)


def _grid(found: Table, rows: int) -> tuple[int, int, np.ndarray, np.ndarray]:
    """Numbers of models and documents, each row's place in models x documents, and the ids.

    Models and documents come in the order in which they are first named.
    """
    ids, document = _first_seen(found["ids"] if "ids" in found else np.arange(rows))
    names, model = _first_seen(found["model"] if "model" in found else np.zeros(rows, int))
    return names.size, ids.size, model * ids.size + document, ids


def _first_seen(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        values = values.astype(np.int64)  # a column of integers in which pandas met a gap
    unique, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    return unique[order], rank[inverse]


def _check_positions(position: np.ndarray, lengths: np.ndarray, ids: np.ndarray) -> None:
    """From 0 or from 1, none missing and none twice; sorted within each document."""
    start = np.cumsum(lengths) - lengths
    expected = np.arange(position.size) - np.repeat(start, lengths) + (position.min() > 0)
    if position.size and position.min() > 1:
        raise InputError(f"positions begin at {position.min()}; expected 0 or 1")
    wrong = position != expected
    if wrong.any():
        place = int(wrong.argmax())
        document = int(np.searchsorted(start, place, side="right")) - 1
        raise InputError(
            f"document {ids[document]} has no position {expected[place]}, or has another one twice; "
            "expected every token once, from the same first position for all documents"
        )


def _of_documents(
    found: Table, grouped: Table, place: np.ndarray, models: int, documents: int, given: bool
) -> dict:
    """What belongs to a document, or to a document and a model, read off its first row."""
    there = np.full(models * documents, -1)
    there[place[::-1]] = np.arange(place.size)[::-1]
    if (there < 0).any():
        raise InputError(
            f"{int((there < 0).sum())} pairs of a model and a document have no row; expected every "
            "document for every model"
        )
    fields: dict = {"members": found["members"]} if given else {}
    for name in _PER_DOCUMENT:
        if name in found and name not in fields:
            values = found[name]
            if values.dtype == object:
                values = _stacked(values, name)
            else:
                _check_same(values, values[there][place], name)
            by_model = values[there].reshape(models, documents, *values.shape[1:])
            fields[name] = _one(by_model, name).tolist() if name == "texts" else by_model
    for name, values in grouped.items():
        _check_same(values, values[there][place], f"group {name!r}")
        fields.setdefault("groups", {})[name] = _one(values[there].reshape(models, documents), name)
    return fields


def _stacked(values: np.ndarray, name: str) -> np.ndarray:
    if len({each.size for each in values}) > 1:
        raise InputError(f"{name}: lists differ in length; expected as many for every document")
    return np.stack(list(values))


def _check_same(values: np.ndarray, first: np.ndarray, name: str) -> None:
    differing = np.flatnonzero(values != first)
    if differing.size:
        row = differing[0]
        raise InputError(
            f"row {row} says {name} {values[row].item()!r}, an earlier row of the same document "
            f"{first[row].item()!r}"
        )


def _one(by_model: np.ndarray, name: str) -> np.ndarray:
    """What must be the same for all models, (models, documents) to (documents,)."""
    if (by_model != by_model[:1]).any():
        raise InputError(f"{name} of a document differs between models; expected the same for all")
    return by_model[0]
