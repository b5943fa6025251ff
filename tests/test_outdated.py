"""Which published rows are older than a mend of private training, and what is said of them."""

import pandas as pd
import pytest

from mia_utils.experiments import figure9, outdated, outdated_note, published, read
from mia_utils.training import accounting
from mia_utils.training.accounting import MENDED, RECIPE, faults


def rows(*given):
    columns = ["defense", "recipe", "settings"]
    return pd.DataFrame([(*row, "{}")[:3] for row in given], columns=columns)


@pytest.mark.parametrize(
    "row, old",
    [
        (("dp_eps1", RECIPE - 1), True),
        (("dp_eps8", 1), True),
        (("dp_eps8", RECIPE), False),
        (("none", 1), False),
        (("mixup", 1), False),
        (("dp_clip", 1), False),  # no noise, nothing promised
        (("none", 1, '{"dp": {"epsilon": 8.0}}'), True),
        (("none", RECIPE, '{"dp": {"epsilon": 8.0}}'), False),
        (("none", 1, '{"lr": 0.1}'), False),
    ],
)
def test_a_row_is_old_if_its_noise_is(row, old):
    assert outdated(rows(row)).tolist() == [old]
    assert bool(outdated_note(rows(row))) == old


def test_the_note_names_defenses_once_and_the_fault():
    note = outdated_note(rows(("dp_eps4", 2), ("dp_eps1", 1), ("dp_eps1", 2), ("none", 1)))
    assert note.count("epsilon 1") == note.count("epsilon 4") == 1
    assert MENDED[3] in note and "until they are trained again" in note
    assert outdated_note(rows(("none", 1))) == outdated_note(rows(("dp_eps1", RECIPE))) == ""


def test_faults_are_those_mended_since(monkeypatch):
    monkeypatch.setattr(accounting, "MENDED", {3: "noise", 5: "clipping"})
    assert [faults(r) for r in (None, 2, 3, 4, 5)] == [
        *("noise; clipping", "noise; clipping", "clipping", "clipping", ""),
    ]


def test_every_published_row_of_older_noise_is_marked_in_the_table_of_defenses():
    frame = read(published())
    old = frame[outdated(frame)]
    for (dataset, architecture), _ in old.groupby(["dataset", "architecture"]):
        found = figure9.privacy_and_utility(frame, dataset, architecture)
        mine = old[(old.dataset == dataset) & (old.architecture == architecture)]
        assert {row.defense for row in found if row.older} == set(mine["defense"])
        marked = figure9.as_texts(found)["defense"]
        assert marked.str.endswith(" (older)").sum() == mine["defense"].nunique()
    fresh = [replace_row(row) for row in figure9.privacy_and_utility(frame, "cifar10", "cnn")]
    assert not figure9.as_texts(fresh)["defense"].str.contains("older").any()


def replace_row(row):
    return row._replace(older=False)
