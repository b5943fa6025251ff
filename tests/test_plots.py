"""The figures hold what they were given."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from mia_utils import plots
from mia_utils.data import Pool
from mia_utils.errors import InputError
from mia_utils.evaluation import roc_curve
from mia_utils.experiments.experiment import Experiment, attacks_for
from mia_utils.plots import style
from mia_utils.training import layers


@pytest.fixture(autouse=True)
def closed():
    """No figure stays open."""
    yield
    plt.close("all")


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


def overlap(a, b) -> bool:
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


@pytest.mark.parametrize("draw", [plots.threat_models, plots.shadow_training])
def test_boxes_of_the_drawings_keep_apart_and_every_arrow_touches_two(draw):
    figure = draw()
    figure.canvas.draw()
    assert figure.axes
    for ax in figure.axes:
        boxes = [t.get_bbox_patch() for t in ax.texts if t.get_bbox_patch() and t.get_text()]
        extents = [b.get_window_extent() for b in boxes]
        for i, one in enumerate(extents):
            assert not any(overlap(one, other) for other in extents[:i])
        arrows = [t.arrow_patch for t in ax.texts if getattr(t, "arrow_patch", None)]
        assert arrows
        for arrow in arrows:
            assert {arrow.patchA, arrow.patchB} <= set(boxes)


def test_shadow_training_asks_with_what_it_does_not_train_on_and_shows_the_target():
    texts = [t.get_text() for t in plots.shadow_training().axes[0].texts]
    assert "$D'_k$" in texts and "target\nmodel" in texts
    assert texts.count("trains") == texts.count("is asked") == 2


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


@pytest.mark.parametrize("height", [0.55, 0.75, 0.95])
def test_the_legend_of_bands_does_not_lie_on_the_line_of_the_level(height):
    curve = np.linspace(0.6, 0.9, 4)[:, None]
    figure = plots.bands(
        [1, 2, 4, 8], {"perplexity": curve}, xlabel="x", ylabel="AUC", level=("chance", height)
    )
    figure.draw_without_rendering()
    (ax,) = figure.axes
    assert not overlap(ax.get_legend().get_window_extent(), ax.lines[-1].get_window_extent())


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
    (ax,) = plots.defense_arrows((0.7, 0.8), {"a": (0.6, 0.55), "b": (0.71, 0.7)}).axes
    arrows = {t.get_gid(): t.xy for t in ax.texts if getattr(t, "arrow_patch", None)}
    assert arrows == {"a": (0.6, 0.55), "b": (0.71, 0.7)}
    assert {t.get_text().strip() for t in ax.texts} >= {"a", "b", "no defense"}
    with pytest.raises(InputError, match="no defense"):
        plots.defense_arrows((0.7, 0.8), {})


def test_masks_stand_in_a_strip_of_their_own():
    ends = {"a": (0.6, 0.55), "top-1": (0.7, 0.7), "label only": (0.7, 0.6)}
    ax, strip = plots.defense_arrows((0.7, 0.8), ends).axes
    assert {t.get_text().strip() for t in strip.texts} == {"top-1", "label only"}
    assert "top-1" not in {t.get_text().strip() for t in ax.texts}


def test_labels_of_defenses_do_not_lie_on_each_other():
    ends = {f"defense {i}": (0.6 + 0.001 * i, 0.6 + 0.0001 * i) for i in range(16)}
    figure = plots.defense_arrows((0.7, 0.8), ends)
    figure.canvas.draw()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text()]
    assert len(boxes) >= len(ends)
    for i, one in enumerate(boxes):
        assert not any(overlap(one, other) for other in boxes[:i])


def test_names_of_defenses_stay_within_the_axis_however_many_lie_at_its_edge():
    right = (770, 680, 652, 668, 729, 639, 677, 666, 620, 652, 423, 462, 510, 548, 656, 686)
    found = (561, 747, 673, 683, 693, 835, 698, 603, 589, 531, 509, 514, 522, 528, 578, 660)
    pairs = zip(right, found, strict=True)
    ends = {f"defense {i}": (x / 1000, y / 1000) for i, (x, y) in enumerate(pairs)}
    with plt.rc_context():
        plots.use_style()
        figure = plots.defense_arrows((0.682, 0.696), ends)
    figure.draw_without_rendering()
    (ax,) = figure.axes
    names = [t.get_window_extent() for t in ax.texts if t.get_text().startswith(" ")]
    assert len(names) == len(ends) + 1
    assert min(box.y0 for box in names) >= ax.get_window_extent().y0


def test_defenses_of_nearly_equal_models_are_told_apart():
    start = (0.98714, 0.5138)  # digits: all within a hundredth
    moved = {"early stopping": (0.98157, 0.5114), "L2 1e-3": (0.98614, 0.5101)}
    masks = {"top-1": (start[0], 0.5143), "label only": (start[0], 0.5003)}
    front = {4: (0.97792, 0.5049), 10: (0.98121, 0.5074)}
    with plt.rc_context():
        plots.use_style()
        figure = plots.defense_arrows(start, moved | masks, front=front)
        figure.draw_without_rendering()
        figure.draw_without_rendering()
    boxes = sorted(tick_labels(figure.axes[0]), key=lambda box: box.x0)
    assert len(boxes) > 1
    assert all(a.x1 + 5 < b.x0 for a, b in pairwise(boxes))
    for ax in figure.axes:  # and no dashed line is drawn through a name
        names = [t.get_window_extent().x0 for t in ax.texts if t.get_text().startswith(" ")]
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert names and dashed
        assert all(line.get_window_extent().x1 <= min(names) + 1 for line in dashed)


def test_defenses_that_stopping_earlier_beats_are_pale():
    ends = {"good": (0.65, 0.55), "poor": (0.65, 0.78)}
    (ax,) = plots.defense_arrows((0.7, 0.8), ends, front={5: (0.6, 0.6)}).axes
    colour = {t.get_gid(): t.arrow_patch.get_edgecolor() for t in ax.texts if t.get_gid()}
    assert sum(colour["good"][:3]) < sum(colour["poor"][:3])


# ---- style ----


def luminance(colour: str) -> float:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_every_attack_of_an_experiment_has_a_style_of_its_own():
    names = attacks_for(Experiment(dataset="digits", shadow_dataset="mnist"))
    shown = [tuple(plots.attack_style(name).values()) for name in names]
    assert len({str(x) for x in shown}) == len(shown)
    every = [plots.attack_style(name) for name in style.styles()]
    assert len({(s["color"], str(s["linestyle"])) for s in every}) == len(every)


@pytest.mark.parametrize("name", style.styles())
def test_colours_are_seen_on_white(name):
    assert 1.05 / (luminance(plots.attack_style(name)["color"]) + 0.05) >= 2.9


def test_members_and_attacks_that_stand_side_by_side_differ_for_the_colour_blind():
    # Machado et al. (2009), severity 1: deuteranomaly and protanomaly, in linear RGB.
    deutan = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    protan = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    names = ("loss", "confidence", "entropy", "learned", "lira", "rmia")
    colours = [to_rgb(plots.attack_style(name)["color"]) for name in names]
    for group in (colours, [to_rgb(plots.MEMBER), to_rgb(plots.NONMEMBER)]):
        for seen in (np.eye(3), np.array(deutan), np.array(protan)):
            points = np.clip(np.array(group) ** 2.2 @ seen.T, 0, 1) ** (1 / 2.2)
            apart = np.linalg.norm(points[:, None] - points[None], axis=2)
            assert apart[np.triu_indices(len(group), 1)].min() > 0.2


def test_a_label_names_its_attack_whatever_else_it_says():
    for label in ("LiRA online (AUC 0.61)", "LiRA", "LiRA online, 16 models"):
        assert plots.attack_style(label) == plots.attack_style("lira")
    assert plots.attack_style("ML (AUC 0.8)") == plots.attack_style("learned")
    assert plots.attack_style("100 epochs") is None


def test_curves_keep_their_attacks_colour_in_every_figure():
    curve = roc_curve(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, True, False]))
    one = plots.roc({"loss": curve, "RMIA": curve}).axes[0].lines
    other = plots.roc({"RMIA": curve, "mine": curve, "yours": curve, "loss": curve}).axes[0].lines
    assert one[0].get_color() == other[3].get_color()
    assert len({line.get_color() for line in other[:4]}) == 4


def test_a_curve_from_scores_has_its_interval_and_a_long_one_few_points():
    rng = np.random.default_rng(0)
    members = np.arange(20_000) < 10_000
    scores = rng.normal(size=20_000) + members
    for log in (False, True):
        (ax,) = plots.roc({"loss": (scores, members)}, log=log).axes
        assert len(ax.collections) == 1 and len(ax.lines[0].get_xdata()) < 1200
        low, high = ax.collections[0].get_paths()[0].get_extents().intervaly
        assert low > 0 and high <= 1.0001
    few = plots.roc({"correctness": (members.astype(float), members)})
    assert not few.axes[0].collections


def test_figures_are_svg_of_the_same_bytes(tmp_path):
    plots.use_style()
    texts = []
    for name in "ab":
        plots.threat_models().savefig(tmp_path / f"{name}.svg", metadata={"Date": None})
        texts.append((tmp_path / f"{name}.svg").read_text())
    assert texts[0] == texts[1] and "fill: #ffffff" not in texts[0].split("</defs>")[0]


# ---- tables ----


def test_tables_carry_classes_a_caption_and_no_colours():
    table = pd.DataFrame({"AUC": [0.5, 0.75], "verdict": ["agrees", "undecided"]})
    html = plots.styled(
        table,
        "Two rows.",
        verdicts={"verdict": {"agrees": "verdict-yes", "undecided": "verdict-open"}},
        formats={"AUC": "{:.3f}"},
        index=False,
    ).to_html()
    assert "<caption>Two rows.</caption>" in html and "color" not in html
    assert 'verdict-yes" >agrees' in html and 'number" >0.750' in html
    with pytest.raises(InputError, match="green"):
        plots.styled(table, "x", verdicts={"verdict": {"agrees": "green"}})


def test_a_sample_sheet_shows_classes_in_turn():
    records = np.arange(12, dtype=np.uint8).repeat(4).reshape(12, 2, 2)
    pool = Pool.from_arrays("p", records, np.arange(12) % 3)
    grey, colour = plots.sample_sheet(
        {"grey": pool, "colour": Pool.from_arrays("c", np.full((4, 2, 2, 3), 9), [0, 1, 0, 1])},
        columns=4,
    ).axes
    sheet = np.asarray(grey.images[0].get_array())
    assert sheet.shape == (5, 11, 4)  # two rows and four columns of 2x2 pixels, a gap of one
    assert sheet[::3, ::3, 0].tolist() == [[6, 7, 8, 9], [10, 11, 0, 1]]
    shown = np.asarray(colour.images[0].get_array())
    assert (shown[0, 0] == [9, 9, 9, 255]).all()
    assert shown[3, 0, 3] == 0 and sheet[0, 2, 3] == 0  # no image, a gap: transparent
    assert grey.get_title(loc="left") == "grey"
    table = Pool.from_arrays("t", np.eye(4), [0, 1, 0, 1])
    for pools in ({}, {"table": table}):
        with pytest.raises(InputError, match="no pool of images"):
            plots.sample_sheet(pools)


def test_a_sample_sheet_of_many_classes_spreads_over_them():
    records = np.arange(200, dtype=np.uint8).repeat(4).reshape(200, 2, 2)
    pool = Pool.from_arrays("p", records, np.arange(200) % 100)
    (ax,) = plots.sample_sheet({"p": pool}, columns=5).axes
    shown = np.asarray(ax.images[0].get_array())[::3, ::3, 0].ravel() % 100
    assert shown[0] == 0 and shown[-1] == 99 and len(set(shown.tolist())) == 10


def test_class_shares_show_the_classes_of_each_part():
    labels = np.array([2, 0, 1, 0, 2, 2])
    first, second = plots.class_shares(
        labels, {"a": {"x": [0, 1, 5], "y": [3]}, "b": {"z": np.array([2, 4])}}
    ).axes
    shown = [np.asarray(image.get_array()).ravel().tolist() for image in first.images]
    assert shown == [[0, 2, 2], [0]] and second.images[0].get_array().ravel().tolist() == [1, 2]
    assert [text.get_text() for text in first.get_yticklabels()] == ["x", "y"]
    for cuts in ({}, {"a": {"x": []}}):
        with pytest.raises(InputError, match="empty part"):
            plots.class_shares(labels, cuts)


def test_networks_are_drawn_box_by_box():
    found = {name: layers(name, (32, 32, 3), 10) for name in ("cnn", "resnet")}
    cnn, resnet = plots.networks(found).axes
    assert [len(ax.patches) for ax in (cnn, resnet)] == [4, 6]
    heights = [box.get_height() for box in cnn.patches]
    assert heights == sorted(heights, reverse=True) and len(set(heights)) == 4
    words = [text.get_text() for text in resnet.texts]
    assert words[:4] == ["64\n32x32", "conv", "64\n32x32", "2 x block"]
    for nothing in ({}, {"cnn": []}):
        with pytest.raises(InputError, match="no network"):
            plots.networks(nothing)


def test_an_epoch_curve_shows_both_accuracies_and_the_band_of_the_auc():
    table = pd.DataFrame(
        {
            "epoch": [2, 1],
            "train_accuracy": [0.9, 0.5],
            "test_accuracy": [0.4, 0.3],
            "auc": [0.8, 0.6],
            "auc_low": [0.7, 0.5],
            "auc_high": [0.9, 0.7],
        }
    )
    (ax,) = plots.epoch_curve(table).axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in ax.lines}
    assert lines == {
        "accuracy on members": [0.5, 0.9],
        "accuracy on non-members": [0.3, 0.4],
        "AUC of the loss attack": [0.6, 0.8],
    }
    (band,) = ax.collections
    assert band.get_paths()[0].vertices[:, 1].max() == 0.9
    with pytest.raises(InputError, match="twice"):
        plots.epoch_curve(pd.concat([table, table]))
    with pytest.raises(InputError, match="auc_low"):
        plots.epoch_curve(table.drop(columns="auc_low"))


def test_dots_stand_in_the_row_of_their_name_and_spans_belong_to_a_row():
    figure = plots.dots({"a": [0.1, 0.2], "b": [0.3]}, xlabel="x", spans={"b": (0.2, 0.4)})
    drawn = {tuple(line.get_xdata()): tuple(line.get_ydata()) for line in figure.axes[0].lines}
    assert drawn == {(0.1, 0.2): (0, 0), (0.2, 0.4): (1, 1), (0.3,): (1,)}
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]  # the first row on top
    figure = plots.dots({"label only": [0.1]}, xlabel="x", attack="RMIA")
    assert figure.axes[0].lines[0].get_color() == plots.attack_style("RMIA")["color"]
    with pytest.raises(InputError, match="'c'"):
        plots.dots({"a": [0.1]}, xlabel="x", spans={"c": (0, 1)})
    with pytest.raises(InputError):
        plots.dots({}, xlabel="x")


def tick_labels(ax):
    low, high = ax.get_xlim()
    ticks = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    return [label.get_window_extent() for x, label in ticks if low <= x <= high]


@pytest.mark.parametrize(
    "values", [[0.50021, 0.50144], [0.4975, 0.5142], [1e-5, 9.87e-5], [0.5, 0.97], [0.5, 0.5]]
)
@pytest.mark.parametrize("draw", [plots.dots, plots.dumbbells])
def test_labels_of_ticks_do_not_touch_however_close_the_numbers_are(draw, values):
    more = {"names": ("wrong", "right")} if draw is plots.dumbbells else {}
    rows = {"photographs, reference models": values, "loss": values}
    with plt.rc_context():
        plots.use_style()
        figure = draw(rows, xlabel="AUC", **more)
        figure.draw_without_rendering()
    boxes = sorted(tick_labels(figure.axes[0]), key=lambda box: box.x0)
    assert boxes
    assert all(a.x1 + 5 < b.x0 for a, b in pairwise(boxes))


@pytest.mark.parametrize("apart", [0.0, 0.001, 0.03, 0.5])
def test_names_of_lines_do_not_lie_on_each_other(apart):
    lines = {"little": apart, "none": 0}
    figure = plots.dots({"loss": [0.0, 0.6]}, xlabel="accuracy lost", lines=lines)
    figure.draw_without_rendering()
    first, second = (text.get_window_extent() for text in figure.axes[0].texts)
    assert not overlap(first, second)


def test_dumbbells_join_the_two_numbers_of_a_row():
    figure = plots.dumbbells(
        {"a": (0.1, 0.2), "b": (0.4, 0.3)}, names=("first", "second"), xlabel="x"
    )
    lines = {line.get_label(): line.get_xdata().tolist() for line in figure.axes[0].lines}
    assert lines["first"] == [0.1, 0.4] and lines["second"] == [0.2, 0.3]
    with pytest.raises(InputError):
        plots.dumbbells({}, names=("a", "b"), xlabel="x")


def test_sentences_hold_for_one_for_none_and_for_names_with_commas():
    assert plots.counted(1, "shadow model") == "1 shadow model"
    assert plots.counted(0, "class", "classes") == "0 classes"
    assert plots.counted(2000, "record") == "2,000 records"
    assert plots.listed([]) == "none"
    assert plots.listed(["loss"]) == "loss"
    assert plots.listed(["loss", "entropy"]) == "loss and entropy"
    assert plots.listed(["DP-SGD, epsilon 1", "mixup"]) == "DP-SGD, epsilon 1; mixup"


@pytest.mark.parametrize("bound", [0.0, 1.74, 0.1299, 0.29, 0.5749, 7.9501, -0.0301, 1e-9])
@pytest.mark.parametrize("digits", [1, 2, 3])
def test_a_bound_is_never_rounded_to_its_other_side(bound, digits):
    low, high = plots.at_least(bound, digits), plots.at_most(bound, digits)
    assert float(low) <= bound + 1e-9 and float(high) >= bound - 1e-9
    assert float(high) - float(low) < 1.001 * 10.0**-digits
    assert "-0.00" not in (low, high)


def test_a_bound_that_is_not_known_is_a_dash_and_an_infinite_one_says_so():
    assert plots.at_least(np.nan, 2) == "–"
    assert plots.at_most(np.inf, 2) == "inf"


def test_a_card_says_its_claim_as_text_and_links_the_heading_as_sphinx_names_it():
    card = plots.Card(
        "a < b", "not refuted", "verdict-open", "1 & 2", "more", '"Only L2, they say"'
    )
    html = plots.cards([card])._repr_html_()
    assert "a &lt; b" in html and "1 &amp; 2" in html and "claim-card verdict-open" in html
    assert 'href="#only-l2-they-say"' in html
    with pytest.raises(InputError, match="green"):
        plots.cards([card._replace(kind="green")])
