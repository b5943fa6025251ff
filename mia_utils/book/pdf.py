"""The built book as one PDF, printed page by page by Chromium: `make pdf`."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..errors import InputError
from ..files import whole_file

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str:
    """The Chromium of this system.

    Raises
    ------
    InputError
        If there is none.
    """
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise InputError(
            "no Chromium to print with; install it (apt-get install chromium), "
            f"under one of the names {', '.join(BROWSERS)}"
        )
    return path


def pages(html: Path) -> list[Path]:
    """The pages of a built book in the order of Next, from the front page."""
    page = html / "book/index.html"
    if not page.exists():
        raise InputError(f"no built book at {html}; run: make book")
    found = []
    while page not in found:
        found.append(page)
        after = re.search(
            r'<a class="right-next"\s+href="([^"#]+)', page.read_text("utf-8"), re.DOTALL
        )
        if after is None:
            break
        page = (page.parent / after[1]).resolve()
    return found


def print_page(browser: str, page: Path, pdf: Path) -> None:
    """One page on A4, its scripts finished, what is folded opened."""
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-pdf-header-footer",
        "--virtual-time-budget=10000",
        f"--print-to-pdf={pdf}",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if not pdf.exists():
        raise InputError(f"{browser} did not print {page}: {done.stderr.strip()[-300:]}")


def write(html: Path, destination: Path) -> int:
    """Print the whole book; return its number of sheets."""
    from pypdf import PdfWriter

    browser, book = chromium(), PdfWriter()
    with tempfile.TemporaryDirectory() as folder:
        for number, page in enumerate(pages(html.resolve())):
            pdf = Path(folder, f"{number}.pdf")
            print_page(browser, page, pdf)
            title = re.search(r"<title>(.*?)(?: &#8212;.*)?</title>", page.read_text("utf-8"))
            book.append(pdf, outline_item=title[1] if title else page.stem)
        with whole_file(destination) as partial:
            book.write(partial)
    return len(book.pages)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mia_utils.book.pdf", description=__doc__)
    parser.add_argument("--html", type=Path, default=Path("_build/html"))
    parser.add_argument("--out", type=Path, default=Path("_build/book.pdf"))
    arguments = parser.parse_args(argv)
    try:
        sheets = write(arguments.html, arguments.out)
    except InputError as error:
        print(f"pdf: {error}", file=sys.stderr)
        return 2
    print(f"pdf: {sheets} sheets, {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
