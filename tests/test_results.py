"""Records, signals, the report's table beside ours, and records repeated from their recipes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, no_file_beyond

from mia_utils import experiments
from mia_utils.defenses import Defense, presets
from mia_utils.engine.store import Store
from mia_utils.errors import DiskError, InputError
from mia_utils.evaluation import auc, prediction_interval
from mia_utils.experiments import (
    figure9 as defense_table,
)
from mia_utils.experiments import (
    records as results,
)
from mia_utils.experiments import (
    table1 as report_table,
)
from mia_utils.experiments import (
    verify,
)
from mia_utils.experiments.experiment import CarelessEntropyAttack, Experiment, attacks_for, run
from mia_utils.outputs import Outputs

PUBLISHED = ROOT / "book/results"
EMBEDDED = {"digits", "cifar10-mini"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    return run(Experiment(dataset="digits", epochs=2), store=store, progress=False)


def changed(record, **values):
    return {**record, **values}


# ---- one record ----


def test_a_record_has_all_columns_and_obeys_theorem_2_1(finished):
    for record in finished.records:
        results.check(record)
        assert list(record) == list(results.SCHEMA)
    frame = finished.frame()
    base = frame.loc["correctness"]
    assert base.balanced_accuracy == pytest.approx((1 + base.gap) / 2, abs=1e-12)
    assert set(frame.model) == set(finished.target.names)
    assert len(set(frame.run)) == 1 and frame.run.iloc[0].startswith("r")
    assert all(column.meaning for column in results.SCHEMA.values())


@pytest.mark.parametrize(
    "values, message",
    [
        ({"auc": 1.5}, "auc = 1.5; expected a share"),
        ({"auc": None}, "auc = None; expected float"),
        ({"auc": float("nan")}, "auc = nan"),
        ({"seed": 1.0}, "seed = 1.0; expected int"),
        ({"seed": True}, "seed = True"),
        ({"dataset": 3}, "dataset = 3; expected str"),
        ({"seconds": float("inf")}, "seconds = inf; expected a finite number"),
        ({"extra": 1}, r"unknown \['extra'\]"),
    ],
)
def test_what_breaks_the_schema_is_named(finished, values, message):
    with pytest.raises(InputError, match=message):
        results.check(changed(finished.records[0], **values))
    results.check(changed(finished.records[0], **{"tpr_at_fpr_0.001": None}))
    short = dict(finished.records[0])
    del short["auc"]
    with pytest.raises(InputError, match=r"lacks \['auc'\]"):
        results.check(short, "record 7")


def test_the_name_of_a_run_follows_from_what_decides_it(finished):
    same = Experiment(dataset="digits", epochs=2, shadow_architecture="cnn")
    assert Experiment.of(finished.records[0]) == finished.experiment == same
    assert results.run_name({"a": 1, "b": 2}) == results.run_name({"b": 2, "a": 1})
    assert results.run_name({"a": 1}) != results.run_name({"a": 2})


def test_shadow_model_of_another_kind_is_a_transfer():
    assert not Experiment(dataset="digits").transfer
    crossed = Experiment(dataset="digits", shadow_dataset="cifar10-mini")
    assert crossed.transfer and "loss_normalized" in attacks_for(crossed)
    assert "learned" not in attacks_for(crossed, same_classes=False)
    with pytest.raises(InputError, match=r"settings \['rate'\]"):
        run(Experiment(dataset="digits", settings={"rate": 1}), progress=False)


def test_careless_entropy_never_calls_a_saturated_record_a_member():
    logits = np.array([[[200.0, 0, 0], [1.0, 0, 0]]], np.float32)
    outputs = Outputs(logits, np.array([0, 0]), np.array([[True, False]]))
    scores = CarelessEntropyAttack().score(outputs)[0]
    assert scores[0] == -np.inf and np.isfinite(scores[1])


def flattened(outputs):
    return outputs.replace(logits=np.zeros_like(outputs.logits))


def test_a_defense_trains_and_masks_both_sides(monkeypatch, tmp_path):
    changes = {"lr": 0.01}
    known = {
        "flat": Defense("flat", "flat", changes, mask=flattened),
        "slow": Defense("slow", "slow", changes),
    }
    monkeypatch.setattr(presets, "_BY_NAME", known)
    store = Store(tmp_path)
    flat = run(Experiment(dataset="digits", defense="flat", epochs=1), store=store, progress=False)
    frame = flat.frame()
    assert set(frame.defense) == set(frame.shadow_defense) == {"flat"}
    assert frame.loc["loss"].auc == frame.loc["loss"].shadow_auc == 0.5
    half = Experiment(dataset="digits", defense="flat", shadow_defense="slow", epochs=1)
    assert half.transfer and run(half, store=store, progress=False).shadows.logits.any()
    assert {store.record(name)["config"]["lr"] for name in store.names()} == {0.01}
    assert len(store.names()) == 2


# ---- files ----


def test_written_twice_is_the_same_bytes_and_read_by_pandas(finished, tmp_path):
    path = finished.save(tmp_path)
    said = tmp_path / f"signals/{finished.run}.npz"
    before = path.read_bytes(), said.read_bytes()
    assert finished.save(tmp_path) == path
    assert (path.read_bytes(), said.read_bytes()) == before
    assert results.read_run(path) == finished.records
    frame = pd.read_json(path, lines=True)
    assert list(frame.columns) == list(results.SCHEMA)
    np.testing.assert_allclose(frame["auc"], [r["auc"] for r in finished.records])
    assert [p.name for p in tmp_path.rglob("*.partial*")] == []


def test_signals_give_the_records_figures(finished, tmp_path):
    finished.save(tmp_path)
    said = results.load_signals(finished.run, tmp_path)
    members = said["members"][0]
    assert members.size == said["evaluated"].sum() == 898 and said["names"] == finished.target.names
    own = {"loss": -said["loss"], "confidence": said["log_confidence"], "entropy": -said["entropy"]}
    frame = finished.frame()
    for name, scores in own.items():
        assert scores.dtype == np.float32
        assert auc(scores[0], members) == pytest.approx(frame.loc[name].auc, abs=1e-4)
    with pytest.raises(InputError, match="no signals"):
        results.load_signals("r0", tmp_path)


def test_a_full_disk_is_named_with_the_file_and_leaves_none(finished, tmp_path):
    for save, file in (
        (lambda: finished.save(tmp_path), tmp_path / "records"),
        (lambda: finished.target.save(tmp_path / "answers.npz"), tmp_path / "answers.npz"),
    ):
        with no_file_beyond(1000), pytest.raises(DiskError) as caught:
            save()
        assert str(file) in str(caught.value) and "cannot be written" in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_a_killed_call_left_is_no_record(finished, tmp_path):
    path = finished.save(tmp_path)
    (path.parent / f".{'0' * 32}.{path.name}").write_text(path.read_text()[:50])
    assert set(results.read(tmp_path)["run"]) == {path.stem}


def test_damaged_files_are_named_with_their_line(finished, tmp_path):
    path = finished.save(tmp_path)
    good = path.read_text()
    path.write_text(good + "{")
    with pytest.raises(InputError, match=f"line {len(finished.records) + 1} is no JSON"):
        results.read(tmp_path)
    path.write_text(good)
    path.rename(path.with_name("r1.jsonl"))
    with pytest.raises(InputError, match="belongs to run"):
        results.read(tmp_path)
    with pytest.raises(InputError, match="2 runs"):
        results.save([changed(r, run=f"r{i}") for i, r in enumerate(finished.records[:2])])


def test_too_many_bytes_of_signals_are_refused(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RUN_BYTES", 100)
    with pytest.raises(InputError, match="at most 100 a run"):
        finished.save(tmp_path)
    assert list(tmp_path.rglob("*.npz")) == list(tmp_path.rglob("*.jsonl")) == []


def test_two_runs_of_the_same_attacks_are_refused(finished, tmp_path):
    finished.save(tmp_path)
    results.save([changed(r, run="r0") for r in finished.records], root=tmp_path)
    with pytest.raises(InputError, match="measure the same attacks"):
        results.read(tmp_path)


def test_published_says_where_it_looked(tmp_path, monkeypatch):
    assert results.published() == PUBLISHED
    monkeypatch.setenv("MIA_RESULTS_PUBLISHED", str(tmp_path))
    with pytest.raises(InputError, match="no published records in"):
        results.published()


# ---- the report's table ----


def grid(record, aucs, **values):
    """Records of the loss attack on MNIST's cnn, one a seed."""
    base = changed(
        record, attack="loss", dataset="mnist", shadow_dataset="mnist", epochs=50, **values
    )
    rows = [changed(base, seed=seed, auc=a, auc_low=a, auc_high=a) for seed, a in enumerate(aucs)]
    return pd.DataFrame(rows, columns=list(base))


