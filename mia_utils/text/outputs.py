"""`TokenOutputs`: what language models made of documents, token by token; ragged, maybe mapped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from dataclasses import replace as dataclass_replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..arrays import FILLED_IN, as_array
from ..errors import InputError
from ..files import whole_file
from ..naming import id_numbers, member_mask
from ..outputs import positions
from ..reading import pairs
from .archive import mapped_arrays
from .fields import (
    as_floats,
    as_groups,
    as_log_probs,
    as_offsets,
    as_per_document,
    as_per_token,
    as_texts,
    check_lengths,
    check_same_lengths,
    flattened,
)

PER_TOKEN = ("mean", "std", "ranks")
"""Optional fields with one number a token, as `log_probs` has."""
OPTIONAL = ("evaluated", "ids", *PER_TOKEN, "lowercase_log_probs", "neighbour_log_probs")
_SAMPLE = 1000  # documents of a kind whose perplexity the repr tells


@dataclass(frozen=True, repr=False, eq=False)
class TokenOutputs:
    """Log-probabilities of the tokens of D documents under M language models, T tokens in all.

    Documents differ in length, so that tokens lie one after the other: document d is
    `log_probs[:, offsets[d]:offsets[d + 1]]`. `from_documents` takes lists, one a document.

    Parameters
    ----------
    log_probs : float32 (M, T), or (T,) of one model
        Natural logarithm of each token's probability given what precedes it in its document, in
        evaluation mode. The first token counts only where the model was given something before it
        (a start symbol); else leave it out. May be memory-mapped.
    offsets : int64 (D + 1,)
        From 0 to T.
    members : bool (M, D), or (D,) of one model
        Was the document in that model's training text?
    evaluated : bool (M, D), default all True
        May this pair be fitted on or scored?
    ids : integers or texts (D,), default 0 .. D-1
        With `fingerprint` they align two `TokenOutputs`. Texts become 63-bit hashes of themselves.
    mean, std : float32 (M, T), optional
        Mean and standard deviation of log p over the vocabulary, p being the model's own
        probabilities at that position (Min-K%++ needs them).
    ranks : int32 (M, T), optional
        How many tokens of the vocabulary are likelier than this one (limits of the interface need
        them: 0 is the token that greedy decoding would give).
    texts : sequence of str (D,), optional
    lowercase_log_probs : float32 (M, D), optional
        Mean log-probability of the document's tokens once it is written in lower case.
    neighbour_log_probs : float32 (M, D, P), optional
        Mean log-probability of the tokens of P perturbed versions of each document.
    groups : dict from a name to values (D,), optional
        Kinds of documents: source, year.
    names : tuple of str
        Names of the models in the store, () if they are not there.
    fingerprint : str
        Of the corpus, "" if unknown.

    Raises
    ------
    InputError
        If shapes disagree; a document is empty or has a single log-probability; a number is NaN,
        infinite or a positive log-probability; ids repeat.

    >>> TokenOutputs([-1.0, -1.0, -3.0, -3.0], offsets=[0, 2, 4], members=[True, False])
    TokenOutputs(1 model, 2 documents of 2 tokens; 1 member; perplexity 2.72 on members, 20.1 on others)
    """

    log_probs: np.ndarray
    offsets: np.ndarray
    members: np.ndarray
    evaluated: np.ndarray = FILLED_IN
    ids: np.ndarray = FILLED_IN
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    ranks: np.ndarray | None = None
    texts: tuple[str, ...] | None = None
    lowercase_log_probs: np.ndarray | None = None
    neighbour_log_probs: np.ndarray | None = None
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    fingerprint: str = ""

    def __post_init__(self) -> None:
        log_probs = as_floats(self.log_probs, "log_probs", 2)
        offsets = as_offsets(self.offsets, log_probs.shape[1])
        shape = (len(log_probs), offsets.size - 1)
        ids = np.arange(shape[1]) if self.ids is None else id_numbers(self.ids)
        if ids.shape != shape[1:] or np.unique(ids).size != ids.size:
            raise InputError(
                f"ids have shape {ids.shape} or repeat; expected a different one for each of "
                f"{shape[1]} documents"
            )
        called = ids if self.ids is None else as_array(self.ids, "ids")  # in errors
        check_lengths(np.diff(offsets), called)
        members = pairs(member_mask(self.members, self.ids, shape[1]), shape, "members")
        evaluated = self.evaluated
        checked = {
            "offsets": offsets,
            "ids": ids,
            "members": members,
            "evaluated": np.ones(shape, bool)
            if evaluated is None
            else pairs(evaluated, shape, "evaluated"),
            "names": tuple(self.names),
            "texts": as_texts(self.texts, shape[1]),
            "groups": as_groups(self.groups, shape[1]),
        }
        if self.names and len(self.names) != shape[0]:
            raise InputError(f"{len(self.names)} names for {shape[0]} models")
        checked["log_probs"] = as_log_probs(log_probs, offsets, called)
        for name in PER_TOKEN:
            if (value := getattr(self, name)) is not None:
                checked[name] = as_per_token(value, name, log_probs.shape, offsets, called)
        for name, dimensions in (("lowercase_log_probs", 2), ("neighbour_log_probs", 3)):
            if (value := getattr(self, name)) is not None:
                checked[name] = as_per_document(value, name, dimensions, shape)
        self._set(checked)

    def _set(self, values: Mapping) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_documents(cls, log_probs: Sequence, members, **fields) -> TokenOutputs:
        """From a list with one array a document, or a list of such lists, one a model.

        Parameters
        ----------
        log_probs : D sequences of numbers, or M times D of them
        members : as the class
        fields
            As the class; `mean`, `std` and `ranks` are lists like `log_probs`.

        Raises
        ------
        InputError
            As the class; if two models, or two fields, have different numbers of tokens for a
            document.

        >>> TokenOutputs.from_documents([[-1.0, -2.0], [-3.0, -3.0, -3.0]], members=[1, 0]).offsets
        array([0, 2, 5])
        """
        lengths, flat = flattened(log_probs, "log_probs")
        for name in PER_TOKEN:
            if fields.get(name) is not None:
                own, fields[name] = flattened(fields[name], name)
                check_same_lengths(own, lengths, name)
        return cls(flat, np.concatenate([[0], np.cumsum(lengths)]), members, **fields)

    def __len__(self) -> int:
        return len(self.log_probs)

    @property
    def documents(self) -> int:
        """Number of documents D."""
        return self.offsets.size - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, int64 (D,)."""
        return np.diff(self.offsets)

    def __repr__(self) -> str:
        """How many of what, and the perplexity of members and others (of 1,000 documents of each)."""
        low, high = int(self.lengths.min(initial=2**62)), int(self.lengths.max(initial=0))
        parts = [
            f"{_count(len(self), 'model')}, {_count(self.documents, 'document')} of "
            + (f"{low:,} to " if low < high else "")
            + _count(high, "token"),
            _range((self.members & self.evaluated).sum(axis=1), "member"),
        ]
        if not self.evaluated.all():
            parts.append(_range(self.evaluated.sum(axis=1), "evaluated document"))
        told = [
            f"{np.exp(min(loss, 700.0)):.3g} on {who}"
            for who, kind in (("members", self.members), ("others", ~self.members))
            if (loss := self._loss(kind & self.evaluated)) is not None
        ]
        if told:
            parts.append(f"perplexity {', '.join(told)}")
        there = [n for n in (*PER_TOKEN, "texts", *OPTIONAL[-2:]) if getattr(self, n) is not None]
        there += [f"groups by {name}" for name in self.groups]
        if there:
            parts.append(f"with {', '.join(there)}")
        return f"TokenOutputs({'; '.join(parts)})"

    def _loss(self, chosen: np.ndarray) -> float | None:
        """Mean loss in nats of the tokens of chosen pairs, bool (M, D); of a sample of each model."""
        total, tokens = 0.0, 0
        for model, kept in enumerate(chosen):
            rows = np.flatnonzero(kept)
            if rows.size > _SAMPLE:
                rows = np.random.default_rng(0).choice(rows, _SAMPLE, replace=False)
            for row in rows:
                part = self.log_probs[model, self.offsets[row] : self.offsets[row + 1]]
                total -= float(part.sum(dtype=np.float64))
                tokens += part.size
        return total / tokens if tokens else None

    def replace(self, **changes) -> TokenOutputs:
        """A copy with some fields changed (validated again)."""
        return dataclass_replace(self, **changes)

    def judged_on(self, evaluated) -> TokenOutputs:
        """The same with other evaluated pairs, bool (M, D); log-probabilities are not read again."""
        return self._with(evaluated=pairs(evaluated, self.members.shape, "evaluated"))

    def select(self, models=None, documents=None) -> TokenOutputs:
        """Some models and some documents: each an int, slice, index array or bool mask.

        Raises
        ------
        InputError
            If there is no such model or document, or one is asked for twice.
        """
        part = self
        if models is not None:
            rows = positions(models, len(self), "models")
            whole = ("log_probs", "members", "evaluated", *PER_TOKEN, *OPTIONAL[-2:])
            changes = {name: _taken(getattr(self, name), rows) for name in whole}
            names = tuple(self.names[i] for i in rows) if self.names else ()
            part = part._with(**changes, names=names)
        if documents is not None:
            part = part._documents(positions(documents, self.documents, "documents"))
        return part

    def _documents(self, rows: np.ndarray) -> TokenOutputs:
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        tokens = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        changes = {n: _taken(getattr(self, n), tokens, 1) for n in ("log_probs", *PER_TOKEN)}
        for name in ("members", "evaluated", *OPTIONAL[-2:]):
            changes[name] = _taken(getattr(self, name), rows, 1)
        texts = None if self.texts is None else tuple(self.texts[row] for row in rows)
        groups = {name: values[rows] for name, values in self.groups.items()}
        return self._with(
            offsets=offsets, ids=self.ids[rows], texts=texts, groups=groups, **changes
        )

    def _with(self, **changes) -> TokenOutputs:
        """A copy with parts of checked fields, which are not checked again."""
        part = object.__new__(TokenOutputs)
        part._set({each.name: getattr(self, each.name) for each in fields(self)} | changes)
        return part

    # ---- files -----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> Path:
        """Write everything to one uncompressed .npz, atomically (write, then rename)."""
        arrays = {
            name: getattr(self, name) for name in ("log_probs", "offsets", "members", *OPTIONAL)
        }
        arrays = {name: value for name, value in arrays.items() if value is not None}
        arrays |= {f"group_{name}": values for name, values in self.groups.items()}
        if self.texts is not None:  # UTF-8: an array of texts pads all to the longest
            encoded = [text.encode("utf-8", "surrogatepass") for text in self.texts]
            arrays["texts_utf8"] = np.frombuffer(b"".join(encoded), np.uint8)
            arrays["texts_offsets"] = np.concatenate([[0], np.cumsum([len(e) for e in encoded])])
        meta = json.dumps({"fingerprint": self.fingerprint, "names": self.names})
        with whole_file(path) as partial, open(partial, "wb") as file:
            np.savez(file, **arrays, meta=np.array(meta))
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> TokenOutputs:
        """Read what `save` wrote, memory-mapped.

        Raises
        ------
        InputError
            If the file is missing, damaged, or lacks one of the arrays.
        """
        arrays = mapped_arrays(path)
        missing = {"log_probs", "offsets", "members"} - arrays.keys()
        if missing:
            raise InputError(
                f"{path} lacks {sorted(missing)}; expected log_probs, offsets and members"
            )
        found: dict = {
            n: arrays[n] for n in ("log_probs", "offsets", "members", *OPTIONAL) if n in arrays
        }
        for name in ("offsets", "members", "evaluated", "ids"):
            if name in found:
                found[name] = np.array(found[name])
        found["groups"] = {
            name.removeprefix("group_"): np.array(values)
            for name, values in arrays.items()
            if name.startswith("group_")
        }
        try:
            if "texts_utf8" in arrays:
                found["texts"] = _decoded(arrays["texts_utf8"], arrays["texts_offsets"])
            meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
            found |= {"fingerprint": meta.get("fingerprint", ""), "names": meta.get("names", ())}
            return cls(**found)
        except (KeyError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: {' '.join(str(error).split())}") from None


def _decoded(utf8: np.ndarray, offsets: np.ndarray) -> tuple[str, ...]:
    whole = np.asarray(utf8).tobytes()
    places = np.asarray(offsets).tolist()
    return tuple(whole[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(places))


def _taken(values: np.ndarray | None, rows: np.ndarray, axis: int = 0) -> np.ndarray | None:
    """`values` at `rows` along an axis: a view where they follow each other, so that a memory map
    stays one."""
    if values is None:
        return None
    if rows.size and (np.diff(rows) == 1).all():
        part = slice(rows[0], rows[-1] + 1)
        return values[part] if axis == 0 else values[:, part]
    return np.take(values, rows, axis=axis)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' if number != 1 else ''}"


def _range(counts: np.ndarray, word: str) -> str:
    low, high = int(counts.min(initial=2**62)), int(counts.max(initial=0))
    if counts.size == 1:
        return _count(high, word)
    return (f"{low:,} to " if low < high else "") + f"{_count(high, word)} each"


def check_tokens(value, role: str) -> TokenOutputs:
    """`value`, if it is one `TokenOutputs`.

    Raises
    ------
    InputError
        If it is anything else; `role` (such as "MinKAttack.score(target)") says where.
    """
    if not isinstance(value, TokenOutputs):
        raise InputError(f"{role} got {type(value).__name__}; expected TokenOutputs")
    return value
