"""What makes an executed chapter old: each of it does, and nothing else."""

import textwrap

import pytest
from chapters import chapter, save

from mia_utils.book import notebooks, state
from mia_utils.book.source import PACKAGE, TOOLING, closure, code_hash, package_hash
from mia_utils.data import Pool, write_archive
from mia_utils.errors import InputError

# ---- source ----


@pytest.mark.parametrize(
    "same",
    ["x = 1  # one", "# a line\nx  =  1", "x = (1)\n\n", "x = 1\n'a text that nobody shows'\npass"],
)
def test_comments_and_layout_change_no_hash(same):
    assert code_hash([same if "pass" not in same else "x = 1\n'another'\npass"]) == code_hash(
        ["x = 1" if "pass" not in same else "x = 1\npass"]
    )


def test_docstrings_change_no_hash_and_code_does():
    one = code_hash(['def f(x):\n    """One."""\n    return x'])
    assert one == code_hash(['def f(x):\n    """Two."""\n    # why\n    return (x)'])
    assert one != code_hash(['def f(x):\n    """One."""\n    return -x'])
    assert code_hash(["'shown'"]) != code_hash(["'something else'"])  # a notebook shows it


def test_cells_are_told_apart_and_ipython_is_read_as_text():
    assert code_hash(["a", "b"]) != code_hash(["a\nb"])
    assert code_hash(["%time x"]) != code_hash(["%time y"])


def test_the_hash_is_the_same_in_every_python():
    source = (
        "def f(a, /, b: int = 1, *c, **d):\n    return f'{a!r:>{b}}' if c else [*d, 1.5, 'x', None]"
    )
    expected = "5dcd"
    assert code_hash([source])[:4] == expected


PARTS = {
    "__init__.py": "_LAZY = 1\n",
    "__init__.pyi": "from .attacks import Loss as Loss\nfrom .data import load as load\n",
    "errors.py": "class InputError(ValueError): pass\n",
    "attacks/__init__.py": "from .loss import Loss\nfrom .rmia import RMIA\n",
    "attacks/loss.py": "from ..errors import InputError\nfrom .base import Attack\nclass Loss(Attack): pass\n",
    "attacks/base.py": "LIMIT = 1\nclass Attack: pass\n",
    "attacks/rmia.py": "from .base import Attack\nclass RMIA(Attack): pass\n",
    "data/__init__.py": "from .pool import load\n",
    "data/pool.py": "def load():\n    from .archive import read\n    return read()\n",
    "data/archive.py": "def read(): pass\n",
    "book/__init__.py": "",
    "book/run.py": "from ..attacks import Loss\n",
}


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "mia_utils"
    for name, content in PARTS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return root


LOSS = ["from mia_utils import Loss"]
RMIA = ["from mia_utils.attacks import RMIA"]


def test_a_chapter_uses_what_it_imports_and_what_that_imports(package):
    assert closure(LOSS, package) == {("attacks", "loss"), ("attacks", "base"), ("errors",)}
    assert closure(RMIA, package) == {("attacks", "rmia"), ("attacks", "base")}
    lazily = closure(["from mia_utils import load"], package)
    assert lazily == {("data", "pool"), ("data", "archive")}
    assert ("attacks", "rmia") in closure(["from mia_utils import attacks"], package)
    assert ("attacks", "rmia") in closure(["%run x"], package)
    assert not any(module[:1] == ("book",) for module in closure(["%run x"], package))


@pytest.mark.parametrize(
    "file, content, loss, rmia",
    [
        ("attacks/base.py", "LIMIT = 2\nclass Attack: pass\n", True, True),
        ("attacks/rmia.py", "from .base import Attack\nclass RMIA(Attack): x = 1\n", False, True),
        ("attacks/loss.py", PARTS["attacks/loss.py"] + "# said\n", False, False),
        (
            "attacks/base.py",
            '"""Said."""\nLIMIT = 1\nclass Attack:\n    """Said."""\n    pass\n',
            False,
            False,
        ),
        ("data/archive.py", "def read(): return 1\n", False, False),
        ("book/run.py", "print(1)\n", False, False),
        (
            "attacks/__init__.py",
            PARTS["attacks/__init__.py"] + "from .base import Attack\n",
            False,
            False,
        ),
    ],
)
def test_an_edit_of_the_package_reaches_those_that_use_it(package, file, content, loss, rmia):
    before = package_hash(LOSS, package), package_hash(RMIA, package)
    (package / file).write_text(content, "utf-8")
    after = package_hash(LOSS, package), package_hash(RMIA, package)
    assert (before[0] != after[0], before[1] != after[1]) == (loss, rmia)


