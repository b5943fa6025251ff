"""Figures with more, fewer or other parts than most."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mia_utils import InputError, plots
from mia_utils.plots.verdicts import Card, Cards


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize(("curves", "inside"), [(2, True), (5, False)])
def test_many_curves_are_named_above_the_axes_and_few_inside(curves, inside):
    given = {f"curve {i}": np.full((3, 2), 0.1 * i) for i in range(curves)}
    (ax,) = plots.bands([1, 2, 4], given, xlabel="x", ylabel="y").axes
    ax.figure.canvas.draw()
    legend = ax.get_legend().get_window_extent()
    assert (legend.y0 < ax.get_window_extent().y1) == inside
    assert len(ax.get_legend().get_texts()) == curves


def test_bands_leave_out_points_without_all_targets_and_mark_a_level():
    given = {"a": np.array([[0.1, 0.3], [np.nan, 0.5]]), "b": np.full((2, 2), np.nan)}
    figure, ax = plt.subplots()
    assert (
        plots.bands([1, 2], given, xlabel="x", ylabel="y", level=("chance", 0.5), ax=ax) is figure
    )
    drawn = {line.get_label(): line for line in ax.lines}
    assert drawn["a"].get_xdata().tolist() == [1] and drawn["a"].get_ydata().tolist() == [0.2]
    assert drawn["b"].get_xdata().size == 0 and len(ax.collections) == 1
    assert set(drawn["chance"].get_ydata()) == {0.5}


def test_dots_may_have_lines_and_dumbbells_intervals():
    (ax,) = plots.dots({"loss": [0.6, 0.7]}, xlabel="AUC", lines={"chance": 0.5}).axes
    assert [0.5, 0.5] in [list(line.get_xdata()) for line in ax.lines]
    assert "chance" in [text.get_text() for text in ax.texts]
    rows, spans = {"a": (0.5, 0.6), "b": (0.5, 0.7)}, {"b": (0.65, 0.75)}
    (ax,) = plots.dumbbells(rows, names=("before", "after"), xlabel="AUC", spans=spans).axes
    found = [(list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines]
    assert ([0.65, 0.75], [1, 1]) in found


def test_a_matrix_less_than_a_full_row_leaves_its_place_blank():
    tables = {name: pd.DataFrame([[0.5, np.nan]]) for name in "abc"}
    axes = plots.matrix(tables).axes
    shown = [ax for ax in axes if ax.axison]
    assert [ax.get_title() for ax in shown] == list("abc")
    assert len(axes) > 3 and all(not ax.images for ax in axes if not ax.axison)
    assert [[text.get_text() for text in ax.texts] for ax in shown] == [["0.500"]] * 3


def test_curves_are_drawn_into_axes_that_are_there():
    rng = np.random.default_rng(0)
    figure, (left, right) = plt.subplots(1, 2)
    members = np.arange(200) < 100
    assert plots.roc({"loss": (rng.normal(size=200) + members, members)}, ax=left) is figure
    assert left.lines and not right.lines


def test_cards_are_read_as_texts_too():
    card = Card("It leaks", "agrees", "yes", "AUC 0.9.", "less", "1")
    assert repr(Cards((card, card))) == "It leaks: agrees. AUC 0.9.\nIt leaks: agrees. AUC 0.9."


def test_the_level_of_bands_has_its_own_name_and_is_a_number():
    curves = {"loss": np.ones((2, 3))}
    figure = plots.bands([1, 2], curves, xlabel="x", ylabel="y", level=("chance", 0.5))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "loss",
        "chance",
    ]
    for wrong in (np.True_, "0.5", np.inf):
        with pytest.raises(InputError, match="level"):
            plots.bands([1, 2], curves, xlabel="x", ylabel="y", level=("chance", wrong))
    plots.bands([1, 2], curves, xlabel="x", ylabel="y", level=("chance", np.nan))
