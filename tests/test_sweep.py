"""Sweeps: grids, what is done once and what again, and what a kill leaves behind."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import joblib
import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mia_utils import Store
from mia_utils.__main__ import main
from mia_utils.book import grid, notebooks, publish, sweep
from mia_utils.book.execute import KERNEL
from mia_utils.errors import InputError
from mia_utils.parameters import check

PARAMETERS = 'dataset = "cifar10-mini"\nepochs = 2\nseed = 0'
TRAINS = """from mia_utils import TrainConfig, load_dataset, quarter_masks, train
pool = load_dataset(dataset).sample(200, seed=0)
masks, _ = quarter_masks(pool.labels, seed=seed)
outputs = train(pool, masks, "cnn", TrainConfig(epochs=epochs), seed=seed, progress=False)
print(outputs.logits.shape)"""


def write(path, *code, prose="Prose.", parameters=PARAMETERS):
    cells = [new_markdown_cell(prose), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    path.parent.mkdir(parents=True, exist_ok=True)
    cells += map(new_code_cell, code)
    nbformat.write(new_notebook(cells=cells, metadata=dict(KERNEL)), path)
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MIA_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MIA_STORE", str(tmp_path / "store"))
    write(tmp_path / "notebooks/01_a.ipynb", "print(seed)")
    return tmp_path


def stamps(root):
    """Every finished notebook under MIA_RUNS with its time."""
    return {p: p.stat().st_mtime_ns for p in (root / "runs").glob("*/[0-9]*_?.ipynb")}


# ---- the grid ----


def test_lists_are_axes_and_every_cell_is_there_once(root):
    (root / "g.toml").write_text(
        '[[grid]]\nchapter = "01_a"\nseed = [0, 1]\nepochs = [2, 3]\n'
        '[[grid]]\nchapter = ["01_a"]\nseed = [1, 2]\nepochs = 3\n'
    )
    todo = grid.cells(grid.read_grid(root / "g.toml"), root)
    assert [(c.given["seed"], c.given["epochs"]) for c in todo] == [
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
        (2, 3),
    ]
    assert len({c.run for c in todo}) == 5 and {c.state for c in todo} == {"waiting"}


@pytest.mark.parametrize(
    "text, message",
    [
        ("x = [", "g.toml: "),
        ("seed = 1", "expected .*grid"),
        ("[[grid]]\nseed = 1", "no .*grid.* with a chapter"),
        ('[[grid]]\nchapter = "01_a"\nsede = 1', "cell 01_a sede=1: unknown parameter 'sede'"),
        ('[[grid]]\nchapter = "01_a"\nseed = ["x"]', "cell 01_a seed=x: parameter seed = 'x'"),
        ('[[grid]]\nchapter = "01_a"\nseed = [0.5]', "cell 01_a seed=0.5: parameter seed = 0.5"),
        ('[[grid]]\nchapter = "01_a"\nseed = 2024-01-01', "seed=2024-01-01: parameter seed"),
        ('[[grid]]\nchapter = "01_a"\ndataset = 2024', "dataset = 2024: .* quote it"),
        ('[[grid]]\nchapter = "01_a"\nseed = {a = 1}', "parameter seed = {'a': 1}"),
        ("grid = [1, 2]", "expected .*grid"),
        ("grid = 1", "expected .*grid"),
        ("grid = [[1]]", "expected .*grid"),
        ("[grid]\nseed = 1", "expected .*grid"),
        ('[[grid]]\nchapter = "01_a"\ndataset = "nowhere"', "dataset=nowhere: no data set"),
        ('[[grid]]\nchapter = "02_b"', "no notebook 02_b; the chapters in .* are: 01_a"),
        ("[[grid]]\nchapter = 2", "no notebook 2; the chapters in .* are: 01_a"),
        ('[[grid]]\nchapter = "01_a"\nseed = []', "an axis is empty"),
    ],
)
def test_a_wrong_grid_starts_nothing(root, text, message):
    (root / "g.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        grid.cells(grid.read_grid(root / "g.toml"), root)
    assert not (root / "runs").exists()


def test_a_folder_and_nothing_are_no_grid(root):
    with pytest.raises(InputError, match="is a folder"):
        grid.read_grid(root)
    with pytest.raises(InputError, match="no grid .*none.toml"):
        grid.read_grid(root / "none.toml")


def test_settings_are_read_in_the_dry_run(root, capsys):
    write(root / "notebooks/01_a.ipynb", "x = 1", parameters='dataset = "digits"\nsettings = {}')
    for text, said in [
        ('{ lr = "1e-3" }', "cell 01_a settings={'lr': '1e-3'}: .* is a text"),
        ("{ lr = 2024-01-01 }", "is a date"),
        ("{ lr = -1 }", "lr=-1"),
        ("{ rate = 1 }", "'rate'"),
    ]:
        (root / "g.toml").write_text(f'[[grid]]\nchapter = "01_a"\nsettings = {text}')
        assert main(["sweep", str(root / "g.toml"), "--root", str(root), "--dry-run"]) == 2
        assert re.search(said, capsys.readouterr().err)


def test_a_dry_run_downloads_nothing(root, capsys, monkeypatch):
    def never(*arguments, **options):
        pytest.fail("a download began")

    monkeypatch.setattr("mia_utils.data.download.download_dataset", never)
    monkeypatch.setenv("MIA_DATA", str(root / "data"))
    argv = [
        "sweep",
        "--root",
        str(root),
        "--chapter",
        "01_a",
        "-p",
        "dataset",
        "mnist",
        "--dry-run",
    ]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "1 waiting" in said and "downloaded by the sweep: mnist" in said
    assert not (root / "data").exists()


def test_every_grid_of_the_book_fits_its_chapter():
    grids = sorted((ROOT / "book/grids").glob("*.toml"))
    assert grids
    for path in grids:
        for block in grid.read_grid(path):
            for chapter, given in grid.combinations(block):
                source = notebooks.find_chapter(chapter, ROOT)
                known = notebooks.parameters(notebooks.read(source))
                check(known, given)


# ---- execution ----


def test_failed_cells_keep_their_notebook_and_the_others_go_on(root, capsys):
    write(root / "notebooks/01_a.ipynb", "1 / (seed - 1)")
    argv = ["sweep", "--root", str(root), "--chapter", "01_a", "-p", "seed", "0", "1"]
    assert main([*argv, "--jobs", "2"]) == 1
    said = capsys.readouterr()
    assert "sweep: 2 cells: 1 done, 1 failed" in said.out
    assert "mia publish runs FILE ..." in said.out and str(root / "runs") in said.out
    assert "failed: 01_a seed=1: ZeroDivisionError: division by zero (cell [3]" in said.err
    assert [p.parent.name for p in (root / "runs").glob("*/01_a.failed.ipynb")]
    before = stamps(root)
    assert main([*argv, "--dry-run"]) == 0
    assert "1 done, 1 waiting" in capsys.readouterr().out
    assert main(argv) == 1 and stamps(root) == before  # the failed one alone


def test_prose_changes_nothing_and_code_its_own_cells(root):
    write(root / "notebooks/02_b.ipynb", "x = 1")
    blocks = [{"chapter": ["01_a", "02_b"], "seed": [0]}]
    first = grid.cells(blocks, root)
    sweep.run_cells(first, jobs=2)
    assert [c.state for c in first] == ["done"] * 2
    write(root / "notebooks/01_a.ipynb", "print(seed)", prose="Better prose.")
    assert [c.state for c in grid.cells(blocks, root)] == ["done"] * 2
    write(root / "notebooks/02_b.ipynb", "x = 2")
    assert [c.state for c in grid.cells(blocks, root)] == ["done", "waiting"]


def test_a_chapter_edited_while_a_sweep_runs_is_not_kept_under_the_old_hash(root):
    todo = grid.cells([{"chapter": "01_a"}], root)
    write(root / "notebooks/01_a.ipynb", "print(-seed)")
    sweep.run_cells(todo)
    assert todo[0].state == "failed" and "changed since this began" in todo[0].error
    assert stamps(root) == {}


def test_killed_twice_a_sweep_still_does_every_cell_once(root):
    """A cell waits with its trained model until it is let through: the kills meet all there is."""
    gate = f"import os, time\nwhile not os.path.exists(f'{root}/{{seed}}'):\n    time.sleep(0.05)"
    write(root / "notebooks/01_a.ipynb", TRAINS, gate)
    store = Store(root / "store")
    command = [sys.executable, "-m", "mia_utils", "sweep", "--root", str(root), "--chapter", "01_a"]
    command += ["-p", "seed", *"012", "--jobs", "2"]

    def trained():
        return {name: store.folder(name).stat().st_mtime_ns for name in store.names()}

    finished, models = {}, {}
    for let_through in ("0", "1"):
        (root / let_through).touch()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        most = len(finished) + 1
        wait_until(lambda most=most: len(stamps(root)) == most and len(trained()) > most, 120)
        process.kill()
        process.wait()
        wait_until(lambda: not workers(root))
        assert finished.items() <= stamps(root).items() and len(stamps(root)) == most
        assert models.items() <= trained().items(), "a model that was there is trained again"
        finished, models = stamps(root), trained()
    (root / "2").touch()
    out = subprocess.run(command, capture_output=True, text=True).stdout
    assert "sweep: 3 cells: 3 done\n" in out
    assert out.count("\nrunning") + out.startswith("running") == 1
    assert len(stamps(root)) == 3 and finished.items() <= stamps(root).items()
    assert not list((root / "runs").glob("*/.*")), "pieces of killed executions are left"
    assert models == trained() and len(models) == 3


def test_two_sweeps_of_one_grid_train_each_model_once_and_leave_whole_cells(root):
    write(root / "notebooks/01_a.ipynb", TRAINS)
    blocks = [{"chapter": "01_a", "seed": [0, 1]}]
    plans = [grid.cells(blocks, root), grid.cells(blocks, root)[::-1]]
    both = [threading.Thread(target=sweep.run_cells, args=(cells,)) for cells in plans]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [cell.state for cells in plans for cell in cells] == ["done"] * 4
    assert [cell.state for cell in grid.cells(blocks, root)] == ["done"] * 2
    store = Store(root / "store")
    assert len(store.names()) == 2 and not any(map(store.damage, store.names()))
    assert not list((root / "runs").glob("*/.*")) and not list((root / "store").glob("*/.*"))


def workers(root):
    """Processes of this test's cells: their kernels and workers have its folder as MIA_RUNS."""
    mine, found = f"MIA_RUNS={root / 'runs'}".encode(), []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int(path.name) != os.getpid() and mine in (path / "environ").read_bytes():
                found.append(path.name)
        except OSError:
            pass
    return found


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.05)