def cell(frame, dataset="mnist", attack="loss"):
    return next(
        c
        for c in report_table.compare(frame)
        if (c.dataset, c.architecture, c.attack) == (dataset, "cnn", attack)
    )


def test_every_cell_of_the_report_is_there_and_missing_ones_say_so(finished):
    cells = report_table.compare(grid(finished.records[0], []))
    assert len(cells) == 39 and {c.verdict for c in cells} == {"not run"}
    assert cells[0].report == 0.7422 and cells[-1].report == 0.9974


def test_three_seeds_are_judged_by_the_prediction_interval(finished):
    aucs = [0.513, 0.515, 0.516]
    found = cell(grid(finished.records[0], aucs))
    assert (found.next_low, found.next_high) == prediction_interval(aucs)[1:]
    assert found.verdict == "agrees" and found.ours == pytest.approx(np.mean(aucs))
    assert cell(grid(finished.records[0], [0.6, 0.601, 0.602])).verdict == "differs"


def test_fewer_seeds_are_judged_by_the_difference_alone(finished):
    found = cell(grid(finished.records[0], [0.52, 0.53]))
    assert found.verdict == "close" and found.next_low is None and found.seeds == 2
    assert cell(grid(finished.records[0], [0.6])).verdict == "far"


def test_precisions_are_never_averaged(finished):
    record = finished.records[0]
    both = pd.concat([grid(record, [0.51]), grid(record, [0.6], precision="bf16")])
    assert cell(both).ours == 0.51
    more = pd.concat([both, grid(record, [0.7, 0.7], precision="bf16").assign(seed=[1, 2])])
    assert cell(more).precision == "bf16" and cell(more).seeds == 3


