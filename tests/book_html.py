"""The built book that tests look at: committed copies, and the chapters on digits as "your run"."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conftest import ROOT

from mia_utils.book import notebooks, publish


def build(root: Path, on_digits: Callable[[Path], Path]) -> Path:
    """Build the book in a new folder; return its HTML."""
    default = shutil.ignore_patterns(publish.DEFAULT_SET)
    shutil.copytree(ROOT / "book", root / "book", ignore=default)
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, root / name)
    for source in notebooks.chapters(ROOT):
        publish.publish(on_digits(source), root, where=publish.DEFAULT_SET)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "-W", "-n", "--keep-going"]
    plain = {**os.environ, "NO_COLOR": "1"}
    result = subprocess.run([*command, root], capture_output=True, text=True, env=plain)
    log = result.stdout + result.stderr
    assert result.returncode == 0, "\n".join(re.findall(r".*(?:WARNING|ERROR).*", log)) or log
    return root / "_build/html"
