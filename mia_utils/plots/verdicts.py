"""Tables of the book: verdicts by class, numbers aligned."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..errors import InputError

CLASSES = ("verdict-yes", "verdict-no", "verdict-open", "verdict-strong")
"""Classes of book.css, for the light and the dark theme: agrees, disagrees, undecided, emphasis."""


def styled(
    table: pd.DataFrame,
    caption: str,
    *,
    verdicts: Mapping[str, Mapping[object, str]] | None = None,
    formats: Mapping[str, str] | str | None = None,
    index: bool = True,
):
    """A table as the book shows it: caption, aligned numbers, verdicts by class.

    Parameters
    ----------
    table : DataFrame
    caption : str
        One sentence: what the table says.
    verdicts : {column: {value: class}}, optional
        The class (one of `CLASSES`) of the cells of that column that hold that value.
    formats : as pandas' `Styler.format` takes them, optional
        For instance "{:.3f}" or {"AUC": "{:.3f}"}.

    Returns
    -------
    pandas Styler
        Without inline colours, so that the page's theme decides.

    Raises
    ------
    InputError
        If a column is not in the table, or a class is unknown.
    """
    classes = pd.DataFrame("", index=table.index, columns=table.columns)
    for column in table.columns:
        if pd.api.types.is_numeric_dtype(table[column]):
            classes[column] = "number"
    for column, named in (verdicts or {}).items():
        wrong = [name for name in named.values() if name not in CLASSES]
        if column not in table.columns or wrong:
            raise InputError(
                f"plots.styled: column {column!r}, classes {wrong}; expected one of "
                f"{list(table.columns)} and of {', '.join(CLASSES)}"
            )
        told = table[column].map(lambda value, named=named: named.get(value, ""))
        classes[column] = (classes[column] + " " + told.astype(str)).str.strip()
    shown = table.style.set_caption(caption).set_td_classes(classes)
    if formats is not None:
        shown = shown.format(formats, na_rep="–")
    return shown if index else shown.hide(axis="index")