def test_other_settings_are_no_row_of_the_report(finished):
    record = finished.records[0]
    for values in (
        {"settings": '{"lr_drop": 40}'},
        {"defense": "top1", "shadow_defense": "top1"},
        {"shadow_architecture": "mlp"},
    ):
        assert cell(grid(record, [0.51], **values)).verdict == "not run"


def test_causes_are_tried_on_cells_that_are_off(finished):
    record = changed(finished.records[0], shadow_auc=0.61)
    twice = dict.fromkeys(("architecture", "shadow_architecture"), "mia_utils.softmax_twice:cnn")
    frame = pd.concat(
        [
            grid(record, [0.6, 0.61]),
            grid(record, [0.52, 0.53], settings='{"lr_drop": 40}'),
            grid(record, [0.58, 0.56], **twice),
        ]
    )
    tried = experiments.causes(frame, report_table.compare(frame))
    assert {c.cause: c.verdict for c in tried} == {
        "softmax twice": "brings it nearer",
        "judged on the shadow model": "does not explain it",
        "rate drop after 40 epochs": "explains most of it",
    }
    assert experiments.causes(frame, report_table.compare(grid(record, [0.51]))) == []


@pytest.mark.parametrize(
    "without, with_it, verdict",
    [
        ((0.60,), (), "not run"),
        ((0.60, 0.60), (0.54, 0.545), "explains most of it"),
        ((0.60,), (0.50,), "brings it nearer"),  # one seed explains nothing
        ((0.60, 0.60), (0.50, 0.56), "brings it nearer"),  # less than half in one of them
        ((0.60, 0.60), (0.50, 0.60), "does not explain it"),  # nothing at all in one of them
        ((0.5313, 0.5313), (0.5300, 0.5299), "does not explain it"),  # a nudge to 0.03 off
        ((0.60, 0.60), (0.30, 0.31), "does not explain it"),  # past the report, and further away
    ],
)
def test_a_cause_explains_only_what_it_takes_away_in_every_seed(without, with_it, verdict):
    cause = experiments.Cause("mnist", "cnn", "loss", "a placebo", 0.5, without, with_it)
    assert cause.verdict == verdict


