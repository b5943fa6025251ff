"""Mistakes that make an audit worthless, looked for before any attack is run.

A finding of severity "stop" ends an audit, unless it is accepted by name; "caution" stands in the
report and limits what the verdict may say; "note" is only told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import binomtest, rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from ..arrays import rows_of
from ..errors import InputError
from ..evaluation import auc_interval
from ..outputs import Outputs
from ..randomness import numpy_generator
from ..reading import doubts
from ..signals import log_softmax
from .answers import AuditData
from .language import blind_of_documents, perplexity
from .measure import RATES, auc_p_value, measurable

STOP, CAUTION, NOTE = "stop", "caution", "note"
ALPHA = 0.001
"""Level of each check: a sound audit should rarely be doubted."""
BLIND = 0.05  # AUC above 1/2 that members and non-members may have without the model
_SAMPLE = 20_000  # records of each kind that the slow checks look at
_SHOWN = 5
_ONE_SIDED = 0.05  # values of a group that may be all of one kind by chance
_WIDTH = 16  # dimensions to which answers are projected for the search of neighbours


@dataclass(frozen=True)
class Finding:
    """What a check found: its name, how serious that is, and what to do."""

    name: str
    severity: str
    found: str
    advice: str = ""

    def as_dict(self) -> dict:
        return asdict(self)


def check(
    data: AuditData, shadows: Outputs | None = None, *, accept: tuple[str, ...] = (), seed: int = 0
) -> tuple[list[Finding], list[str]]:
    """Every finding, and the names of all checks that were made.

    Parameters
    ----------
    data : AuditData of one target model
    shadows : Outputs of reference models for the same records in the same order
    accept : names of checks whose "stop" becomes "caution"

    Raises
    ------
    InputError
        If there is a finding of severity "stop" that is not accepted: all of them, a line each.
    """
    unknown = set(accept) - set(CHECKS)
    if unknown:
        raise InputError(f"no check is called {min(unknown)!r}; expected {', '.join(CHECKS)}")
    found: list[Finding] = []
    made = []
    for name, function in CHECKS.items():
        if shadows is None and name in _OF_SHADOWS:
            continue
        if data.tokens is not None and name in _OF_CLASSIFIERS:
            continue
        made.append(name)
        for severity, text, advice in function(data, shadows, seed):
            if severity == STOP and name in accept:
                severity = CAUTION
            found.append(Finding(name, severity, text, advice))
    stops = [finding for finding in found if finding.severity == STOP]
    if stops:
        lines = [f"{_sentence(each.found)} {each.advice} (check {each.name!r})" for each in stops]
        names = " ".join(f"--accept {name}" for name in dict.fromkeys(f.name for f in stops))
        raise InputError(
            "this audit would be worthless: " + "; ".join(lines) + f". If it is meant so: {names}"
        )
    return found, made


def _sentence(text: str) -> str:
    return text if text.endswith(("?", ".")) else f"{text}."


Found = Iterator[tuple[str, str, str]]


# ---- answers -------------------------------------------------------------------------------------


def _answers(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Probabilities as logits, answers in another order than labels, members and others swapped."""
    for role, outputs in (("", data.outputs), ("of the reference models: ", shadows)):
        if outputs is not None:
            for text in doubts(outputs):
                yield STOP, role + text, "Mend the file"
    if data.tokens is not None:
        inside, outside = _kinds(data.outputs)
        rows = np.concatenate([inside, outside])
        truth = np.repeat([True, False], [inside.size, outside.size])
        loss = -data.outputs.logits[0][rows, 1].astype(np.float64)
        if inside.size and outside.size and auc_p_value(loss, truth, seed) <= ALPHA:
            yield (
                STOP,
                f"members have a higher perplexity ({perplexity(data, inside):.3g}) than others "
                f"({perplexity(data, outside):.3g}): were they swapped?",
                "Write members=~members if so",
            )
    if data.scale == "probabilities":
        probabilities = _part(data.outputs, _SAMPLE, seed)
        tied = float((probabilities.max(axis=1) > -1e-7).mean())
        text = "probabilities were given: what their rounding ties cannot be told apart any more"
        if tied >= 0.01:
            text += f" ({tied:.0%} of the answers are certain to seven digits)"
        yield NOTE, text, "Give logits where the model has them"


