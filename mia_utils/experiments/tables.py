"""Published tables that are no records: each a file of book/results, made by a benchmark."""

from __future__ import annotations

from collections.abc import Collection

from .. import arguments
from ..errors import InputError
from .records import published


def read_table(name: str, declared: Collection[str], **options):
    """A published table as a pandas.DataFrame.

    Parameters
    ----------
    name : str
        Its file under `published()`, without .csv.
    declared : names
        The chapter's parameter `tables`: what a chapter reads decides whether its page is old.
    **options
        As pandas.read_csv.

    Raises
    ------
    InputError
        If the name is not declared, or there is no such table.
    """
    import pandas as pd

    arguments.text("name", name)
    if name not in arguments.several("declared", declared, "the chapter's parameter `tables`"):
        raise InputError(f"table {name!r} is not among tables = {tuple(declared)}; add it there")
    path = published() / f"{name}.csv"
    if not path.is_file():
        raise InputError(f"no table {path}")
    return pd.read_csv(path, **options)
