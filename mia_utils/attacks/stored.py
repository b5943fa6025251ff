"""Attacks that ask or open the model itself: what they share."""

from __future__ import annotations

import os
from typing import Self

from ..data import Pool
from ..engine.store import Store
from ..errors import InputError, shown
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
            raise InputError(
                f"pool is {shown(self.pool)}; expected a Pool, as load_dataset gives it"
            )

    def _check_answers(self, answers, where: str) -> Outputs:
        """`answers`, if they carry names of stored models and are of this pool."""
        return check_stored(answers, self.pool, f"{type(self).__name__}.{where}")
