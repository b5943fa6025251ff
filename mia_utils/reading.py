"""Models' answers in the shapes that people keep them in, read into (models, records, classes).

Only what has one meaning is taken; everything else is refused with the line to write.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from . import arguments
from .arrays import as_array, as_bool, as_integers, rows_of
from .errors import InputError, InputWarning

FLOOR = 1e-30
"""In place of a probability of 0: below what a float32 softmax gives, but for underflow."""
_SUM = 0.010001  # how far from 1 the sum of a row of probabilities may be; rounded ones reach 0.01
_ROWS = 2**22  # numbers that are looked at at once
_FAR = 2**16  # beyond it float32 rounds to more than 1/128
_LEAST = -30.0  # log-probability: one overconfident answer must not decide alone
_SURE = 6  # standard deviations of chance by which a sound model that claims so much is right
_SAMPLE = 1000  # records of a model that are looked at for signs of a mistake


class Answers(NamedTuple):
    """The fields of `Outputs` with M models, N records and C >= 2 classes."""

    logits: np.ndarray  # float32 or float16 (M, N, C)
    labels: np.ndarray  # int64 (N,)
    members: np.ndarray  # bool (M, N)
    evaluated: np.ndarray  # bool (M, N)
    ids: np.ndarray  # int64 (N,)


def read_logits(logits, labels, members, evaluated=None, ids=None) -> Answers:
    """Logits and what is known about them.

    Parameters
    ----------
    logits : float (M, N, C); of one model (N, C); of two classes one logit, that of class 1,
        as (M, N, 1), (M, N) or (N,)
        float32 and float16 stay as they are (memory-mapped, too), other floats become float32.
    labels : integers (N,) or one-hot (N, C)
    members, evaluated : bool, or 0 and 1, (M, N); (N,) for one model
        All pairs are evaluated by default.
    ids : integers (N,), default 0 .. N-1

    Raises
    ------
    InputError
        If something is missing, not finite, out of range, or has a shape with no or two meanings.
    """
    logits = as_array(logits, "logits")
    if logits.dtype.kind != "f":
        raise InputError(
            f"logits have dtype {logits.dtype}; expected float32: write "
            "logits.astype(numpy.float32) if they are the model's numbers and no predicted labels"
        )
    labels, members = _labels(labels), as_bool(members, "members")
    logits = _by_model(logits, labels, members, "logits")
    if logits.dtype not in (np.float32, np.float16):
        logits = _near_zero(logits)
        with np.errstate(over="ignore"):
            single = logits.astype(np.float32)
        if (wide := np.isfinite(logits) & ~np.isfinite(single)).any():
            raise InputError(
                f"logits hold {logits[wide][0]:.3g}; float32 ends at 3.4e38. If these are no logits, "
                "take their logarithm"
            )
        logits = single
    for model, row in enumerate(logits):
        _check_finite(model, row)
    if logits.shape[2] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
    return _answers(logits, labels, members, evaluated, ids)


def _near_zero(logits: np.ndarray) -> np.ndarray:
    """The same answers; what all classes of a record have in common goes where float32 has no
    digits left beside it.
    """
    top = logits.max(axis=2, keepdims=True) if logits.shape[2] > 1 else np.zeros((1, 1, 1))
    far = np.isfinite(top) & (np.abs(top) > _FAR)
    return np.where(far, logits - np.where(far, top, 0), logits) if far.any() else logits


def read_probabilities(
    probabilities, labels, members, evaluated=None, ids=None, *, floor: float = FLOOR
) -> Answers:
    """As `read_logits`, from probabilities p: the logits are log(max(p, floor)).

    One probability a record is that of class 1.

    Raises
    ------
    InputError
        As `read_logits`; if a number is no probability, a row does not sum to 1 (to within 0.01),
        or the floor is not in (0, 1).
    """
    arguments.number("floor", floor, "a small positive probability, such as 1e-12", 0, 1)
    probabilities = as_array(probabilities, "probabilities")
    labels, members = _labels(labels), as_bool(members, "members")
    p = _by_model(probabilities, labels, members, "probabilities")
    logits = np.empty((*p.shape[:2], max(2, p.shape[2])), np.float32)
    zeros, least = 0, np.inf
    for model, rows in enumerate(p):
        step = max(1, _ROWS // p.shape[2])
        for start in range(0, len(rows), step):
            part = rows[start : start + step].astype(np.float64)
            _check_probabilities(part, model, start)
            if part.shape[1] == 1:
                part = np.hstack([1 - part, part])
            zeros += int((part == 0).sum())
            least = min(least, part[part > 0].min())
            logits[model, start : start + step] = np.log(np.maximum(part, floor))
    if zeros and least > 1e-9:
        warnings.warn(
            f"{zeros / logits.size:.2%} of the probabilities are 0 and count as {floor:g}, though "
            f"the smallest of the others is {least:.2g}; if they are rounded, write "
            f"floor={least / 2:.1g}",
            InputWarning,
            stacklevel=3,
        )
    return _answers(logits, labels, members, evaluated, ids)


def _labels(labels) -> np.ndarray:
    """Class numbers int64 (N,), from themselves or from one-hot rows."""
    array = as_array(labels, "labels")
    if array.dtype.kind == "U":
        raise InputError(
            f"labels are texts ({array.flat[0].item()!r}, ...); expected the number of the logit: "
            "write [classes.index(label) for label in labels], classes in the order of the logits"
            if array.size
            else "labels are empty"
        )
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        if not (((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()):
            raise InputError(
                f"labels have shape {array.shape} and are not one-hot; expected (records,): write "
                "labels.argmax(axis=1) if every row says how likely each class is"
            )
        array = array.argmax(axis=1)
    if array.ndim != 1:
        raise InputError(f"labels have shape {array.shape}; expected one a record, (records,)")
    return as_integers(array, "labels")


def _by_model(values: np.ndarray, labels, members: np.ndarray, name: str) -> np.ndarray:
    """`values` as (M, N, C), C >= 1; one number a record (C = 1) only with labels 0 and 1."""
    n, shape = labels.size, values.shape
    if values.ndim == 3 and shape[1] == n:
        found = values
    elif values.ndim == 3 and shape[0] == n and members.shape == (shape[1], n):
        raise InputError(
            f"{name} have shape {shape} and there are {n} labels; expected (models, records, "
            f"classes): write {name}.transpose(1, 0, 2)"
        )
    elif values.ndim == 1 and shape[0] == n:
        found = values[None, :, None]
    elif values.ndim == 2 and n in shape:
        # (N, C) of one model, or one number of each model for each record, (M, N).
        alone = members.ndim == 1 or members.shape in ((1, n), (n, 1))
        if shape[0] == n and (alone or shape[1] != n):
            found = values[None]
        elif shape[0] == 1 or members.shape == shape:
            found = values[..., None]
        else:
            raise InputError(
                f"{name} have shape {shape}, members {members.shape}, and there are {n} labels; "
                f"expected (models, records, classes): write {name}.T if these are the answers of "
                "one model"
            )
    else:
        raise InputError(
            f"{name} have shape {shape} and there are {n} labels; expected (models, records, "
            f"classes), here ({'models, ' * (members.ndim > 1)}{n}, classes)"
        )
    if found.shape[2] == 0:
        raise InputError(f"{name} have shape {shape}; expected (models, records, classes >= 2)")
    if found.shape[2] == 1 and n and not np.isin(labels, (0, 1)).all():
        raise InputError(
            f"{name} have shape {shape}, one number a record, that of class 1 of two; but labels "
            f"run from {labels.min()} to {labels.max()}. Expected all classes' {name}, (models, "
            "records, classes), or labels 0 and 1"
        )
    return found


def pairs(value, shape: tuple[int, int], name: str) -> np.ndarray:
    """Bool (M, N), from that or from (N,) or (N, 1) of one model.

    Raises
    ------
    InputError
        If the shape or type does not fit.
    """
    array = as_bool(value, name)
    models, records = shape
    if array.shape == shape:
        return array
    if models == 1 and array.shape in ((records,), (records, 1)):
        return array.reshape(1, records)
    message = f"{name} has shape {array.shape}; expected (models, records) = {shape}"
    if array.shape == shape[::-1]:
        message += f": write {name}.T"
    elif array.shape == (records,):
        message += (
            f": write numpy.tile({name}, ({models}, 1)) if it is the same for all {models} models"
        )
    raise InputError(message)


def _answers(logits, labels, members, evaluated, ids) -> Answers:
    shape, classes = logits.shape[:2], logits.shape[2]
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        hint = ": write labels - 1" if (labels.min(), labels.max()) == (1, classes) else ""
        raise InputError(
            f"labels run from {labels.min()} to {labels.max()}; with {classes} logits a record "
            f"they must lie in 0..{classes - 1}{hint}"
        )
    members = pairs(members, shape, "members")
    evaluated = np.ones(shape, bool) if evaluated is None else pairs(evaluated, shape, "evaluated")
    if ids is None:
        ids = np.arange(shape[1])
    else:
        ids = as_array(ids, "ids")
        if ids.dtype.kind == "U":
            raise InputError(
                f"ids are texts ({ids.flat[0].item()!r}, ...); expected integers, the same for the "
                "same record in every Outputs: its row in one list of all names"
            )
        ids = as_integers(ids, "ids")
    if ids.shape != shape[1:]:
        raise InputError(f"ids have shape {ids.shape}; expected one a record, {shape[1:]}")
    if np.unique(ids).size != ids.size:
        firsts = np.unique(ids, return_index=True)[1]
        again = np.setdiff1d(np.arange(ids.size), firsts)
        raise InputError(
            f"ids repeat; every record of a pool may appear once, but record {again[0]} has the id of "
            f"an earlier one ({again.size} such)"
        )
    return Answers(logits, labels, members, evaluated, ids)


def _check_finite(model: int, row: np.ndarray) -> None:
    # The sum is finite unless an element is not (or it overflows): no bool copy of the row.
    step, first = max(1, _ROWS // row.shape[1]), 0
    for first in range(0, len(row), step):
        part = rows_of(row, slice(first, first + step))
        with np.errstate(invalid="ignore"):
            total = part.sum(dtype=np.float64)
        if not (np.isfinite(total) or np.isfinite(part).all()):
            break
    else:
        return
    first += int(np.argmin(np.isfinite(part).all(axis=1)))
    message = f"logits of model {model} hold NaN or infinity, first at record {first}; "
    if (row[first] == -np.inf).any() and not (np.isnan(row[first]) | (row[first] > 0)).any():
        message += (
            "if these are logarithms of probabilities that can be 0, write "
            "Outputs.from_probabilities(numpy.exp(logits), ...)"
        )
    else:
        message += "mask them to finite log-probabilities or drop the record"
    raise InputError(message)


def _check_probabilities(part: np.ndarray, model: int, start: int) -> None:
    inside = (part >= 0) & (part <= 1)
    if not inside.all():
        row = int(np.argmin(inside.all(axis=1)))
        raise InputError(
            f"probabilities of model {model} hold {part[row][~inside[row]][0]:g} at record "
            f"{start + row}; expected numbers in [0, 1]: {_in_place(part)}"
        )
    off = np.abs(part.sum(axis=1) - 1) > _SUM
    if part.shape[1] > 1 and off.any():
        row = int(off.argmax())
        raise InputError(
            f"probabilities of model {model} sum to {part[row].sum():.3g} at record {start + row}; "
            "expected 1: write p / p.sum(axis=-1, keepdims=True) if they are rounded, or one "
            "probability a record, that of class 1, if several classes may be true at once"
        )


def _in_place(part: np.ndarray) -> str:
    """What to write where probabilities are none."""
    if np.isnan(part).any():
        return "drop the record, or find out why the model gave no number"
    percent = (part >= 0).all() and (np.abs(part.sum(axis=1) - 100) <= 100 * _SUM).all()
    return (
        "write p / 100, if they are per cent" if percent else "write Outputs(logits=...) for logits"
    )


# ---- signs of a mistake --------------------------------------------------------------------------


def sample(answers, model: int) -> np.ndarray:
    """Positions of at most 1,000 evaluated records of a model, drawn at random, always the same."""
    used = np.flatnonzero(answers.evaluated[model])
    if used.size > _SAMPLE:
        used = np.sort(np.random.default_rng(0).choice(used, _SAMPLE, replace=False))
    return used


def doubts(answers) -> list[str]:
    """What speaks for a mistake in the answers, a sentence each; at most 1,000 records a model are
    looked at.

    Parameters
    ----------
    answers : Answers or Outputs
    """
    found = []
    for model, logits in enumerate(answers.logits):
        rows = sample(answers, model)
        if rows.size < 20 or np.unique(answers.labels[rows]).size == 1:
            continue
        z, labels = rows_of(logits, rows).astype(np.float64), answers.labels[rows]
        held = answers.members[model, rows]
        right = z.argmax(axis=1) == labels
        if (z >= 0).all() and (z <= 1).all() and (np.abs(z.sum(axis=1) - 1) <= _SUM).all():
            found.append(
                f"logits of model {model} lie in [0, 1] and sum to 1: are they probabilities? "
                "Write Outputs.from_probabilities(...), or with mia audit --probabilities for a "
                ".npy file, else the names probabilities or prob_0, prob_1, ..."
            )
        if _in_another_order(z, labels):
            found.append(
                f"model {model} is right about {right.mean():.0%} of the records, and no surer of "
                "their labels than if its answers belonged to other records: are logits and labels "
                "in one order?"
            )
        elif held.any() and not held.all():
            inside, outside = right[held], right[~held]
            variance = right.var() * (1 / inside.size + 1 / outside.size)
            if outside.mean() - inside.mean() > 3 * np.sqrt(variance):
                found.append(
                    f"model {model} is right about {inside.mean():.0%} of its members and "
                    f"{outside.mean():.0%} of the others: were they swapped? Write members=~members"
                )
    return found


def _in_another_order(logits: np.ndarray, labels: np.ndarray) -> bool:
    """Is the model as unsure of these labels as of the same ones dealt anew, and yet sure?

    Accuracy would not do: of a rare class a sound model may never be sure enough to name it.
    """
    from scipy.special import log_softmax

    log_p = np.maximum(log_softmax(logits, axis=1), _LEAST)
    n, shares = labels.size, np.bincount(labels, minlength=logits.shape[1]) / labels.size
    by_record, by_class = log_p @ shares, log_p.mean(axis=0)
    chance = float(by_class @ shares)
    centred = log_p - by_record[:, None] - by_class + chance
    deviation = np.sqrt((centred**2 @ shares).sum() / (n * (n - 1)))  # Hoeffding 1951
    given = log_p[np.arange(n), labels].mean() - chance
    claimed = (np.exp(log_p) * log_p).sum(axis=1).mean() - chance
    return bool(given <= 3 * deviation and claimed > _SURE * deviation)
