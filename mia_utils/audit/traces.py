"""Which members a training left its marks on, read off their losses over its epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import arguments
from ..arrays import as_integers
from ..errors import InputError
from ..signals import loss
from .answers import AuditData

_MOST = 20


class LossLog:
    """Losses of every record at chosen epochs of a training: the `observe` of `training.loop.fit`.

    Looking changes no bit of the training, and nothing of it is kept in the store.

    Parameters
    ----------
    labels : int64 (N,)
        Of the whole pool.
    epochs : sequence of int, optional
        How many epochs are over where a loss is kept; by default after every one.

    >>> log = LossLog(np.array([0, 1]), epochs=(1, 3))
    >>> for epoch in (1, 2, 3):
    ...     log(epoch, np.array([[0.0, 0.0], [0.0, float(epoch)]]))
    >>> log.losses.astype(float).round(2).tolist()
    [[0.69, 0.31], [0.69, 0.05]]
    """

    def __init__(self, labels: np.ndarray, epochs: Sequence[int] | None = None) -> None:
        self.labels = as_integers(labels, "labels")
        self.epochs = None
        if epochs is not None:
            self.epochs = frozenset(arguments.several("epochs", epochs, "numbers of epochs"))
            for epoch in self.epochs:
                arguments.count("epochs", epoch)
        self._seen: dict[int, np.ndarray] = {}

    def __call__(self, epoch: int, logits: np.ndarray) -> None:
        arguments.count("epoch", epoch, least=0)
        if self.epochs is None or epoch in self.epochs:
            self._seen[epoch] = loss(logits, self.labels).astype(np.float32)

    @property
    def losses(self) -> np.ndarray:
        """float32 (epochs, N), what `AuditData.of` takes as `traces`.

        Raises
        ------
        InputError
            If an epoch that was chosen was not reached, or none was seen.
        """
        missed = sorted((self.epochs or frozenset()) - self._seen.keys())
        if missed or not self._seen:
            raise InputError(
                f"no losses of epoch {missed[0] if missed else 1}; pass this log as observe= to "
                "training.loop.fit, and choose epochs that the training reaches"
            )
        return np.stack([self._seen[epoch] for epoch in sorted(self._seen)])


def loss_trace_iqr(traces: np.ndarray) -> np.ndarray:
    """LT-IQR (Pollock, Shilov, Dodd & de Montjoye, 2025, "Free Record-Level Privacy Risk Evaluation
    Through Artifact-Based Methods"): the interquartile range of a record's loss over the epochs.

    Parameters
    ----------
    traces : float (epochs, N)
        Losses of each record after chosen epochs of the target's own training.

    Returns
    -------
    float64 (N,)
        The larger, the more the authors found a *member* to be at risk. It says nothing about
        non-members: it ranks training records, without any reference model.

    Notes
    -----
    Quartiles with linear interpolation, as in the authors' code.

    >>> loss_trace_iqr(np.array([[2.0, 0.1], [1.0, 0.1], [0.0, 0.1]])).tolist()
    [1.0, 0.0]
    """
    low, high = np.quantile(np.asarray(traces, dtype=np.float64), [0.25, 0.75], axis=0)
    return high - low


def ranking(data: AuditData, named: bool) -> dict:
    """Members by LT-IQR: how many epochs were read, the spread, and the first ones by name."""
    assert data.traces is not None
    values = loss_trace_iqr(data.traces)
    inside = np.flatnonzero(data.outputs.members[0] & data.outputs.evaluated[0])
    order = inside[np.argsort(-values[inside], kind="stable")]
    quantiles = np.quantile(values[inside], [0.5, 0.9, 0.99])
    return {
        "epochs": len(data.traces),
        "median": quantiles[0],
        "q90": quantiles[1],
        "q99": quantiles[2],
        "first": [
            {
                "id": str(data.names[row]),
                "class": data.classes[data.outputs.labels[row]],
                "value": values[row],
            }
            for row in order[:_MOST]
        ]
        if named
        else None,
    }
