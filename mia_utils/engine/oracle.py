"""`Oracle`: one model that tells its label for a record, nothing else, and counts the questions."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from ..arrays import as_numbers
from ..errors import InputError
from .store import Store

_BATCH = 500


class Oracle:
    """The labels of one model, with a count of the queries: all that a label-only attacker has.

    Parameters
    ----------
    answer : function
        float32 records (B, ...), as in a pool (images 0..255), to integer labels (B,).

    Attributes
    ----------
    queries : int
        Records asked about so far.
    """

    def __init__(self, answer: Callable[[np.ndarray], np.ndarray]) -> None:
        self._answer = answer
        self.queries = 0

    @classmethod
    def of_stored(cls, name: str, store: str | os.PathLike | Store | None = None) -> Oracle:
        """A model of the store behind its labels.

        Raises
        ------
        InputError
            If the store does not hold the model.
        """
        from ..training.batches import Loader
        from ..training.device import resolve_device
        from ..training.epochs import score
        from .load import load_model

        device = resolve_device("auto")
        model = load_model(name, store)[0].to(device)

        def answer(records: np.ndarray) -> np.ndarray:
            unused = np.zeros(len(records), np.int64)
            return score(model, Loader(records, unused, device)).argmax(axis=1)

        return cls(answer)

    def labels(self, records: np.ndarray) -> np.ndarray:
        """The model's label of each record, int64 (B,).

        Raises
        ------
        InputError
            If records are no finite numbers, or the model does not answer with one label a record.
        """
        from ..training.device import alone

        records = as_numbers(records, "records")
        if not records.ndim or not np.isfinite(records).all():
            raise InputError(
                f"records have shape {records.shape}; expected finite numbers (records, ...)"
            )
        with alone(0):
            parts = [
                np.asarray(self._answer(np.ascontiguousarray(records[start : start + _BATCH])))
                for start in range(0, len(records), _BATCH)
            ]
        labels = np.concatenate(parts) if parts else np.empty(0, np.int64)
        if labels.shape != (len(records),) or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"the oracle answered {labels.dtype} {labels.shape} to {len(records)} records; "
                "expected one integer label a record"
            )
        self.queries += len(records)
        return labels
