"""Which page of a chapter a reader meets, in which order, and how its copies are told apart."""

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from conftest import ROOT
from docutils import nodes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.errors import ConfigError

from mia_utils.book import (
    build,
    contents,
    decorate,
    notebooks,
    numbers,
    publish,
    same,
    sphinx,
    state,
)
from mia_utils.errors import InputError
from mia_utils.training.accounting import MENDED

BANNER_TITLE = "This copy is older than its source"
PROSE = "# Title\n\n(why)=\n## Why\n\nSee {ref}`why`, [next](02_b.md#why) and {ref}`elsewhere`."


def touch(path: Path, code: str = "x = 1", prose: str = PROSE, **ran) -> None:
    cells = [new_markdown_cell(prose), new_code_cell(code, **ran)]
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = new_notebook(cells=cells)
    notebook.metadata["mia"] = {"decides": state.decides(notebook, {}), "parameters": {}}
    nbformat.write(notebook, path)


def repository(root: Path, *copies: str) -> Path:
    """Chapters 01_baselines to 03_defenses, executed as copies (FOLDER/NN_name) of them."""
    for name in ("01_baselines", "02_b", "03_defenses"):
        touch(root / f"notebooks/{name}.ipynb")
    for copy in copies:
        folder, name = copy.split("/")
        touch(root / f"run/{name}.ipynb", execution_count=1)
        publish.publish(root / f"run/{name}.ipynb", root, where=folder)
    return root


def read(root: Path, docname: str) -> nbformat.NotebookNode:
    text = (root / f"{docname}.ipynb").read_text()
    return nbformat.reads(sphinx.page_source(root, docname, text), 4)


# ---- table of contents ----


def test_the_table_of_contents_is_what_the_files_give():
    assert (ROOT / "_toc.yml").read_text("utf-8") == contents.toc(ROOT), "run: mia book contents"


def test_make_book_executes_every_chapter():
    listed = tomllib.loads((ROOT / build.GRID).read_text("utf-8"))["grid"][0]["chapter"]
    assert sorted(listed) == sorted(path.stem for path in notebooks.chapters(ROOT))


def test_every_page_of_prose_is_in_the_table_of_contents():
    listed = set(re.findall(r"(?:file|root): (\S+)", contents.toc(ROOT)))
    pages = {p.relative_to(ROOT).with_suffix("").as_posix() for p in (ROOT / "book").rglob("*.md")}
    assert pages <= listed


def test_the_page_on_the_report_names_every_numbered_part_of_it():
    text = (ROOT / "book/report.md").read_text("utf-8").split("## What the book adds")[0]
    for word, last in {"figure": 9, "equation": 5, "footnote": 4, "table": 1}.items():
        named = set()
        for first, joined, second in re.findall(rf"{word}s? (\d)(?: (to|and) (\d))?", text):
            ends = int(first), int(second or first)
            named |= set(range(ends[0], ends[1] + 1) if joined == "to" else ends)
        assert named == set(range(1, last + 1)), word
    sections = ["1 and 2", "2.1", "2.2", "2.3", "2.4", "2.5", "3.1", "3.2", "3.3", "4.1", "4.2"]
    for number in [*sections, "4.3", "4.4", "4.5", "4.6", "5.1", "5.2", "6"]:
        assert re.search(rf"[|;] {re.escape(number)}, ", text), number


def test_a_chapter_is_met_on_cifar10_else_on_the_embedded_images(tmp_path):
    root = repository(tmp_path, "mnist/01_baselines", "cifar10/01_baselines", "mnist/02_b")
    text = contents.toc(root)
    assert re.findall(r"file: book/runs/(\S+)", text) == [
        "cifar10/01_baselines",
        "cifar10-mini/02_b",
        "cifar10-mini/03_defenses",
    ]
    assert re.findall(r"caption: (\w+)", text) == ["Introduction", "Defense"]
    assert text.count("numbered: 1") == 2
    assert contents.write_toc(root) and not contents.write_toc(root)


def test_chapter_00_has_no_number_so_that_the_others_have_their_files(tmp_path):
    root = repository(tmp_path)
    touch(root / "notebooks/00_data_and_models.ipynb")
    first, second = yaml.safe_load(contents.toc(root))["parts"][:2]
    assert first["caption"] == "Before you begin" and "numbered" not in first
    assert second["caption"] == "Introduction" and second["numbered"] == 1
    assert second["chapters"][0]["file"].endswith("01_baselines")