def test_interrupted_a_sweep_stops_its_cells(root):
    write(root / "notebooks/01_a.ipynb", "import time; time.sleep(seed * 60)")
    todo = grid.cells([{"chapter": "01_a", "seed": [0, 1]}], root)

    def stop(running):
        if todo[0].state == "done":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.run_cells(todo, jobs=2, on_change=stop)
    assert [c.state for c in todo] == ["done", "waiting"]
    assert len(stamps(root)) == 1
    wait_until(lambda: not workers(root))


def test_the_cluster_is_passed_on(root, capsys, monkeypatch):
    code = "import os; print(os.environ['MIA_BACKEND'], os.environ['MIA_SCHEDULER'])"
    write(root / "notebooks/01_a.ipynb", code)
    argv = ["sweep", "--root", str(root), "--chapter", "01_a", "--scheduler", "tcp://a:1"]
    assert main([*argv, "--backend", "dask"]) == 0
    (path,) = stamps(root)
    assert notebooks.read(path)["cells"][-1]["outputs"][0]["text"] == "dask tcp://a:1\n"
    assert "MIA_BACKEND" not in os.environ
    assert main(argv) == 2 and "scheduler=" in capsys.readouterr().err


# ---- what is told ----


def made(seed, state, seconds=None, dataset="digits"):
    values = {"dataset": dataset, "architecture": "mlp", "seed": seed}
    return grid.Cell(
        Path("01_a.ipynb"), values, values, run=str(seed), state=state, seconds=seconds
    )