def test_a_module_that_is_moved_makes_nothing_old(package):
    before = package_hash(LOSS, package)
    (package / "attacks/base.py").rename(package / "attacks/protocol.py")
    for name in ("loss", "rmia"):
        path = package / f"attacks/{name}.py"
        path.write_text(path.read_text("utf-8").replace(".base", ".protocol"), "utf-8")
    assert package_hash(LOSS, package) == before


def test_each_command_sees_the_package_as_it_is_then(package, monkeypatch):
    monkeypatch.setattr("mia_utils.book.source.PACKAGE", package)
    state.forget()
    before = package_hash(LOSS)
    (package / "attacks/base.py").write_text("LIMIT = 2\nclass Attack: pass\n", "utf-8")
    state.forget()
    after = package_hash(LOSS)
    monkeypatch.undo()
    state.forget()
    assert before != after == package_hash(LOSS, package)


def test_another_thing_of_the_same_name_is_another_thing(package):
    (package / "attacks/other.py").write_text("LIMIT = 9\nclass Attack: pass\n", "utf-8")
    loss = package / "attacks/loss.py"
    loss.write_text(loss.read_text("utf-8") + "from .other import LIMIT\n", "utf-8")
    before = package_hash(LOSS, package)
    text = loss.read_text("utf-8").replace(".other import LIMIT", ".base import LIMIT")
    loss.write_text(text.replace(".base import Attack", ".other import Attack"), "utf-8")
    assert package_hash(LOSS, package) != before


def test_the_real_package_is_followed_to_the_ground():
    used = closure(["from mia_utils import train"])
    assert {("engine", "train"), ("training", "loop"), ("data", "pool"), ("errors",)} <= used
    assert not any(module[0] in (*TOOLING, "attacks") for module in used if module)
    assert (PACKAGE / "book").is_dir() and (PACKAGE / "cli").is_dir()


# ---- all that decides ----

CELLS = ["from mia_utils import check_parameters", "print(1)"]
PARAMETERS = "dataset = 'mine'\nepochs = 2\n"


@pytest.fixture
def places(tmp_path, monkeypatch):
    data, results = tmp_path / "data", tmp_path / "results"
    monkeypatch.setenv("MIA_DATA", str(data))
    monkeypatch.setenv("MIA_RESULTS_PUBLISHED", str(results))
    (results / "records").mkdir(parents=True)
    (results / "records/r1.jsonl").write_text("{}\n", "utf-8")
    (results / "costs.csv").write_text("1\n", "utf-8")
    (results / "other.csv").write_text("1\n", "utf-8")
    put(data, 0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder, value):
    import numpy as np

    images = np.full((4, 8, 8, 1), value, np.uint8)
    write_archive(Pool.from_arrays("mine", images, np.arange(4) % 2), folder / "mine.npz")
    state.forget()


def decided(*cells, parameters=PARAMETERS, prose="Prose."):
    notebook = chapter(*(cells or CELLS), parameters=parameters, prose=prose)
    state.forget()
    return state.decides(notebook, notebooks.parameters(notebook))


def parts_changed(before, after):
    assert (state.run_hash(before) != state.run_hash(after)) == (before != after)
    return state.changed(before, after)


def test_each_part_is_seen_and_prose_is_not(places):
    before = decided()
    assert parts_changed(before, decided(prose="Better prose.")) == []
    assert parts_changed(before, decided(CELLS[0] + "  # said", CELLS[1])) == []
    assert parts_changed(before, decided(CELLS[0], "print(2)")) == ["code"]
    assert "parameters" in parts_changed(before, decided(parameters=PARAMETERS + "seed = 1"))
    put(places / "data", 1)
    assert parts_changed(before, decided()) == ["data"]


@pytest.mark.parametrize(
    "cell, parameters, shown",
    [
        ("TrainConfig(dp=DPConfig(epsilon=8))", PARAMETERS, True),
        ("print(1)", PARAMETERS + "records = ''", True),
        ("print(1)", PARAMETERS, False),
    ],
)
def test_the_recipe_of_private_training_decides_chapters_that_show_it(
    cell, parameters, shown, places, monkeypatch
):
    before = decided(cell, parameters=parameters)
    monkeypatch.setattr("mia_utils.training.accounting.RECIPE", 10**6)
    after = decided(cell, parameters=parameters)
    assert parts_changed(before, after) == (["private"] if shown else [])


