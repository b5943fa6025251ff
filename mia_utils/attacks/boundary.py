"""How far a record is from the decision boundary of a model that tells labels alone: HopSkipJump."""

from __future__ import annotations

import numpy as np

from .. import arguments
from ..arrays import as_integers
from ..engine.oracle import Oracle
from ..errors import InputError

_TRIES = 20  # other records asked about until one has another label
_MOST = 100_000
_EXPECTED = f"an integer from 1 to {_MOST}"
_ROWS = 2000  # changed records in memory at once


def boundary_distance(
    oracle: Oracle,
    records: np.ndarray,
    labels: np.ndarray,
    ids: np.ndarray,
    *,
    iterations: int = 5,
    probes: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """L2 distance of records to the nearest other label that HopSkipJump finds, float64 (n,).

    HopSkipJump (Chen, Jordan & Wainwright, 2020, algorithm 2; untargeted, L2): from a point with
    another label a binary search leads to the boundary, noisy probes around that point tell the
    boundary's normal, a step along it leads away from the boundary, and so on. All records advance
    together. It starts at other records of the pool, not at noise: less queries, and noise may have
    the record's own label. The result is an upper bound of the true distance, closer with more
    queries.

    Parameters
    ----------
    records : (N, ...)
        The pool's; images uint8 (the distance is then in units where black is 0 and white 1), or
        features float32.
    labels : int64 (n,)
        True labels of the records asked about.
    ids : int64 (n,)
        Their rows in `records`.
    iterations : int
    probes : int
        In iteration t, probes * sqrt(t) noisy probes a record.

    Returns
    -------
    float64 (n,)
        0 where the oracle's label is not the true one; infinity where no other label was met.

    Raises
    ------
    InputError
        If iterations or probes are not positive, or labels and ids do not fit.
    """
    iterations = arguments.as_integer("iterations", iterations, _EXPECTED, most=_MOST)
    probes = arguments.as_integer("probes", probes, _EXPECTED, most=_MOST)
    if isinstance(records, np.ndarray) and records.dtype not in (np.uint8, np.float32):
        raise InputError(f"records are {records.dtype}; expected uint8 images or float32 features")
    arguments.instance("records", records, np.ndarray, "the records of a pool")
    if iterations < 1 or probes < 1:
        raise InputError(f"iterations={iterations}, probes={probes}; expected at least 1 of each")
    arguments.seed(seed)
    labels, ids = as_integers(labels, "labels"), as_integers(ids, "ids")
    if labels.ndim != 1 or labels.shape != ids.shape:
        raise InputError(f"labels {labels.shape} and ids {ids.shape}; expected one for each record")
    if ids.size and not 0 <= ids.min() <= ids.max() < len(records):
        raise InputError(f"ids run to {ids.max()}; expected rows 0 to {len(records) - 1}")
    image = np.asarray(records[:1]).dtype == np.uint8
    scale = 255.0 if image else 1.0
    rng = np.random.default_rng([seed, 7])
    x = np.asarray(records[ids], np.float32).reshape(len(ids), -1) / scale
    shape = records.shape[1:]
    low, high = (0.0, 1.0) if image else (-np.inf, np.inf)

    def other(points: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Does the oracle give another label than the record's? bool (rows,)."""
        return oracle.labels(points.reshape(-1, *shape) * scale) != own

    distance = np.zeros(len(ids))
    right = ~other(x, labels)
    start, met = _starts(x, labels, right, records, scale, other, rng)
    distance[right & ~met] = np.inf
    active = np.flatnonzero(right & met)
    if not active.size:
        return distance
    x, own, point = x[active], labels[active], start[active]
    dimension = x.shape[1]
    theta = dimension**-1.5  # algorithm 2's, for L2 and with gamma = 1
    tolerance = min(theta, 1e-3)  # in few dimensions theta would stop far from the boundary
    point = _to_boundary(x, point, own, other, tolerance)
    for t in range(1, iterations + 1):
        length = np.linalg.norm(point - x, axis=1)
        width = 0.1 * np.ones(len(x)) if t == 1 else np.sqrt(dimension) * theta * length
        normal = _normals(point, own, width, int(probes * np.sqrt(t)), other, rng, low, high)
        step = length / np.sqrt(t)
        moved, waiting = point.copy(), np.arange(len(x))
        for _ in range(15):  # halve the step until the other label is kept
            candidate = np.clip(
                point[waiting] + step[waiting, None] * normal[waiting], low, high
            ).astype(np.float32)
            kept = other(candidate, own[waiting])
            moved[waiting[kept]] = candidate[kept]
            waiting = waiting[~kept]
            if not waiting.size:
                break
            step[waiting] /= 2
        closer = _to_boundary(x, moved, own, other, tolerance)
        better = np.linalg.norm(closer - x, axis=1) < length
        point = np.where(better[:, None], closer, point)
    distance[active] = np.linalg.norm((point - x).astype(np.float64), axis=1)
    return distance


def _starts(x, labels, right, records, scale, other, rng):
    """For each record another one with another answer (the nearest of a few), and if there is one."""
    start, met = x.copy(), np.zeros(len(x), bool)
    best = np.full(len(x), np.inf)
    for number in range(_TRIES):
        # After a first few tries only those without any go on.
        wanting = np.flatnonzero(right & (~met if number >= 3 else True))
        if not wanting.size:
            break
        drawn = rng.integers(0, len(records), wanting.size)
        candidate = np.asarray(records[drawn], np.float32).reshape(wanting.size, -1) / scale
        length = np.linalg.norm(candidate - x[wanting], axis=1)
        take = other(candidate, labels[wanting]) & (length < best[wanting])
        start[wanting[take]], best[wanting[take]] = candidate[take], length[take]
        met[wanting[take]] = True
    return start, met


def _to_boundary(x, point, own, other, tolerance):
    """Binary search on the line from x (own label) to point (another): the last point with another."""
    near, far = np.zeros(len(x), np.float32), np.ones(len(x), np.float32)
    for _ in range(int(np.ceil(np.log2(1 / tolerance)))):
        middle = (near + far) / 2
        beyond = other(x + middle[:, None] * (point - x), own)
        far, near = np.where(beyond, middle, far), np.where(beyond, near, middle)
    return x + far[:, None] * (point - x)


def _normals(point, own, width, probes, other, rng, low, high):
    """Monte-Carlo estimate of the boundary's normal, towards the other label, (n, D) of length 1."""
    normal = np.empty_like(point)
    group = max(1, _ROWS // probes)
    for start in range(0, len(point), group):
        part = slice(start, start + group)
        centre = point[part, None]
        noise = rng.standard_normal((len(centre), probes, point.shape[1]), np.float32)
        noise /= np.linalg.norm(noise, axis=2, keepdims=True)
        spread = width[part, None, None].astype(np.float32)
        probe = np.clip(centre + spread * noise, low, high).astype(np.float32)
        noise = (probe - centre) / spread
        sign = np.where(
            other(probe.reshape(-1, point.shape[1]), np.repeat(own[part], probes)), 1.0, -1.0
        ).reshape(len(centre), probes)
        mean = sign.mean(axis=1, keepdims=True)
        weight = np.where(np.abs(mean) == 1, sign, sign - mean)  # a baseline, unless all agree
        found = (weight[..., None] * noise).mean(axis=1)
        normal[part] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return normal