def test_pages_and_figures_have_the_number_of_their_file(tmp_path):
    root = repository(tmp_path, "cifar10/01_baselines")
    touch(root / "notebooks/01b_more.ipynb")
    page, prose = "book/runs/cifar10-mini/01b_more", "book/index"
    assert page in contents.toc(root)
    reference = nodes.reference(secnumber=[2])
    env = SimpleNamespace(
        toc_secnumbers={page: {"": (2,), "#idea": (2, 1), "#deep": None}, prose: {"": (3,)}},
        titles={page: nodes.title(secnumber=(2,))},
        tocs={page: nodes.bullet_list("", reference)},
    )
    numbers.renumber(env, root)
    assert env.toc_secnumbers[page] == {"": ("1b",), "#idea": ("1b", 1), "#deep": None}
    assert env.titles[page]["secnumber"] == reference["secnumber"] == ["1b"]
    assert env.toc_secnumbers[prose] == {"": (3,)}


def test_figures_of_copies_have_the_numbers_of_the_page_that_is_met(tmp_path):
    root = repository(tmp_path, "cifar10/01_baselines", "mnist/01_baselines")
    met, copy, prose = "book/runs/cifar10/01_baselines", "book/runs/mnist/01_baselines", "book/a"
    counted = {
        met: {"figure": {"fig-a": ("1", 1), "fig-b": ("1", 2)}},
        copy: {"figure": {"fig-b-mnist": (142,), "fig-a-mnist": (99,)}, "table": {"t": (7,)}},
        prose: {"figure": {"fig-c": (143,)}},
    }
    env = SimpleNamespace(toc_fignumbers=counted)
    numbers.number_copies(env, root)
    assert counted[copy] == {
        "figure": {"fig-a-mnist": ("1", 1), "fig-b-mnist": ("1", 2)},
        "table": {"t": ("1", 1)},
    }
    assert counted[met]["figure"]["fig-b"] == ("1", 2)
    assert counted[prose] == {"figure": {"fig-c": (143,)}}


def test_copies_are_listed_known_data_first_and_the_readers_own_run_last(tmp_path):
    names = ("cifar10-mini", "zebra", "mnist", "cifar10", "cifar100")
    root = repository(tmp_path, *(f"{name}/01_baselines" for name in names))
    found = contents.versions(root, "01_baselines")
    assert list(found) == ["CIFAR-10", "CIFAR-100", "MNIST", "zebra", "your run"]
    met = "book/runs/cifar10/01_baselines"
    assert contents.met(root, "01_baselines") == met == found["CIFAR-10"]
    assert contents.appendix(root) == [page for page in found.values() if page != met]


# ---- what Sphinx reads ----


def test_copies_carry_their_data_in_the_title_and_link_their_siblings(tmp_path):
    root = repository(tmp_path, "mnist/01_baselines", "cifar10/01_baselines")
    met = read(root, "book/runs/cifar10/01_baselines").cells[0].source
    other = read(root, "book/runs/mnist/01_baselines").cells[0].source
    assert met.startswith("# Title\n") and other.startswith("# 1. Title (MNIST)\n")
    assert "- **CIFAR-10**" in met and "- [MNIST](../mnist/01_baselines.ipynb)" in met
    assert "- **MNIST**" in other and "- [CIFAR-10](../cifar10/01_baselines.ipynb)" in other


def test_a_chapter_with_one_copy_has_no_switch(tmp_path):
    root = repository(tmp_path, "cifar10-mini/02_b")
    assert "data-switch" not in read(root, "book/runs/cifar10-mini/02_b").cells[0].source


def test_labels_are_the_authors_where_a_reader_meets_them_and_unique_elsewhere(tmp_path):
    root = repository(
        tmp_path, *(f"{n}/01_baselines" for n in ("mnist", "cifar10-mini", "cifar10"))
    )
    sources = [
        read(root, page).cells[0].source
        for page in contents.versions(root, "01_baselines").values()
    ]
    for ending, source in zip(("", "-mnist", "-cifar10-mini"), sources, strict=True):
        assert f"(why{ending})=" in source and f"{{ref}}`why{ending}`" in source
        assert "{ref}`elsewhere`" in source


def test_links_lead_to_the_same_data_where_it_is_there_else_to_the_page_one_meets(tmp_path):
    root = repository(tmp_path, "mnist/01_baselines", "cifar10/01_baselines", "cifar10/02_b")
    page = "book/runs/mnist/01_baselines"
    assert "](../cifar10/02_b.ipynb#why)" in read(root, page).cells[0].source
    assert "](02_b.ipynb#why)" in read(root, "book/runs/cifar10/01_baselines").cells[0].source
    repository(root, "mnist/02_b")
    assert "](02_b.ipynb#why)" in read(root, page).cells[0].source