def test_the_device_that_is_asked_for_decides(places, monkeypatch):
    monkeypatch.delenv("MIA_DEVICE", raising=False)
    before = decided()
    assert "device" not in before  # what ran without it keeps its name
    monkeypatch.setenv("MIA_DEVICE", "auto")
    assert decided() == before
    monkeypatch.setenv("MIA_DEVICE", "cuda")
    gpu = decided()
    assert parts_changed(before, gpu) == ["device"]
    notebook = chapter(*CELLS, parameters=PARAMETERS)
    for executed in (before, gpu):  # a page is not old because its reader has set it otherwise
        now = state.decides(notebook, notebooks.parameters(notebook), recorded=executed)
        assert parts_changed(executed, now) == []
    monkeypatch.setenv("MIA_DEVICE", "tpu")
    with pytest.raises(InputError, match="MIA_DEVICE='tpu'"):
        decided()


def test_tables_and_records_decide_those_that_declare_them(places):
    tables = PARAMETERS + "tables = ('costs',)"
    records = PARAMETERS + "records = ''"
    notebooks_of = [PARAMETERS, tables, records]
    before = [decided(parameters=p) for p in notebooks_of]
    (places / "results/other.csv").write_text("2\n", "utf-8")
    assert [decided(parameters=p) for p in notebooks_of] == before
    (places / "results/costs.csv").write_text("2\n", "utf-8")
    after = [decided(parameters=p) for p in notebooks_of]
    assert [parts_changed(*pair) for pair in zip(before, after, strict=True)] == [
        [],
        ["tables"],
        [],
    ]
    (places / "results/records/r1.jsonl").write_text('{"a": 1}\n', "utf-8")
    last = [decided(parameters=p) for p in notebooks_of]
    assert [parts_changed(*pair) for pair in zip(after, last, strict=True)] == [[], [], ["tables"]]
    with pytest.raises(InputError, match=r"no table .*none.csv"):
        decided(parameters=PARAMETERS + "tables = ('none',)")


FACTORY = """
import torch
def net(shape, classes):
    size = 1
    for side in shape:
        size *= side
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, classes))
"""


def own(places, text, name="factory_of_test_state"):
    import sys

    sys.modules.pop(name, None)
    (places / f"{name}.py").write_text(textwrap.dedent(text), "utf-8")
    return PARAMETERS + f"architecture = '{name}:net'"


def test_ones_own_architecture_decides(places, monkeypatch):
    monkeypatch.syspath_prepend(str(places))
    before = decided(parameters=own(places, FACTORY))
    assert decided(parameters=own(places, FACTORY)) == before
    after = decided(parameters=own(places, FACTORY + "\nWIDTH = 2\n"))
    assert parts_changed(before, after) == ["architectures"]
    with pytest.raises(InputError, match="factory_of_test_state:net'.*SyntaxError"):
        decided(parameters=own(places, "def net(:"))
    (places / "factory_of_test_state.py").unlink()
    import sys

    sys.modules.pop("factory_of_test_state", None)
    with pytest.raises(InputError, match="factory_of_test_state"):
        decided(parameters=PARAMETERS + "architecture = 'factory_of_test_state:net'")


def test_data_that_are_not_here_are_believed_to_be_what_they_were(places, monkeypatch):
    notebook = chapter(parameters="dataset = 'mnist'")
    values = {"dataset": "mnist"}
    assert state.decides(notebook, values)["data"] == {"mnist": ""}
    recorded = {"data": {"mnist": "as it was"}}
    assert state.decides(notebook, values, recorded=recorded)["data"] == recorded["data"]
    with pytest.raises(InputError, match="no data set 'nowhere'"):
        state.decides(notebook, {"dataset": "nowhere"})


def test_what_can_be_known_is_found_before_anything_starts(places, monkeypatch):
    from mia_utils.book.run import run_notebook

    source = save(chapter("x = 1", parameters="dataset = 'nowhere'"), places / "a.ipynb")
    monkeypatch.setattr("mia_utils.book.sweep.run_cells", lambda *a, **k: pytest.fail("started"))
    with pytest.raises(InputError, match="no data set 'nowhere'"):
        run_notebook(source)
