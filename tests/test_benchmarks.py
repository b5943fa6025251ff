"""Benchmarks: ratios and their verdicts, loops that really train, and the committed results."""

import contextlib
import csv
import io
import json
import os
import re
import shlex

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from benchmarks import loops, mutants, private_recipes
from benchmarks.defenses import judge
from benchmarks.defenses import main as judge_all
from benchmarks.precision import summary
from benchmarks.timing import Ratio, in_a_process, one_core, peak_memory, ratio, rounds
from mia_utils import InputError, Store, load_dataset
from mia_utils.__main__ import main
from mia_utils.experiments import records as results
from mia_utils.experiments.experiment import Experiment
from mia_utils.training.models import build


def test_a_goal_is_met_or_not():
    assert Ratio("a", "b", 2.0, 1.9, 2.1, "at least 2").met == "yes"
    assert Ratio("a", "b", 1.9, 1.9, 2.1, "at least 2").met == "no"
    assert Ratio("a", "b", 0.03, 0, 1, "at most 0.03").met == "yes"
    assert Ratio("a", "b", 0.04, 0, 1, "at most 0.03").met == "no"
    assert Ratio("a", "b", 1, 1, 1).met == ""
    made = ratio("a", "b", [3.0, 1.0, 2.0], "at least 2")
    assert (made.value, made.low, made.high, made.met) == (2.0, 1.0, 3.0, "yes")


def test_rounds_are_interleaved_after_warming_up():
    calls = []
    found = rounds({n: lambda n=n: calls.append(n) for n in "ab"}, 2)
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert all(values.shape == (2,) and (values > 0).all() for values in found.values())


def test_a_fresh_process_does_not_count_its_parents_memory():
    held = np.ones(600 * 2**20, np.uint8)
    assert peak_memory() > held.nbytes > 2 * in_a_process(peak_memory)


def test_one_core_is_given_back():
    before = os.sched_getaffinity(0)
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1 and torch.get_num_threads() == 1
    assert os.sched_getaffinity(0) == before


def test_relu_before_or_after_pooling_is_the_same_network():
    model = build("cnn", (28, 28, 1), 10)
    x = torch.randn(4, 1, 28, 28)
    expected = model(x)
    usual = loops.relu_first(model)
    assert [type(m).__name__ for m in usual][:3] == ["Conv2d", "ReLU", "MaxPool2d"]
    torch.testing.assert_close(usual(x), expected)


@pytest.mark.parametrize("make", [loops.ours, loops.usual], ids=["ours", "usual"])
def test_loops_train(make, monkeypatch):
    made = []
    monkeypatch.setattr(loops, "build", lambda *a: made.append(build(*a)) or made[-1])
    if make is loops.ours:
        from mia_utils.training import worker as training

        monkeypatch.setattr(
            training, "build", lambda *a, **k: made.append(build(*a, **k)) or made[-1]
        )
    records, labels = loops.images((28, 28, 1), 10, 256)
    epoch = make("cnn", records, labels, 10, **({} if make is loops.ours else {"workers": 0}))
    before = [p.clone() for p in made[0].parameters()]
    epoch()
    moved = [not torch.equal(a, b) for a, b in zip(before, made[0].parameters(), strict=True)]
    assert all(moved)


