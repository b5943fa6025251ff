"""The built book in a browser: what a reader sees, with a mouse, a keyboard, a phone, on paper.

Needs Chromium (apt-get install chromium) and the development extra (Playwright's Python package);
skipped with a word where one of them is missing. `make test` opens every page that a reader meets
once and changes its width and theme; BROWSER_TESTS=1 opens every page afresh in every mode.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import threading
from pathlib import Path

import pytest
from conftest import ROOT

from mia_utils.book import contents, notebooks, pdf
from mia_utils.book.explorers import EXPLORERS
from mia_utils.errors import InputError

MODES = [(1280, "light"), (1280, "dark"), (360, "dark"), (360, "light")]
MET = re.findall(r"(?:file|root): (\S+)", contents.toc(ROOT))
"""Pages that a reader meets."""
COPIES = contents.appendix(ROOT)
CHAPTER = contents.met(ROOT, notebooks.chapters(ROOT)[1])
CLAIMS = contents.met(ROOT, "12_claims")
RESULTS = contents.met(ROOT, "11_results")
AXE = (
    "book/index",
    CHAPTER,
    CLAIMS,
    "book/explore",
    "book/glossary",
    "book/bibliography",
    "search",
)
"""Pages that are examined for readers with disabilities."""
SLIDERS = ("threshold", "epsilon", "shadows")
MOST = 1_500_000
"""Bytes of a chapter's first load."""
all_of_them = pytest.mark.skipif(
    not os.environ.get("BROWSER_TESTS"), reason="minutes in a browser: BROWSER_TESTS=1 make test"
)


@pytest.fixture(scope="module")
def browser():
    # Of this module, not of the session: while it is open, no other test could use asyncio.
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed (pip install -e '.[dev]')"
    )
    try:
        path = pdf.chromium()
    except InputError as error:
        pytest.skip(f"pages not seen in a browser: {error}")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(html):
    """The address of a server of the built book."""
    quiet = functools.partial(_Quiet, directory=str(html))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *said):
        pass


class Visit:
    """A page in a browser, with what it said and asked for."""

    def __init__(self, browser, address: str, *, width=1280, theme="light", scripts=True):
        self.context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=theme,
            java_script_enabled=scripts,
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda m: m.type == "error" and self.said.append(m.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address, wait_until="load")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.context.close()


FRAMED = """[...document.querySelectorAll("article img.drawing, article img.photograph")].filter(i => {
  const style = getComputedStyle(i);
  return style.backgroundColor !== "rgba(0, 0, 0, 0)" || parseFloat(style.padding) > 0;
}).map(i => i.getAttribute("src"))"""
"""Drawings that do not let the page shine through."""
CUT = """[...document.querySelectorAll("article caption")].filter(
  c => c.getBoundingClientRect().right > document.documentElement.clientWidth
).map(c => c.innerText.slice(0, 60))"""
"""Captions of which a part is seen only where their table is scrolled."""

SILENT = """[...document.querySelectorAll("article table.scrolls")].filter(t => {
  const said = [[t.querySelector("caption"), "::after"], [t.parentElement, "::before"]];
  return !said.some(([e, at]) => e && getComputedStyle(e, at).content.includes("sideways"));
}).map(t => t.innerText.slice(0, 60))"""
"""Tables that scroll and do not say so."""
BROKEN = """[...document.querySelectorAll("article td code .pre")].filter(
  name => name.getClientRects().length > 1
).map(name => name.innerText.slice(0, 60))"""
"""Names in tables that are broken in two."""


def faults(visit: Visit, home: str) -> list[str]:
    """What should hold of every page in every mode, and does not."""
    found = [f"console: {said}" for said in visit.said]
    outside = (a for a in visit.asked if not a.startswith((home, "data:", "blob:")))
    found += [f"asks for {address}" for address in outside]
    wider = visit.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    if wider > 0:
        found.append(f"scrolls sideways by {wider} px")
    if visit.page.locator(".katex-error").count():
        found.append(f"formula: {visit.page.locator('.katex-error').first.inner_text()}")
    if framed := visit.page.evaluate(FRAMED):
        found.append(f"drawings on a sheet of their own: {framed}")
    if cut := visit.page.evaluate(CUT):
        found.append(f"captions cut off: {cut}")
    if silent := visit.page.evaluate(SILENT):
        found.append(f"tables that scroll unsaid: {silent}")
    if broken := visit.page.evaluate(BROKEN):
        found.append(f"names broken in two: {broken}")
    return found


