"""Pictures of the pages of prose, from the published results: `python -m mia_utils.book.pictures`.

Writes the explorers' data (`explorer_data`) and still pictures, the front page's ROC curve and the
social card under book/_static. Trains nothing.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..experiments import records
from ..files import write_if_changed
from . import facts
from .explorer_data import BINS, epsilon, scripts, shadows, threshold

# ---- still pictures ----------------------------------------------------------------------------


def _svg(figure) -> bytes:
    import matplotlib.pyplot as plt

    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    return file.getvalue()


def _still_threshold(data: dict):
    import matplotlib.pyplot as plt

    from .. import plots

    figure, (left, right) = plt.subplots(1, 2, figsize=(6.2, 2.8), layout="constrained")
    edges = np.array(data["edges"])
    for key, name, colour in (
        ("nonmembers", "non-members", plots.NONMEMBER),
        ("members", "members", plots.MEMBER),
    ):
        counts = np.array(data[key])
        left.stairs(counts / counts.sum(), edges, fill=True, alpha=0.5, color=colour, label=name)
    middle = edges[BINS // 2]
    left.axvline(middle, color="#1f2933")
    left.set(xlabel=data["score"], yticks=[])
    left.legend(fontsize=8)
    tpr, fpr = (
        np.append(0, np.cumsum(data[k][::-1])) / sum(data[k]) for k in ("members", "nonmembers")
    )
    right.plot(fpr, tpr, color="#1f2933")
    right.plot([0, 1], [0, 1], "--", color="#77808a", linewidth=1)
    right.plot(fpr[-1 - BINS // 2], tpr[-1 - BINS // 2], "o", color="#1f2933")
    right.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1))
    return figure


def _still_epsilon(data: dict):
    import matplotlib.pyplot as plt

    from .. import plots
    from ..evaluation import dp_curve

    figure, ax = plt.subplots(figsize=(4.4, 4.0), layout="constrained")
    at = np.linspace(0, 1, 200)
    top = dp_curve(at, 1.0, 1e-5)
    ax.fill_between(
        at,
        1 - dp_curve(1 - at, 1.0, 1e-5),
        top,
        color=plots.MEMBER,
        alpha=0.15,
        label="allowed at epsilon 1",
    )
    for curve in data["curves"]:
        dash = tuple(map(float, curve["dash"].split())) or (1, 0)
        x, y = np.array(curve["points"]).T
        ax.plot(x, y, color=curve["colour"], linestyle=(0, dash), label=curve["name"])
    ax.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01))
    ax.legend(loc="lower right")
    return figure


def _still_shadows(data: dict):
    from .. import plots

    counts = data["counts"]
    curves = {}
    for attack in data["attacks"]:
        points = {p["count"]: p for p in attack["points"]}
        none = {"low": np.nan, "mean": np.nan, "high": np.nan}
        curves[attack["name"]] = np.array(
            [[points.get(n, none)[k] for k in ("low", "mean", "high")] for n in counts]
        )
    return plots.bands(counts, curves, xlabel="shadow models", ylabel="AUC")


def _pixels(photograph: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(photograph.split(",")[1]))))


def _still_photographs(data: dict, count: int) -> bytes:
    """The first photographs in rows of six, twice as large, as a PNG."""
    from PIL import Image

    side, gap = 2 * _pixels(data["photographs"][0]["photograph"]).shape[0], 8
    step = side + gap
    sheet = Image.new("RGBA", (6 * step - gap, count // 6 * step - gap))
    for i, photo in enumerate(data["photographs"][:count]):
        picture = Image.fromarray(_pixels(photo["photograph"])).convert("RGB")
        place = (i % 6 * step, i // 6 * step)
        sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), place)
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


# ---- the front page ----------------------------------------------------------------------------


def front_roc(results: Path):
    """Log-log ROC curves of the three metric attacks on the small CIFAR-10 CNN, with their bands."""
    from .. import plots

    run = facts.front_run(records.read(results))
    said = records.load_signals(run["run"], results)
    used = said["evaluated"][0]
    members = said["members"][0, used]
    signs = {"loss": ("loss", -1), "confidence": ("log_confidence", 1), "entropy": ("entropy", -1)}
    scores = {
        name: (sign * said[key][0, used].astype(np.float64), members)
        for name, (key, sign) in signs.items()
    }
    return plots.roc(scores, log=True)


def card(results: Path) -> bytes:
    """The picture that other sites show with a link to the book, 1200 by 630."""
    import matplotlib.pyplot as plt

    from .. import plots

    data = threshold(results)
    figure = plt.figure(figsize=(12, 6.3), dpi=100, facecolor="#ffffff")
    figure.text(0.06, 0.72, "Was this photograph\nin the training set?", fontsize=40, weight="bold")
    figure.text(0.06, 0.60, "Membership inference attacks: an executable book", fontsize=22)
    ax = figure.add_axes((0.06, 0.08, 0.88, 0.42))
    for key, colour in (("nonmembers", plots.NONMEMBER), ("members", plots.MEMBER)):
        counts = np.array(data[key])
        ax.stairs(counts / counts.sum(), data["edges"], fill=True, alpha=0.6, color=colour)
    ax.axis("off")
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="#ffffff", metadata={"Software": None})
    plt.close(figure)
    return file.getvalue()


# ---- files -------------------------------------------------------------------------------------


def _drawings(root: str | os.PathLike) -> dict[str, Callable[[], bytes]]:
    results = Path(root, "book/results")
    game = facts.photographs(root)
    return {
        "explorers/threshold.svg": lambda: _svg(_still_threshold(threshold(results))),
        "explorers/epsilon.svg": lambda: _svg(_still_epsilon(epsilon(results))),
        "explorers/shadows.svg": lambda: _svg(_still_shadows(shadows(results))),
        "explorers/guess.png": lambda: _still_photographs(game, 12),
        "explorers/records.png": lambda: _still_photographs(game, 36),
        "front_roc.svg": lambda: _svg(front_roc(results)),
        "card.png": lambda: card(results),
    }


def write(root: str | os.PathLike) -> list[Path]:
    """Write all of them under ROOT/book/_static; return the files whose bytes changed."""
    import matplotlib

    from .. import plots

    static = Path(root, "book/_static")
    contents = {f"explorers/data/{name}": text.encode() for name, text in scripts(root).items()}
    with matplotlib.rc_context():
        plots.use_style()
        contents |= {name: draw() for name, draw in _drawings(root).items()}
    return [
        static / name for name, made in contents.items() if write_if_changed(static / name, made)
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mia_utils.book.pictures", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    for path in write(parser.parse_args(argv).root):
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
