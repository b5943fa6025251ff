"""Arguments of what trains, asks models and draws: what cannot be meant is refused by name, at once."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mia_utils import (
    InputError,
    LearnedAttack,
    LossAttack,
    Masks,
    Oracle,
    Outputs,
    Pool,
    Store,
    TrainConfig,
    arguments,
    load_model,
    plots,
    query,
    text,
    train,
)
from mia_utils.data import quarter_masks
from mia_utils.defenses import memguard, train_defended, train_selena, train_stacked
from mia_utils.experiments import Experiment
from mia_utils.training import (
    DPConfig,
    Layer,
    build,
    epsilon_of,
    noise_multiplier,
    sampling,
)

POOL = Pool.from_arrays(
    "tiny",
    np.random.default_rng(0).integers(256, size=(24, 4, 4)).astype(np.uint8),
    np.arange(24) % 3,
)
MASKS, _ = quarter_masks(POOL.labels, seed=0)
SMALL = TrainConfig(epochs=1, batch_size=8)
ROWS = (POOL.records, POOL.labels, POOL.classes, POOL.train)
ANSWERS = Outputs(
    np.random.default_rng(0).normal(size=(1, 60, 3)),
    np.arange(60) % 3,
    np.arange(60)[None] < 30,
    names=("a",),
)
CORPUS = text.Corpus.of(["a text", "and another"], vocabulary=260)
CODES, _ = text.encode(["ab", "ba"])


def trained(trainer=train, pool=POOL, masks=MASKS, architecture="mlp", config=SMALL, **options):
    return trainer(pool, masks, architecture, config, progress=False, **options)


def features(value):
    rows = np.zeros((24, 3), np.float32)
    rows[5, 1] = value
    return rows


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: trained(pool=POOL.records), "pool is array"),
        (lambda: trained(config={"epochs": 1}), "config is {'epochs': 1}"),
        (lambda: trained(architecture=["mlp"]), r"unknown architecture \['mlp'\]"),
        (lambda: trained(device=["cpu"]), r"device=\['cpu'\]"),
        (lambda: trained(precision={}), "precision={}"),
        (lambda: trained(backend=3), "backend=3"),
        (lambda: trained(backend=""), "backend=''"),
        (lambda: trained(backend="dask", scheduler=3), "scheduler=3"),
        (lambda: trained(store=1.5), "store=1.5"),
        (lambda: trained(store=np.array(["a", "b"])), r"store=array\(\['a', 'b'\]"),
        (lambda: trained(masks=Masks([[True], [True, False]], MASKS.evaluated)), "masks"),
        (lambda: trained(train_defended, defense=3), "no defense is called 3"),
        (lambda: trained(train_defended, config="x"), "config is 'x'"),
        (lambda: trained(train_selena, masks="x"), "masks are a str"),
        (lambda: trained(train_selena, sub_models="3"), "sub_models='3'"),
        (lambda: trained(train_selena, left_out=True), "left_out=True"),
        (lambda: trained(train_stacked, masks=None), "masks are a NoneType"),
        (lambda: trained(train_stacked, seed=-1), "seed=-1"),
        (lambda: memguard("x"), "memguard"),
        (lambda: memguard(ANSWERS, budget="0.5"), "budget='0.5'"),
        (lambda: memguard(ANSWERS, seed=[1]), r"seed=\[1\]"),
        (lambda: TrainConfig(epochs=b"3"), "epochs=b'3'"),
        (lambda: TrainConfig(epochs=10**30), f"epochs={10**30}"),
        (lambda: TrainConfig(batch_size=-1e308), r"batch_size=-1e\+308"),
        (lambda: sampling(SMALL, float("nan")), "members=nan"),
        (lambda: epsilon_of(DPConfig(epsilon=1), float("nan"), 0.1, 3), "noise=nan"),
        (lambda: epsilon_of(DPConfig(epsilon=1), 1.0, float("nan"), 3), "rate=nan"),
        (lambda: noise_multiplier(DPConfig(epsilon=1), 0.1, {}), "steps={}"),
        (lambda: build("cnn", (8, 8, True), 3), "shape="),
        (lambda: build("mlp", 8, 3), "shape=8"),
        (lambda: build("mlp", (8,), 10**30), "classes=1000"),
        (lambda: build("mlp", (8,), 3, dropout="0.1"), "dropout='0.1'"),
        (lambda: Experiment(dataset=3), "dataset=3"),
        (lambda: Experiment(dataset="digits", epochs=2.5), "epochs=2.5"),
        (lambda: Experiment(dataset="digits", seed="0"), "seed='0'"),
        (lambda: Experiment(dataset="digits", precision=["fp32"]), "precision="),
        (lambda: Experiment(dataset="digits", settings="x"), "settings is 'x'"),
        (lambda: Store("s").put_soft_labels(np.full((2, 2), np.nan)), "probabilities"),
        (lambda: Store("s").put_soft_labels([[2.0, -1.0]]), "probabilities"),
        (lambda: load_model("../x"), "name='../x'"),
        (lambda: load_model(3), "name=3"),
        (lambda: query(ANSWERS, "x", "flip"), "pool 'x'"),
        (lambda: query(ANSWERS, POOL, "flip", seed=-1), "query got|seed=-1"),
        (lambda: Oracle(lambda x: x).labels([[np.nan]]), "records"),
        (lambda: LearnedAttack(hidden=()).fit(ANSWERS), r"hidden=\(\)"),
        (lambda: LossAttack(per_class="no").fit(ANSWERS), "per_class='no'"),
        (lambda: LossAttack(threshold=True).fit(ANSWERS), "threshold=True"),
    ],
)
def test_what_trains_or_asks_refuses_by_name(call, told):
    with pytest.raises(InputError, match=told):
        call()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"records": features(np.nan)}, "record 5 are not finite"),
        ({"records": features(np.inf)}, "record 5 are not finite"),
        ({"records": POOL.records.astype(np.float32)}, "records are float32"),
        ({"records": POOL.records[:5]}, "labels has shape"),
        ({"labels": POOL.labels + 1}, "labels run from 1 to 3"),
        ({"labels": POOL.labels.astype(float)}, "labels are float64"),
        ({"train": np.ones(24)}, "train are float64"),
        ({"classes": "abc"}, "classes='abc'"),
        ({"name": None}, "name=None"),
    ],
    ids=str,
)
def test_a_pool_that_was_made_by_hand_is_looked_at_too(fields, told):
    names = ("records", "labels", "classes", "train")
    with pytest.raises(InputError, match=told):
        Pool(**{"name": "own", **dict(zip(names, ROWS, strict=True)), **fields})


def test_a_whole_float_is_the_number_and_a_numpy_scalar_too(tmp_path):
    plain = trained(seed=3, store=tmp_path / "a")
    assert trained(seed=np.float64(3), store=tmp_path / "b").names == plain.names
    assert Experiment(dataset="digits", epochs=np.float32(5), seed=np.int8(1)).epochs == 5


def test_a_stack_whose_combiner_would_see_one_class_is_refused_before_any_training(tmp_path):
    members = np.zeros((1, 24), bool)
    members[0, [0, 3, 6]] = True  # all of class 0
    with pytest.raises(InputError, match="combiner"):
        trained(train_stacked, masks=Masks(members, np.ones_like(members)), store=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: text.train_text("x", [True, False]), "corpus is 'x'"),
        (lambda: text.train_text(CORPUS, [[True], [True, False]]), "copies"),
        (lambda: text.train_text(CORPUS, [1, 0], {}), "config is {}"),
        (lambda: text.TextConfig(lr=0), "lr=0"),
        (lambda: text.TextConfig(dp={"epsilon": 1}), "dp is {'epsilon': 1}"),
        (lambda: text.TextConfig(width=10**30), "width=1000"),
        (lambda: text.Corpus.of("a text"), "texts='a text'"),
        (lambda: text.Corpus.of(["a text", 3]), "document 1 is a int"),
        (lambda: text.Corpus.of(["a text"], vocabulary="300"), "vocabulary='300'"),
        (lambda: text.read_corpus(3), "root=3"),
        (lambda: text.read_corpus(""), "root=''"),
        (lambda: text.read_corpus("no\0where"), "root=.no"),
        (lambda: text.read_corpus(similarity="0.5", documents=2), "similarity='0.5'"),
        (lambda: text.read_corpus(suffixes=".txt"), "suffixes='.txt'"),
        (lambda: text.read_corpus(seed=1.5), "seed=1.5"),
        (lambda: text.encode("ab"), "texts='ab'"),
        (lambda: text.encode([]), "texts are empty"),
        (lambda: text.docstrings(0), "length=0"),
        (lambda: text.docstrings(5, root="nowhere"), "no folder nowhere"),
        (lambda: text.train_characters(CODES, [1, 0], epochs=[1], seed=0), "members are int64"),
        (lambda: text.train_characters("ab", [True, False], epochs=[1], seed=0), "codes"),
        (lambda: text.train_characters(CODES, [True, False], epochs=3, seed=0), "epochs=3"),
        (lambda: text.train_characters(CODES, [True, False], epochs=[0], seed=0), "epochs=0"),
        (
            lambda: text.train_characters(CODES, [True, False], epochs=[1], seed=0, lr="1"),
            "lr='1'",
        ),
        (lambda: text.Canary(3, "42"), "form=3"),
        (lambda: text.exposure("x", []), "models is 'x'"),
        (lambda: text.extraction("x", prompt=1, length=1), "extraction"),
        (lambda: text.generate("x", [1], 3), "model='x'"),
    ],
)
def test_what_reads_or_learns_texts_refuses_by_name(call, told):
    with pytest.raises(InputError, match=told):
        call()


LAYER = Layer("dense", 1, (8,), 10, 10)
TABLE = pd.DataFrame([[0.5, 0.6]], columns=["x", "y"])
PAIR = (np.arange(8.0), np.arange(8) > 3)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: plots.bands([0, 1], {"a": np.ones((2, 2))}, xlabel="x", ylabel="y"), "positive"),
        (lambda: plots.bands([1], {"a": [["x"]]}, xlabel="x", ylabel="y"), "'a' are texts"),
        (lambda: plots.bands([1], {"a": [[0.5]]}, xlabel=None, ylabel="y"), "xlabel=None"),
        (
            lambda: plots.bands([1], {"a": [[0.5]]}, xlabel="x", ylabel="y", level=("b", "1")),
            "level='1'; expected a number",
        ),
        (lambda: plots.defense_arrows((0.5, np.nan), {"a": (0, 1)}), "start=nan"),
        (lambda: plots.defense_arrows((0.5, 0.5), {"a": 3}), r"ends\['a'\]=3"),
        (lambda: plots.defense_arrows((0.5, 0.5), {"a": (0, 1)}, front=[1]), "front"),
        (lambda: plots.distributions([1]), r"distributions\(values\) got \[1\]"),
        (lambda: plots.distributions({"a": ([1.0], ["x"])}), "non-members' values are texts"),
        (lambda: plots.dots({"a": ["x"]}, xlabel="x"), r"rows\['a'\] are texts"),
        (lambda: plots.dots({1: [0.5]}, xlabel="x"), "name=1"),
        (lambda: plots.dots({"a": [1]}, xlabel="x", spans={"a": (0, "1")}), r"spans\['a'\]='1'"),
        (lambda: plots.dots({"a": [1]}, xlabel="x", lines={"b": "1"}), r"lines\['b'\]='1'"),
        (lambda: plots.dumbbells({"a": 3}, names=("x", "y"), xlabel="x"), r"rows\['a'\]=3"),
        (lambda: plots.dumbbells({"a": (1, 2)}, names="xy", xlabel="x"), "names='xy'"),
        (lambda: plots.epoch_curve({"epoch": [1]}), "table is"),
        (lambda: plots.accuracy_against_gap({"a": ([0.1], [0.5, 0.6])}), "1 gaps and 2"),
        (lambda: plots.record_margins([1.0, np.nan], [1.0, 2.0], {"a": 1}), "holds nan"),
        (lambda: plots.record_margins([1.0, 2.0], [1.0, 2.0], {"a": "1"}), r"target\['a'\]='1'"),
        (lambda: plots.matrix({"a": pd.DataFrame([["x"]])}), "table 'a' are texts"),
        (lambda: plots.matrix({"a": TABLE}, low=1.0, high=0.5), "low=1, high=0.5"),
        (lambda: plots.networks({"a": [LAYER._replace(count=-1)]}), "count=-1"),
        (lambda: plots.sample_sheet({"a": POOL}, columns=0), "columns=0"),
        (lambda: plots.sample_sheet({"a": POOL}, rows=10**30), "rows=1000"),
        (lambda: plots.class_shares([0, 1], {"a": {"b": [2]}}), "part 'b'"),
        (lambda: plots.class_shares([0, 1], {"a": {"b": [-1]}}), "part 'b'"),
        (lambda: plots.roc({"a": "x"}), "'a': got a str"),
        (lambda: plots.roc({"a": PAIR}, log="no"), "log='no'"),
        (lambda: plots.samples(POOL, [-1]), "index runs"),
        (lambda: plots.samples("x", [0]), "pool is 'x'"),
        (lambda: plots.attack_style(None), "label=None"),
        (lambda: plots.styled(TABLE, 3), "caption=3"),
        (lambda: plots.styled(TABLE, "a", formats="{:d}"), "formats="),
        (lambda: plots.cards("x"), "plots.cards"),
    ],
)
def test_a_figure_refuses_by_name_before_it_is_begun(call, told):
    with pytest.raises(InputError, match=told):
        call()
    assert not plt.get_fignums()


def test_what_is_not_finite_is_left_out_of_rows_of_dots():
    spans = {"a": (0.0, np.inf)}
    figure = plots.dots({"a": [0.5, np.nan, np.inf]}, xlabel="x", spans=spans)
    drawn = np.concatenate([line.get_xdata() for line in figure.axes[0].lines])
    plt.close(figure)
    assert np.isfinite(drawn).sum() == 2


@pytest.mark.parametrize("value", [True, 10**400, float("nan"), "1", None, [1]])
def test_a_number_is_neither_a_bool_nor_beyond_all_floats(value):
    with pytest.raises(InputError, match="x="):
        arguments.number("x", value, "a number", -np.inf, np.inf, closed="low high")
