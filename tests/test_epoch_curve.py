"""What a training looks like after every epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import epochs
from mia_utils import DPConfig
from mia_utils.errors import InputError
from mia_utils.evaluation import auc
from mia_utils.experiments import Experiment, epoch_curve, run


def test_the_curve_ends_where_the_run_does(tmp_path):
    experiment = Experiment(dataset="digits", architecture="mlp", epochs=3, seed=1)
    curve = epoch_curve(experiment)
    finished = run(experiment, store=tmp_path, progress=False)
    row = finished.frame().loc["loss"]
    assert curve["epoch"].tolist() == [1, 2, 3]
    last = curve.iloc[-1]
    assert last.train_accuracy == pytest.approx(row.train_accuracy, abs=1e-12)
    assert last.test_accuracy == pytest.approx(row.test_accuracy, abs=1e-12)
    assert last.auc == pytest.approx(row.auc, abs=1e-12)
    assert (curve.auc_low < curve.auc).all() and (curve.auc < curve.auc_high).all()
    assert np.diff(curve.train_loss).max() < 0
    assert set(curve.dataset) == {"digits"} and set(curve.settings) == {"{}"}


def test_an_earlier_row_is_a_shorter_training(tmp_path):
    """Looking changes nothing: dropout and the order of batches go on as without it."""
    settings = {"dropout": 0.3}
    long = epoch_curve(
        Experiment(dataset="digits", architecture="mlp", epochs=2, settings=settings)
    )
    short = run(
        Experiment(dataset="digits", architecture="mlp", epochs=1, settings=settings),
        store=tmp_path,
        progress=False,
    )
    judged = short.target.evaluated[0]
    area = auc(short.scores["loss"][0, judged], short.target.members[0, judged])
    assert long.auc.iloc[0] == pytest.approx(area, abs=1e-12)


def test_a_case_that_is_measured_again_replaces_its_lines_alone():
    case = {"architecture": "mlp", "seed": 0, "settings": "{}", "precision": "fp32"}
    old = pd.DataFrame(
        [{"dataset": name, "device": "cpu", "epoch": 1, "auc": 0.5, **case} for name in "ba"]
    )
    new = pd.DataFrame([{"dataset": "a", "device": "cpu", "epoch": 1, "auc": 0.7, **case}])
    table = epochs.merged(old, new)
    assert table["dataset"].tolist() == ["a", "b"] and table["auc"].tolist() == [0.7, 0.5]
    assert epochs.merged(None, new)["auc"].tolist() == [0.7]


@pytest.mark.parametrize("case", ["digits", "digits/mlp", "digits/mlp/one", "digits/mlp/0/{"])
def test_a_case_that_cannot_be_read_is_named(case):
    with pytest.raises(InputError, match="expected DATASET/ARCHITECTURE/SEED"):
        epochs.parse(case, 50, "fp32")


def test_what_a_curve_cannot_show_is_refused():
    with pytest.raises(InputError, match="defense='mixup'; .* expected 'none'"):
        epoch_curve(Experiment(dataset="digits", defense="mixup"))
    private = {"dp": DPConfig(noise_multiplier=1.0)}
    with pytest.raises(InputError, match="a private training is a defense: defense='dp_eps8'"):
        epoch_curve(Experiment(dataset="digits", settings=private))
