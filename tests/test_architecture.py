"""The package as a whole: imports point one way, and nothing is used that is not declared."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_imports_point_one_way_and_in_no_circle():
    # In a process of its own: it writes to the output that it found when it was imported.
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_types_agree():
    """As one of the tests: it takes a minute on a fresh clone, beside which others run."""
    command = [Path(sys.executable).with_name("mypy"), "--no-error-summary"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


# ---- dependencies ----


def declared(*extras: str) -> set[str]:
    """The distributions that the core and some extras name, and those that the extras refer to."""
    found, waiting, seen = set(), [*PROJECT["dependencies"]], set()
    for extra in extras:
        waiting += PROJECT["optional-dependencies"][extra]
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name == "mia-utils":
            for extra in requirement.extras - seen:
                seen.add(extra)
                waiting += PROJECT["optional-dependencies"][extra]
        else:
            # dask[distributed] brings a distribution of that name
            for name in (requirement.name, *requirement.extras):
                found.add(re.sub(r"[-_.]+", "-", name).lower())
    return found


ABSENT = {"art": "adversarial-robustness-toolbox", "transformers": "transformers"}
"""Where modules come from that the tests' own environment lacks."""
PEERS = {"sacroml"}
"""Tools that a benchmark compares with where somebody has installed them."""


def imported(folder: str) -> dict[str, Path]:
    """Top-level modules that a folder's files import, but for Python's and our own."""
    own = {"mia_utils", "benchmarks", *(path.stem for path in (ROOT / "tests").glob("*.py"))}
    found = {}
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top = (name or "").split(".")[0]
                if top not in sys.stdlib_module_names and top not in own | PEERS:
                    found[top] = path
    return found


@pytest.mark.parametrize(
    "folder, extras",
    [
        ("mia_utils", ("train", "book", "pdf", "cluster", "audit", "huggingface")),
        ("tests", ("dev", "pdf", "bench", "huggingface")),
        ("benchmarks", ("bench", "dev")),
    ],
)
def test_nothing_is_imported_that_is_not_declared(folder, extras):
    known, homes = declared(*extras), packages_distributions()
    found = imported(folder)
    assert {"numpy", "torch"} <= set(found)
    for module, path in found.items():
        names = {
            re.sub(r"[-_.]+", "-", n).lower()
            for n in homes.get(module, [ABSENT.get(module, module)])
        }
        assert names & known, f"{module}, imported by {path}, is in none of {extras}"


CORE = """
import sys
BLOCKED = {blocked}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
import mia_utils
from mia_utils import evaluate
from factories import FACTORIES
from synthetic import scene

assert all(getattr(mia_utils, name) for name in mia_utils.__all__)
shadow, population, target = scene(8, seed=1, shadow_leak=2.0, target_leak=2.0)
done = []
for name, factory in FACTORIES.items():
    try:
        attack = factory().fit(shadow, population)
    except ModuleNotFoundError as error:
        assert "torch" in str(error) and name.startswith("learned"), name  # its own network
        continue
    evaluate(attack, target)
    done.append(name)
print(len(done), "attacks")
"""


def test_the_core_alone_attacks_and_evaluates():
    """Without torch and without the book's tools: what `pip install mia-utils` gives."""
    outside = declared("dev", "bench", "huggingface") - declared()
    modules = {
        m
        for m, names in packages_distributions().items()
        for n in names
        if re.sub(r"[-_.]+", "-", n).lower() in outside
    }
    modules -= {"PIL"}  # matplotlib brings it
    script = CORE.format(blocked=sorted(modules))
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT / "tests"
    )
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"[2-9]\d attacks\n", result.stdout)


def test_the_formatter_alone_lays_out_the_code():
    folders = ("mia_utils", "tests", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    off = "# fmt" + ":"
    assert not [str(path) for path in files if off in path.read_text("utf-8")]
