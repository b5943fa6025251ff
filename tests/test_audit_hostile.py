"""Files that are made to do harm are refused, or do none."""

import io
import json
import zipfile

import numpy as np
import pytest
from audited import answers

from mia_utils.audit import AuditData, audit, read_answers
from mia_utils.audit.tables import read_table
from mia_utils.errors import InputError

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class _Runs:
    """Code that a pickle runs when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_arrays_are_refused_and_not_run(tmp_path):
    mark = tmp_path / "ran"
    np.savez(tmp_path / "a.npz", logits=np.array([_Runs(mark)], dtype=object))
    np.save(tmp_path / "b.npy", np.array([_Runs(mark)], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="pickled objects"):
        read_answers(tmp_path / "a.npz")
    with pytest.raises(InputError, match="not a readable array"):
        read_answers(tmp_path / "b.npy")
    assert not mark.exists()


def test_an_archive_that_unpacks_to_far_more_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        with file.open("logits.npy", "w") as member:
            header = io.BytesIO()
            shape = (2**27, 1)
            np.lib.format.write_array_header_1_0(
                header, {"descr": "|i1", "fortran_order": False, "shape": shape}
            )
            member.write(header.getvalue())
            for _ in range(2):
                member.write(b"\0" * 2**26)
    assert (tmp_path / "bomb.npz").stat().st_size < 2**18
    with pytest.raises(InputError, match="is not read"):
        read_answers(tmp_path / "bomb.npz")


def test_an_archive_larger_than_the_bound_is_refused(tmp_path):
    np.savez(tmp_path / "large.npz", logits=np.random.default_rng(0).normal(size=2000))
    with pytest.raises(InputError, match="expected at most"):
        read_table(tmp_path / "large.npz", largest=1000)


def test_a_header_that_claims_more_than_is_there_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    )
    with zipfile.ZipFile(tmp_path / "liar.npz", "w") as file:
        file.writestr("logits.npy", header.getvalue() + b"\0" * 80)
    with pytest.raises(InputError, match="claims 8,000,000,000,000 bytes"):
        read_answers(tmp_path / "liar.npz")


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.csv", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_damaged_files_give_one_line(name, content, tmp_path):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_answers(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)


@pytest.fixture(scope="module")
def report():
    outputs = answers(classes=2, leak=1.0)
    n = outputs.labels.size
    data = AuditData.of(
        outputs,
        names=[f"{EVIL}{i}" if i % 2 else f"=cmd|'/c calc'!{i}" for i in range(n)],
        groups={EVIL: np.where(np.arange(n) % 2, EVIL, "</style></svg></title>")},
        classes=[EVIL, "]]>--><script>"],
    )
    return audit(data, command=f"mia audit {EVIL}")


def test_names_are_escaped_in_the_report(report):
    bs4 = pytest.importorskip("bs4")
    page = bs4.BeautifulSoup(report.html(), "html.parser")
    assert not page.find_all("script") and not page.find_all(attrs={"onerror": True})
    assert EVIL in page.find("pre").get_text()
    assert EVIL in {cell.get_text() for cell in page.find_all("td")}
    assert len(page.find_all("main")) == 1


def test_the_report_asks_nobody_for_anything(report):
    bs4 = pytest.importorskip("bs4")
    page = bs4.BeautifulSoup(report.html(), "html.parser")
    loaded = [
        value
        for tag in page.find_all(True)
        for name, value in tag.attrs.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "poster", "data")
        and tag.name != "a"
    ]
    assert not loaded and "url(" not in report.html() and "@import" not in report.html()
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy


def test_a_spreadsheet_runs_no_formula_of_an_id(report):
    cells = [line.split(",")[0].strip('"') for line in report.csv().splitlines()[1:]]
    assert sum("=cmd" in cell for cell in cells) > 100
    assert not any(cell.startswith(("=", "+", "@")) for cell in cells)


def test_a_link_in_the_report_folder_is_replaced_and_not_followed(report, tmp_path):
    outside = tmp_path / "precious"
    outside.write_text("kept")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.html").symlink_to(outside)
    report.save(folder)
    assert outside.read_text() == "kept" and not (folder / "report.html").is_symlink()


def test_nothing_is_written_outside_the_report_folder(report, tmp_path):
    (tmp_path / "a").mkdir()
    written = report.save(tmp_path / "a" / "report")
    assert {path.name for path in written} == {"report.html", "report.json", "records.csv"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert json.loads((tmp_path / "a" / "report" / "report.json").read_text(encoding="utf-8"))
    with pytest.raises(InputError, match="a file; expected a folder"):
        report.save(written[0])