def test_the_gpu_benchmark_measures_every_kind_of_loop(monkeypatch, tmp_path, capsys):
    from benchmarks import gpu

    for name, value in {
        "DEVICE": "cpu",
        "SHAPE": (8, 8, 3),
        "MODELS": 1,
        "HALF": 4,
        "CASES": {"CIFAR cnn": ("cnn", 16), "CIFAR resnet": ("mlp", 16)},
        "STREAMS": dict.fromkeys(gpu.STREAMS, (1, 2)),
        "BATCH": 32,
    }.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: model)
    monkeypatch.setattr(loops, "usual", lambda *a, **k: lambda: None)
    assert gpu.main(["quick", f"out={tmp_path / 'gpu.json'}"]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    kinds = {"plain loop", "author's loop, 8 workers", "1 at a time", "compiled, 1 at a time"}
    assert kinds <= set(found["CIFAR cnn"]) and kinds <= set(found["CIFAR resnet"])
    assert found["64 CNNs"] > 0 and found["modern"]["modern: seconds a model"] > 0
    assert "64 CIFAR cnn" in capsys.readouterr().out
    monkeypatch.setattr("benchmarks.__main__.RESULTS", tmp_path)
    assert gpu.main([f"publish={tmp_path / 'gpu.json'}"]) == 0
    written = pd.read_csv(tmp_path / "bench_gpu.csv")
    rival, ours = (found["CIFAR cnn"][kind] for kind in ("plain loop", "2 at a time"))
    of = (written["benchmark"] == "CIFAR cnn") & (
        written["ratio of"] == "2 at a time, over plain loop"
    )
    assert written[of]["median"].item() == pytest.approx(rival / ours, rel=0.01)
    assert "rounds,short" in (tmp_path / "bench_gpu_machine.csv").read_text("utf-8")


def test_the_recipe_of_today_is_judged_on_images_that_no_training_part_holds(tmp_path):
    from benchmarks import modern

    pool = load_dataset("digits").subset(np.r_[:40, 1500:1520])
    table = modern.accuracy(
        pool, {20: 2, 40: 1}, epochs=1, seed=0, store=Store(tmp_path), progress=False
    )
    assert list(table["training records"]) == [20, 20, 40] and list(table["draw"]) == [0, 1, 0]
    masks = [Store(tmp_path).record(name)["members"] for name in Store(tmp_path).names()]
    assert sorted(masks) == [20, 20, 40]  # none of the twenty that the test part holds
    assert table["test accuracy"].mul(20).round(6).mod(1).eq(0).all()


def test_without_a_gpu_its_benchmark_says_so(monkeypatch, capsys):
    from benchmarks import gpu

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.speed() == [] and "no CUDA device" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path", sorted((ROOT / "book/results").glob("bench_*.csv")), ids=lambda p: p.stem
)
def test_committed_results_say_what_was_met(path):
    rows = list(csv.reader(path.open()))
    if path.stem.endswith("_machine"):
        assert {"processor", "torch", "cores"} <= {name for name, _ in rows}
        return
    assert rows[0] == ["benchmark", "ratio of", "median", "lowest", "highest", "goal", "met"]
    for row in rows[1:]:
        value, low, high = map(float, row[2:5])
        assert low <= value <= high and np.isfinite([low, high]).all()
        assert Ratio(row[0], row[1], value, low, high, row[5]).met == row[6]


def test_precision_summary_follows_from_the_models():
    table = pd.read_csv(ROOT / "book/results/precision.csv")
    written = pd.read_csv(ROOT / "book/results/precision_summary.csv", dtype=str)
    pd.testing.assert_frame_equal(summary(table).astype(str), written, check_dtype=False)


def test_rmia_of_a_run_has_a_population_that_nobody_trained_on(monkeypatch, tmp_path):
    monkeypatch.setenv("MIA_STORE", str(tmp_path))
    found = judge(Experiment(dataset="digits", architecture="mlp", epochs=30, defense="top3"))
    assert found["population"] == 450  # the fourth quarter of 1,797 records, and one left over
    assert 0.5 < found["auc"] < 0.8


def test_figure_9_of_rmia_is_about_published_runs():
    table = pd.read_csv(ROOT / "book/results/defenses_rmia.csv", keep_default_na=False)
    runs = results.read(results.published()).drop_duplicates("run").set_index("run")
    for name in ("dataset", "architecture", "defense", "seed", "epochs", "precision"):
        assert (runs.loc[table["run"], name].to_numpy() == table[name].to_numpy()).all()
    with pytest.raises(InputError, match="expected some of"):
        judge_all(["cifar10/unknown"])


