"""`mia sweep --train-only`: what a chapter trains, and nothing else of it."""

import ast
import re
import subprocess
import sys

import pytest
from chapters import chapter, save
from conftest import ROOT
from test_architecture import declared

from mia_utils import Store
from mia_utils.__main__ import main
from mia_utils.book import notebooks
from mia_utils.book.trainings import run_trainings, statements, trainings
from mia_utils.errors import InputError, NotebookError


def kept(*cells: str) -> str:
    return "\n".join(ast.unparse(line) for line in trainings(statements(cells)))


@pytest.mark.parametrize(
    "cells, expected",
    [
        (
            ["import a, b", "a.x()", "out = train(b.y)", "print(out)"],
            "import a, b\nout = train(b.y)",
        ),
        (["x = 1", "x = 2", "train(x)", "x = 3"], "x = 2\ntrain(x)"),
        (["x = [1]", "x.append(2)", "len(x)", "train(x)"], "x = [1]\nx.append(2)\ntrain(x)"),
        (["x = [1]", "y = [2]", "y.append(x)", "train(x)"], "x = [1]\ntrain(x)"),
        (
            ["x = f()", "x[0] = 1", "x.a.b = 2", "train(x)"],
            "x = f()\nx[0] = 1\nx.a.b = 2\ntrain(x)",
        ),
        (["x = 1", "x += 1", "train(x)"], "x = 1\nx += 1\ntrain(x)"),
        (
            ["r = default_rng(0)", "seen = r.random()", "train(r)"],
            "r = default_rng(0)\nseen = r.random()\ntrain(r)",
        ),
        (
            ["x = f()", "np.random.shuffle(x)", "train(x)"],
            "x = f()\nnp.random.shuffle(x)\ntrain(x)",
        ),
        (
            ["def g(x):\n    return train(x)", "y = g(1)"],
            "def g(x):\n    return train(x)\ny = g(1)",
        ),
        (
            ["def h(z):\n    z[0] = 1", "x = [0]", "h(x)", "train(x)"],
            "def h(z):\n    z[0] = 1\nx = [0]\nh(x)\ntrain(x)",
        ),
        (["name = 1", "a = [name for name in b()]", "train(name)"], "name = 1\ntrain(name)"),
        (["if a:\n    x = 1\nelse:\n    y = 2", "train(x)"], "if a:\n    x = 1\ntrain(x)"),
        (
            ["for i in n:\n    o = train(i)\n    print(o)\n    t = score(o)"],
            "for i in n:\n    o = train(i)",
        ),
        (
            ["x = 0", "for i in n:\n    train(x)\n    x = f(i)"],
            "x = 0\nfor i in n:\n    train(x)\n    x = f(i)",
        ),
        (["with c() as d:\n    train(d)"], "with c() as d:\n    train(d)"),
        (["%matplotlib inline\nx = 1", "!ls", "train(x)"], "x = 1\ntrain(x)"),
        (["x = 1", "plot(x)"], ""),
    ],
)
def test_a_training_is_kept_with_what_it_needs(cells, expected):
    assert kept(*cells) == expected


def test_language_models_are_trained_ahead_too():
    assert kept("models = train_text(corpus, copies)", "print(models.outputs())") == (
        "models = train_text(corpus, copies)"
    )


def test_an_experiment_is_its_models_without_its_attacks():
    assert "experiment'" in kept("done = run(e)", "print(done)") and "run(" not in kept(
        "d = run(e)"
    )
    assert "run(e)" in kept("done = run(e)", "train(done)")


def test_a_cell_that_is_no_python_is_refused():
    with pytest.raises(InputError, match="no Python"):
        statements(["x = = 1"])


TRAINS = """from mia_utils import TrainConfig, load_dataset, quarter_masks, train
pool = load_dataset(dataset)
masks, _ = quarter_masks(pool.labels, seed=seed)
print("said")"""
PARAMETERS = "dataset = 'digits'\nseed = 0"


def test_only_the_models_are_made(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MIA_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MIA_RUNS", str(tmp_path / "runs"))
    cell = 'o = train(pool, masks, "mlp", TrainConfig(epochs=1), seed=seed, progress=False)'
    save(chapter(TRAINS, cell, "1 / 0", parameters=PARAMETERS), tmp_path / "notebooks/01_a.ipynb")
    argv = [
        "sweep",
        "--root",
        str(tmp_path),
        "--chapter",
        "1",
        "-p",
        "seed",
        "0",
        "1",
        "--train-only",
    ]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "[2/2] 01_a seed=1" in said and "train: 2 of 2 cells" in said and "said" not in said
    assert len(Store(tmp_path / "store").names()) == 2 and not (tmp_path / "runs").exists()
    assert main([*argv, "--dry-run"]) == 2 and main([*argv, "--jobs", "2"]) == 2


def test_a_cell_that_fails_is_named_and_the_others_go_on(tmp_path, capsys):
    cells = "x = 1 / seed", "from mia_utils import train", "train(x)"
    save(chapter(*cells, parameters=PARAMETERS), tmp_path / "notebooks/01_a.ipynb")
    argv = ["sweep", "--root", str(tmp_path), "--chapter", "1", "-p", "seed", "0", "--train-only"]
    assert main(argv) == 1
    assert "failed: 01_a seed=0: ZeroDivisionError: division by zero (in: x = 1 / seed)" in (
        capsys.readouterr().err
    )
    with pytest.raises(NotebookError, match="TypeError"):
        run_trainings(notebooks.read(tmp_path / "notebooks/01_a.ipynb"), {"seed": 1})


def test_neither_the_books_tools_nor_opacus_are_needed(tmp_path):
    """On a machine that only trains."""
    from importlib.metadata import packages_distributions

    outside = declared("book") - declared("train") | {"opacus"}
    modules = {
        module
        for module, names in packages_distributions().items()
        if {re.sub(r"[-_.]+", "-", name).lower() for name in names} & outside
    }
    script = f"""
import sys
BLOCKED = {sorted(modules)}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
from mia_utils.cli.main import main
argv = ["sweep", "--train-only", "--chapter", "10", "--root", {str(ROOT)!r}, "-p", "dataset", "digits"]
sys.exit(main([*argv, "-p", "architecture", "mlp", "-p", "epochs", "1", "--store", {str(tmp_path)!r}]))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(Store(tmp_path).names()) == 2
