"""Attacks that ask or open the model itself: what they share."""

from __future__ import annotations

import os
from typing import Self

import numpy as np

from ..data import Pool
from ..engine.store import Store
from ..errors import InputError
from ..outputs import Outputs, check_stored
from .base import Attack


class StoredModelAttack(Attack):
    """An attack on stored models, by the names that their outputs carry.

    Parameters
    ----------
    pool : Pool
        The records.
    store : path or Store, default $MIA_STORE or ~/.cache/mia/store
    """

    def __init__(
        self,
        pool: Pool,
        *,
        store: str | os.PathLike | Store | None = None,
        threshold: float | None = None,
    ) -> None:
        super().__init__(threshold=threshold)
        self.pool = pool
        self.store = store

    def __sklearn_clone__(self) -> Self:
        # Pool and store are shared: scikit-learn would copy all records.
        return type(self)(**self.get_params(deep=False))

    def check_arguments(self) -> None:
        super().check_arguments()
        if not isinstance(self.pool, Pool):
            raise InputError(f"pool is {self.pool!r}; expected a Pool, as load_dataset gives it")

    def score(self, target: Outputs) -> np.ndarray:
        """Scores, float64 (M, N), NaN where the pair is not evaluated.

        Raises
        ------
        InputError
            If the outputs carry no names of stored models, or come from another pool.
        """
        self.check_arguments()
        check_stored(target, self.pool, f"{type(self).__name__}.score(target)")
        return super().score(target)
