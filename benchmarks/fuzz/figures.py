"""The book's figures and tables: a figure that shows another thing than it was given is a wrong number."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from mia_utils import Pool, plots
from mia_utils.plots.style import line_styles
from mia_utils.training import Layer

from .case import Case, surface
from .meant import Call, case_of
from .values import pick

N = 60


@cache
def _prepare() -> None:
    """Matplotlib lists the machine's fonts in the home folder, once: not in a trial."""
    import matplotlib.font_manager

    assert matplotlib.font_manager.fontManager.ttflist


def _shown(draw):
    """The numbers of a drawn figure: every line's and collection's, in order."""

    def shown(**given):
        import matplotlib

        matplotlib.use("agg")
        import matplotlib.pyplot as plt

        try:
            figure = draw(**given)
            figure.canvas.draw()
            found = []
            for ax in figure.axes:
                found += [np.asarray(line.get_xydata(), float) for line in ax.lines]
                found += [np.asarray(image.get_array(), float) for image in ax.images]
                found += [np.asarray(p.get_extents().bounds) for p in ax.patches]
                found += [float(np.asarray(c.get_offsets()).sum()) for c in ax.collections]
            return found
        finally:
            plt.close("all")

    return shown


@cache
def _photographs() -> Pool:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(N, 8, 8, 3)).astype(np.uint8)
    return Pool.from_arrays("own", images, np.arange(N) % 3, classes=["a", "b", "c"])


def _two(rng) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(1, 1, N), rng.normal(0, 1, N)


def _roc(scores, members, log):
    return plots.roc({"loss": (scores, members)}, log=log)


def _pair(draw, name):
    return lambda inside, outside: draw({name: (inside, outside)})


def _curve_table(rng) -> dict:
    return {
        "epoch": np.arange(1, 6),
        "train_accuracy": np.linspace(0.5, 1, 5),
        "test_accuracy": np.linspace(0.5, 0.7, 5),
        "auc": np.linspace(0.5, 0.8, 5),
        "auc_low": np.linspace(0.4, 0.7, 5),
        "auc_high": np.linspace(0.6, 0.9, 5),
    }


def _epoch_curve(**columns):
    several = {n: list(v) if np.iterable(v) else [v] for n, v in columns.items()}
    table = pd.DataFrame({name: pd.Series(v, dtype=object) for name, v in several.items()})
    return plots.epoch_curve(table.infer_objects())


def _layer(kind, count, output, parameters):
    return plots.networks({"own": [Layer(kind, count, output, parameters, 10)]})


def _table(rng) -> pd.DataFrame:
    return pd.DataFrame(rng.random((2, 3)), index=["a", "b"], columns=["x", "y", "z"])


def _styled(table, caption, column, value, kind, formats, index):
    shown = plots.styled(
        table, caption, verdicts={column: {value: kind}}, formats=formats, index=index
    )
    shown.to_html()
    return len(table)


def _card(**texts):
    cards = plots.cards([plots.Card(**texts)])
    return len(cards._repr_html_()) > 0


