"""What the package never does with a file or a text that comes from elsewhere: it runs none of it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mia_utils

ROOT = Path(mia_utils.__file__).parents[1]
FILES = sorted([*ROOT.glob("mia_utils/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "tarfile"}
"""Reading with them runs code; tar archives write where their names say."""
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "joblib.load",
    "torch.jit.load",
    "torch.hub.load",
    "pd.read_pickle",
    "pandas.read_pickle",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "shutil.unpack_archive",
    "tempfile.mktemp",
}
METHODS = {"extractall", "extract"}
"""Of archives: names inside decide where they write."""

ALLOWED = {("mia_utils/book/trainings.py", "compile"), ("mia_utils/book/trainings.py", "exec")}
"""`mia sweep --train-only` runs a chapter's own statements, as executing the chapter would."""


def name_of(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def offences(tree: ast.AST):
    """What a file does that it must not, as (what, line)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            given = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            for module in {name.split(".")[0] for name in given} & MODULES:
                yield module, node.lineno
        if not isinstance(node, ast.Call):
            continue
        name, options = name_of(node.func), {k.arg: k.value for k in node.keywords}
        if name in CALLS or name.rpartition(".")[2] in METHODS:
            yield name, node.lineno
        if name in ("np.load", "numpy.load") and not said(options.get("allow_pickle"), False):
            yield "np.load without allow_pickle=False", node.lineno
        if name == "torch.load" and not said(options.get("weights_only"), True):
            yield "torch.load without weights_only=True", node.lineno
        if "shell" in options and not said(options["shell"], False):
            yield "a shell", node.lineno
        if "trust_remote_code" in options and not said(options["trust_remote_code"], False):
            yield "code of a model's author", node.lineno


def said(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_that_is_read_is_run():
    assert len(FILES) > 100
    found = {}
    for path in FILES:
        inside = path.relative_to(ROOT).as_posix()
        for what, line in offences(ast.parse(path.read_text("utf-8"))):
            if (inside, what) not in ALLOWED:
                found[f"{inside}:{line}"] = what
    assert not found


def test_bandit_finds_nothing_that_is_not_explained():
    command = [sys.executable, "-m", "bandit", "-q", "-r", "mia_utils", "-c", "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import dill as d",
        "eval('1')",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "archive.extractall(folder)",
        "subprocess.run(text, shell=True)",
        "yaml.load(text)",
        "f(x, trust_remote_code=remote)",
    ],
)
def test_each_offence_is_seen(line):
    assert list(offences(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    ["model.eval()", "re.compile('a')", "np.load(p, allow_pickle=False)", "ast.literal_eval('1')"],
)
def test_what_is_harmless_is_none(line):
    assert not list(offences(ast.parse(line)))