def test_prose_names_chapters_without_their_number(tmp_path):
    root = repository(tmp_path, "cifar10/01_baselines")
    text = "[one](chapter:baselines#why)\n\n:link: chapter:defenses\n"
    assert sphinx.page_source(root, "book/index", text) == (
        "[one](runs/cifar10/01_baselines.ipynb#why)\n\n:link: runs/cifar10-mini/03_defenses\n"
    )
    with pytest.raises(InputError, match="'nothing'; a page may name baselines, b, defenses"):
        sphinx.page_source(root, "book/index", "[x](chapter:nothing)")


def test_the_page_of_copies_lists_every_chapter_with_its_pages(tmp_path):
    root = repository(tmp_path, "cifar10/01_baselines", "mnist/01_baselines")
    page = sphinx.page_source(root, "book/copies", "% copies\n")
    assert (
        "| [](runs/cifar10/01_baselines.ipynb) | [CIFAR-10](runs/cifar10/01_baselines.ipynb) · "
        "[MNIST](runs/mnist/01_baselines.ipynb) |"
    ) in page


def test_a_copy_older_than_its_source_gets_a_banner_below_its_title(tmp_path):
    root = repository(tmp_path, "mnist/01_baselines")
    page = "book/runs/mnist/01_baselines"
    assert BANNER_TITLE not in read(root, page).cells[0].source
    touch(root / "notebooks/01_baselines.ipynb", "x = 2")
    first = read(root, page).cells[0].source
    assert first.startswith("# 1. Title (MNIST)\n") and BANNER_TITLE in first


def test_the_banner_of_a_page_of_private_models_says_what_was_mended(tmp_path):
    """A copy that records no recipe is older than all of them."""
    root = repository(tmp_path, "mnist/01_baselines", "mnist/02_b")
    touch(root / "notebooks/02_b.ipynb", "DPConfig(epsilon=8)")
    told = []
    for name in ("01_baselines", "02_b"):
        page = root / f"book/runs/mnist/{name}.ipynb"
        copy = nbformat.read(page, as_version=4)
        del copy.metadata["mia"]["decides"]
        nbformat.write(copy, page)
        told.append(read(root, f"book/runs/mnist/{name}").cells[0].source)
    assert all(BANNER_TITLE in each for each in told) and "private" not in told[0]
    assert f"the training of private models (before that, {MENDED[3]}) changed" in told[1]


def test_the_banner_says_what_has_changed(tmp_path, monkeypatch):
    root = repository(tmp_path, "mnist/01_baselines")
    monkeypatch.setattr(state, "package_hash", lambda cells: "another package")
    first = read(root, "book/runs/mnist/01_baselines").cells[0].source
    assert BANNER_TITLE in first and "code of the package that it uses changed" in first


def test_an_edit_of_the_package_that_changed_no_output_is_a_line_and_no_banner(
    tmp_path, monkeypatch
):
    root, page = repository(tmp_path, "mnist/01_baselines"), "book/runs/mnist/01_baselines"
    was = publish.read(root / f"{page}.ipynb").metadata.mia.decides["package"]
    monkeypatch.setattr(state, "package_hash", lambda cells: "another package")
    row = dict.fromkeys(same.COLUMNS, "1") | {"chapter": "01_baselines", "before": was}
    same.add(root, [row | {"after": "another package"}])
    first = read(root, page).cells[0].source
    assert BANNER_TITLE not in first and "Executed with an earlier version of the package" in first


def test_without_its_chapters_the_book_says_to_make_them_first(tmp_path):
    root = repository(tmp_path)
    (root / "book").mkdir()
    (root / "book/index.md").write_text("# Index", "utf-8")
    with pytest.raises(ConfigError, match="3 pages .*cifar10-mini/01_baselines.*run: make book"):
        sphinx.setup(SimpleNamespace(srcdir=root))


def test_the_reference_lists_every_public_module():
    page = "".join(
        sphinx.page_source(ROOT, "book/api", path.read_text())
        for path in [ROOT / "book/api.md", *(ROOT / "book/api").glob("*.md")]
    )
    listed = re.findall(r"automodule:: (\S+)", page)
    package = ROOT / "mia_utils"
    files = [p.relative_to(ROOT).with_suffix("") for p in package.rglob("*.py")]
    names = {".".join(p.parts).removesuffix(".__init__") for p in files}
    public = {n for n in names if not n.endswith(".__main__") and not n.startswith("mia_utils.cli")}
    assert len(listed) == len(set(listed)) and set(listed) == public


def test_other_pages_are_left_alone():
    text = "# Title\n\nSome text, 50 % modules.\n"
    assert sphinx.page_source(ROOT, "book/notation", text) == text


def test_a_page_outside_the_runs_is_no_copy():
    assert decorate.is_copy("book/runs/mnist/01_baselines")
    assert not decorate.is_copy("book/notation") and not decorate.is_copy("book/runs/x")