def _part(outputs: Outputs, most: int, seed: int) -> np.ndarray:
    """Log-probabilities (n, C) of at most `most` records of the first model."""
    rows = _sample(np.flatnonzero(outputs.evaluated[0]), most, seed)
    return log_softmax(rows_of(outputs.logits[0], rows))


def _sample(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if rows.size <= most:
        return rows
    return np.sort(numpy_generator(seed, "audit sample").choice(rows, most, replace=False))


# ---- members and non-members without the model ---------------------------------------------------


def blind(data: AuditData, seed: int = 0) -> tuple[float, float, float, float] | None:
    """AUC (value, low, high) of the best classifier that never sees the model, and its p-value.

    It is told the label, the groups and, if there, the features, and is cross-validated; of
    documents the words and the groups, or else the number of tokens. None where it has nothing to
    look at, or too few records.
    """
    outputs = data.outputs
    kinds = [_sample(rows, _SAMPLE, seed) for rows in _kinds(outputs)]
    if min(rows.size for rows in kinds) < 20:
        return None
    rows = np.concatenate(kinds)
    truth = np.repeat([True, False], [k.size for k in kinds])
    if data.tokens is not None and data.tokens.texts is not None:
        return _judged(blind_of_documents(data, rows, truth, seed), truth, seed)
    columns = [outputs.labels[rows], *(_codes(values)[rows] for values in data.groups.values())]
    columns = [c for c in columns if np.unique(c).size > 1]
    x = np.stack(columns, axis=1).astype(float) if columns else np.empty((rows.size, 0))
    categories = [np.unique(c).size <= 255 for c in columns]
    features = data.features if data.tokens is None else data.tokens.lengths[:, None]
    if features is not None:
        x = np.hstack([x, np.asarray(features[rows], dtype=float)])
        categories += [False] * features.shape[1]
    if not x.shape[1]:
        return None
    trees = HistGradientBoostingClassifier(
        max_iter=40,
        max_leaf_nodes=15,
        min_samples_leaf=20,
        categorical_features=categories,
        random_state=0,
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    scores = np.empty(rows.size)
    # A fold's scores have their own scale; ranks within it share one.
    guesses = cross_val_predict(trees, x, truth, cv=folds, method="decision_function")
    for _, part in folds.split(x, truth):
        scores[part] = (rankdata(guesses[part]) - 0.5) / part.size
    return _judged(scores, truth, seed)


def _judged(scores, truth: np.ndarray, seed: int) -> tuple[float, float, float, float]:
    """AUC with its interval, and p-value, of scores that were made in folds."""
    value, low, high = auc_interval(scores, truth)
    # The folds learned from each other: of 3,500 sound sets 0.5 % had a p-value of independent scores
    # below 0.001, and 0.1 % one below 0.0002.
    return value, low, high, min(1.0, 5 * auc_p_value(scores, truth, seed))


def _kinds(outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the evaluated members and non-members of the first model."""
    used, members = outputs.evaluated[0], outputs.members[0]
    return np.flatnonzero(used & members), np.flatnonzero(used & ~members)


def _codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def _difference(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Members and non-members that can be told apart without the model."""
    found = blind(data, seed)
    if found is None:
        return
    value, low, high, p = found
    if p > ALPHA:
        return
    what = "features, labels and groups" if data.features is not None else "labels and groups"
    if data.tokens is not None:
        what = "lengths and groups" if data.tokens.texts is None else "their words and groups"
    yield (
        STOP if low > 0.5 + BLIND else CAUTION,
        (
            f"members and non-members differ without the model: from {what} alone a classifier tells "
            f"them apart with an AUC of {value:.3f} ({low:.3f} to {high:.3f})"
        ),
        (
            "Draw both at random from one pool; what an attack finds up to that AUC need not come from "
            "the model"
        ),
    )


def _one_sided(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """A class or group with members alone or non-members alone, and too large for that by chance."""
    inside, outside = _kinds(data.outputs)
    labels = np.array(data.classes)[data.outputs.labels]
    for column, values in {"class": labels, **data.groups}.items():
        for kind, here, there in (("members", inside, outside), ("non-members", outside, inside)):
            names, counts = np.unique(values[here], return_counts=True)
            # In a random split so many records are of one kind with at most this probability.
            chance = (here.size / max(1, here.size + there.size)) ** counts
            only = np.setdiff1d(names[chance * names.size <= _ONE_SIDED], values[there])
            if only.size and there.size:
                shown = ", ".join(repr(str(name)) for name in only[:_SHOWN])
                more = f" and {only.size - _SHOWN} more" if only.size > _SHOWN else ""
                yield (
                    CAUTION,
                    (
                        f"{column} {shown}{more}: {kind} only "
                        f"({int(np.isin(values[here], only).sum())} records)"
                    ),
                    "Leave those records out, or add records of the other kind",
                )


def _duplicates(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Records that are in both groups, or have near-duplicates in the other group."""
    inside, outside = _kinds(data.outputs)
    content = _contents(data)
    if content is not None:
        both = np.intersect1d(content[inside], content[outside])
        if both.size:
            share = int(np.isin(content[outside], both).sum())
            yield (
                STOP if share > 0.05 * outside.size else CAUTION,
                (
                    f"{share} non-members have the same content as a member, such as "
                    f"{data.names[outside[np.isin(content[outside], both)][0]]!r}"
                ),
                "Such records are no non-members: leave them out",
            )
    near = None if data.tokens is not None else _near(data, inside, outside, seed)
    if near is not None:
        count, looked, example = near
        if count > max(3, 0.001 * looked):
            yield (
                CAUTION,
                (
                    f"{count} of {looked} non-members have answers next to a member's, such as "
                    f"{data.names[example[0]]!r} beside {data.names[example[1]]!r}: they may be copies"
                ),
                "Compare their content; leave copies out",
            )


def _contents(data: AuditData) -> np.ndarray | None:
    """A hash of each record, None where only the answers are there."""
    if data.tokens is not None and data.tokens.texts is not None:
        return np.array([hash(" ".join(text.split())) for text in data.tokens.texts])
    if data.features is not None:
        return np.array([hash(row.tobytes()) for row in np.ascontiguousarray(data.features)])
    return None


def _near(data: AuditData, inside, outside, seed: int):
    """Non-members whose answers lie a thousand times nearer to a member's than is usual."""
    a, b = _sample(inside, _SAMPLE, seed), _sample(outside, _SAMPLE, seed)
    if min(a.size, b.size) < 20:
        return None
    logits = data.outputs.logits[0]
    x, y = (rows_of(logits, rows).astype(np.float64) for rows in (a, b))
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    if x.shape[1] > _WIDTH:
        plane = numpy_generator(seed, "audit projection").normal(size=(x.shape[1], _WIDTH))
        x, y = x @ plane, y @ plane
    # Answers of trees and rounded ones coincide by themselves: nothing can be read off them.
    whole = np.concatenate([x, y])
    if np.unique(whole.round(9), axis=0).shape[0] < 0.9 * len(whole):
        return None
    tree = cKDTree(x)
    distance, place = map(np.asarray, tree.query(y, k=1))
    usual = np.median(distance)
    own = np.asarray(tree.query(x, k=2)[0])[:, 1]
    scale = max(usual, np.median(own))
    labels = data.outputs.labels
    near = (distance < 1e-3 * scale) & (labels[a[place]] == labels[b])
    if not near.any():
        return 0, b.size, None
    first = int(near.argmax())
    return int(near.sum()), b.size, (b[first], a[place[first]])


def _numbers(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Too few records for the rates that are asked."""
    inside, outside = _kinds(data.outputs)
    if min(inside.size, outside.size) < 10:
        yield (
            STOP,
            f"{inside.size} members and {outside.size} non-members are to be judged",
            "Give at least 10 of each; 1,000 of each for a rate of 1 %",
        )
        return
    for rate in RATES:
        if rate not in measurable(outside.size):
            yield (
                NOTE,
                f"{outside.size:,} non-members are too few for a false-positive rate of {rate:.1%}",
                f"It needs {int(np.ceil(10 / rate)):,}",
            )


def _classes(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Classes that the model never names, or that no record has."""
    outputs = data.outputs
    there = np.bincount(outputs.labels[outputs.evaluated[0]], minlength=outputs.classes)
    empty = np.flatnonzero(there == 0)
    if empty.size:
        shown = ", ".join(repr(data.classes[c]) for c in empty[:_SHOWN])
        yield (
            NOTE,
            f"{empty.size} of {outputs.classes} classes have no record, such as {shown}",
            "Is the list of classes the model's?",
        )


# ---- reference models ----------------------------------------------------------------------------


def _copies(data: AuditData, shadows: Outputs, seed: int) -> Found:
    """Reference models that are the target, or copies of each other, whatever their names."""
    rows = _sample(np.arange(shadows.labels.size), 1000, seed)
    target = rows_of(data.outputs.logits[0], rows).astype(np.float32).tobytes()
    seen: dict[bytes, int] = {target: -1}
    for index, logits in enumerate(shadows.logits):
        first = seen.setdefault(rows_of(logits, rows).astype(np.float32).tobytes(), index)
        if first == -1:
            yield (
                STOP,
                f"reference model {index} gives the target's own answers",
                "It is the audited model: take it out of the reference models",
            )
        elif first != index:
            yield (
                STOP,
                f"reference models {first} and {index} give the same answers",
                "They are one model: keep one",
            )


def _design(data: AuditData, shadows: Outputs, seed: int) -> Found:
    """A target whose membership follows from how many reference models held the record."""
    used = data.outputs.evaluated[0]
    counts = (shadows.members & shadows.evaluated).sum(axis=0)[used]
    truth = data.outputs.members[0][used]
    if np.unique(counts).size < 2 or np.unique(truth).size < 2:
        return
    ways = (counts, -counts)
    p = min(1.0, 2 * min(auc_p_value(way.astype(float), truth, seed) for way in ways))
    if p <= ALPHA:
        value = max(auc_interval(way.astype(float), truth) for way in ways)
        yield (
            STOP if value.low > 0.5 + BLIND else CAUTION,
            (
                "how many reference models held a record tells whether the target did (AUC "
                f"{value.value:.3f}): the target was drawn from the balanced memberships of its "
                "reference models"
            ),
            "Draw the target's members independently of theirs",
        )


def _records(data: AuditData, shadows: Outputs, seed: int) -> Found:
    """Reference models that are unlike the target: another task, or far more or less accurate."""
    outputs = data.outputs
    outside = _kinds(outputs)[1]
    if not outside.size:
        return
    rows = _sample(outside, 5000, seed)
    mine = (rows_of(outputs.logits[0], rows).argmax(axis=1) == outputs.labels[rows]).mean()
    others = []
    for logits, members, used in zip(
        shadows.logits, shadows.members, shadows.evaluated, strict=True
    ):
        free = rows[used[rows] & ~members[rows]]
        if free.size >= 20:
            others.append((rows_of(logits, free).argmax(axis=1) == outputs.labels[free]).mean())
    if not others:
        return
    theirs = float(np.mean(others))
    p = binomtest(
        round(float(mine) * rows.size), rows.size, min(max(theirs, 1e-6), 1 - 1e-6)
    ).pvalue
    if p <= ALPHA and abs(mine - theirs) > 0.1:
        yield (
            CAUTION,
            (
                f"the target is right about {mine:.0%} of records it has not seen, the reference "
                f"models about {theirs:.0%}"
            ),
            "Train the reference models as the target was trained: what they find is then more",
        )


CHECKS: dict[str, Callable[[AuditData, Any, int], Found]] = {
    "answers": _answers,
    "numbers": _numbers,
    "classes": _classes,
    "one-sided": _one_sided,
    "difference": _difference,
    "duplicates": _duplicates,
    "copies": _copies,
    "design": _design,
    "references": _records,
}
_OF_SHADOWS = ("copies", "design", "references")
_OF_CLASSIFIERS = ("classes", "references")