_LEVELS = {"level": ("level",)}
FIGURES = {
    "bands": Call(
        _shown(
            lambda x, curve, xlabel, ylabel, level: plots.bands(
                x, {"loss": curve}, xlabel=xlabel, ylabel=ylabel, level=("chance", level)
            )
        ),
        lambda r, f: {
            "x": np.array([1.0, 2.0, 4.0]),
            "curve": r.random((3, 2)),
            "xlabel": "x",
            "ylabel": "y",
            "level": 0.5,
        },
        negative=("level",),
        blank=("level",),
        also={"curve": ("curves", "loss"), **_LEVELS},
    ),
    "bands, mapping": Call(
        _shown(lambda curves: plots.bands([1, 2], curves, xlabel="x", ylabel="y")),
        lambda r, f: {"curves": {"loss": r.random((2, 2))}},
    ),
    "defense_arrows": Call(
        _shown(
            lambda start, ends, xlabel, front: plots.defense_arrows(
                start, ends, xlabel, front=front
            )
        ),
        lambda r, f: {
            "start": (0.6, 0.8),
            "ends": {"mixup": (0.5, 0.6), "top-1": (0.6, 0.7)},
            "xlabel": "x",
            "front": {1: (0.4, 0.5), 5: (0.5, 0.7)},
        },
        optional=("front",),
        also={"ends": ("defense",)},
    ),
    "defense_arrows, numbers": Call(
        _shown(
            lambda utility, attack, front: plots.defense_arrows(
                (0.6, 0.8), {"mixup": (utility, attack)}, front={1: (0.4, front)}
            )
        ),
        lambda r, f: {"utility": 0.5, "attack": 0.6, "front": 0.5},
        negative=("utility", "attack", "front"),
        also={"utility": ("mixup",), "attack": ("mixup",)},
    ),
    "distributions": Call(
        _shown(_pair(plots.distributions, "loss")),
        lambda r, f: dict(zip(("inside", "outside"), _two(r), strict=True)),
        also={"inside": ("'loss'",), "outside": ("'loss'",)},
    ),
    "distributions, mapping": Call(
        _shown(plots.distributions), lambda r, f: {"values": {"loss": _two(r)}}
    ),
    "dots": Call(
        _shown(
            lambda row, xlabel, line, low, high, attack: plots.dots(
                {"loss": row},
                xlabel=xlabel,
                lines={"chance": line},
                spans={"loss": (low, high)},
                attack=attack,
            )
        ),
        lambda r, f: {
            "row": r.random(3),
            "xlabel": "x",
            "line": 0.5,
            "low": 0.1,
            "high": 0.9,
            "attack": "loss",
        },
        negative=("line", "low", "high"),
        endless=("low", "high"),
        blank=("low", "high", "row"),
        optional=("attack",),
        also={
            "row": ("rows", "loss"),
            "line": ("lines", "chance"),
            "low": ("spans", "loss"),
            "high": ("spans", "loss"),
        },
    ),
    "dots, mappings": Call(
        _shown(lambda rows, lines, spans: plots.dots(rows, xlabel="x", lines=lines, spans=spans)),
        lambda r, f: {"rows": {"loss": [0.5]}, "lines": {"a": 0.5}, "spans": {"loss": (0.1, 0.9)}},
        optional=("lines", "spans"),
    ),
    "dumbbells": Call(
        _shown(
            lambda first, second, low, names, xlabel: plots.dumbbells(
                {"loss": (first, second)}, names=names, xlabel=xlabel, spans={"loss": (low, 0.9)}
            )
        ),
        lambda r, f: {
            "first": 0.5,
            "second": 0.6,
            "low": 0.1,
            "names": ("before", "after"),
            "xlabel": "x",
        },
        negative=("first", "second", "low"),
        endless=("first", "second", "low"),
        blank=("first", "second", "low"),
        also={"first": ("loss",), "second": ("loss",), "low": ("loss",)},
    ),
    "epoch_curve": Call(
        _shown(_epoch_curve),
        lambda r, f: _curve_table(r),
        also=dict.fromkeys(_curve_table(None), ("columns", "table", "epoch")),
    ),
    "epoch_curve, table": Call(
        _shown(plots.epoch_curve), lambda r, f: {"table": pd.DataFrame(_curve_table(r))}
    ),
    "accuracy_against_gap": Call(
        _shown(lambda gaps, accuracies: plots.accuracy_against_gap({"loss": (gaps, accuracies)})),
        lambda r, f: {"gaps": r.random(4), "accuracies": r.random(4)},
        blank=("accuracies",),
        also={"gaps": ("loss",), "accuracies": ("loss",)},
    ),
    "accuracy_against_gap, mapping": Call(
        _shown(plots.accuracy_against_gap),
        lambda r, f: {"points": {"loss": ([0.1], [0.6])}},
        also={"points": ("plots.accuracy_against_gap",)},
    ),
    "record_margins": Call(
        _shown(
            lambda inside, outside, target: plots.record_margins(
                inside, outside, {"the target": target}
            )
        ),
        lambda r, f: dict(zip(("inside", "outside"), _two(r), strict=True)) | {"target": 1.0},
        negative=("target",),
        also={"inside": ("held",), "outside": ("others",)},
    ),
    "record_margins, mapping": Call(
        _shown(lambda target: plots.record_margins([1.0, 2.0], [0.0, 1.0], target)),
        lambda r, f: {"target": {"a": 1.0}},
    ),
    "matrix": Call(
        _shown(lambda table, low, high: plots.matrix({"own": table}, low=low, high=high)),
        lambda r, f: {"table": _table(r), "low": 0.4, "high": 1.0},
        negative=("low", "high"),
        zero=("low", "high"),
        also={"low": ("high",), "high": ("low",)},
    ),
    "matrix, mapping": Call(
        _shown(plots.matrix),
        lambda r, f: {"tables": {"own": _table(r)}},
        also={"tables": ("table",)},
    ),
    "networks": Call(
        _shown(_layer),
        lambda r, f: {"kind": "dense", "count": 1, "output": (8, 4, 4), "parameters": 10},
        also=dict.fromkeys(("kind", "count", "output", "parameters"), ("layer",)),
    ),
    "networks, mapping": Call(
        _shown(plots.networks),
        lambda r, f: {"drawn": {"own": [Layer("dense", 1, (8,), 10, 10)]}},
        also={"drawn": ("network",)},
    ),
    "sample_sheet": Call(
        _shown(
            lambda pool, columns, rows: plots.sample_sheet(
                {"own": pool}, columns=columns, rows=rows
            )
        ),
        lambda r, f: {"pool": _photographs(), "columns": 4, "rows": 2},
    ),
    "class_shares": Call(
        _shown(lambda labels, part: plots.class_shares(labels, {"own": {"part": part}})),
        lambda r, f: {"labels": np.arange(N) % 3, "part": np.arange(20)},
    ),
    "class_shares, mapping": Call(
        _shown(lambda cuts: plots.class_shares(np.arange(N) % 3, cuts)),
        lambda r, f: {"cuts": {"own": {"part": [1, 2]}}},
        also={"cuts": ("part",)},
    ),
    "roc": Call(
        _shown(_roc),
        lambda r, f: {"scores": r.normal(size=N), "members": np.arange(N) % 2 == 0, "log": False},
    ),
    "roc, mapping": Call(
        _shown(plots.roc),
        lambda r, f: {"curves": {"loss": (r.normal(size=N), np.arange(N) % 2 == 0)}},
    ),
    "samples": Call(
        _shown(plots.samples),
        lambda r, f: {"pool": _photographs(), "index": np.array([0, 3, 5])},
        also={"index": ("0 records",)},
    ),
    "attack_style": Call(
        lambda label: len(plots.attack_style(label) or ""), lambda r, f: {"label": "loss"}
    ),
    "line_styles": Call(
        lambda labels: len(line_styles(labels)),
        lambda r, f: {"labels": ["loss", "other"]},
        also={"labels": ("label",)},
    ),
    "styled": Call(
        _styled,
        lambda r, f: {
            "table": _table(r),
            "caption": "A sentence.",
            "column": "x",
            "value": 0.5,
            "kind": "verdict-yes",
            "formats": "{:.3f}",
            "index": True,
        },
        fixed=("value", "column"),
        optional=("formats",),
        also={"kind": ("classes",)},
    ),
    "cards": Call(
        _card,
        lambda r, f: {
            "claim": "A claim",
            "verdict": "holds",
            "kind": "verdict-yes",
            "found": "A sentence.",
            "would_change": "More runs.",
            "section": "Evidence",
        },
        also=dict.fromkeys(
            ("claim", "verdict", "kind", "found", "would_change", "section"), ("card",)
        ),
    ),
}


@surface("figures and tables", 4)
def figures(rng, folder: Path) -> Case:
    _prepare()
    name = pick(rng, list(FIGURES))
    return case_of(name, FIGURES[name], rng, folder)