def test_causes_are_compared_on_one_device_and_in_one_precision(finished):
    record = changed(finished.records[0], shadow_auc=0.6)
    drop = {"settings": '{"lr_drop": 40}'}
    elsewhere = grid(record, [0.51, 0.51, 0.51], device="cuda", precision="bf16", **drop)
    frame = pd.concat([grid(record, [0.6, 0.61]), elsewhere])
    tried = {c.cause: c for c in experiments.causes(frame, report_table.compare(frame))}
    assert tried["rate drop after 40 epochs"].verdict == "not run"


def test_agreement_with_an_interval_that_says_nothing_is_undecided(finished):
    record = finished.records[0]
    for aucs, verdict in (
        ([0.510, 0.515, 0.512], "agrees"),
        ([0.35, 0.70, 0.52], "undecided"),
        ([0.70, 0.71, 0.70], "differs"),
    ):
        cell = report_table.compare(grid(record, aucs))[12]
        assert (cell.dataset, cell.architecture, cell.attack) == ("mnist", "cnn", "loss")
        assert cell.verdict == verdict
        assert 0 <= cell.next_low <= cell.next_high <= 1


def test_transfer_tables_have_targets_in_rows(finished):
    record = changed(finished.records[0], attack="loss", balanced_accuracy=0.6)
    off = changed(record, shadow_dataset="mnist", balanced_accuracy=0.7)
    scaled = changed(off, attack="loss_normalized", balanced_accuracy=0.8)
    frame = pd.DataFrame([record, off, scaled])
    assert experiments.transfer(frame, "dataset", "loss").loc["digits"].to_dict() == {
        "digits": 0.6,
        "mnist": 0.7,
    }
    normal = experiments.transfer(frame, "dataset", "loss_normalized")
    assert normal.loc["digits", "mnist"] == 0.8 and normal.loc["digits", "digits"] == 0.6
    with pytest.raises(InputError, match="axis='seed'"):
        experiments.transfer(frame, "seed", "loss")


def test_costs_follow_the_recorded_speed(finished):
    frame = grid(finished.records[0], [0.5], seconds=100.0, device="cpu", precision="fp32")
    (own, resnet) = experiments.costs(frame, [("mnist", "cnn"), ("cifar10", "resnet")])
    assert own.core_hours == pytest.approx(100 / 3600)
    assert resnet.core_hours / own.core_hours > 100
    assert experiments.costs(frame[:0], [("a1k", "cnn")])[0].core_hours is None
    with pytest.raises(InputError, match=r"architecture=\['mlp'\]"):
        experiments.costs(frame, [("mnist", ["mlp"])])


# ---- what is published ----


def test_published_records_keep_the_schema_and_the_size():
    frame = results.read(PUBLISHED)
    assert set(frame["dataset"]) >= EMBEDDED
    sizes = [path.stat().st_size for path in PUBLISHED.glob("signals/*.npz")]
    assert max(sizes) <= results.RUN_BYTES and sum(sizes) <= results.ALL_BYTES
    for name in frame["run"].unique():
        record = frame[frame["run"] == name].iloc[0].to_dict()
        has_signals = (PUBLISHED / f"signals/{name}.npz").exists()
        assert has_signals != Experiment.of(record).transfer, name
    assert {p.stem for p in PUBLISHED.glob("signals/*.npz")} <= set(frame["run"])


