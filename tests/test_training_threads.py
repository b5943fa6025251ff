"""A model's bits are its own: threads of one process train to the bits that one thread gives."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from mia_utils import TrainConfig
from mia_utils.training import device
from mia_utils.training.factory import has_own_draws
from mia_utils.training.generators import Generators, own_layers, seeded
from mia_utils.training.loop import fit
from mia_utils.training.models import build

RECORDS = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(48) % 4
MEMBERS = np.arange(48) % 3 > 0

OWN = """
import torch
from torch import nn

class Noise(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x) if self.training else x

def noisy(shape, classes):
    return nn.Sequential(Noise(), nn.Flatten(), nn.Dropout(0.5), nn.LazyLinear(16), nn.Linear(16, classes))

def plain(shape, classes):
    layers = [nn.Conv2d(3, 4, 3), nn.Dropout2d(0.2), nn.Flatten(), nn.LazyLinear(classes)]
    return nn.Sequential(*layers)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_layers.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


def one(seed: int, architecture: str, changes: dict):
    config = TrainConfig(**{"epochs": 3, "batch_size": 8, "lr": 3e-3, **changes})
    with device.one_thread():
        return fit(RECORDS, LABELS, 4, MEMBERS, architecture, config, seed=seed)


@pytest.mark.parametrize(
    "architecture, changes",
    [
        ("cnn", {"dropout": 0.5, "augmentation": "crop_flip"}),
        ("cnn", {"mixup": 0.5, "dropout": 0.2}),
        ("cnn", {"augmentation": "randaugment", "dropout": 0.2}),
        ("cnn", {"relax_loss": 1.0, "dropout": 0.3}),
        ("cnn", {"early_stopping": 1, "augmentation": "crop_flip"}),
        ("own_layers:noisy", {"augmentation": "crop_flip"}),
        ("own_layers:plain", {"mixup": 1.0}),
    ],
)
def test_threads_train_to_the_bits_of_one_after_another(own, architecture, changes):
    seeds = range(4)
    serial = [one(seed, architecture, changes) for seed in seeds]
    stop = threading.Event()

    def disturb():  # somebody else's draws from the global generators
        while not stop.wait(0.001):
            torch.rand(3)

    other = threading.Thread(target=disturb)
    other.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda seed: one(seed, architecture, changes), seeds))
    finally:
        stop.set()
        other.join()
    for a, b in zip(serial, both, strict=True):
        np.testing.assert_array_equal(a.logits, b.logits)
        assert a.losses == b.losses
    assert not np.array_equal(serial[0].logits, serial[1].logits)


def test_training_leaves_the_global_generators_where_they_were():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one(0, "cnn", {"dropout": 0.5, "augmentation": "randaugment", "epochs": 1})
    assert torch.equal(before, torch.get_rng_state())


def test_what_cannot_be_given_a_generator_is_seen(own):
    assert has_own_draws("own_layers:noisy", (8, 8, 3), 4)
    assert not has_own_draws("own_layers:plain", (8, 8, 3), 4)


@pytest.mark.parametrize("architecture", ["cnn", "mlp", "alexnet", "resnet", "efficientnet"])
def test_no_built_in_layer_draws_from_the_global_generators(architecture):
    shape, rate = (32, 32, 3), 0.3
    with seeded(0):
        model = build(architecture, shape, 4, dropout=rate)
        own_layers(model, Generators.of_seed(0, "cpu").device).train()
        before = torch.get_rng_state()
        model(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
        assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "layer", [nn.Dropout(0.3), nn.Dropout(0.3, inplace=True), nn.Dropout2d(0.3)]
)
def test_own_dropout_has_the_bits_of_torchs(layer, precision):
    x = torch.randn(5, 6, 4, 4).to(precision).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(9)
    ours = own_layers(nn.Sequential(layer), generator)
    with seeded(9):
        expected = nn.Sequential(layer)(x.clone())
    assert torch.equal(ours(x), expected)
    assert torch.equal(ours.eval()(x), x)


def test_own_stochastic_depth_has_the_bits_of_torchvisions():
    from torchvision.ops import StochasticDepth

    x = torch.randn(6, 3, 2, 2)
    for mode in ("row", "batch"):
        layer = StochasticDepth(0.4, mode)
        ours = own_layers(nn.Sequential(layer), torch.Generator().manual_seed(2))
        with seeded(2):
            expected = layer(x)
        assert torch.equal(ours(x), expected)


def test_threads_leave_the_number_of_threads_and_denormals_as_they_were():
    torch.set_num_threads(2)
    inside, go = threading.Barrier(3), threading.Event()
    seen = {}

    def work(name):
        with device.one_thread():
            seen[name] = torch.get_num_threads(), float(torch.tensor(1e-30) * 1e-10)
            inside.wait()
            go.wait()
        seen[name + " after"] = torch.get_num_threads()

    try:
        workers = [threading.Thread(target=work, args=(name,)) for name in "ab"]
        for worker in workers:
            worker.start()
        inside.wait()
        go.set()
        for worker in workers:
            worker.join()
        assert seen["a"][0] == seen["b"][0] == 1
        assert seen["a after"] == seen["b after"] == torch.get_num_threads() == 2
        fresh = []
        thread = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert fresh == [2]
    finally:
        torch.set_num_threads(1)
