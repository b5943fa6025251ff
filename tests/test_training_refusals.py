"""What is refused before or in a training, in whole sentences; what only a GPU runs, with a stand-in."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mia_utils import (
    DPConfig,
    InputError,
    Masks,
    Pool,
    TrainConfig,
    balanced_masks,
    quarter_masks,
    train,
    training,
)
from mia_utils.arguments import as_integer, as_number
from mia_utils.training import batches, device, dp, epochs, factory, generators, graphs, models
from mia_utils.training.accounting import noise_multiplier
from mia_utils.training.checkpoint import load_checkpoint, save_checkpoint
from mia_utils.training.config import as_seed
from mia_utils.training.recipes import MODERN, modern

POOL = Pool.from_arrays("toy", np.zeros((20, 8, 8, 3), np.uint8), np.arange(20) % 4)
NOISY = DPConfig(noise_multiplier=1.0, delta=1e-3)


def said(function, *given, **options) -> str:
    with pytest.raises(InputError) as caught:
        function(*given, **options)
    return str(caught.value)


PRIVATE = [
    ({}, "epsilon=None, noise_multiplier=None; expected exactly one of them"),
    (
        {"epsilon": 1.0, "noise_multiplier": 1.0},
        "epsilon=1.0, noise_multiplier=1.0; expected exactly one of them",
    ),
    ({"epsilon": 0}, "epsilon=0; expected a positive number"),
    ({"noise_multiplier": -1}, "noise_multiplier=-1; expected a number >= 0"),
    ({"epsilon": 1, "delta": 0}, "delta=0; expected a number in (0, 1)"),
    ({"epsilon": 1, "delta": 1}, "delta=1; expected a number in (0, 1)"),
    ({"epsilon": 1, "delta": None}, "delta=None; expected a number in (0, 1)"),
    ({"epsilon": 1, "max_grad_norm": 0}, "max_grad_norm=0; expected a positive number"),
    ({"epsilon": 1, "multiplicity": 0}, "multiplicity=0; expected an integer >= 1"),
    ({"epsilon": 1, "accountant": "gdp"}, "accountant='gdp'; expected one of ('prv', 'rdp')"),
    ({"epsilon": 1, "accountant": 3}, "accountant=3; expected one of ('prv', 'rdp')"),
    (
        {"epsilon": 1, "weight_standardisation": 1},
        "weight_standardisation=1; expected True or False",
    ),
]


@pytest.mark.parametrize("given, sentence", PRIVATE)
def test_a_promise_that_makes_no_sense_is_told(given, sentence):
    assert said(DPConfig, **given) == sentence


def test_a_promise_keeps_plain_values():
    kept = DPConfig(epsilon=np.float32(2), multiplicity=2.0, weight_standardisation=np.True_)
    assert kept == DPConfig(epsilon=2.0, multiplicity=2, weight_standardisation=True)
    assert type(kept.weight_standardisation) is bool and type(kept.multiplicity) is int
    assert DPConfig(noise_multiplier=0).noise_multiplier == 0


SETTINGS = [
    ({"epochs": 0}, "epochs=0; expected an integer >= 1"),
    ({"batch_size": 0}, "batch_size=0; expected an integer >= 1"),
    ({"lr": -1}, "lr=-1; expected a positive number"),
    ({"lr_drop": 0}, "lr_drop=0; expected an epoch >= 1 or None"),
    ({"weight_decay": -1}, "weight_decay=-1; expected a number >= 0"),
    ({"dropout": 1}, "dropout=1; expected a number in [0, 1) or None"),
    ({"mixup": -1}, "mixup=-1; expected alpha >= 0.01, or 0 for none"),
    ({"label_smoothing": 1}, "label_smoothing=1; expected a number in [0, 1)"),
    ({"relax_loss": -1}, "relax_loss=-1; expected a loss > 0, or 0 for none"),
    ({"early_stopping": -1}, "early_stopping=-1; expected a patience in epochs, or 0 for none"),
    ({"optimizer": "x"}, "optimizer='x'; expected one of ('adam', 'adamw', 'sgd')"),
    (
        {"soft_labels": 3},
        "soft_labels=3; expected the name that Store.put_soft_labels returned, or None",
    ),
    ({"dp": 3}, "dp=3; expected a DPConfig or None"),
    ({"nesterov": "auto"}, "nesterov='auto'; expected one of (False, True)"),
    ({"compile": 2}, "compile=2; expected one of (False, True, 'auto')"),
    ({"momentum": 0.5}, "momentum=0.5; expected optimizer='sgd' with it, not 'adam'"),
    ({"nesterov": True}, "nesterov=True; expected optimizer='sgd' with it, not 'adam'"),
    (
        {"optimizer": "sgd", "momentum": 0, "nesterov": True},
        "nesterov=True with momentum=0: there is nothing to look ahead with",
    ),
    (
        {"lr_drop": 3, "schedule": "one_cycle"},
        "lr_drop and schedule='one_cycle' together: choose one",
    ),
    (
        {"compile": True, "dp": NOISY},
        "compile and dp together: a private step is not compiled; choose one",
    ),
    (
        {"dp": DPConfig(epsilon=1, multiplicity=2)},
        "multiplicity=2 without augmentation: all copies would be the same; set augmentation to "
        "'crop_flip' or 'randaugment'",
    ),
    (
        {"mixup": 1, "relax_loss": 1},
        "mixup and relax_loss together: a mixed record has no one label; choose one",
    ),
    (
        {"label_smoothing": 0.1, "relax_loss": 1},
        "label_smoothing and relax_loss together: RelaxLoss flattens labels itself; choose one",
    ),
    (
        {"mixup": 1, "soft_labels": "x"},
        "soft_labels and mixup together: mixup works on plain labels; choose one",
    ),
    (
        {"mixup": 1, "dp": NOISY},
        "mixup and dp together: a mixed record is in the clipped gradients of two, the accountant "
        "counts one; choose one",
    ),
    (
        {"relax_loss": 1, "dp": NOISY},
        "relax_loss and dp together: a batch's mean loss decides about each record, which no "
        "accountant counts; choose one",
    ),
    (
        {"early_stopping": 1, "dp": NOISY},
        "early_stopping and dp together: held-out records decide when it ends, which no accountant "
        "counts; choose one",
    ),
]


@pytest.mark.parametrize("given, sentence", SETTINGS)
def test_a_setting_that_makes_no_sense_is_told(given, sentence):
    told = said(TrainConfig, **given)
    a, b = (
        sentence.split(" together")[0].split(" and ")[:2] if " together" in sentence else ("", "")
    )
    other = sentence.replace(f"{a} and {b}", f"{b} and {a}", 1) if a else sentence
    assert told in (sentence, other)


@pytest.mark.parametrize(
    "text, advice",
    [
        ("1e-3", " (YAML needs 1.0e-3)"),
        ("1.5e3", " (YAML needs 1.5e+3)"),
        (" -2.E5 ", " (YAML needs -2.e+5)"),
        ("+3e+4", " (YAML needs +3.0e+4)"),
        (" 0.5 ", " (a number, not a text: 0.5 without quotes)"),
        ("five", ""),
    ],
)
def test_a_number_that_came_as_a_text_is_told_how_to_write_it(text, advice):
    assert said(as_number, "lr", text, "a number") == f"lr={text!r}; expected a number{advice}"


def test_whole_numbers_and_seeds():
    assert as_integer("n", 5.0, "x") == 5 and as_integer("n", 2**70, "x") == 2**70
    assert said(as_integer, "n", 5.5, "a whole one") == "n=5.5; expected a whole one"
    assert said(as_number, "n", True, "a number") == "n=True; expected a number"
    assert as_seed(0) == 0
    for wrong in (-1, 0.5, "3"):
        assert said(as_seed, wrong).startswith(f"seed={wrong!r}; expected an integer >= 0")
    assert said(as_seed, -1) == "seed=-1; expected an integer >= 0"


def test_rates_are_in_their_places():
    cycle = TrainConfig(epochs=10, lr=0.5, schedule="one_cycle")
    found = [cycle.rate(epoch) for epoch in (0, 1, 2, 4, 6, 10)]
    assert found == pytest.approx([0, 0.25, 0.5, 0.375, 0.25, 0])
    drop = TrainConfig(lr=0.5, lr_drop=2)
    assert [drop.rate(epoch) for epoch in (1.9, 2, 3)] == [0.5, 0.05, 0.05]
    assert TrainConfig(lr=0.5).rate(1e9) == 0.5
    at = TrainConfig(epochs=30, batch_size=10, compile="auto")
    assert at.resolved("cuda", 10_000).compile is True  # 30 x 1,000 steps
    assert at.resolved("cuda", 9_990).compile is False
    assert at.resolved("cuda", 9_991).compile is True  # a last batch of one counts
    assert at.resolved("cpu", 10_000).compile is False


def test_the_modern_recipe_and_changes_of_it():
    expected = {
        "epochs": 30,
        "batch_size": 512,
        "optimizer": "sgd",
        "lr": 0.4,
        "nesterov": True,
        "weight_decay": 5e-4,
        "schedule": "one_cycle",
        "augmentation": "crop_flip",
    }
    assert modern() == MODERN and MODERN.changed() == expected
    assert modern(epochs=10, lr=0.1).changed() == expected | {"epochs": 10, "lr": 0.1}


# ---- private trainings -------------------------------------------------------------------------


def check(architecture, config=None, sizes=(10,), precision="fp32"):
    config = config or TrainConfig(epochs=1, batch_size=5, dp=NOISY)
    return dp.check_private(architecture, POOL, config, list(sizes), precision)


DEPENDS = (
    "the gradient of a record depends on more than the record, so that clipping it does not bound "
    "what the others do"
)
BUFFERS = "it changes its buffers in training, outside of what is clipped and noised"


@pytest.mark.parametrize(
    "name, reason",
    [
        ("all_frozen", "all its parameters are frozen"),
        ("spectral_norm", BUFFERS),
        ("counts_in_an_attribute", DEPENDS),
    ],
)
def test_an_architecture_that_cannot_be_private_is_told_why(name, reason):
    assert said(check, f"private_zoo:{name}") == (
        f"architecture 'private_zoo:{name}' cannot be trained with dp: {reason}"
    )


def test_what_is_wrong_with_a_private_training_is_told_before_it_starts():
    assert said(check, "mlp", precision="bf16") == (
        "dp trains in fp32, not in bf16; leave precision at 'fp32'"
    )
    for members in (1000, 2000):
        assert said(check, "mlp", sizes=[10, members]) == (
            f"delta=0.001 with {members} members; a delta of 1/{members} or more lets a mechanism "
            f"publish a record outright; take delta={0.1 / members:.1g}"
        )
    check("mlp", sizes=[10, 999])
    with pytest.warns(UserWarning) as told:
        check("private_zoo:norm_of_their_own")
    assert [str(warning.message) for warning in told] == [
        "private_zoo:norm_of_their_own: BatchNorm mixes the records of a batch; GroupNorm takes its place"
    ]


def test_an_impossible_promise_is_told_with_what_can_be_changed():
    impossible = DPConfig(epsilon=1e-6, delta=1e-12)
    assert said(noise_multiplier, impossible, 0.25, 8) == (
        "epsilon=1e-06 at delta=1e-12 cannot be reached in 8 steps with sampling rate 0.25 by any "
        "noise up to 10000, as the 'prv' accountant counts; take a larger epsilon, fewer epochs or "
        "smaller batches"
    )


@pytest.mark.parametrize(
    "rows, channels, groups",
    [
        (False, 64, 32),
        (False, 48, 16),
        (False, 6, 2),
        (False, 5, 1),
        (True, 64, 1),
    ],
)
def test_a_batchnorm_becomes_a_groupnorm_of_as_many_groups_as_divide_it(rows, channels, groups):
    layer = (nn.BatchNorm1d if rows else nn.BatchNorm2d)(channels)
    layer.bias.requires_grad_(False)
    model = dp.private_layers(nn.Sequential(layer, nn.ReLU(), layer))
    new = model[0]
    assert type(new) is nn.GroupNorm and (new.num_groups, new.num_channels) == (groups, channels)
    assert new.weight.requires_grad and not new.bias.requires_grad and model[2] is new
    bare = dp.private_layers(nn.Sequential(nn.BatchNorm2d(4, affine=False)))[0]
    assert bare.weight is None


def test_standardised_kernels_have_no_mean_and_the_variance_of_a_relu():
    kernels = dp.WeightStandardisation()(torch.randn(7, 3, 5, 5) * 9 + 4)
    assert kernels.mean(dim=(1, 2, 3)).abs().max() < 1e-5
    gain = np.sqrt(2 / (1 - 1 / np.pi))
    np.testing.assert_allclose(kernels.flatten(1).norm(dim=1), gain, rtol=1e-5)
    assert torch.isfinite(dp.WeightStandardisation()(torch.ones(2, 3, 1, 1))).all()


# ---- architectures -----------------------------------------------------------------------------


SMALLEST = {"cnn": 8, "alexnet": 16, "resnet": 8, "resnet9": 8, "efficientnet": 32}


@pytest.mark.parametrize("name", SMALLEST)
def test_images_that_are_too_small_and_rows_are_refused_by_name(name):
    side = SMALLEST[name]
    for shape in ((side - 1, side, 3), (side, side - 1, 3)):
        assert said(models.build, name, shape, 4) == (
            f"{name} needs images of at least {side}x{side} pixels; got {shape[0]}x{shape[1]}"
        )
    assert said(models.build, name, (7,), 4) == (
        f"{name} needs images; records of shape (7,) suit 'mlp', or a module:function"
    )


def test_names_that_are_no_architecture_are_told_what_there_is():
    for wrong in ("vgg", "a:", ":b", 3):
        assert said(models.build, wrong, (8, 8, 3), 4) == (
            f"unknown architecture {wrong!r}; expected one of ['alexnet', 'cnn', 'efficientnet', "
            f"'mlp', 'resnet', 'resnet9'] or 'module:function': {factory.SIGNATURE}"
        )
    assert said(models.build, "private_zoo:tied", (8, 8, 3), 4, dropout=0.5) == (
        "dropout=0.5 with 'private_zoo:tied': put dropout into your own factory"
    )


def module(tmp_path, monkeypatch, name, text):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{name}.py").write_text(
        f"import torch\nfrom torch import nn\nimport random\n{text}"
    )
    return f"{name}:net"


FLAT = "nn.Sequential(nn.Flatten(), nn.Linear(192, 4))"


def own(forward):
    return (
        "class Net(nn.Module):\n    def __init__(self, *_):\n        super().__init__()\n"
        f"        self.inner = {FLAT}\n    def forward(self, x):\n        return {forward}\nnet = Net\n"
    )


OWN = [
    (
        own("(self.inner(x),)"),
        "returned a tuple in evaluation mode; expected one tensor of shape "
        f"(2, 4); {factory.SIGNATURE}",
    ),
    (
        own("(self.inner(x),) if self.training else self.inner(x)"),
        "returned a tuple in training mode; "
        f"expected one tensor of shape (2, 4); {factory.SIGNATURE}",
    ),
    (
        own("self.inner(x).argmax(1)"),
        "returned (2,) torch.int64 in evaluation mode; expected (2, 4) "
        f"of floats; {factory.SIGNATURE}",
    ),
    (
        own("self.inner(x).long()"),
        "returned (2, 4) torch.int64 in evaluation mode; expected (2, 4) of "
        f"floats; {factory.SIGNATURE}",
    ),
    (
        own("self.nothing(x)"),
        "fails on a batch of shape (2, 3, 8, 8) in evaluation mode: "
        f"AttributeError: 'Net' object has no attribute 'nothing'; {factory.SIGNATURE}",
    ),
    ("def net(shape, classes):\n    return 'x'\n", f"returned str; {factory.SIGNATURE}"),
    (
        "def net(shape, classes):\n    raise ValueError('a\\n b')\n",
        f"failed for shape (8, 8, 3) and 4 classes: ValueError: a b; {factory.SIGNATURE}",
    ),
    ("net = 3\n", f"is no function; {factory.SIGNATURE}"),
    (
        "import nowhere_at_all\n",
        "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'",
    ),
]


@pytest.mark.parametrize("number", range(len(OWN)))
def test_a_factory_that_cannot_be_used_is_told_in_a_whole_sentence(number, tmp_path, monkeypatch):
    text, sentence = OWN[number]
    name = module(tmp_path, monkeypatch, f"own_sentence_{number}", text)
    assert said(models.check_model, name, (8, 8, 3), 4) == f"architecture {name!r} {sentence}"


@pytest.mark.parametrize(
    "number, text, sentence",
    [
        (
            0,
            own("nn.functional.dropout(self.inner(x))"),
            ": answers differ between two passes in evaluation mode, so that its outputs could not be "
            "repeated; draw at random only `if self.training`",
        ),
        (
            1,
            f"def net(*_):\n    model = {FLAT}\n    nn.init.constant_(model[1].bias, random.random())\n"
            "    return model\n",
            ": two models from one seed differ; draw weights and dropout with torch, not with NumPy's "
            "or Python's random numbers",
        ),
    ],
)
def test_a_factory_of_other_random_numbers_is_told_in_a_whole_sentence(
    number, text, sentence, tmp_path, monkeypatch
):
    name = module(tmp_path, monkeypatch, f"own_random_{number}", text)
    assert said(models.check_model, name, (8, 8, 3), 4) == f"architecture {name!r}{sentence}"


def test_only_the_readers_own_files_name_a_factory(tmp_path, monkeypatch):
    (tmp_path / "alone_other.py").write_text("")
    (tmp_path / "alone_package").mkdir()
    (tmp_path / "alone_package/__init__.py").write_text("from . import deep\n")
    (tmp_path / "alone_package/deep.py").write_text("import json, numpy.linalg\n")
    text = "import alone_other, scipy.stats\nfrom mia_utils import data\nfrom alone_package.deep import x\n"
    name = module(tmp_path, monkeypatch, "own_sources", text)
    found = factory._sources(name)
    assert found == {
        "own_sources": str(tmp_path / "own_sources.py"),
        "alone_other": str(tmp_path / "alone_other.py"),
        "alone_package": str(tmp_path / "alone_package/__init__.py"),
        "alone_package.deep": str(tmp_path / "alone_package/deep.py"),
    }
    assert factory.factory_id(name) == f"{name}@{factory._digest(found)[:16]}"
    monkeypatch.setattr(factory.importlib.metadata, "version", lambda name: f"1.{len(name)}")
    assert factory.factory_id("torchvision.models:resnet18") == "torchvision.models:resnet18@1.11"
    assert said(factory.factory_id, "nowhere_at_all:net").startswith(
        "architecture 'nowhere_at_all:net' cannot be imported: no module file 'nowhere_at_all' in "
    )


def test_what_is_installed_is_not_imported_to_name_a_factory(tmp_path, monkeypatch):
    installed = tmp_path / "site-packages"
    (installed / "not_own_at_all").mkdir(parents=True)
    for file in ("__init__.py", "part.py"):
        (installed / "not_own_at_all" / file).write_text("")
    monkeypatch.syspath_prepend(installed)
    name = module(tmp_path, monkeypatch, "own_importing", "import not_own_at_all.part\n")
    assert list(factory._sources(name)) == ["own_importing"]
    assert "not_own_at_all" not in sys.modules


def test_a_package_under_another_name_is_named_by_all_that_make_it(monkeypatch):
    def version(name):
        if name == "shown":
            raise factory.importlib.metadata.PackageNotFoundError(name)
        return {"two": "2", "one": "1"}[name]

    monkeypatch.setattr(factory.importlib.metadata, "version", version)
    monkeypatch.setattr(
        factory.importlib.metadata, "packages_distributions", lambda: {"shown": ["two", "one"]}
    )
    assert factory._version("shown") == "one-1+two-2"


def test_names_that_are_resolved_late_are_there():
    for name in training.__all__:
        assert getattr(training, name) is not None
    assert training.build is models.build and training.ARCHITECTURES is models.ARCHITECTURES
    with pytest.raises(AttributeError) as caught:
        training.nothing  # noqa: B018
    assert str(caught.value) == "module 'mia_utils.training' has no attribute 'nothing'"


def test_an_unknown_or_absent_device_is_told(monkeypatch):
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
    assert (
        said(device.resolve_device, "tpu") == "device='tpu'; expected one of 'auto', 'cpu', 'cuda'"
    )
    assert said(device.resolve_device, "cuda") == (
        "device='cuda', but torch sees no CUDA device here; use 'auto' or 'cpu'"
    )
    assert said(device.resolve_precision, "fp16", "cpu") == (
        "precision='fp16'; expected one of 'fp32', 'bf16', 'auto'"
    )


# ---- epochs and checkpoints --------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, said_", [(float("nan"), "loss NaN"), (float("inf"), "loss infinite")]
)
def test_a_lost_loss_is_told_with_its_epoch(value, said_):
    model = nn.Linear(2, 2)
    place = SimpleNamespace(model=model, loader=None, changes=())
    config = SimpleNamespace(epochs=5)

    def one_epoch(epoch):
        assert model.training
        return value if epoch == 2 else 1.0

    with pytest.raises(epochs.Diverged) as caught:
        epochs.run_epochs(
            place, config, one_epoch, state=None, checkpoint=None, checkpoint_every=1e9, worker=None
        )
    assert str(caught.value) == f"{said_} from epoch 3"


def test_a_checkpoint_that_cannot_be_written_or_read_is_told(tmp_path, monkeypatch):
    path = tmp_path / "there/not"
    monkeypatch.setattr(
        "mia_utils.training.checkpoint.whole_file",
        lambda path: (_ for _ in ()).throw(OSError("a\nb")),
    )
    with pytest.warns(UserWarning) as told:
        save_checkpoint(path, {})
    assert str(told[0].message) == f"no checkpoint: {path} cannot be written (a b)"
    assert load_checkpoint(None, "cpu") is None and load_checkpoint(path, "cpu") is None
    (tmp_path / "bad").write_bytes(b"x" * 80)
    with pytest.warns(UserWarning) as told:
        assert load_checkpoint(tmp_path / "bad", "cpu") is None
    assert str(told[0].message) == f"{tmp_path / 'bad'}: damaged, the training begins anew"


# ---- with a GPU that is a stand-in -------------------------------------------------------------


def test_a_step_is_recorded_on_the_stream_of_its_thread(monkeypatch):
    done = []

    class Graph:
        def register_generator_state(self, generator):
            done.append(("draws from", generator))

        def replay(self):
            done.append("replayed")

    @contextmanager
    def recording(graph, **options):
        done.append((type(graph), options))
        yield
        done.append("recorded")

    monkeypatch.setattr(graphs.torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(graphs.torch.cuda, "current_stream", lambda: "stream")
    monkeypatch.setattr(graphs.torch.cuda, "graph", recording)
    replay, result = graphs.record_cuda(lambda: done.append("step") or 7, "generator")
    replay()
    assert result == 7 and done == [
        ("draws from", "generator"),
        (Graph, {"stream": "stream", "capture_error_mode": "thread_local"}),
        *("step", "recorded", "replayed"),
    ]


def test_a_mapped_pool_lies_on_a_gpu_if_it_takes_less_than_a_quarter(tmp_path, monkeypatch):
    records = np.lib.format.open_memmap(
        tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=(100, 2)
    )
    free = [0]
    monkeypatch.setattr(batches.torch.cuda, "mem_get_info", lambda: (free[0], 10**9))
    for free[0], fits in ((800, False), (803, False), (804, True)):
        assert batches.on_device(records, "cuda") is fits
    assert not batches.on_device(records, "cpu")
    assert batches.on_device(np.asarray(records).copy(), "cpu")


def test_a_mapped_pool_is_gathered_row_by_row(tmp_path):
    plain = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), dtype=np.uint8)
    mapped = np.lib.format.open_memmap(tmp_path / "a", mode="w+", dtype=np.uint8, shape=plain.shape)
    mapped[:] = plain
    labels, index = np.arange(9), torch.tensor([8, 0, 3])
    one, two = (batches.Loader(records, labels, "cpu") for records in (plain, mapped))
    assert one.shape == two.shape == (4, 4, 3) and one.device == "cpu"
    flipped = [loader(index, lambda pixels: pixels.flip(-1)) for loader in (one, two)]
    assert torch.equal(one(index), two(index)) and torch.equal(*flipped)
    expected = (plain[8] / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(one(index)[0].permute(1, 2, 0), expected, atol=1e-5)
    np.testing.assert_allclose(flipped[0][0].permute(1, 2, 0), expected[:, ::-1], atol=1e-5)
    assert flipped[0].shape == (3, 3, 4, 4) and flipped[0].dtype == torch.float32


def test_layers_of_torch_and_torchvision_are_replaced_and_ones_own_are_not():
    from torchvision.ops import StochasticDepth

    class StochasticDepthOfMine(nn.Dropout):
        pass

    mine = StochasticDepthOfMine(0.5)
    model = nn.ModuleDict(
        {
            "a": nn.Dropout(0.25),
            "b": nn.Dropout2d(0.5),
            "c": StochasticDepth(0.75, "batch"),
            "d": StochasticDepth(0.125, "row"),
            "e": mine,
            "f": nn.Dropout1d(0.1),
            "g": nn.Dropout3d(0.1),
        }
    )
    draws = torch.Generator()
    generators.own_layers(model, draws)
    kinds = {name: type(layer) for name, layer in model.items()}
    assert kinds["c"] is kinds["d"] is generators.Depth and model["e"] is mine
    for name in "abfg":
        assert kinds[name] is generators.Dropout and model[name].features == (name != "a")
    assert [model[n].p for n in "abcd"] == [0.25, 0.5, 0.75, 0.125]
    assert (model["c"].mode, model["d"].mode) == ("batch", "row")
    assert all(model[n]._generator is draws for n in "abcdfg")
    x = torch.ones(64, 3, 2, 2)
    assert len(torch.unique(model["c"](x))) == 1  # one draw for the batch
    rows = model["d"](x).flatten(1)
    assert set(torch.unique(rows).tolist()) == {0.0, float(1 / torch.tensor(0.875))}
    assert torch.equal(rows.amin(1), rows.amax(1))
    channels = model["b"](x).flatten(2)
    assert torch.equal(channels.amin(2), channels.amax(2)) and 0 < channels.mean() < 2
    never, always = generators.Dropout(0.0, draws), generators.Dropout(1.0, draws)
    assert (
        never(x) is x and not always(x).any() and not generators.Depth(1.0, "row", draws)(x).any()
    )
    model.eval()
    assert all(model[n](x) is x for n in "abcd")


def test_pools_and_masks_that_cannot_be_trained_on_are_told(tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    pool, one = (
        Pool.from_arrays("rows", rows, labels) for labels in (np.arange(40) % 2, np.zeros(40, int))
    )
    halves, whole = balanced_masks(40, models=2, seed=0), {"store": tmp_path, "progress": False}
    assert said(train, one, halves, "mlp", **whole).startswith("pool 'rows' has 1 class; expected")
    both = quarter_masks(pool.labels, seed=0)
    assert "masks[0], ...) for the target" in said(train, pool, both, "mlp", **whole)
    members = np.arange(40)[None] == 3
    alone = Masks(members, np.ones_like(members))
    stopping = TrainConfig(epochs=2, early_stopping=1)
    assert "a model has 1; expected at least 2" in said(
        train, pool, alone, "mlp", stopping, **whole
    )
