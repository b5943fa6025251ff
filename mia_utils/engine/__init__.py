"""Many models: which are missing, where they are trained, and where they are kept.

Begin with `train.train`, one call from a pool and masks to `Outputs`. `store` keeps trained models
under names that follow from everything that decides them, `backend` runs trainings in processes or
on a cluster, `query` and `oracle` ask stored models about other records, `plan` says what a
training will cost.
"""

from .load import load_model
from .oracle import Oracle
from .query import query
from .store import Store
from .train import train

__all__ = ["Oracle", "Store", "load_model", "query", "train"]