def inaccessible(page, only: str = "", within: str = "'main'") -> list[str]:
    """What axe finds serious in a page's text, of all its rules or of one."""
    axe = pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    options = {"resultTypes": ["violations"], "preload": False}  # it would load style sheets again
    options |= {"runOnly": [only]} if only else {}
    result = page.evaluate(f"options => axe.run({within}, options)", options)
    return [
        f"{violation['id']}: {violation['nodes'][0]['html'][:160]}"
        for violation in result["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def loaded(visit: Visit, site: str, html: Path) -> int:
    """Bytes that a visit has asked of the book's server."""
    asked = {a.removeprefix(site).split("?")[0] for a in visit.asked if a.startswith(site)}
    return sum((html / name).stat().st_size for name in asked)


@pytest.mark.parametrize("docname", [*MET, "search", COPIES[0], COPIES[-1]])
def test_a_page_is_whole_in_every_mode(browser, site, html, docname):
    with Visit(browser, f"{site}{docname}.html") as visit:
        found = {}
        for width, theme in MODES:
            visit.page.set_viewport_size({"width": width, "height": 800})
            visit.page.emulate_media(color_scheme=theme)
            found[width, theme] = faults(visit, site)
            if docname in AXE and width == 1280:  # the theme changes colours alone
                only = "color-contrast" if theme == "dark" else ""
                found[width, theme] += inaccessible(visit.page, only)
            if (width, theme) == (360, "dark"):
                found[width, theme] += inaccessible(visit.page, "scrollable-region-focusable")
        assert not any(found.values()), found
        if "/runs/" in docname:
            assert loaded(visit, site, html) <= MOST


@all_of_them
@pytest.mark.parametrize(("width", "theme"), MODES)
@pytest.mark.parametrize("docname", [*MET, *COPIES, "search", "genindex"])
def test_every_page_is_whole_opened_in_every_mode(browser, site, docname, width, theme):
    with Visit(browser, f"{site}{docname}.html", width=width, theme=theme) as visit:
        assert faults(visit, site) + inaccessible(visit.page) == []


BESIDE = """[...document.querySelectorAll("div.math")].map(line => {
  const room = line.getBoundingClientRect(), text = document.createRange();
  text.selectNodeContents(line.querySelector(".katex-html"));
  const parts = [...text.getClientRects()].filter(r => r.width > 0 && r.width < room.width - 1);
  return [Math.min(...parts.map(r => r.left)) - room.left,
          room.right - Math.max(...parts.map(r => r.right))];
})"""
"""Room at the left and at the right of every displayed formula, in pixels."""


@pytest.mark.parametrize("width", [360, 1280])
def test_displayed_formulas_stand_in_the_middle_or_begin_at_the_left(browser, site, width):
    with Visit(browser, f"{site}{CHAPTER}.html", width=width) as visit:
        rooms = visit.page.evaluate(BESIDE)
    assert rooms
    for left, right in rooms:
        assert abs(left - right) < 2 if right > 0 else abs(left) < 2


APART = """[...document.querySelectorAll("article span.math")].filter(formula => {
  const text = document.createRange(), next = formula.nextSibling;
  if (next?.nodeType !== Node.TEXT_NODE || !/^[.,;:)]/.test(next.data)) return false;
  text.setStart(next, 0);
  text.setEnd(next, 1);
  return text.getBoundingClientRect().top > formula.getBoundingClientRect().bottom - 2;
}).map(formula => formula.parentNode.textContent.slice(0, 60))"""
"""Formulas whose full stop begins the next line."""


@pytest.mark.parametrize("docname", [CHAPTER, contents.met(ROOT, "06b_rmia")])
def test_no_line_begins_with_the_full_stop_of_a_formula(browser, site, docname):
    with Visit(browser, f"{site}{docname}.html") as visit:
        assert visit.page.locator("article span.math").count()
        found = {}
        for width in (360, 420, 500, 700, 1280):
            visit.page.set_viewport_size({"width": width, "height": 800})
            found[width] = visit.page.evaluate(APART)
    assert not any(found.values()), found


def test_the_side_bar_is_for_readers_with_disabilities_too(browser, site):
    with Visit(browser, f"{site}book/cite.html") as visit:
        assert inaccessible(visit.page, within="document.body") == []


def hits(page) -> list[str]:
    page.wait_for_selector("#search-results li", timeout=20_000)
    page.wait_for_timeout(500)
    return page.eval_on_selector_all("#search-results li > a", "all => all.map(a => a.href)")


def test_the_search_finds_a_chapter_once_and_first(browser, site):
    with Visit(browser, f"{site}search.html?q=LiRA") as visit:
        found = [address.split("#")[0].split("?")[0] for address in hits(visit.page)]
        assert "likelihood" in found[0] or "lira" in found[0]
        assert found.count(found[0]) == 1
        copies = {f"{site}{docname}.html" for docname in contents.appendix(ROOT)}
        assert not copies & set(found)
        assert visit.said == []


def test_the_search_works_from_a_file_and_says_what_is_missing(browser, html):
    with Visit(browser, f"{(html / 'search.html').as_uri()}?q=mixup") as visit:
        assert hits(visit.page)
        assert "need a server" in visit.page.locator(".search-note").inner_text()
        assert visit.said == []


def test_pages_work_from_a_file(browser, html):
    home = html.as_uri()
    for docname in ("book/index", CHAPTER):
        with Visit(browser, f"{home}/{docname}.html", width=360) as visit:
            assert faults(visit, home) == []


# ---- explorers ----


def explorers(html: Path) -> dict[str, str]:
    """The pages that have explorers: {name: page}."""
    found: dict[str, str] = {}
    for path in sorted((html / "book").rglob("*.html")):
        for name in re.findall(r'<figure class="[^"]*\bexplorer-(\w+)', path.read_text("utf-8")):
            found.setdefault(name, path.relative_to(html).as_posix())
    return found


def numbers(page) -> dict[str, str]:
    """What an explorer shows, by name."""
    pairs = page.eval_on_selector_all(
        ".explorer-numbers > div", "all => all.map(d => [...d.children].map(c => c.textContent))"
    )
    return dict(pairs)


@pytest.fixture(scope="module")
def gallery(html) -> Path:
    """A page with every explorer on it, beside the built ones."""
    sheets = "".join(
        f'<link rel="stylesheet" href="_static/{name}.css">'
        for name in ("book", "explorers/explorers")
    )
    bodies = "".join(
        f'<figure class="explorer explorer-{name}"><img class="explorer-still" alt="{name}" '
        f'src="_static/explorers/{explorer.still}"><figcaption>{name}</figcaption></figure>'
        f'<script src="_static/explorers/core.js"></script>'
        f'<script src="_static/explorers/data/{explorer.data}.js"></script>'
        f'<script src="_static/explorers/{name}.js"></script>'
        for name, explorer in EXPLORERS.items()
    )
    path = html / "gallery.html"
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Explorers</title>{sheets}'
        f'<meta name="viewport" content="width=device-width"></head><body class="bd-article">'
        f"<main><h1>Explorers</h1>{bodies}</main></body></html>",
        "utf-8",
    )
    return path


@pytest.mark.parametrize("width", [360, 1280])
def test_explorers_start_fit_and_replace_their_still_picture(browser, gallery, width):
    with Visit(browser, gallery.as_uri(), width=width) as visit:
        page = visit.page
        assert visit.said == []
        assert page.locator(".explorer-body").count() == page.locator("figure.explorer").count()
        assert page.locator("img.explorer-still:visible").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_the_still_pictures_are_there(browser, gallery):
    with Visit(browser, gallery.as_uri(), scripts=False) as visit:
        stills = visit.page.locator("img.explorer-still:visible")
        assert stills.count() == visit.page.locator("figure.explorer").count()


def test_the_threshold_moves_by_keyboard_and_by_mouse(browser, gallery):
    with Visit(browser, gallery.as_uri()) as visit:
        figure = visit.page.locator("figure.explorer-threshold")
        slider = figure.locator("input").first
        point = figure.locator("circle")
        before, shown = point.get_attribute("cx"), numbers(figure.page)
        slider.focus()
        for _ in range(10):
            visit.page.keyboard.press("ArrowRight")
        by_key = point.get_attribute("cx")
        assert float(by_key) < float(before)  # a higher threshold accuses fewer
        box = figure.locator("svg").first.bounding_box()
        y = box["y"] + box["height"] / 2
        visit.page.mouse.move(box["x"] + 0.8 * box["width"], y)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + 0.3 * box["width"], y)
        visit.page.mouse.up()
        assert float(point.get_attribute("cx")) > float(by_key)
        figure.locator("input").nth(1).fill("1")
        rare = numbers(figure.page)
        assert rare["true positive rate"] != shown["true positive rate"]
        assert float(rare["precision"].split()[0]) < 10


