"""Tables and cards of the book: verdicts by class, numbers aligned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, NamedTuple, cast

import pandas as pd

from .. import arguments
from ..errors import InputError
from . import given

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
    arguments.instance("table", table, pd.DataFrame, "a pandas.DataFrame")
    arguments.text("caption", caption)
    arguments.truth("index", index)
    if verdicts:
        given.named(verdicts, "plots.styled(verdicts)", "{column: {value: class}}")
        for column, named in verdicts.items():
            given.named(named, f"plots.styled(verdicts), {column!r}", "{value: class}")
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
        try:
            shown = shown.format(cast(Any, formats), na_rep="–")
            shown.to_html()  # formats are applied when the table is shown
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise InputError(
                f"formats={formats!r:.80}: {error!r:.80}; expected such as '{{:.3f}}'"
            ) from None
    return shown if index else shown.hide(axis="index")


class Card(NamedTuple):
    """A claim and what became of it."""

    claim: str
    verdict: str
    """A few words."""
    kind: str
    """One of `CLASSES`."""
    found: str
    """What was measured, a sentence with its numbers."""
    would_change: str
    """What would change the verdict."""
    section: str
    """The heading of the section that has the evidence."""


class Cards(NamedTuple):
    """Cards as a notebook shows them, two beside each other where there is room."""

    cards: tuple[Card, ...]

    def _repr_html_(self) -> str:
        return f'<div class="claim-cards">{"".join(map(_card, self.cards))}</div>'

    def __repr__(self) -> str:
        return "\n".join(f"{card.claim}: {card.verdict}. {card.found}" for card in self.cards)


def cards(shown: Iterable[Card]) -> Cards:
    """Claims as cards: verdict, what was found, what would change it, a link to the evidence.

    Raises
    ------
    InputError
        If a card's kind is none of `CLASSES`.
    """
    shown = arguments.several("plots.cards: shown", shown, "a list of cards")
    for card in shown:
        arguments.instance("plots.cards: a card", card, Card, "plots.Card(...)")
        for name, text in card._asdict().items():
            arguments.text(f"card: {name}", text)
    wrong = [card.kind for card in shown if card.kind not in CLASSES]
    if wrong:
        raise InputError(f"plots.cards: kinds {wrong}; expected some of {', '.join(CLASSES)}")
    return Cards(shown)


def _card(card: Card) -> str:
    claim, verdict, found, change = (escape(text) for text in card[:2] + card[3:5])
    anchor = re.sub(r"[^a-z0-9]+", "-", card.section.lower()).strip("-")
    return (
        f'<section class="claim-card {card.kind}"><p class="claim">{claim}</p>'
        f'<p class="verdict">{verdict}</p><p>{found}</p>'
        f'<p class="change"><em>What would change this:</em> {change}</p>'
        f'<p><a href="#{anchor}">The evidence</a></p></section>'
    )
