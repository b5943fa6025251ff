"""Sweeps: grids, what is done once and what again, and what a kill leaves behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mia_utils import Store
from mia_utils.book import notebooks, sweep
from mia_utils import __main__ as cli
from mia_utils.errors import InputError

TRAINS = """from mia_utils import TrainConfig, load_dataset, quarter_masks, train
pool = load_dataset(dataset)
masks, _ = quarter_masks(pool.labels, seed=seed)
outputs = train(pool, masks, "mlp", TrainConfig(epochs=epochs), seed=seed, progress=False)
print(outputs.logits.shape)"""


def write(path, *code, prose="Prose.", parameters='dataset = "digits"\nepochs = 2\nseed = 0'):
    cells = [new_markdown_cell(prose), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    path.parent.mkdir(parents=True, exist_ok=True)
    cells += map(new_code_cell, code)
    nbformat.write(new_notebook(cells=cells, metadata=dict(notebooks.KERNEL)), path)
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
    todo = sweep.cells(sweep.read_grid(root / "g.toml"), root)
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
        ('[[grid]]\nchapter = "01_a"\ndataset = "nowhere"', "dataset=nowhere: no data set"),
        ('[[grid]]\nchapter = "02_b"', "no chapter '02_b' in .*; it has 01_a"),
        ('[[grid]]\nchapter = "01_a"\nseed = []', "an axis is empty"),
    ],
)
def test_a_wrong_grid_starts_nothing(root, text, message):
    (root / "g.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        sweep.cells(sweep.read_grid(root / "g.toml"), root)
    assert not (root / "runs").exists()


def test_every_grid_of_the_book_fits_its_chapter():
    for path in sorted((ROOT / "book/grids").glob("*.toml")):
        for block in sweep.read_grid(path):
            for chapter, given in sweep.combinations(block):
                source = sweep.find_chapter(chapter, ROOT)
                known = notebooks.parameters(notebooks.read(source))
                notebooks.check_parameters(known, given)


# ---- execution ----


def test_failed_cells_keep_their_notebook_and_the_others_go_on(root, capsys):
    write(root / "notebooks/01_a.ipynb", "1 / (seed - 1)")
    argv = ["sweep", "--root", str(root), "--chapter", "01_a", "-p", "seed", "0", "1"]
    assert cli.main([*argv, "--jobs", "2"]) == 1
    said = capsys.readouterr()
    assert "sweep: 2 cells: 1 done, 1 failed" in said.out
    assert "failed: 01_a seed=1: ZeroDivisionError: division by zero (cell [3]" in said.err
    assert [p.parent.name for p in (root / "runs").glob("*/01_a.failed.ipynb")]
    before = stamps(root)
    assert cli.main([*argv, "--dry-run"]) == 0
    assert "1 done, 1 waiting" in capsys.readouterr().out
    assert cli.main(argv) == 1 and stamps(root) == before  # the failed one alone


def test_prose_changes_nothing_and_code_its_own_cells(root):
    write(root / "notebooks/02_b.ipynb", "x = 1")
    blocks = [{"chapter": ["01_a", "02_b"], "seed": [0]}]
    first = sweep.cells(blocks, root)
    sweep.run_cells(first, jobs=2)
    assert [c.state for c in first] == ["done"] * 2
    write(root / "notebooks/01_a.ipynb", "print(seed)", prose="Better prose.")
    assert [c.state for c in sweep.cells(blocks, root)] == ["done"] * 2
    write(root / "notebooks/02_b.ipynb", "x = 2")
    assert [c.state for c in sweep.cells(blocks, root)] == ["done", "waiting"]


def test_a_chapter_edited_while_a_sweep_runs_is_not_kept_under_the_old_hash(root):
    todo = sweep.cells([{"chapter": "01_a"}], root)
    write(root / "notebooks/01_a.ipynb", "print(-seed)")
    sweep.run_cells(todo)
    assert todo[0].state == "failed" and "changed since the sweep began" in todo[0].error
    assert stamps(root) == {}


@pytest.mark.slow
def test_killed_twice_a_sweep_still_does_every_cell_once(root):
    write(root / "notebooks/01_a.ipynb", TRAINS)
    command = [sys.executable, "-m", "mia_utils", "sweep", "--root", str(root), "--chapter", "01_a"]
    command += ["-p", "seed", *"012345", "--jobs", "2"]
    finished = {}
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(stamps(root)) <= len(finished) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_until(lambda: not workers(root))
        now = stamps(root)
        assert len(now) > len(finished) and finished.items() <= now.items()
        finished = now
        assert len(finished) < 6, "nothing was left to kill"
    out = subprocess.run(command, capture_output=True, text=True).stdout
    assert "sweep: 6 cells: 6 done\n" in out
    assert out.count("\nrunning") + out.startswith("running") == 6 - len(finished)
    assert len(stamps(root)) == 6 and finished.items() <= stamps(root).items()
    assert not list((root / "runs").glob("*/.*")), "pieces of killed executions are left"
    assert len(Store(root / "store").names()) == 6


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
        assert time.monotonic() < end, "processes of a killed sweep go on"
        time.sleep(0.1)


def test_interrupted_a_sweep_stops_its_cells(root):
    write(root / "notebooks/01_a.ipynb", "import time; time.sleep(seed * 60)")
    todo = sweep.cells([{"chapter": "01_a", "seed": [0, 1]}], root)

    def stop():
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
    assert cli.main([*argv, "--backend", "dask"]) == 0
    (path,) = stamps(root)
    assert notebooks.read(path).cells[-1].outputs[0].text == "dask tcp://a:1\n"
    assert "MIA_BACKEND" not in os.environ
    assert cli.main(argv) == 2 and "scheduler=" in capsys.readouterr().err


# ---- what is told ----


def made(seed, state, seconds=None, dataset="digits"):
    values = {"dataset": dataset, "architecture": "mlp", "seed": seed}
    source = Path("01_a.ipynb")
    return sweep.Cell(source, values, values, str(seed), source, state=state, seconds=seconds)


def test_time_left_comes_from_the_cells_most_alike():
    todo = [made(0, "done", 10), made(1, "waiting"), made(2, "running"), made(3, "failed")]
    assert sweep.time_left(todo, jobs=1) == 20 and sweep.time_left(todo, jobs=2) == 10
    todo += [made(0, "done", 100, "mnist"), made(1, "waiting", None, "mnist")]
    assert sweep.time_left(todo, jobs=1) == 120
    assert sweep.time_left([made(0, "waiting")], jobs=1) is None


def test_each_event_is_one_line_where_there_is_no_terminal():
    todo = [made(0, "waiting"), made(1, "waiting")]
    stream = io.StringIO()
    table = sweep.Table(todo, 1, stream)
    table()
    todo[0].state, todo[0].seconds = "done", 5
    todo[1].state, todo[1].error = "failed", "no memory"
    table()
    table()
    assert stream.getvalue().splitlines() == [
        "done    01_a dataset=digits architecture=mlp seed=0 (5 s)",
        "failed  01_a dataset=digits architecture=mlp seed=1: no memory",
        "  2 cells: 1 done, 1 failed",
    ]


def test_on_a_terminal_the_table_is_drawn_again(monkeypatch):
    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((60, 8)))
    stream = io.StringIO()
    stream.isatty, stream.fileno = lambda: True, lambda: 1
    todo = [made(seed, "waiting") for seed in range(9)]
    table = sweep.Table(todo, 1, stream)
    table()
    todo[0].state = "running"
    table()
    first, second = stream.getvalue().split("\x1b[6A\x1b[J")
    assert len(first.splitlines()) == 6 and "and 5 more" in first
    assert second.startswith("running 01_a")
    assert all(len(line) < 60 for line in second.splitlines())
