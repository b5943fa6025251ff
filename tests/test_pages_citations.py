"""Labels of citations name one paper each."""

from collections import Counter

import pytest
from conftest import ROOT

from mia_utils.book import citations

pybtex = pytest.importorskip("pybtex.database")


def entry(key: str, authors: str, year: str, title: str = "T") -> str:
    return f"@misc{{{key}, author = {{{authors}}}, title = {{{title}}}, year = {{{year}}}}}\n"


def years(text: str) -> dict[str, str]:
    data = pybtex.parse_string(text, "bibtex")
    citations.add_letters(data.entries.values())
    return {key: found.fields["year"] for key, found in data.entries.items()}


def test_papers_that_would_be_cited_alike_get_letters_in_the_bibliographys_order():
    three = "Zhang, Jingyang and Sun, A and Li, B", "Zhang, Jie and Das, D and Kamath, G"
    found = years(
        entry("later", three[0], "2024")
        + entry("earlier", three[1], "2024")
        + entry("other_year", three[1], "2023")
        + entry("two", "Zhang, Jie and Das, D", "2024")
        + entry("one", "Zhang, Jie", "2024")
    )
    assert found == {
        "later": "2024b",
        "earlier": "2024a",
        "other_year": "2023",
        "two": "2024",
        "one": "2024",
    }


def test_letters_are_given_once_and_titles_decide_between_the_same_authors():
    text = entry("b", "Hayes, J", "2025", "Strong") + entry("a", "Hayes, J", "2025", "Measuring")
    data = pybtex.parse_string(text, "bibtex")
    for _ in range(2):  # a second build in one process, on entries that were kept
        citations.add_letters(data.entries.values())
    assert [data.entries[key].fields["year"] for key in "ab"] == ["2025a", "2025b"]


def test_every_paper_of_the_bibliography_has_a_label_of_its_own():
    data = pybtex.parse_file(ROOT / "book/references.bib")
    citations.add_letters(data.entries.values())

    def label(found) -> tuple:
        last = [" ".join(person.last_names) for person in found.persons.get("author", [])]
        return (*(last if len(last) < 3 else (last[0], "et al.")), found.fields["year"])

    labels = Counter(label(found) for found in data.entries.values() if found.persons)
    assert max(labels.values()) == 1
    assert label(data.entries["zhang2024membership"])[-1] == "2024a"