@pytest.mark.parametrize("number", range(2))
def test_published_records_come_out_again(number):
    frame = results.read(PUBLISHED)
    name = verify.choose(frame, EMBEDDED, count=2, longest=10, seed=0)[number]
    checks = verify.verify(frame, name)
    assert len(checks) == (frame["run"] == name).sum()
    assert not any(check.failed for check in checks), verify.report(checks)


def test_verify_tells_same_within_and_differs(finished):
    record = finished.records[2]
    aucs = record["auc"] + np.array([-0.01, 0, 0.01])
    frame = pd.DataFrame([changed(record, seed=s, auc=a) for s, a in enumerate(aucs)])

    def verdict(old, new):
        return verify._compare(frame, old, new).verdict

    elsewhere = changed(record, processor="another", auc=record["auc"] + 0.005)
    assert verdict(record, changed(record, seconds=7.0)) == "same"
    assert verdict(record, changed(record, auc=record["auc"] + 1e-9)) == "differs"
    assert verdict(record, elsewhere) == "within"
    assert verdict(record, changed(elsewhere, auc=0.99)) == "differs"
    assert verdict(record, None) == "differs"
    lonely = changed(record, epochs=7)
    assert verdict(lonely, changed(elsewhere, epochs=7)) == "few seeds"
    assert "1 differs" in verify.report([verify._compare(frame, record, None)])
    with pytest.raises(InputError, match="no published run on"):
        verify.choose(frame, {"mnist"})


def test_json_settings_are_text(finished):
    assert json.loads(finished.records[0]["settings"]) == {}


def test_what_figure_9_compares_was_trained_on_one_device_where_it_can_be(finished):
    """Undefended runs on both; top-1 on both, top-3 on a GPU alone, noise on a CPU alone, twice."""
    plain = changed(finished.records[0], attack="loss", balanced_accuracy=0.6)
    frame = pd.DataFrame(
        [
            changed(plain, defense=name, shadow_defense=name, device=device, seed=seed)
            for name, device, seed in [
                *(("none", device, seed) for device in ("cpu", "cuda") for seed in (0, 1)),
                *(
                    ("top1", "cpu", 0),
                    ("top1", "cuda", 0),
                    ("top3", "cuda", 0),
                    ("top3", "cuda", 1),
                ),
                *(("noise", "cpu", seed) for seed in (0, 1)),
                ("rounding", "cuda", 0),
            ]
        ]
    )
    ((_, _, rows),) = defense_table.defended(frame)
    devices = {(row.defense, row.device) for row in rows.itertuples()}
    gpu = {(name, "cuda") for name in ("none", "top1", "top3", "rounding")}
    assert devices == gpu | {("noise", "cpu")}
    said = defense_table.elsewhere(rows)
    assert said.startswith("Trained on a CPU, and the undefended models on a GPU: ")
    assert "noise" in said.lower() and "top" not in said
    assert defense_table.elsewhere(rows[rows.defense != "noise"]) == ""


def test_no_published_comparison_of_figures_7_to_9_averages_over_devices():
    frame = experiments.read()
    groups = [rows for told in (True, False) for *_, rows in experiments.defended(frame, told=told)]
    assert len(groups) > 3
    for rows in groups:
        assert (rows.groupby("defense").device.nunique() == 1).all()
    for axis in ("architecture", "dataset"):
        for shared, rows in experiments.crossed(frame, axis):
            assert set(rows["device"]) == {shared["device"]}


