"""What was tried: the page's trials exist, its tables say what came out, programs are killed in time."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter

import pytest
from conftest import ROOT

from benchmarks import branches, kills, nulls, soak
from benchmarks.killing import run
from mia_utils import InputError

PAGE = (ROOT / "book/tried.md").read_text("utf-8")
TRIALS = sorted(set(re.findall(r"`pytest (tests/\w+\.py)(?: -k ([\w' ]+))?`", PAGE)))


def rows(name):
    with (ROOT / "book/results" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("file, words", TRIALS)
def test_every_trial_on_the_page_can_be_repeated(file, words):
    names = re.findall(r"^def (test_\w+)", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    for word in words.strip("'").split(" or "):
        assert any(word in name for name in names), word


def test_every_command_on_the_page_is_a_module():
    found = set(re.findall(r"`python -m benchmarks\.(\w+)", PAGE))
    places = [(ROOT / "benchmarks" / name) for name in found]
    assert places and all(p.is_dir() or p.with_suffix(".py").exists() for p in places)


def test_a_hundred_kills_did_no_harm():
    found = rows("kills.csv")
    assert len(found) >= 100 and {row["work"] for row in found} == set(kills.WORKS)
    assert [row for row in found if kills.did_harm(row)] == []
    summed = {row["work"]: int(row["kills"]) for row in rows("kills_summary.csv")}
    assert summed == Counter(row["work"] for row in found)


def test_no_attack_found_what_was_not_there_in_real_images():
    found = rows("nulls.csv")
    assert {row["attack"] for row in found} == set(nulls.ATTACKS)
    assert min(float(row["p"]) for row in found) > 0.01 / (2 * len(found))
    assert all(abs(float(v) - 0.5) < 0.012 for row in found for k, v in row.items() if "mean" in k)
    blind = [row["attack"] for row in found if float(row["low"]) <= 0.5]
    assert blind == ["random"]


def test_the_soak_has_a_row_for_each_of_its_parts():
    assert [(row["part"], row["command"]) for row in rows("soak.csv")] == [
        (name, part.shown) for name, part in soak.PARTS.items()
    ]


def test_the_branches_that_were_counted_are_of_every_wing_and_enough():
    *wings, whole = rows("branch_coverage.csv")
    files = (ROOT / "mia_utils").rglob("__init__.py")
    there = {branches.wing_of(path.relative_to(ROOT)) for path in files}
    assert {row["wing"] for row in wings} == there and whole["wing"] == branches.WHOLE
    for name in branches.COUNTS:
        assert sum(int(row[name]) for row in wings) == int(whole[name])
    assert float(whole[branches.SHARE]) >= branches.GOAL


WRITES = "import sys\nfor i in range(5): open(f'{sys.argv[1]}/{i}', 'w').close()"


@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_program_is_killed_just_before_the_change_that_was_asked_for(at, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    ended = run(["-c", WRITES, str(place)], place, {}, at=at)
    assert ended.killed == (at > 0)
    assert len(list(place.iterdir())) == (at - 1 if at else 5)
    assert len(ended.changes) == (at or 5)


def test_a_program_is_killed_at_its_moment_with_what_it_started(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    starts = "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1)'])"
    ended = run(["-c", f"{starts}\ntime.sleep(600)"], place, {}, after=0.5)
    assert ended.killed and 0.4 < ended.seconds < 5
    assert ended.orphans > 0.1, "the child was not waited for"


def test_a_part_of_the_soak_that_fails_is_said_and_others_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(soak, "TABLE", tmp_path / "soak.csv")
    well, badly = soak.Part("python -c print('all\\x20well')", 1), soak.Part("python -c 1/0", 2)
    monkeypatch.setattr(soak, "PARTS", {"well": well, "badly": badly, "never": well})
    assert soak.main(["well"]) == 0 and soak.main(["badly"]) == 1
    with (tmp_path / "soak.csv").open() as file:
        outcomes = [row["outcome"] for row in csv.DictReader(file)]
    assert outcomes == [
        "passed: all well",
        "FAILED (1): ZeroDivisionError: division by zero",
        "not run (about 1 min)",
    ]
    assert "soak: badly: FAILED" in capsys.readouterr().out


def summary(statements, lines, all_branches, taken):
    names = ("num_statements", "covered_lines", "num_branches", "covered_branches")
    return {"summary": dict(zip(names, (statements, lines, all_branches, taken), strict=True))}


FILES = {
    "mia_utils/paths.py": summary(10, 10, 4, 4),
    "mia_utils/attacks/one.py": summary(20, 18, 10, 8),
    "mia_utils/attacks/two.py": summary(30, 30, 6, 5),
}


@pytest.mark.parametrize(("goal", "code"), [(85, 0), (86, 1)])
def test_branches_are_counted_by_wing_and_too_few_are_a_failure(
    goal, code, tmp_path, monkeypatch, capsys
):
    def coverage(*words):
        called.append(words[0])
        if words[0] == "json":
            (branches.PLACE / "report.json").write_text(json.dumps({"files": FILES}), "utf-8")
        return 0

    called: list[str] = []
    monkeypatch.setattr(branches, "coverage", coverage)
    monkeypatch.setattr(branches, "PLACE", tmp_path / "pieces")
    monkeypatch.setattr(branches, "TABLE", tmp_path / "table.csv")
    monkeypatch.setattr(branches, "GOAL", goal)
    assert branches.main([]) == code and called == ["run", "combine", "json"]
    with branches.TABLE.open() as file:
        found = [(r["wing"], r["branches"], r[branches.SHARE]) for r in csv.DictReader(file)]
    assert found == [("attacks", "16", "81.2"), ("mia_utils", "4", "100.0"), ("all", "20", "85.0")]
    assert "85.0 % of 20 branches were taken" in capsys.readouterr().out


def test_branches_without_runs_or_with_other_words_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(branches, "PLACE", tmp_path)
    monkeypatch.setattr(branches, "coverage", lambda *words: int(words[0] == "combine"))
    with pytest.raises(
        InputError, match=r"holds no runs; make them: python -m benchmarks.branches"
    ):
        branches.main(["table"])
    with pytest.raises(InputError, match="tables; expected nothing, or: table"):
        branches.main(["tables"])
