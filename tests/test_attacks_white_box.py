"""Gradients at single records, against single-record backward passes; what an attack makes of them."""

import numpy as np
import pytest
import torch

from mia_utils import (
    BoundaryAttack,
    Outputs,
    Pool,
    TrainConfig,
    balanced_masks,
    load_dataset,
    load_model,
    quarter_masks,
    train,
)
from mia_utils.attacks import GradientAttack, LossAttack
from mia_utils.attacks.white_box import FEATURES, gradient_norms
from mia_utils.errors import InputError
from mia_utils.evaluation import auc
from mia_utils.training.batches import Loader


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    pool = load_dataset("cifar10-mini")
    store = tmp_path_factory.mktemp("store")
    config = TrainConfig(epochs=12)
    outputs = [
        train(pool, masks, "cnn", config, store=store, progress=False)
        for masks in quarter_masks(pool.labels, seed=0, shadow_models=1)
    ]
    return pool, *outputs, store


def some(outputs, count=120):
    used = np.flatnonzero(outputs.evaluated[0])
    return outputs.select(records=np.sort(np.random.default_rng(0).permutation(used)[:count]))


@pytest.mark.parametrize("architecture", ["cnn", "mlp", "resnet"])
def test_norms_are_those_of_single_backward_passes(architecture, tmp_path):
    pool = load_dataset("digits")
    masks, _ = quarter_masks(pool.labels, seed=0, shadow_models=1)
    outputs = train(
        pool, masks, architecture, TrainConfig(epochs=1), store=tmp_path, progress=False
    )
    model, _ = load_model(outputs.names[0], tmp_path)
    ids = np.arange(5)
    found, names = gradient_norms(outputs.names[0], pool, ids, pool.labels[ids], tmp_path)
    assert names == [name for name, _ in model.named_parameters()]
    model = model.double()
    loader = Loader(pool.records, pool.labels, "cpu")
    for row, i in zip(found, ids, strict=True):
        model.zero_grad()
        logits = model(loader(torch.tensor([i])).double())
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(pool.labels[[i]])).backward()
        slow = [float(p.grad.norm()) for p in model.parameters()]
        np.testing.assert_allclose(np.exp(row), slow, rtol=2e-3, atol=1e-9)


@pytest.mark.parametrize("attack", [BoundaryAttack, GradientAttack])
def test_a_fit_that_cannot_be_made_is_refused_as_a_fit(attack):
    pool = load_dataset("digits")
    n = len(pool)
    nameless = Outputs(np.zeros((1, n, 10), np.float32), pool.labels, np.arange(n)[None] % 2 == 0)
    for call in ("fit", "score"):
        with pytest.raises(InputError, match=rf"{attack.__name__}\.{call}\(") as told:
            getattr(attack(pool), call)(nameless)
        assert str(told.value).count("score(") == (call == "score")


def test_a_loss_that_rounds_to_zero_still_has_a_gradient(trained):
    pool, target, _, store = trained
    name = target.names[0]
    model, record = load_model(name, store)
    weights = {k: v.numpy() for k, v in model.state_dict().items()}
    last = [k for k in weights if k.endswith("weight")][-1]
    weights[last] = weights[last] * 300
    sure = "0" * 32
    from mia_utils import Store

    for own in ("identity", "checksum"):  # what says that the record is the other model's
        record.pop(own)
    Store(store).put(sure, record, target.logits[0], weights)
    right = np.flatnonzero(target.logits[0].argmax(axis=1) == target.labels)[:40]
    norms, _ = gradient_norms(sure, pool, right, pool.labels[right], store)
    assert np.isfinite(norms).all() and norms[:, -1].min() < -30
    assert np.unique(norms[:, -1]).size == right.size


@pytest.mark.parametrize("features", FEATURES)
def test_members_are_found_and_only_evaluated_pairs_scored(trained, features):
    pool, target, shadow, store = trained
    target, shadow = some(target), some(shadow)
    attack = GradientAttack(pool, features=features, store=store).fit(shadow)
    used = target.evaluated.copy()
    used[0, :5] = False
    scores = attack.score(target.replace(evaluated=used))
    assert np.isnan(scores[0, :5]).all() and np.isfinite(scores[0, 5:]).all()
    assert auc(scores[0, 5:], target.members[0, 5:]) > 0.55
    assert attack.predict(target).any() and not attack.predict(target).all()
    loss = auc(LossAttack().score(target)[0], target.members[0])
    assert abs(auc(attack.score(target)[0], target.members[0]) - loss) < 0.15


def test_what_cannot_be_attacked_is_refused(trained):
    pool, target, _, store = trained
    with pytest.raises(InputError, match="features='sum'"):
        GradientAttack(pool, features="sum").score(target)
    with pytest.raises(InputError, match="not fitted"):
        GradientAttack(pool, features="all", store=store).score(target)
    with pytest.raises(InputError, match="no shadow models"):
        GradientAttack(pool, features="all", store=store).fit()
    with pytest.raises(InputError, match="without names"):
        GradientAttack(pool, store=store).score(target.replace(names=()))


def test_the_last_layer_is_the_one_that_is_used_last(tmp_path, monkeypatch):
    (tmp_path / "turned.py").write_text(
        "import torch\n\n\n"
        "class Turned(torch.nn.Module):\n"
        "    def __init__(self, size, classes):\n"
        "        super().__init__()\n"
        "        self.head = torch.nn.Linear(8, classes)\n"
        "        self.body = torch.nn.Linear(size, 8)\n"
        "        self.norm = torch.nn.LayerNorm(8)\n\n"
        "    def forward(self, x):\n"
        "        return self.head(self.norm(self.body(x)).relu())\n\n\n"
        "class Bare(torch.nn.Module):\n"
        "    def __init__(self, size, classes):\n"
        "        super().__init__()\n"
        "        self.w = torch.nn.Parameter(torch.randn(size, classes) / 10)\n\n"
        "    def forward(self, x):\n"
        "        return x @ self.w\n\n\n"
        "def turned(shape, classes):\n    return Turned(shape[0], classes)\n\n\n"
        "def bare(shape, classes):\n    return Bare(shape[0], classes)\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pool = Pool.from_arrays("rows", rng.normal(size=(40, 5)).astype(np.float32), np.arange(40) % 3)
    masks = balanced_masks(40, models=2, seed=0)
    config, store = TrainConfig(epochs=2), tmp_path / "store"
    outputs = train(pool, masks, "turned:turned", config, store=store, jobs=1, progress=False)
    attack = GradientAttack(pool, features="last_layer", store=store)
    norms, names = gradient_norms(outputs.names[0], pool, outputs.ids, outputs.labels, store)
    head = norms[:, names.index("head.weight")]
    np.testing.assert_allclose(attack.score(outputs)[0], -head, rtol=1e-6)
    bare = train(pool, masks, "turned:bare", config, store=store, jobs=1, progress=False)
    with pytest.raises(InputError, match="no layer with a weight matrix"):
        attack.score(bare)