def test_plans_on_the_page_are_what_the_command_prints(monkeypatch, tmp_path):
    page = (ROOT / "book/scaling.md").read_text("utf-8")
    blocks = re.findall(r"```console\n\$ MIA_FLOPS=(\S+) mia (.*?)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.setenv("MIA_STORE", str(tmp_path))
    for flops, arguments, printed in blocks:
        monkeypatch.setenv("MIA_FLOPS", flops)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main(shlex.split(arguments)) == 0
        assert out.getvalue() == printed


def test_private_recipes_keep_one_promise(monkeypatch, tmp_path):
    monkeypatch.setenv("MIA_STORE", str(tmp_path))
    found = [private_recipes.measure(r, "digits", 1) for r in ("large_batches", "standardised")]
    assert all(7.9 < row["epsilon"] <= 8 for row in found)
    assert found[0]["model"] != found[1]["model"] and found[0]["noise"] == found[1]["noise"]
    with pytest.raises(InputError, match="expected some of"):
        private_recipes.main(["larger"])


# ---- mutants -----------------------------------------------------------------------------------


def test_a_sample_of_mutants_replaces_its_wing_and_keeps_the_reasons(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "_change", lambda name: f"{name} -> 0")
    path = tmp_path / "mutants.csv"
    mutants.write(path, "engine", 0, {"e.1": "survived"})
    mutants.write(path, "attacks", 0, {"a.1": "survived", "a.2": "killed"})
    table = pd.read_csv(path, keep_default_na=False)
    table.loc[table["mutant"] == "a.1", "reason"] = "equal"
    table.to_csv(path, index=False)
    mutants.write(path, "attacks", 7, {"a.1": "survived", "a.3": "timeout"})
    table = pd.read_csv(path, keep_default_na=False)
    assert table["mutant"].tolist() == ["a.1", "a.3", "e.1"]
    assert table["reason"].tolist() == ["equal", "", ""]
    assert table["seed"].tolist() == [7, 7, 0]


def test_a_time_out_counts_as_no_kill_and_what_was_not_run_as_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "_change", lambda name: f"{name} -> 0")
    path = tmp_path / "mutants.csv"
    outcomes = {"e.1": "killed", "e.2": "timeout", "e.3": "survived", "e.4": "not run"}
    mutants.write(path, "engine", 5, outcomes | {"e.5": "suspicious", "e.6": "survived"})
    told = {
        "wing": "engine",
        "seed": 5,
        "changes": 5,
        "noticed": 1,
        "noticed of 100": 20,
        "no end": 2,
        "no effect": 0,
        "noticed since": 0,
        "not run": 1,
    }
    summed = tmp_path / "mutants_summary.csv"
    assert pd.read_csv(summed).to_dict("records") == [told]
    table = pd.read_csv(path, keep_default_na=False)
    table.loc[table["mutant"] == "e.3", "reason"] = "noticed since: the sign"
    table.loc[table["mutant"] == "e.6", "reason"] = "no effect but on speed"
    table.to_csv(path, index=False)
    monkeypatch.setattr("sys.argv", ["mutants", "summary", "--out", str(path)])
    assert mutants.main() == 0
    assert pd.read_csv(summed).to_dict("records") == [told | {"no effect": 1, "noticed since": 1}]


def test_the_summary_of_mutants_is_that_of_the_table():
    table = pd.read_csv(ROOT / "book/results/mutants.csv", keep_default_na=False)
    told = pd.read_csv(ROOT / "book/results/mutants_summary.csv", dtype={"seed": str})
    assert told.to_dict("records") == mutants.summary(table.to_dict("records"))


def test_every_mutant_that_is_left_has_a_reason():
    table = pd.read_csv(ROOT / "book/results/mutants.csv", keep_default_na=False)
    assert set(table["wing"]) <= set(mutants.WINGS)
    left = table[table["outcome"] != "killed"]
    assert (left["change"] != "").all() and (left["reason"] != "").all()
