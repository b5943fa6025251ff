"""Checks of members against non-members: do they differ without the model, are some the same?"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from ...arrays import rows_of
from ...evaluation import auc_interval
from ...outputs import Outputs
from ...randomness import numpy_generator
from ..answers import AuditData
from ..language import blind_of_documents
from ..measure import auc_p_value
from .finding import ALPHA, BLIND, CAUTION, SAMPLE, SHOWN, STOP, Found, kinds, sample

_ONE_SIDED = 0.05  # values of a group that may be all of one kind by chance
_FEW = 20  # records, below which nothing is learned from them
_WIDTH = 16  # dimensions to which answers are projected for the search of neighbours


def blind(data: AuditData, seed: int = 0) -> tuple[float, float, float, float] | None:
    """AUC (value, low, high) of the best classifier that never sees the model, and its p-value.

    It is told the label, the groups and, if there, the features, and is cross-validated; of
    documents the words and the groups, or else the number of tokens. None where it has nothing to
    look at, or too few records.
    """
    outputs = data.outputs
    inside, outside = (sample(rows, SAMPLE, seed) for rows in kinds(outputs))
    if min(inside.size, outside.size) < _FEW:
        return None
    rows = np.concatenate([inside, outside])
    truth = np.repeat([True, False], [inside.size, outside.size])
    if data.tokens is not None and data.tokens.texts is not None:
        return _judged(blind_of_documents(data, rows, truth, seed), truth, seed)
    columns = [outputs.labels[rows], *(_codes(values)[rows] for values in data.groups.values())]
    columns = [c for c in columns if np.unique(c).size > 1]
    x = np.stack(columns, axis=1).astype(float) if columns else np.empty((rows.size, 0))
    categories = [np.unique(c).size <= 255 for c in columns]
    features = data.features if data.tokens is None else data.tokens.lengths[:, None]
    if features is not None:
        x = np.hstack([x, _known(np.asarray(features[rows], dtype=float))])
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


def _known(features: np.ndarray) -> np.ndarray:
    """The same; of a column with hardly a value whether there is one: trees cannot cut it."""
    there = ~np.isnan(features)
    return np.where(there.sum(axis=0) < _FEW, there, features)


def _judged(scores, truth: np.ndarray, seed: int) -> tuple[float, float, float, float]:
    """AUC with its interval, and p-value, of scores that were made in folds."""
    value, low, high = auc_interval(scores, truth)
    # The folds learned from each other: of 3,500 sound sets 0.5 % had a p-value of independent scores
    # below 0.001, and 0.1 % one below 0.0002.
    return value, low, high, min(1.0, 5 * auc_p_value(scores, truth, seed))


def _codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def difference(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
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


def one_sided(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """A class or group with members alone or non-members alone, and too large for that by chance."""
    inside, outside = kinds(data.outputs)
    labels = np.array(data.classes)[data.outputs.labels]
    for column, values in {"class": labels, **data.groups}.items():
        for kind, here, there in (("members", inside, outside), ("non-members", outside, inside)):
            names, counts = np.unique(values[here], return_counts=True)
            # In a random split so many records are of one kind with at most this probability.
            chance = (here.size / max(1, here.size + there.size)) ** counts
            only = np.setdiff1d(names[chance * names.size <= _ONE_SIDED], values[there])
            if only.size and there.size:
                shown = ", ".join(repr(str(name)) for name in only[:SHOWN])
                more = f" and {only.size - SHOWN} more" if only.size > SHOWN else ""
                yield (
                    CAUTION,
                    (
                        f"{column} {shown}{more}: {kind} only "
                        f"({int(np.isin(values[here], only).sum())} records)"
                    ),
                    "Leave those records out, or add records of the other kind",
                )


def duplicates(data: AuditData, shadows: Outputs | None, seed: int) -> Found:
    """Records that are in both groups, or have near-duplicates in the other group."""
    inside, outside = kinds(data.outputs)
    content = _contents(data)
    if content is not None:
        both = np.intersect1d(content[inside], content[outside])
        if both.size:
            share = int(np.isin(content[outside], both).sum())
            yield (
                STOP if share > 0.05 * outside.size else CAUTION,
                (
                    f"{share} non-members have the same content as a member, such as "
                    f"{str(data.names[outside[np.isin(content[outside], both)][0]])!r}"
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
                    f"{str(data.names[example[0]])!r} beside {str(data.names[example[1]])!r}: they may "
                    "be copies"
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
    a, b = sample(inside, SAMPLE, seed), sample(outside, SAMPLE, seed)
    if min(a.size, b.size) < _FEW:
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
