"""Records of an earlier layout: refused with the line to run, and brought over value by value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mia_utils.__main__ import main
from mia_utils.errors import InputError
from mia_utils.experiments import records
from mia_utils.experiments.migrate import migrate, new_name

PUBLISHED = Path(__file__).parents[1] / "book/results"
OLD = {"0.1": "10pct", "0.01": "1pct", "0.001": "01pct"}


def old_name(column: str) -> str:
    for rate in sorted(OLD, key=len, reverse=True):
        column = column.replace(f"tpr_at_fpr_{rate}", f"tpr_at_fpr{OLD[rate]}")
    return column


@pytest.fixture
def old(tmp_path):
    """A results folder of layout 1, and the records that it must become."""
    present = {}
    (tmp_path / "records").mkdir()
    for path in sorted(PUBLISHED.glob("records/*.jsonl"))[:3]:
        present[path.name] = path.read_bytes()
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        lines = [{old_name(k): v for k, v in r.items() if k != "layout"} for r in lines]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / "records" / path.name).write_text(text, encoding="utf-8")
    table = "run,tpr_at_fpr1pct,auc\nr1,0.0312,tpr_at_fpr1pct\n"
    (tmp_path / "table.csv").write_text(table, encoding="utf-8")
    return tmp_path, present


def test_every_name_says_which_rate_it_is():
    assert new_name("tpr_at_fpr01pct") == "tpr_at_fpr_0.001"
    for column in records.SCHEMA:
        assert new_name(old_name(column)) == column
    assert new_name("tpr_at_fpr_0.001") == "tpr_at_fpr_0.001"


def test_an_earlier_layout_is_refused_with_what_to_run(old):
    folder, _ = old
    with pytest.raises(InputError, match=r"layout 1; expected 2: run mia publish migrate FOLDER"):
        records.read(folder)


def test_migrated_records_are_the_same_value_by_value(old):
    folder, present = old
    changed = migrate(folder)
    assert {path.name for path in changed} == {*present, "table.csv"}
    for name, content in present.items():
        assert (folder / "records" / name).read_bytes() == content
    table = (folder / "table.csv").read_text("utf-8")
    assert table == "run,tpr_at_fpr_0.01,auc\nr1,0.0312,tpr_at_fpr1pct\n"
    assert migrate(folder) == []
    assert len(records.read(folder)) > 3


def test_the_command_migrates_a_folder(old, capsys):
    folder, present = old
    root = str(PUBLISHED.parents[1])
    assert main(["publish", "migrate", "--root", root, str(folder)]) == 0
    assert f"publish: {len(present) + 1} files migrated" in capsys.readouterr().out


def test_what_cannot_be_migrated_is_named_and_nothing_is_written(old, tmp_path):
    folder, _ = old
    with pytest.raises(InputError, match="no records in"):
        migrate(tmp_path / "elsewhere")
    broken = sorted(folder.glob("records/*.jsonl"))[-1]
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    for text, message in (("[1]\n", "is no record"), ('{"auc": 1}\n', "lacks"), ("{\n", "line 1")):
        broken.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            migrate(folder)
    for path, content in before.items():
        assert path == broken or path.read_bytes() == content