def test_the_game_is_played_by_keyboard_and_counts(browser, gallery):
    with Visit(browser, gallery.as_uri()) as visit:
        figure = visit.page.locator("figure.explorer-guess")
        tiles = figure.locator(".explorer-tiles button")
        assert tiles.count() == 12
        tiles.first.focus()
        visit.page.keyboard.press("Enter")
        assert tiles.first.get_attribute("aria-pressed") == "true"
        following = figure.locator("button.explorer-next")
        following.click()
        assert "%" in figure.locator(".explorer-told").first.inner_text()
        following.click()
        said = figure.locator(".explorer-say").inner_text()
        mine, its = map(int, re.findall(r"about (\d+)", said))
        members = figure.locator(".is-member").count()
        first = "is-member" in tiles.first.get_attribute("class")
        assert members == 6 and mine == (7 if first else 5) and 0 <= its <= 12
        assert figure.evaluate("figure => figure.contains(document.activeElement)"), "focus is lost"


def test_a_photograph_shows_its_standing_under_every_attack(browser, gallery):
    with Visit(browser, gallery.as_uri()) as visit:
        figure = visit.page.locator("figure.explorer-records")
        before = figure.locator(".explorer-detail").inner_text()
        figure.locator(".explorer-photos button").nth(7).click()
        after = figure.locator(".explorer-detail").inner_text()
        assert before != after and "LiRA" in after and "non-members" in after


