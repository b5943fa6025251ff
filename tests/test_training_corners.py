"""Sizes, machines and factories that training seldom meets."""

import builtins
import io
import platform
from zipfile import ZipFile

import pytest
import torch

from mia_utils import InputError
from mia_utils.training import TrainConfig, device, dp
from mia_utils.training.early_stopping import EarlyStopping
from mia_utils.training.factory import factory_id, load_factory
from mia_utils.training.models import build, check_model


@pytest.mark.parametrize(("architecture", "side"), [("alexnet", 64), ("resnet", 128)])
def test_networks_made_for_large_colour_images_take_grey_ones(architecture, side):
    with torch.device("meta"), torch.inference_mode():  # shapes alone
        model = build(architecture, (side, side, 1), 7).eval()
        assert model(torch.zeros(1, 1, side, side)).shape == (1, 7)


# ---- devices ----


def test_devices_and_precisions_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device='tpu'; expected .*'auto', 'cpu'"):
        device.resolve_device("tpu")
    with pytest.raises(InputError, match="torch sees no CUDA device here; use 'auto' or 'cpu'"):
        device.resolve_device("cuda")
    with pytest.raises(InputError, match="precision='fp8'; expected one of"):
        device.resolve_precision("fp8", "cpu")
    assert device.resolve_device("auto") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.resolve_device("auto") == device.resolve_device("cuda") == "cuda"


@pytest.mark.parametrize("natively", [False, True])
def test_bf16_is_chosen_where_the_processor_multiplies_it(natively, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: natively)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: natively)
    expected = "bf16" if natively else "fp32"
    for where in ("cpu", "cuda"):
        assert device.resolve_precision("auto", where) == expected
        assert device.resolve_precision("fp32", where) == "fp32"


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ("model name : Wide 9\ncpu family : 6\nmodel : 143\n", "Wide 9 (6/143)"),
        ("model name : Wide 9\n", "Wide 9"),
        ("CPU implementer : 0x41\n", "aarch64"),
        (None, "aarch64"),
    ],
)
def test_a_processor_is_named_as_well_as_its_machine_tells(told, named, monkeypatch):
    def opened(path, *arguments, **options):
        assert path == "/proc/cpuinfo"
        if told is None:  # macOS
            raise FileNotFoundError(path)
        return io.StringIO(f"{told}\nmodel name : of the second core")

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    found = device.describe("cpu")
    monkeypatch.undo()
    assert found == named


# ---- what does not train ----


def test_a_model_that_is_frozen_all_over_promises_nothing():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).requires_grad_(False)
    assert dp._not_private(model, (2, 2, 1)) == "all its parameters are frozen"
    assert dp._not_private(model.requires_grad_(True), (2, 2, 1)) == ""


def test_a_training_that_never_improved_keeps_its_weights():
    stopping = EarlyStopping(TrainConfig(early_stopping=2))
    model = torch.nn.Linear(2, 2)
    before = model.weight.detach().clone()
    ends = [stopping.epoch_ends(epoch, model, lambda: float("nan")) for epoch in range(4)]
    stopping.finish(model)
    assert torch.equal(model.weight, before) and ends == [False, False, True, True]


# ---- somebody's factories ----

LINEAR = "from torch import nn\n\n\ndef net(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_factory_in_a_package_is_named_by_what_it_imports_from_beside_it(here):
    package = here / "corner_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sizes.py").write_text("WIDTH = 3\n")
    (package / "nets.py").write_text(f"from . import sizes\nfrom .sizes import WIDTH\n{LINEAR}")
    name = "corner_package.nets:net"
    before = factory_id(name)
    assert before == factory_id(name) and before.startswith(f"{name}@")
    (package / "sizes.py").write_text("WIDTH = 4\n")
    assert factory_id(name) != before
    assert build(name, (2, 2, 1), 3)(torch.zeros(1, 1, 2, 2)).shape == (1, 3)


def test_a_factory_in_an_archive_on_the_path_is_found(here, monkeypatch):
    with ZipFile(here / "nets.zip", "w") as archive:
        archive.writestr("corner_zipped.py", LINEAR)
    monkeypatch.syspath_prepend(here / "nets.zip")
    with pytest.raises(InputError, match="no module file 'corner_zipped'"):
        load_factory("corner_zipped:net")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def net(:\n", "cannot be imported: SyntaxError"),
        ("net = 5\n", "is no function"),
        ("raise RuntimeError('at once')\n", "cannot be imported: RuntimeError: at once"),
        ("def net(shape, classes):\n    return 5\n", "returned int; a factory is"),
        (
            "def net(shape, classes):\n    1 / 0\n",
            r"failed for shape \(2, 2, 1\) and 3 classes: Zero",
        ),
        (
            "from mia_utils import InputError\n\n\ndef net(shape, classes):\n"
            "    raise InputError('it needs 3 channels')\n",
            "^it needs 3 channels$",
        ),
    ],
)
def test_factories_that_give_no_model_are_refused_by_name(code, said, here, request):
    name = f"corner_bad_{abs(hash(request.node.name))}"
    (here / f"{name}.py").write_text(code)
    with pytest.raises(InputError, match=said):
        check_model(f"{name}:net", (2, 2, 1), 3)