def test_time_left_comes_from_the_cells_most_alike():
    todo = [made(0, "done", 10), made(1, "waiting"), made(2, "running"), made(3, "failed")]
    assert sweep.time_left(todo, jobs=1) == 20 and sweep.time_left(todo, jobs=2) == 10
    todo += [made(0, "done", 100, "mnist"), made(1, "waiting", None, "mnist")]
    assert sweep.time_left(todo, jobs=1) == 120
    assert sweep.time_left([made(0, "waiting")], jobs=1) is None


def test_each_event_is_one_line_where_there_is_no_terminal():
    todo = [made(0, "waiting"), made(1, "waiting")]
    stream = io.StringIO()
    shown = sweep.Progress(todo, 1, stream)
    shown({})
    todo[0].state, todo[0].seconds = "done", 5
    todo[1].state, todo[1].error = "failed", "no memory"
    shown({})
    shown({})
    shown.close()
    assert stream.getvalue().splitlines() == [
        "done    01_a dataset=digits architecture=mlp seed=0 (5 s)",
        "failed  01_a dataset=digits architecture=mlp seed=1: no memory",
    ]


def test_on_a_terminal_the_last_line_says_what_goes_on():
    stream = io.StringIO()
    stream.isatty = lambda: True
    todo = [made(seed, "waiting") for seed in range(2)]
    shown = sweep.Progress(todo, 1, stream)
    todo[0].state = "running"
    shown({0: types.SimpleNamespace(at=3, cells=9, said="training: 50%|##| 1/2")})
    last = stream.getvalue().split("\r")[-1]
    assert last.startswith("2 cells: 1 running, 1 waiting") and "training: 50%" in last
    assert "01_a cell 3 of 9" in last
    shown.close()


