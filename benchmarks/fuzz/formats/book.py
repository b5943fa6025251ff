"""What the book's tooling reads: grids, notebooks and their parameters, records, signals."""

from __future__ import annotations

import json
from functools import cache

import numpy as np

from ..case import Case, differs, surface
from ..values import anything, damaged, pick
from .common import ROOT, command, damage_file

_GRID = """[[grid]]
chapter = "01_baselines"
dataset = "digits"
epochs = 2
seed = [0, 1]

[[grid]]
chapter = "10_experiments"
dataset = "digits"
architecture = ["mlp"]
defense = ["none", "early_stopping"]
settings = {lr = 0.01}
epochs = 1
"""


@surface("grids: TOML", 1)
def grids(rng, folder):
    from mia_utils.cli.main import main

    path = folder / "grid.toml"
    lines = _GRID.splitlines()
    action = int(rng.integers(3))
    if action == 0:
        content, how = damaged(rng, _GRID.encode())
    else:
        place = pick(rng, [i for i, line in enumerate(lines) if "=" in line])
        name = lines[place].split("=")[0].strip()
        value = anything(rng)
        text = json.dumps(value, default=str) if not isinstance(value, bytes) else "[1, 2]"
        lines[place] = f"{name} = {text}"
        if action == 2:
            lines[place] = f"{json.dumps(str(anything(rng, 'texts')))} = 1"
        how, content = lines[place], "\n".join(lines).encode()
    path.write_bytes(content)
    given = [how.split("=")[0].strip(), path.name, "grid", "cell", "chapter", "notebook"]
    return Case(
        how[:100],
        lambda: command(main, ["sweep", str(path), "--dry-run", "--root", str(ROOT)]),
        given,
    )


@cache
def _chapters() -> dict[str, dict]:
    from mia_utils.book import notebooks

    return {
        path.stem: notebooks.parameters(notebooks.read(path))
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    }


@surface("notebooks: parameters", 8)
def notebook_parameters(rng, folder):
    from mia_utils.parameters import check

    chapter = pick(rng, [name for name, known in _chapters().items() if known])
    known = _chapters()[chapter]
    name = pick(rng, list(known))
    value = anything(rng)
    if rng.integers(2):
        value = str(value)

    def wrong(answer) -> str:
        kind, default = type(answer[name]), known[name]
        if isinstance(default, (int, float, str)) and not isinstance(default, bool):
            wanted = (int, float) if isinstance(default, (int, float)) else (str,)
            if not issubclass(kind, wanted):
                return f"{answer[name]!r} for {default!r}"
        return ""

    return Case(f"{chapter} {name}={value!r}", lambda: check(known, {name: value}), [name], wrong)


@surface("notebooks: damaged .ipynb", 2)
def damaged_notebooks(rng, folder):
    from mia_utils.cli.main import main

    (folder / "notebooks").mkdir()
    path = folder / "notebooks" / "01_baselines.ipynb"
    content, how = damaged(rng, (ROOT / "notebooks" / path.name).read_bytes())
    path.write_bytes(content)
    argv = ["sweep", "--chapter", "01_baselines", "-p", "dataset", "digits", "--dry-run"]
    return Case(
        how,
        lambda: command(main, [*argv, "--root", str(folder)]),
        ["01_baselines"],
    )


@surface("records: JSON lines", 4)
def records(rng, folder):
    from mia_utils.experiments.records import read, read_run

    source = pick(rng, sorted((ROOT / "book/results/records").glob("*.jsonl")))
    (folder / "records").mkdir()
    path = folder / "records" / source.name
    lines = source.read_text("utf-8").splitlines()[:6]
    if rng.integers(2):
        content, how = damaged(rng, "\n".join(lines).encode())
    else:
        rows = [json.loads(line) for line in lines]
        row = pick(rng, rows)
        name = pick(rng, list(row))
        value = anything(rng)
        if isinstance(value, bytes):
            value = None
        row[name] = value
        how = f"{name}={value!r}"
        content = "\n".join(json.dumps(row, default=str) for row in rows).encode()
    path.write_bytes(content)
    whole = bool(rng.integers(2))
    return Case(
        how[:100],
        lambda: read(folder) if whole else read_run(path),
        [path.name, path.stem],
        _strict,
    )


def _strict(answer) -> str:
    rows = answer.to_dict("records") if hasattr(answer, "to_dict") else answer
    bad = [r for r in rows for n in ("auc", "auc_low") if isinstance(r.get(n), str)]
    return f"{bad[0]}" if bad else ""


@surface("signals: .npz of published runs", 2)
def signals(rng, folder):
    from mia_utils.experiments import load_signals

    sources = sorted((ROOT / "book/results/signals").glob("*.npz"), key=lambda p: p.stat().st_size)
    source = pick(rng, sources[:8])
    (folder / "signals").mkdir()
    path = folder / "signals" / source.name
    path.write_bytes(source.read_bytes())
    with np.load(source, allow_pickle=False) as archive:
        right = {name: archive[name] for name in sorted(archive.files)}
    how = damage_file(rng, path)
    return Case(
        how,
        lambda: dict(sorted(load_signals(source.stem, folder).items())),
        [path.name, path.stem],
        lambda a: differs(a, right),
    )
