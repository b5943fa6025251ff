"""The recipes of book/architecture.md, followed to the letter in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PAGE = (ROOT / "book/architecture.md").read_text("utf-8")
BLOCK = re.compile(r"^(`{3,})diff\n\+\+\+ (\S+)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


def follow(recipe: str, root: Path) -> list[str]:
    """Do what a recipe's blocks say; returns the names of the files."""
    section = re.search(rf"^### {recipe}$(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    blocks = BLOCK.findall(section)
    assert blocks
    for _, name, text in blocks:
        path = root / name
        for change in re.split(r"^@@\n", text, flags=re.MULTILINE):
            lines = change.splitlines(keepends=True)
            before, after = (
                "".join(line[1:] or "\n" for line in lines if line[0] not in left_out)
                for left_out in ("+", "-")
            )
            content = path.read_text("utf-8") if before else ""
            assert not before or content.count(before) == 1, f"{name} has no one place\n{before}"
            path.write_text(content.replace(before, after) if before else after, "utf-8")
    return [name for _, name, _ in blocks]


@pytest.fixture
def root(tmp_path):
    """What a newcomer changes: the package, its tests, the chapters."""
    for name in ("mia_utils", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name)  # with what is compiled: that takes seconds
    (tmp_path / "book").mkdir()
    shutil.copytree(ROOT / "book/grids", tmp_path / "book/grids")
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks/01_baselines.md", tmp_path / "notebooks")
    for name in ("pyproject.toml", "_config.yml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(root: Path, *command: str) -> str:
    """Python in the copy, which is the package there."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env={
            **os.environ,
            "MIA_FLOPS": "1e9",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def passes(root: Path, names: str, *files: str) -> None:
    """Those tests pass in the copy whose names hold one of these words, and there are some."""
    options = ["-p", "no:cacheprovider", "-q", "-x", "-k", names]
    run(root, "-m", "pytest", *options, *(f"tests/{file}" for file in files))


DOWNLOADED = """
import numpy as np
from torchvision import datasets

class Split:
    classes = list("abcdefghij")
    def __init__(self, folder, train, download):
        count = 60_000 if train else 10_000
        self.data, self.targets = np.zeros((count, 28, 28), np.uint8), np.arange(count) % 10

datasets.FashionMNIST = Split
from mia_utils import load_dataset
print(len(load_dataset("fashion", "data")), load_dataset("fashion", "data").shape)
"""


def test_a_data_set(root):
    follow("A data set", root)
    assert run(root, "-c", DOWNLOADED) == "70000 (28, 28, 1)\n"
    plan = ["plan", "--dataset", "fashion", "--architecture", "mlp", "--epochs", "1"]
    assert "memory" in run(root, "-m", "mia_utils", *plan)


def test_an_architecture(root):
    follow("An architecture", root)
    script = (
        "from mia_utils import TrainConfig, balanced_masks, load_dataset, train; "
        "pool = load_dataset('digits'); masks = balanced_masks(len(pool), models=2, seed=0); "
        "config = TrainConfig(epochs=1, dropout=0.1); "
        "print(train(pool, masks, 'linear', config, store='store', jobs=1).logits.shape)"
    )
    assert run(root, "-c", script).endswith("(2, 1797, 10)\n")


def test_an_attack(root):
    follow("An attack", root)
    script = "import mia_utils; print(mia_utils.GapAttack(threshold=1.0))"
    assert run(root, "-c", script) == "GapAttack(threshold=1.0)\n"
    passes(root, "gap or every_attack_is_tested", "test_attacks_contract.py")


def test_a_training_defense(root):
    follow("A training defense", root)
    script = (
        "from mia_utils import TrainConfig, balanced_masks, load_dataset; "
        "from mia_utils.defenses import train_defended; "
        "pool = load_dataset('digits'); masks = balanced_masks(len(pool), models=2, seed=0); "
        "models = [train_defended(pool, masks, 'mlp', TrainConfig(epochs=1), defense, "
        "store='store', jobs=1) for defense in ('none', 'input_noise')]; "
        "print((models[0].logits == models[1].logits).mean())"
    )
    assert run(root, "-c", script).endswith("0.0\n")
    passes(root, "default or recipe", "test_training_config.py")


def test_a_chapter(root):
    names = follow("A chapter", root)
    assert "17_coins" in run(root, "-m", "mia_utils", "notebooks", "sync")
    given = ["-p", "dataset", "digits", "--store", "store", "--out", "out.ipynb"]
    run(root, "-m", "mia_utils", "run", "17", *given)
    assert "0.5" in (root / "out.ipynb").read_text("utf-8")
    assert "notebooks/17_coins.md" in names
    run(root, "-m", "mia_utils", "book", "contents")
    assert "17_coins" in (root / "_toc.yml").read_text("utf-8")
