"""Score masking: `Outputs -> Outputs`, the answers that a masked model would give (report, 3.1).

Masked answers are finite log-probabilities, so that every attack reads them as it reads logits.
What is not released is shared out evenly over the withheld classes, and nothing falls below
`FLOOR`: an attacker would do the same, and a loss stays a number. No mask changes the label that a
model gives; of tied classes the first counts.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from .. import arguments
from ..outputs import Outputs, check_outputs
from ..signals import class_sum, log_softmax, log_sum_exp

FLOOR = 1e-12
"""The least probability of a masked answer."""
_MOST_DECIMALS = 17  # of a float64, written out


def _each(outputs: Outputs, mask: Callable[[np.ndarray], np.ndarray]) -> Outputs:
    """Apply `mask(logits (N, C)) -> (N, C)` to every model's answers, and keep them float32."""
    check_outputs(outputs, "a defense (outputs)")
    masked = np.empty(outputs.logits.shape, np.float32)
    for model, logits in enumerate(outputs.logits):
        masked[model] = mask(logits)
    return outputs.replace(logits=masked, masked=True)


def top_k(outputs: Outputs, k: int) -> Outputs:
    """Only the k largest probabilities are released (report, section 3.1; it tests k = 1 and 3).

    Doing it twice changes nothing.

    Raises
    ------
    InputError
        If k is not between 1 and the number of classes.
    """
    check_outputs(outputs, "top_k(outputs)")
    expected = f"an integer from 1 to the {outputs.classes} classes"
    k = arguments.as_integer("k", k, expected, 1, outputs.classes)
    withheld = outputs.classes - k
    if not withheld:
        return outputs

    def mask(logits: np.ndarray) -> np.ndarray:
        log_p = log_softmax(logits)
        order = np.argsort(-log_p, axis=-1, kind="stable")
        hidden = np.take_along_axis(log_p, order[:, k:], axis=-1)
        least = np.take_along_axis(log_p, order[:, k - 1 : k], axis=-1)
        # Of the withheld mass itself: 1 minus the rest would be rounded to 0 for a sure model.
        share = log_sum_exp(hidden)[:, None] - np.log(withheld)
        share = np.maximum(share, np.minimum(np.log(FLOOR), least))
        np.put_along_axis(log_p, order[:, k:], np.broadcast_to(share, hidden.shape), axis=-1)
        return log_p - log_sum_exp(log_p)[:, None]

    return _each(outputs, mask)


def label_only(outputs: Outputs) -> Outputs:
    """Only the label is released: `FLOOR` for every other class, and the rest, nearly 1, for it.

    Loss, confidence and entropy of such an answer say no more than whether it is correct.
    """

    def mask(logits: np.ndarray) -> np.ndarray:
        log_p = np.full(logits.shape, np.log(FLOOR))
        np.put_along_axis(log_p, logits.argmax(axis=-1)[:, None], 0.0, axis=-1)
        return log_p

    return _each(outputs, mask)


def rounding(outputs: Outputs, decimals: int) -> Outputs:
    """Probabilities are released with so many decimals.

    Raises
    ------
    InputError
        If `decimals` is not a positive integer.
    """
    expected = f"an integer from 1 to {_MOST_DECIMALS}"
    decimals = arguments.as_integer("decimals", decimals, expected, 1, _MOST_DECIMALS)

    def mask(logits: np.ndarray) -> np.ndarray:
        return _released(np.exp(log_softmax(logits)).round(decimals), logits)

    return _each(outputs, mask)


def temperature(outputs: Outputs, value: float) -> Outputs:
    """Logits are divided by a temperature: above 1 the answers look less sure.

    Raises
    ------
    InputError
        If the temperature is not positive, or above 1e6.
    """
    # Beyond that small differences between classes are none any more.
    arguments.number("temperature", value, "a positive number up to 1e6", 0, 1e6, closed="high")
    return _each(outputs, lambda logits: logits / np.float32(value))


def noise(outputs: Outputs, scale: float, *, on: str = "logits", seed: int = 0) -> Outputs:
    """Gaussian noise on the released answer, as large as the label allows.

    The noise is drawn from a model's whole answers: the same question gets the same noise. Whoever
    asks about a record among others again gets another draw, and can average them away. Where noise
    would change the label, the label's class is put just above the others.

    Parameters
    ----------
    scale : float
        Standard deviation, in units of `on`.
    on : "logits" or "probabilities"

    Raises
    ------
    InputError
        If the scale is not positive or `on` is unknown.
    """
    arguments.number("scale", scale, "a positive number", 0, np.inf)
    arguments.one_of("on", on, ("logits", "probabilities"))
    arguments.seed(seed)

    def mask(logits: np.ndarray) -> np.ndarray:
        # From the answers themselves: other answers get other noise, the same ones the same.
        own = zlib.crc32(np.ascontiguousarray(logits).tobytes())
        drawn = np.random.default_rng([seed, own]).normal(0.0, scale, logits.shape)
        if on == "probabilities":
            return _released(np.exp(log_softmax(logits)) + drawn, logits)
        noisy = logits + drawn
        label = logits.argmax(axis=-1)[:, None]
        highest = noisy.max(axis=-1, keepdims=True)
        kept = np.take_along_axis(noisy, label, axis=-1)
        # The next float32 where that is further: a thousandth of a large number is nothing.
        above = np.nextafter(highest.astype(np.float32), np.float32(np.inf))
        moved = np.where(kept < highest, np.maximum(highest + 1e-3, above), kept)
        np.put_along_axis(noisy, label, moved, axis=-1)
        return noisy

    return _each(outputs, mask)


def _released(p: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of an altered answer: floored, renormalised, with the old label on top."""
    p = np.maximum(p, FLOOR)
    label = logits.argmax(axis=-1)[:, None]
    kept = np.take_along_axis(p, label, axis=-1)
    np.put_along_axis(p, label, 0.0, axis=-1)
    # Also above what it ties with, whichever class of the two comes first.
    highest = p.max(axis=-1, keepdims=True) * (1 + 1e-6)
    np.put_along_axis(p, label, np.maximum(kept, highest), axis=-1)
    return np.log(p / class_sum(p)[:, None])