def test_a_larger_epsilon_allows_more_and_more_models_change_the_order(browser, gallery):
    with Visit(browser, gallery.as_uri()) as visit:
        figure = visit.page.locator("figure.explorer-epsilon")
        auc = figure.locator("dd").nth(1)
        figure.locator("input").fill("-1")
        small = float(auc.inner_text())
        figure.locator("input").fill("2")
        assert 0.5 < small < float(auc.inner_text()) < 1
        figure = visit.page.locator("figure.explorer-shadows")
        rows = figure.locator("tbody tr")
        figure.locator("input").fill("0")
        few = rows.count()
        figure.locator("input").fill("6")
        assert rows.count() > few


@pytest.mark.parametrize("name", EXPLORERS)
def test_an_explorer_moves_by_keyboard_on_its_page_opened_from_a_file(browser, html, name):
    page = html / explorers(html)[name]
    with Visit(browser, page.as_uri(), width=360) as visit:
        body = visit.page.locator(f"figure.explorer-{name} .explorer-body")
        body.wait_for()
        before = body.evaluate("body => body.innerHTML")
        first = body.locator("input, button").nth(1 if name == "records" else 0)
        first.focus()
        visit.page.keyboard.press("ArrowRight" if name in SLIDERS else "Enter")
        assert body.evaluate("body => body.innerHTML") != before
        assert body.locator("[aria-live=polite]").count(), "a screen reader hears no change"
        for image in body.locator("svg[role=img], img, [role=group]").all():
            assert image.get_attribute("aria-label") or image.get_attribute("alt")
        assert visit.said == []


