"""Papers of the same names and year are told apart by a letter: Zhang et al., 2024a and 2024b.

The reference style "author_year" of sphinxcontrib-bibtex gives them one label, and so to two papers
on one page the same text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def add_letters(entries: Iterable) -> None:
    """Give the years of pybtex entries that would be cited alike a letter each, in place.

    The letters follow the bibliography's order: authors, then title. Years with letters stay.
    """
    from pybtex.style.sorting.author_year_title import SortingStyle
    from sphinxcontrib.bibtex.style.referencing.basic_author_year import (
        BasicAuthorYearParentheticalReferenceStyle,
    )

    style = BasicAuthorYearParentheticalReferenceStyle()
    names = style.person.author_or_editor_or_title(full=False)
    alike = defaultdict(list)
    for entry in SortingStyle().sort(list(entries)):
        if entry.fields.get("year", "").isdigit():
            cited = str(names.format_data({"entry": entry, "style": style}))
            alike[cited, entry.fields["year"]].append(entry)
    for same in alike.values():
        if len(same) > 1:
            for letter, entry in zip("abcdefghijklmnopqrstuvwxyz", same, strict=False):
                entry.fields["year"] += letter


def setup(app) -> dict:
    """Register with Sphinx: once the files of the bibliography are read, before any page is."""

    def letters(app, env, docnames) -> None:
        add_letters(env.get_domain("cite").bibdata.data.entries.values())

    app.connect("env-before-read-docs", letters)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
