"""The explorers' data come from the published results, their arithmetic holds under node."""

import re
import shutil
import subprocess

import pytest
from conftest import ROOT

from mia_utils.book import explorer_data, facts

STATIC = ROOT / "book/_static/explorers"
PROSE = [*(ROOT / "book").glob("*.md")]


def test_their_arithmetic_holds_under_node():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed (apt-get install nodejs): explorers not tested by it")
    test = ROOT / "tests/explorers/explorers.test.js"
    result = subprocess.run([node, "--test", str(test)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_their_data_are_what_the_published_results_give():
    made = explorer_data.scripts(ROOT)
    assert set(made) == {f"{explorer.data}.js" for explorer in explorer_data.EXPLORERS.values()}
    for name, text in made.items():
        written = (STATIC / "data" / name).read_text("utf-8")
        assert written == text, "run: python -m mia_utils.book.pictures"


def test_every_explorer_has_its_script_its_data_and_a_still_picture():
    for name, explorer in explorer_data.EXPLORERS.items():
        for file in (f"{name}.js", f"data/{explorer.data}.js", explorer.still):
            assert (STATIC / file).is_file(), file


def test_the_threshold_explorer_counts_every_record_once():
    run = facts.front_run(explorer_data.records.read(ROOT / "book/results"))
    data = explorer_data.threshold(ROOT / "book/results")
    assert sum(data["members"]) == run["n_members"]
    assert sum(data["nonmembers"]) == run["n_nonmembers"]


def test_pages_quote_only_numbers_that_are_computed():
    known = facts.facts(ROOT)
    named = {page: re.findall(r"\{\{ ?(\w+) ?\}\}", page.read_text("utf-8")) for page in PROSE}
    assert any(named.values())
    for page, names in named.items():
        assert set(names) <= set(known), page
    assert all("nan" not in text for text in known.values())


def test_no_explorer_asks_for_anything_from_outside():
    scripts = [*STATIC.rglob("*.js")]
    assert len(scripts) > len(explorer_data.EXPLORERS)
    for script in scripts:
        text = script.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|\bfetch\(|XMLHttpRequest|\bimport\b", text), script


def test_still_drawings_have_a_transparent_ground():
    stills = {explorer.still for explorer in explorer_data.EXPLORERS.values()}
    drawings = [name for name in stills if name.endswith(".svg")]
    assert drawings
    for still in drawings:
        text = (STATIC / still).read_text("utf-8")
        ground = re.search(r'<g id="patch_1">\s*<path [^>]*style="([^"]*)"', text)[1]
        assert "fill: none" in ground, still
