"""What an attacker reads off a model's answer: margin, loss, confidence and entropy, from logits.

Everything is computed in float64 without leaving the log domain, so that two very certain
answers still differ: a float32 softmax ties all losses below about 1e-7, and even a float64
log-softmax ties all losses below 2e-16. What is summed over classes is sorted first: the order in
which a model happens to list its classes changes no bit, and breaks no tie between two records.
Shapes: `logits` is (..., classes), `labels` int64 that broadcasts to (...), results are float64
(...). Anything else is refused by an InputError that names `logits` or `labels`.
"""

from __future__ import annotations

import numpy as np

from .arrays import as_integers, as_numbers
from .errors import InputError


def class_sum(values: np.ndarray) -> np.ndarray:
    """Sum over the last axis, float64 (...), the same to the last bit in every order of the classes.

    >>> three = np.array([1.0, 1e-16, 1e-16])
    >>> bool(three.sum() == three[::-1].sum()), bool(class_sum(three) == class_sum(three[::-1]))
    (False, True)
    """
    # A copy in C order: the sum of another layout adds in another order.
    ordered = np.array(values, dtype=np.float64, order="C")
    ordered.sort(axis=-1)
    return ordered.sum(axis=-1)


def _read(logits) -> np.ndarray:
    """Logits as they came, with an axis of classes.

    Raises
    ------
    InputError
        If they are no numbers, or there is no class.
    """
    logits = as_numbers(logits, "logits")
    if not (logits.ndim and logits.shape[-1]):
        raise InputError(f"logits have shape {logits.shape}; expected (..., classes)")
    return logits


def _places(labels, shape: tuple[int, ...]) -> np.ndarray:
    """Labels as positions (..., 1) in the last axis of logits of this shape.

    Raises
    ------
    InputError
        If they are no integers, out of range, or do not fit.
    """
    labels = as_integers(labels, "labels")
    if labels.size and not (labels.min() >= 0 and labels.max() < shape[-1]):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise InputError(f"labels hold {wrong}; expected 0 to {shape[-1] - 1}, as logits has")
    try:
        return np.broadcast_to(labels, shape[:-1])[..., None]
    except ValueError:
        raise InputError(
            f"labels have shape {labels.shape}; expected one for each of the logits, {shape[:-1]}"
        ) from None


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """Logarithm of the summed exponentials, float64 (...); -inf counts as a class that is not there.

    One class at least must be finite.
    """
    z = np.array(_read(logits), dtype=np.float64, order="C")
    z.sort(axis=-1)
    top = z[..., -1].copy()
    z -= top[..., None]
    np.exp(z, out=z)
    return top + np.log(z.sum(axis=-1))


def _split(logits: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logit at `index` and the logsumexp of all the others, both float64 (...)."""
    z = np.array(_read(logits), dtype=np.float64, order="C")
    if z.shape[-1] < 2:
        raise InputError(f"logits have shape {z.shape}; expected at least 2 classes, the last axis")
    index = _places(index, z.shape)
    chosen = np.take_along_axis(z, index, axis=-1)[..., 0]
    np.put_along_axis(z, index, -np.inf, axis=-1)
    return chosen, log_sum_exp(z)


def margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scaled logit of the true class, phi = z_y - logsumexp of the other logits = log(p_y / (1 - p_y)).

    The quantity that Carlini et al. (2022) call the logit-scaled confidence, here without the
    rounding of p_y = 1.

    >>> float(margin(np.array([2.0, 0.0]), np.array(0)))
    2.0
    """
    chosen, others = _split(logits, labels)
    return chosen - others


def loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy loss -log p_y = log(1 + exp(-phi)), in nats; losses of 1e-12 and 1e-300 differ.

    >>> float(loss(np.array([1000.0, 0.0]), np.array(1)))
    1000.0
    """
    return np.logaddexp(0.0, -margin(logits, labels))


def log_confidence(logits: np.ndarray) -> np.ndarray:
    """Logarithm of the largest probability (report, equation 3); exact where it is almost 1."""
    logits = _read(logits)
    return -loss(logits, logits.argmax(axis=-1))


def confidence(logits: np.ndarray) -> np.ndarray:
    """Largest probability (report, equation 3): for plots; compare `log_confidence` instead."""
    return np.exp(log_confidence(logits))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities, float64, the shape of `logits`."""
    z = _read(logits).astype(np.float64, copy=False)
    z = z - z.max(axis=-1, keepdims=True)
    return z - log_sum_exp(z)[..., None]


def entropy(logits: np.ndarray) -> np.ndarray:
    """Shannon entropy of the prediction in nats (report, equation 4); p log p is 0 where p is 0.

    With a the largest logit's class, H = loss_a + sum over j != a of p_j (z_a - z_j): a sum of
    positive terms, so that nothing cancels where the model is almost certain.
    """
    z = _read(logits).astype(np.float64, copy=False)
    top = z.argmax(axis=-1)
    gaps = z.max(axis=-1, keepdims=True) - z
    certain = loss(z, top)
    return certain + class_sum(np.exp(-gaps - certain[..., None]) * gaps)


def modified_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Modified prediction entropy of Song & Mittal (2021): small only where the *true* class is certain.

    -(1 - p_y) log p_y - sum over j != y of p_j log(1 - p_j), in nats.
    """
    logits = _read(logits)
    phi = margin(logits, labels)
    true_class = np.exp(-np.logaddexp(0.0, phi)) * np.logaddexp(0.0, -phi)
    p = np.exp(log_softmax(logits))
    # log(1 - p_j) is log1p(-p_j), but where p_j is almost 1 it is exact from the margin alone.
    log_rest = np.log1p(-np.minimum(p, 0.5))
    sure = -np.logaddexp(0.0, margin(logits, logits.argmax(axis=-1)))[..., None]
    others = p * np.where(p > 0.5, sure, log_rest)
    index = _places(labels, others.shape)
    np.put_along_axis(others, index, 0.0, axis=-1)
    return true_class - class_sum(others)


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the true class has the largest logit, bool (...).

    A model that puts another class level with it has not decided, and is not right: counted for the
    first class, as an arg max does, a tie would depend on the order of the classes.
    """
    logits = _read(logits)
    index = _places(labels, logits.shape)
    chosen = np.take_along_axis(logits, index, axis=-1)
    return (logits >= chosen).sum(axis=-1) == 1
