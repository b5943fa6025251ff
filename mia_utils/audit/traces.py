"""Which members a training left its marks on, read off their losses over its epochs."""

from __future__ import annotations

import numpy as np

from .answers import AuditData

_MOST = 20


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
