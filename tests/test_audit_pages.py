"""The pages on audits say what the command says, and the committed trials met their goals."""

import re
import shlex

import pandas as pd
import pytest
from audited import answers
from conftest import ROOT

from benchmarks import audit_peers, audit_speed, coverage
from mia_utils.audit import Limit
from mia_utils.audit.advice import ADVICE, TEXT_ADVICE, book_address
from mia_utils.book import contents
from mia_utils.cli.main import main
from mia_utils.errors import InputError
from mia_utils.evaluation import Interval, auc_interval

RESULTS = ROOT / "book/results"


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


def test_published_intervals_hold_what_they_promise():
    tried = pd.read_csv(RESULTS / "coverage.csv")
    cases = [(figure, case) for figure, (_, cases) in coverage.FIGURES.items() for case in cases]
    assert list(zip(tried["interval"], tried["records"], strict=True)) == cases
    assert (tried["simulations"] >= coverage.FEW).all() and (tried["level"] == 0.95).all()
    askew = tried["records"].str.contains(
        "beta"
    )  # where Student's t is used outside its assumption
    low = tried[~askew & (tried["high"] < tried["level"])]  # its own chance cannot explain it
    assert low.empty, low
    assert (tried[askew]["coverage"] > 0.93).all() and askew.sum() == 2


def test_an_interval_that_is_too_short_is_seen(monkeypatch):
    case = "balanced: 200 + 200"
    assert float(coverage.measure("AUC", case, 200)["high"]) > 0.95

    def short(scores, members):
        value, low, high = auc_interval(scores, members)
        return Interval(value, (value + low) / 2, (value + high) / 2)

    monkeypatch.setattr(coverage, "auc_interval", short)
    assert float(coverage.measure("AUC", case, 200)["high"]) < 0.9


@pytest.mark.parametrize("figure", coverage.FIGURES)
def test_every_interval_can_be_tried(figure):
    for case in coverage.FIGURES[figure][1]:
        assert 0 <= float(coverage.measure(figure, case, 2)["coverage"]) <= 1


def test_what_tools_say_is_what_they_said_of_every_set():
    sets = pd.read_csv(RESULTS / "audit_peers_sets.csv")
    written = pd.read_csv(RESULTS / "audit_peers.csv", dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(audit_peers.table(sets).astype(str), written, check_dtype=False)
    ours = written[written["tool"] == "mia audit"].iloc[0]
    assert ours["null sets"] == "200" and ours["planted leaks reported"] == "10 of 10"
    assert float(ours["null sets with a leak reported"]) <= 0.05


def test_audits_stay_within_their_goals():
    found = pd.read_csv(RESULTS / "audit_speed.csv")
    assert found["audit"].tolist() == list(audit_speed.LIMITS)
    assert (found["GB"] <= found["at most (GB)"]).all()
    timed = found[found["at most (s)"].notna()]
    assert (timed["processor seconds"] <= timed["at most (s)"]).all() and len(timed) == 2
