"""Numbers that pages of prose quote, computed from the published results: `{{ name }}` on a page.

Nothing measured is typed into a page; a test refuses names that are not here.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..data.catalog import title
from .publish import DEFAULT_SET

EMBEDDED = "the CIFAR-10 images inside the package"


def share(value: float, digits: int = 1) -> str:
    """A share as a percentage.

    >>> share(0.0017, 2)
    '0.17 %'
    """
    return f"{100 * value:.{digits}f} %"


def photographs(root: str | os.PathLike) -> dict:
    """What `python -m benchmarks.photographs` left: one target, attacked photograph by photograph."""
    return json.loads(Path(root, "book/results/photographs.json").read_text("utf-8"))


def _table(root: str | os.PathLike, name: str):
    import pandas as pd

    return pd.read_csv(Path(root, "book/results", name))


def front_run(frame):
    """The published run that the front page is about: the loss attack on the small CIFAR-10 CNN.

    The first seed of the report's recipe.
    """
    from ..experiments.table1 import row_of

    rows = row_of(frame, "cifar10", "cnn")
    rows = rows[rows["attack"] == "loss"].sort_values("seed")
    return rows.iloc[0]


def facts(root: str | os.PathLike) -> dict[str, str]:
    """Every number that a page may quote, as text."""
    from ..experiments.records import read

    frame = read(Path(root, "book/results"))
    run, game = front_run(frame), photographs(root)
    killed = _table(root, "kills_summary.csv")
    taken = _table(root, "branch_coverage.csv").iloc[-1]  # of all wings
    lira, loss = game["auc"]["LiRA"], game["auc"]["loss"]
    trained = frame.drop_duplicates("model")
    return {
        "members": f"{int(run['n_members']):,}",
        "train_accuracy": share(run["train_accuracy"]),
        "test_accuracy": share(run["test_accuracy"]),
        "loss_auc": share(run["auc"]),
        "loss_auc_low": share(run["auc_low"]),
        "loss_auc_high": share(run["auc_high"]),
        "loss_tpr": share(run["tpr_at_fpr_0.001"], 2),
        "loss_tpr_low": share(run["tpr_at_fpr_0.001_low"], 2),
        "loss_tpr_high": share(run["tpr_at_fpr_0.001_high"], 2),
        "published_targets": f"{len(trained):,}",
        "published_records": f"{len(frame):,}",
        "kills": f"{killed['kills'].sum():,}",
        "kills_equal": f"{killed['equal in the end'].sum():,}",
        "branches": f"{taken['branches']:,}",
        "branches_taken": share(taken["branches_covered"] / taken["branches"]),
        "game_data": EMBEDDED if game["dataset"] == DEFAULT_SET else title(game["dataset"]),
        "game_images": f"{game['images']:,}",
        "game_epochs": str(game["epochs"]),
        "game_shadows": str(game["shadow_models"]),
        "game_train_accuracy": share(game["train_accuracy"]),
        "game_test_accuracy": share(game["test_accuracy"]),
        "game_lira_accuracy": share(game["lira_accuracy"]),
        "game_lira_auc": f"{lira[0]:.3f} (95 %: {lira[1]:.3f} to {lira[2]:.3f})",
        "game_loss_auc": f"{loss[0]:.3f} (95 %: {loss[1]:.3f} to {loss[2]:.3f})",
    }


def setup(app) -> dict:
    """Register with Sphinx: the facts as MyST's substitutions."""

    def substitute(app, config) -> None:
        config.myst_substitutions |= facts(app.srcdir)

    app.connect("config-inited", substitute)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
