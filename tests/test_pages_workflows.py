"""What runs elsewhere mirrors what runs here; what names the book names it alike."""

import re

import pytest
import yaml
from conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflows_run_the_makefile_and_fix_their_actions(path):
    text = path.read_text("utf-8")
    flow = yaml.safe_load(text)
    called = re.findall(r"run: make (\w+)", text)
    assert called and set(called) <= targets()
    for job in flow["jobs"].values():
        for step in job["steps"]:
            assert "uses" not in step or re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


def test_the_tests_and_the_book_have_a_workflow():
    text = " ".join(path.read_text("utf-8") for path in WORKFLOWS)
    assert "make test" in text and "make book" in text and "deploy-pages" in text


def test_the_citation_names_the_version_of_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)[1]
    assert cited["version"] == version
    assert f"Version {version}" in (ROOT / "book/cite.md").read_text("utf-8")
    assert cited["title"] in (ROOT / "book/cite.md").read_text("utf-8")
