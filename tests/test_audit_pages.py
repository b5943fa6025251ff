"""The pages on audits say what the command says, and the committed trials met their goals."""

import re
import shlex

import pandas as pd
import pytest
from audited import answers
from conftest import ROOT

from mia_utils.audit import Limit
from mia_utils.audit.advice import ADVICE, TEXT_ADVICE, book_address
from mia_utils.book import contents
from mia_utils.cli.main import main
from mia_utils.errors import InputError


def test_the_front_door_prints_what_it_says(tmp_path, monkeypatch, capsys):
    page = (ROOT / "book/ten_lines.md").read_text(encoding="utf-8")
    console = re.search(r"```console\n\$ mia (.*?)\n(.*?)```", page, re.DOTALL)
    make = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(make, {})
    assert main(shlex.split(console[1])) == 0
    assert capsys.readouterr().out.split() == console[2].split()
    assert (tmp_path / "report/report.html").exists()


def test_advice_leads_to_chapters_that_readers_meet():
    for each in (*ADVICE, *TEXT_ADVICE):
        number = each.page.rsplit("/", 1)[1]
        assert contents.met(ROOT, f"{number}.ipynb") == each.page
        lines = (ROOT / f"notebooks/{number}.md").read_text("utf-8").splitlines()
        assert f"# {each.chapter}" in lines


@pytest.mark.parametrize("address", ["https://example.org/mia/", "../_build/html", None])
def test_advice_is_linked_where_the_book_is_known(address, monkeypatch, tmp_path, capsys):
    bs4 = pytest.importorskip("bs4")
    monkeypatch.delenv("MIA_BOOK", raising=False)
    answers(300).save(tmp_path / "a.npz")
    call = ["audit", str(tmp_path / "a.npz"), "-o", str(tmp_path), "--attacks", "loss", "--quiet"]
    assert main([*call, *(["--book", address] if address else [])]) == 0
    page = bs4.BeautifulSoup((tmp_path / "report.html").read_text("utf-8"), "html.parser")
    links = [a["href"] for a in page.find_all("a")]
    if address is None:
        assert links == [] and "chapter “Defenses”" in page.get_text()
    else:
        first = f"{address.rstrip('/')}/book/runs/cifar10/08_defenses.html"
        assert len(links) == len(ADVICE) and links[0] == first


def test_the_address_of_the_book_runs_no_code(monkeypatch):
    monkeypatch.setenv("MIA_BOOK", " JavaScript:alert(1)")
    with pytest.raises(InputError, match="--book"):
        book_address()


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