def test_a_worker_tells_how_far_its_trainings_are(root):
    """What a notebook's own progress bar says reaches the one who waits."""
    code = f"""import os, sys, time
for done in range(300):
    print(f"\\rtraining: {{done}}|###| {{done}}/300", end="", file=sys.stderr, flush=True)
    time.sleep(0.1)
    if os.path.exists({str(root / "told")!r}): break"""
    write(root / "notebooks/01_a.ipynb", code)
    told = set()

    def tell(running):
        told.update(map(sweep.doing, running.values()))
        if any("training: " in line for line in told):
            (root / "told").touch()

    sweep.run_cells(grid.cells([{"chapter": "01_a"}], root), on_change=tell)
    assert any(line.startswith("cell 3 of 3, training: ") for line in told), told


def test_cells_that_run_side_by_side_share_the_processors(root):
    write(root / "notebooks/01_a.ipynb", "import joblib\nprint(joblib.cpu_count())")
    cells = grid.cells([{"chapter": "01_a", "seed": [0, 1]}], root)
    sweep.run_cells(cells, jobs=4)
    told = [notebooks.read(cell.out)["cells"][-1]["outputs"][0]["text"] for cell in cells]
    assert told == [f"{max(1, joblib.cpu_count() // 2)}\n"] * 2


def test_a_worker_whose_parent_is_killed_ends_with_its_kernel(root):
    """SIGKILL leaves no time to stop anything: the worker sees that its stdin has ended."""
    write(root / "notebooks/01_a.ipynb", "import time; time.sleep(600)")
    command = [sys.executable, "-m", "mia_utils", "run", "1", "--root", str(root)]
    process = subprocess.Popen(command)
    wait_until(lambda: len(workers(root)) >= 3)
    process.kill()
    process.wait()
    wait_until(lambda: not workers(root), seconds=5)
    assert not list((root / "runs").glob("*/.*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["run", "sweep", "book"])
def test_interrupted_a_command_says_one_line_and_leaves_nothing(root, command, number):
    write(root / "notebooks/01_a.ipynb", "import time; time.sleep(600)")
    (root / "book/grids").mkdir(parents=True)
    (root / "book/grids/book.toml").write_text('[[grid]]\nchapter = ["01_a"]\n')
    argv = {
        "run": ["run", "1", "-p", "seed", "3"],
        "sweep": ["sweep", "--chapter", "01_a", "-p", "seed", "0", "1", "--jobs", "2"],
        "book": ["book", "run"],
    }[command]
    process = subprocess.Popen(
        [sys.executable, "-m", "mia_utils", *argv, "--root", str(root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: list((root / "runs").glob("*/.*.ipynb")))
    os.killpg(process.pid, number)
    try:
        said = process.communicate(timeout=5)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert said == "mia: stopped; what had finished is kept\n"
    wait_until(lambda: not workers(root), seconds=2)
    assert not list((root / "runs").glob("*/.*")) and not list((root / "runs").glob("*/*.ipynb"))


def test_what_a_cell_started_dies_with_it(root):
    """The kernel's own workers, too."""
    code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    write(root / "notebooks/01_a.ipynb", code)
    todo = grid.cells([{"chapter": "01_a"}], root)

    def stop(running):
        if len(workers(root)) >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.run_cells(todo, on_change=stop)
    assert workers(root) == [] and todo[0].state == "waiting"


def test_the_grid_of_copies_names_every_published_copy():
    cells = [
        cell
        for name in ("copies", "text")
        for block in grid.read_grid(ROOT / f"book/grids/{name}.toml")
        for cell in grid.combinations(block)
    ]
    named = {}
    for chapter, given in cells:
        known = notebooks.parameters(notebooks.read(notebooks.find_chapter(chapter, ROOT)))
        values = check(known, given)
        named[values.get("dataset", "text"), chapter] = {name: values[name] for name in given}
    copies = {}
    for path in publish.copies(ROOT):
        given = notebooks.told_of(notebooks.read(path))["parameters"]
        known = notebooks.parameters(notebooks.read(ROOT / "notebooks" / path.name))
        values = check(known, given)
        copies[path.parent.name, path.stem] = {name: values[name] for name in given}
    assert {place: named.get(place) for place in copies} == copies