def test_groups_for_the_figures_hold_like_records_only(finished):
    record = changed(finished.records[0], attack="loss")
    off = changed(record, shadow_dataset="mnist")
    longer = changed(record, epochs=9)
    masked = changed(record, defense="top1", shadow_defense="top1", balanced_accuracy=0.1)
    rounded = changed(record, precision="bf16")
    frame = pd.DataFrame([record, off, longer, masked, rounded])
    ((shared, rows),) = experiments.crossed(frame, "dataset")
    expected = {"architecture": "cnn", "epochs": 2, "precision": "fp32", "device": "cpu"}
    assert shared == expected
    assert set(rows["epochs"]) == {2} and set(rows["precision"]) == {"fp32"}
    assert list(experiments.crossed(frame, "architecture")) == []
    ((dataset, architecture, rows),) = defense_table.defended(frame)
    assert (dataset, architecture) == ("digits", "cnn")
    assert list(rows["defense"]) == ["none", "top1"]
    assert list(defense_table.defended(frame[:3])) == []
    assert list(defense_table.defended(frame, told=False)) == []
    secret = changed(masked, shadow_defense="none", balanced_accuracy=0.2)
    frame = pd.DataFrame([secret, record, off, masked, rounded])
    ((_, _, rows),) = defense_table.defended(frame, told=False)
    assert list(rows["balanced_accuracy"]) == [0.2, record["balanced_accuracy"]]


def test_tables_for_the_reader_show_every_cell(finished):
    frame = grid(changed(finished.records[0], shadow_auc=0.51), [0.6, 0.6])
    cells = report_table.compare(frame)
    table = report_table.beside(cells)
    assert len(table) == 39 and set(table["verdict"]) == {"far", "not run"}
    assert table.loc[table["verdict"] == "far", "difference"].tolist() == ["+0.0853"]
    assert table.loc[("MNIST cnn", "loss")].tolist()[1:4] == ["0.6000", "+0.0853", "far"]
    found = experiments.causes(frame, cells)
    assert experiments.cause_table(found)["verdict"].tolist() == [
        "not run",
        "explains most of it",
        "not run",
    ]
    assert experiments.explained(cells, found) == [
        "MNIST cnn loss: judged on the shadow model would explain most of it"
    ]
    costs = experiments.cost_table(experiments.costs(frame, [("mnist", "cnn")]))
    assert costs.iloc[0, :2].tolist() == ["MNIST", "cnn"]


def test_a_table_that_a_chapter_does_not_declare_is_not_read(tmp_path, monkeypatch):
    from mia_utils.experiments import read_table

    (tmp_path / "records").mkdir()
    (tmp_path / "records/r1.jsonl").write_text("{}\n", "utf-8")
    (tmp_path / "costs.csv").write_text("a,b\n1,2\n", "utf-8")
    monkeypatch.setenv("MIA_RESULTS_PUBLISHED", str(tmp_path))
    assert read_table("costs", ("costs",)).b.tolist() == [2]
    with pytest.raises(InputError, match="'costs' is not among tables = .'other',."):
        read_table("costs", ("other",))
    with pytest.raises(InputError, match="no table .*other.csv"):
        read_table("other", ("other",))


def test_what_a_metric_leads_by_comes_from_the_runs_signals_with_its_interval():
    rows = experiments.reported(experiments.read())
    one = rows[(rows.dataset == "mnist") & (rows.architecture == "mlp")].head(1)
    leads = experiments.metric_leads(one)
    assert list(leads.other) == ["confidence", "entropy"]
    recorded = rows[rows.run == one.run.iloc[0]].set_index("attack").auc
    for row in leads.itertuples():
        assert row.lead == pytest.approx(recorded["loss"] - recorded[row.other], abs=1e-4)
        assert row.low <= row.lead <= row.high


def test_reported_rows_are_of_sound_models_on_the_reports_data():
    rows = experiments.reported(experiments.read())
    assert set(rows.dataset) == {"mnist", "cifar10", "cifar100"}
    assert not rows.architecture.str.contains(":").any() and set(rows.defense) == {"none"}


def test_lost_by_transfer_is_own_shadow_accuracy_minus_the_others():
    frame = experiments.read()
    lost = experiments.lost_by_transfer(frame, "architecture", {"loss": "loss"})
    row = lost[(lost.same == "cifar10") & (lost.target == "cnn")].iloc[0]
    table = next(
        experiments.transfer(rows, "architecture", "loss")
        for shared, rows in experiments.crossed(frame, "architecture")
        if shared["dataset"] == "cifar10"
    )
    assert row.lost == pytest.approx(table.loc["cnn", "cnn"] - table.loc["cnn", row.shadow])