# ---- small things ----


def test_terms_explain_themselves_by_mouse_and_keyboard(browser, site, html):
    pages = [p for p in (html / "book").rglob("*.html") if "data-card=" in p.read_text("utf-8")]
    assert pages, "no page has a term of the glossary"
    address = f"{site}{pages[0].relative_to(html).as_posix()}"
    with Visit(browser, address) as visit:
        term = visit.page.locator("a[data-card]").first
        card = visit.page.locator("#term-card")
        term.focus()
        assert card.is_visible() and len(card.inner_text()) > 20
        visit.page.keyboard.press("Escape")
        assert not card.is_visible()
        term.hover()
        assert card.is_visible()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_contents_open_and_close(browser, site, width):
    with Visit(browser, f"{site}{CHAPTER}.html", width=width) as visit:
        page = visit.page
        entry = page.get_by_role("link", name="Glossary", exact=True).first
        shown = entry.is_visible()
        assert shown == (width > 1000)
        page.locator(".primary-toggle:visible").first.click()
        entry.wait_for(state="hidden" if shown else "visible")
        if not shown:
            page.keyboard.press("Escape")
            entry.wait_for(state="hidden")
            page.locator(".secondary-toggle:visible").first.click()
            page.locator(".bd-toc-nav a, .page-toc a").first.wait_for(state="visible")
            page.keyboard.press("Escape")
            page.locator(".search-button:visible").first.click()
            page.locator("#pst-search-dialog input").wait_for(state="visible")
        assert visit.said == []


def test_on_paper_what_was_folded_is_seen_at_once(browser, site):
    """Unfolding fades in on the screen; a sheet is printed before that is over."""
    with Visit(browser, f"{site}{CHAPTER}.html") as visit:
        visit.page.emulate_media(media="print")
        fading = visit.page.evaluate(
            """() => {
              window.dispatchEvent(new Event("beforeprint"));
              const inside = [...document.querySelectorAll("article details *")];
              return inside.filter(part => part.getAnimations().length).length;
            }"""
        )
    assert fading == 0


SHEET = 672
"""CSS pixels across what is printed of A4."""
CUT_ON_PAPER = """[...document.querySelectorAll("article table")].filter(
  t => t.getBoundingClientRect().right > innerWidth || t.scrollWidth > t.clientWidth + 1
).map(t => t.innerText.slice(0, 60))"""


@pytest.mark.parametrize("docname", ["book/performance", "book/audit_checked", RESULTS])
def test_on_paper_no_table_is_cut(browser, site, docname):
    with Visit(browser, f"{site}{docname}.html", width=SHEET) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.locator("article table").count()
        assert visit.page.evaluate(CUT_ON_PAPER) == []


def test_on_paper_everything_is_open(browser, site):
    with Visit(browser, f"{site}{CHAPTER}.html") as visit:
        page = visit.page
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.locator("details:not([open])").count() == 0
        for hidden in (".bd-sidebar-primary", ".data-switch", ".prev-next-footer"):
            for element in page.locator(hidden).all():
                assert not element.is_visible(), hidden
        pdf = page.pdf(format="A4")
        assert pdf.startswith(b"%PDF")


def test_a_wrong_address_leads_home(browser, html):
    with Visit(browser, (html / "404.html").as_uri()) as visit:
        assert "begin at its front page" in visit.page.inner_text("body")
        assert visit.said == [] and len(visit.asked) == 1


def test_the_switch_leads_to_the_same_chapter_on_other_data(browser, site):
    copy = contents.appendix(ROOT)[0]
    with Visit(browser, f"{site}{copy}.html") as visit:
        assert "(" in visit.page.inner_text("h1")
        visit.page.locator(".data-switch a").first.click()
        visit.page.wait_for_load_state()
        assert visit.page.url.split("#")[0] == f"{site}{contents.met(ROOT, copy)}.html"
        assert visit.page.locator("a.right-next").count()
