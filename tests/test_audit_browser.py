"""The report of an audit in a browser: on a phone and a desk, light, dark and printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audited import answers
from test_pages_browser import MODES, Visit, all_of_them, browser  # noqa: F401

from mia_utils.audit import AuditData, Limit, audit

pytestmark = all_of_them


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The address of a report with every part: pictures, groups, long names, limits, advice."""
    outputs = answers(400, leak=1.5)
    rows = np.arange(400)
    data = AuditData.of(
        outputs,
        groups={
            "site": np.array(["north", "a rather long name of a hospital, 3rd floor"])[rows % 2]
        },
        classes=["airplane", "a very long name of a class", "cat", "dog"],
        names=[f"patients/2024/person-{row:05d}.png" for row in rows],
        traces=np.linspace(2, 0.1, 5)[:, None] * np.ones(400),
    )
    shadows = answers(400, leak=1.5, seed=4, models=6, balanced=True)
    report = audit(
        data,
        shadows,
        attacks=["correctness", "loss", "lira", "stacked"],
        pictures=np.zeros((400, 8, 8, 3), np.uint8),
        command="mia audit target.npz --shadows shadows.npz -o report/",
    )
    report = report.with_gate(report.against([Limit.parse("tpr@0.001>0.01")]))
    folder = tmp_path_factory.mktemp("report")
    report.save(folder, book="https://example.org/mia")
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize("width, theme", MODES)
def test_it_fits_asks_for_nothing_and_says_nothing(browser, page, width, theme):  # noqa: F811
    with Visit(browser, page, width=width, theme=theme) as visit:
        assert visit.said == [] and visit.asked == [page]
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert visit.page.evaluate(wide) <= 0
        dark = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(255, 255, 255)") == (theme == "light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_for_readers_with_disabilities(browser, page, theme):  # noqa: F811
    axe = pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text("utf-8")
    for width in (360, 1280):
        with Visit(browser, page, width=width, theme=theme) as visit:
            visit.page.evaluate(script)
            found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            serious = [
                f"{each['id']}: {each['nodes'][0]['html'][:160]}"
                for each in found["violations"]
                if each["impact"] in ("serious", "critical")
            ]
            assert serious == []


def test_it_prints_on_a4_without_cutting_tables(browser, page):  # noqa: F811
    with Visit(browser, page, width=673, theme="dark") as visit:  # A4 without its margins
        visit.page.emulate_media(media="print", color_scheme="light")
        cut = visit.page.eval_on_selector_all(
            ".scroll", "all => all.map(e => e.scrollWidth - e.clientWidth)"
        )
        assert len(cut) > 3 and max(cut) <= 1
        background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(255, 255, 255)"
        assert visit.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
