"""The pages on audits say what the command says, and the committed trials met their goals."""

import re
import shlex

import pandas as pd
from conftest import ROOT

from mia_utils.audit import Limit
from mia_utils.cli.main import main


def test_the_front_door_prints_what_it_says(tmp_path, monkeypatch, capsys):
    page = (ROOT / "book/ten_lines.md").read_text(encoding="utf-8")
    console = re.search(r"```console\n\$ mia (.*?)\n(.*?)```", page, re.DOTALL)
    make = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(make, {})
    assert main(shlex.split(console[1])) == 0
    assert capsys.readouterr().out.split() == console[2].split()
    assert (tmp_path / "report/report.html").exists()


def test_the_limits_on_the_page_are_limits():
    page = (ROOT / "book/audit_ci.md").read_text(encoding="utf-8")
    limits = re.findall(r"^\| `([^`]+>[^`]+)`", page, re.MULTILINE)
    limits += re.findall(r'--fail-above "([^"]+)"', page)
    assert len(limits) == 6 and all(str(Limit.parse(text)) == text for text in limits)


def test_the_verdict_was_right_as_often_as_it_promises():
    tried = pd.read_csv(ROOT / "book/results/audit_calibration.csv")
    null = tried[tried["kind"] == "null: all"].iloc[0]
    assert null["sets"] == 200 and null["share"] <= 0.05
    planted = tried[tried["kind"] == "planted"]
    assert len(planted) >= 3 and (planted["sets"] == 200).all() and (planted["share"] >= 0.9).all()
