"""The figures hold what they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mia_utils import plots
from mia_utils.data import Pool
from mia_utils.errors import InputError
from mia_utils.evaluation import roc_curve


@pytest.mark.parametrize("log", [False, True])
def test_roc_draws_each_curve_and_chance(log):
    curve = roc_curve(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False]))
    (ax,) = plots.roc({"a": curve}, log=log).axes
    assert [line.get_label() for line in ax.lines] == ["a", "chance"]
    assert ax.get_xscale() == ("log" if log else "linear")
    assert (ax.lines[0].get_ydata() > 0).all() == log
    assert ax.lines[0].get_xdata()[-1] == ax.lines[0].get_ydata()[-1] == 1


def test_distributions_are_shares():
    figure = plots.distributions({"x": (np.arange(10.0), np.arange(5.0)), "y": ([1.0], [2.0])})
    assert [ax.get_xlabel() for ax in figure.axes] == ["x", "y"]
    for ax in figure.axes:
        assert sum(p.get_height() for p in ax.patches) == pytest.approx(2)
    with pytest.raises(InputError, match="finite"):
        plots.distributions({"x": ([np.inf], [0.0])})


def test_samples_show_the_records():
    records = np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2, 1)
    pool = Pool.from_arrays("p", records, np.arange(12) % 2)
    figure = plots.samples(pool, [3, 11])
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    np.testing.assert_array_equal(shown, records[[3, 11], ..., 0])
    with pytest.raises(InputError):
        plots.samples(pool, [])


def test_drawings_name_their_parts():
    threats = [t.get_text() for ax in plots.threat_models().axes for t in ax.texts]
    assert "output alone" in threats
    shadows = [t.get_text() for t in plots.shadow_training().axes[0].texts]
    assert "$D'_k$" in shadows


def test_record_margins_draw_both_groups_and_the_targets():
    inside, outside = np.array([3.0, 4.0, 5.0]), np.array([-1.0, 1.0])
    (ax,) = plots.record_margins(inside, outside, {"target 0": 3.5, "target 1": 0.5}).axes
    labels = [line.get_label() for line in ax.lines]
    assert labels == [
        "3 shadow models that held it",
        "2 shadow models that did not",
        "target 0",
        "target 1",
    ]
    curve, line = ax.lines[0], ax.lines[2]
    x, y = curve.get_data()
    assert abs(x[y.argmax()] - 4) < 0.05 and abs(y.mean() * np.ptp(x) - 1) < 0.05
    assert line.get_xdata()[0] == 3.5
    with pytest.raises(InputError, match="1 margins of models that held"):
        plots.record_margins(inside[:1], outside, {})
    plots.record_margins(np.ones(3), np.ones(3), {})  # all equal: no division by zero


def test_bands_reach_from_the_lowest_to_the_highest_target():
    values = np.array([[0.5, 0.7], [np.nan, 0.8], [0.8, 1.0]])
    (ax,) = plots.bands(
        [2, 4, 8], {"a": values}, xlabel="M", ylabel="AUC", level=("best", 0.9)
    ).axes
    assert [line.get_label() for line in ax.lines] == ["a", "best"]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [2, 8])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.6, 0.9])
    edges = ax.collections[0].get_paths()[0].vertices
    assert edges[:, 1].min() == 0.5 and edges[:, 1].max() == 1.0
    assert [t.get_text() for t in ax.get_xticklabels()] == ["2", "4", "8"]
    with pytest.raises(InputError, match="not of shape"):
        plots.bands([2, 4], {"a": values}, xlabel="M", ylabel="AUC")


def test_accuracy_against_gap_has_the_baselines_line():
    points = {"loss": ([0.1, 0.4], [0.6, 0.8]), "entropy": ([], [])}
    (ax,) = plots.accuracy_against_gap(points).axes
    assert [line.get_label() for line in ax.lines] == ["loss", "entropy", "(1 + g)/2"]
    np.testing.assert_allclose(ax.lines[-1].get_xydata(), [[0, 0.5], [0.4, 0.7]])
    with pytest.raises(InputError, match="no points"):
        plots.accuracy_against_gap({"loss": ([], [])})


def test_matrix_writes_its_numbers_and_leaves_gaps():
    table = pd.DataFrame([[0.5, np.nan], [0.75, 1.0]], index=["a", "b"], columns=["c", "d"])
    (ax,) = plots.matrix({"loss": table}).axes
    assert [t.get_text() for t in ax.texts] == ["0.500", "0.750", "1.000"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    np.testing.assert_array_equal(np.asarray(ax.images[0].get_array())[1], [0.75, 1.0])
    with pytest.raises(InputError, match="expected {title: DataFrame}"):
        plots.matrix({"loss": table[:0]})


def test_defense_arrows_end_where_the_defenses_are():
    (ax,) = plots.defense_arrows((0.7, 0.8), {"a": (0.6, 0.55), "b": (0.7, 0.7)}).axes
    points = {line.get_label(): tuple(line.get_xydata()[0]) for line in ax.lines[:3]}
    assert points == {"a": (0.6, 0.55), "b": (0.7, 0.7), "no defense": (0.7, 0.8)}
    assert len([t for t in ax.texts if t.arrow_patch is not None]) == 2
    with pytest.raises(InputError, match="no defense"):
        plots.defense_arrows((0.7, 0.8), {})
