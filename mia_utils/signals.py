"""What an attacker reads off a model's answer: margin, loss, confidence and entropy, from logits.

Everything is computed in float64 without leaving the log domain, so that two very certain
answers still differ: a float32 softmax ties all losses below about 1e-7, and even a float64
log-softmax ties all losses below 2e-16. Shapes: `logits` is (..., classes), `labels` int64 that
broadcasts to (...), results are float64 (...).
"""

from __future__ import annotations

import numpy as np


def _split_top(logits: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logit at `index` and the logsumexp of all the others, both float64 (...)."""
    z = np.array(logits, dtype=np.float64)
    index = np.broadcast_to(index, z.shape[:-1])[..., None]
    chosen = np.take_along_axis(z, index, axis=-1)[..., 0]
    np.put_along_axis(z, index, -np.inf, axis=-1)
    top = z.max(axis=-1, keepdims=True)
    np.subtract(z, top, out=z)
    np.exp(z, out=z)
    return chosen, top[..., 0] + np.log(z.sum(axis=-1))


def margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scaled logit of the true class, phi = z_y - logsumexp of the other logits = log(p_y / (1 - p_y)).

    The quantity that Carlini et al. (2022) call the logit-scaled confidence, here without the
    rounding of p_y = 1.

    >>> float(margin(np.array([2.0, 0.0]), np.array(0)))
    2.0
    """
    chosen, others = _split_top(logits, np.asarray(labels))
    return chosen - others


def loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy loss -log p_y = log(1 + exp(-phi)), in nats; losses of 1e-12 and 1e-300 differ.

    >>> float(loss(np.array([1000.0, 0.0]), np.array(1)))
    1000.0
    """
    return np.logaddexp(0.0, -margin(logits, labels))


def log_confidence(logits: np.ndarray) -> np.ndarray:
    """Logarithm of the largest probability (report, equation 3); exact where it is almost 1."""
    logits = np.asarray(logits)
    return -loss(logits, logits.argmax(axis=-1))


def confidence(logits: np.ndarray) -> np.ndarray:
    """Largest probability (report, equation 3): for plots; compare `log_confidence` instead."""
    return np.exp(log_confidence(logits))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities, float64, the shape of `logits`."""
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def entropy(logits: np.ndarray) -> np.ndarray:
    """Shannon entropy of the prediction in nats (report, equation 4); p log p is 0 where p is 0.

    With a the largest logit's class, H = loss_a + sum over j != a of p_j (z_a - z_j): a sum of
    positive terms, so that nothing cancels where the model is almost certain.
    """
    z = np.asarray(logits, dtype=np.float64)
    top = z.argmax(axis=-1)
    gaps = z.max(axis=-1, keepdims=True) - z
    certain = loss(z, top)
    return certain + (np.exp(-gaps - certain[..., None]) * gaps).sum(axis=-1)


def modified_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Modified prediction entropy of Song & Mittal (2021): small only where the *true* class is certain.

    -(1 - p_y) log p_y - sum over j != y of p_j log(1 - p_j), in nats.
    """
    log_p = log_softmax(logits)
    phi = margin(logits, labels)
    own = np.exp(-np.logaddexp(0.0, phi)) * np.logaddexp(0.0, -phi)
    p = np.exp(log_p)
    # log(1 - p_j) is log1p(-p_j) but for the largest class, where it is exact from the margin.
    log_rest = np.log1p(-np.minimum(p, 0.5))
    top = np.asarray(logits).argmax(axis=-1)
    np.put_along_axis(
        log_rest, top[..., None], -np.logaddexp(0.0, margin(logits, top))[..., None], axis=-1
    )
    others = p * log_rest
    index = np.broadcast_to(np.asarray(labels), others.shape[:-1])[..., None]
    np.put_along_axis(others, index, 0.0, axis=-1)
    return own - others.sum(axis=-1)


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the arg max is the true class, bool (...); a tie counts for the first class."""
    return np.asarray(logits).argmax(axis=-1) == np.asarray(labels)
