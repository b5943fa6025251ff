"""One's own architectures: what cannot work is said before training, what changes is another model."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mia_utils import InputError, Pool, TrainConfig, balanced_masks, train
from mia_utils.training import factory
from mia_utils.training.factory import SIGNATURE
from mia_utils.training.models import architecture_id, build, check_model

HEAD = "import torch\nfrom torch import nn\nimport numpy as np\n"
FLAT = "nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))"
_number = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module and returns its name; names are new, as Python remembers modules."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str, name: str | None = None) -> str:
        name = name or f"own_{next(_number)}"
        (tmp_path / f"{name}.py").write_text(HEAD + text)
        return name

    return write


def net(body: str) -> str:
    return f"def net(shape, classes):\n    return {body}\n"


def layer(forward: str, body: str = FLAT) -> str:
    return (
        f"class Net(nn.Module):\n    def __init__(self, shape, classes):\n        super().__init__()\n"
        f"        self.inner = {body}\n    def forward(self, x):\n        {forward}\nnet = Net\n"
    )


@pytest.mark.parametrize(
    "text, words",
    [
        (net("nn.Sequential(nn.Flatten(), nn.Linear(192, 1000))"), "(2, 1000)"),
        (net("nn.Sequential(nn.Flatten(), nn.Linear(192, 1))"), "(2, 1)"),
        (net("nn.Flatten()"), "(2, 192)"),
        (layer("return (self.inner(x), x)"), "returned a tuple in evaluation mode"),
        (layer("return {'logits': self.inner(x)}"), "returned a dict"),
        (layer("return (self.inner(x), x) if self.training else self.inner(x)"), "training mode"),
        (layer("return self.inner(x).argmax(1)"), "(2,)"),
        (layer("return self.inner(x.flatten(1)[:, :5])"), "fails on a batch of shape (2, 3, 8, 8)"),
        (
            layer("return nn.functional.dropout(self.inner(x), 0.5)"),
            "two passes in evaluation mode",
        ),
        (layer("return self.inner(x) * float(np.random.rand())"), "two passes in evaluation mode"),
        (
            "def net(shape, classes):\n    model = " + FLAT + "\n"
            "    model[1].bias.data = torch.from_numpy(np.random.rand(classes).astype(np.float32))\n"
            "    return model\n",
            "two models from one seed differ",
        ),
        (layer("return self.inner(x).detach()"), "has no gradient"),
        (net("'a text'"), "returned str"),
        (net("None"), "returned NoneType"),
        ("def net():\n    return None\n", "takes 0 positional arguments"),
        (
            "def net(shape, classes):\n    from urllib.error import URLError\n"
            "    raise URLError('no network')\n",
            "URLError: <urlopen error no network>",
        ),
        ("net = 3\n", "is no function"),
        ("def net(shape, classes)\n", "SyntaxError"),
        ("import nowhere_at_all\n", "No module named 'nowhere_at_all'"),
        ("", "has no attribute 'net'"),
    ],
)
def test_a_factory_that_cannot_be_trained_is_refused_in_one_line(module, text, words):
    with pytest.raises(InputError) as caught:
        check_model(f"{module(text)}:net", (8, 8, 3), 10)
    message = str(caught.value)
    assert words in message and "\n" not in message


def test_the_wrong_number_of_outputs_says_what_was_expected_and_what_a_factory_is(module):
    with pytest.raises(InputError, match=r"returned \(2, 1000\).*expected \(2, 10\)") as caught:
        check_model(
            f"{module(net('nn.Sequential(nn.Flatten(), nn.Linear(192, 1000))'))}:net", (8, 8, 3), 10
        )
    assert SIGNATURE in str(caught.value)


def test_a_factory_of_an_installed_package_is_told_what_a_factory_is():
    with pytest.raises(InputError, match=r"f\(shape, classes\)"):
        check_model("torchvision.models:resnet18", (32, 32, 3), 10)


def test_an_unknown_name_is_told_what_a_factory_is():
    for name in ("vgg", "a:", ":b", ""):
        with pytest.raises(InputError, match=r"f\(shape, classes\)"):
            build(name, (8, 8, 3), 4)


def test_recomputed_random_layers_are_refused(module):
    text = "from torch.utils.checkpoint import checkpoint\n" + layer(
        "return checkpoint(lambda x: self.drop(self.inner(x)), x, use_reentrant=False)"
    ).replace("        self.inner =", "        self.drop = nn.Dropout(0.5)\n        self.inner =")
    with pytest.raises(InputError, match="backward pass"):
        check_model(f"{module(text)}:net", (8, 8, 3), 10)


def test_a_model_that_ends_in_a_softmax_is_warned_of(module):
    soft = f"{module(net(FLAT[:-1] + ', nn.Softmax(1))'))}:net"
    with pytest.warns(UserWarning, match="softmax of its own"):
        check_model(soft, (8, 8, 3), 10)
    for good in ("nn.LogSoftmax(1))", "nn.Sigmoid())", "nn.ReLU())"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_model(f"{module(net(FLAT[:-1] + ', ' + good))}:net", (8, 8, 3), 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # there on purpose
        check_model("mia_utils.softmax_twice:cnn", (8, 8, 3), 10)


@pytest.mark.parametrize("size, says", [(17, True), (18, False)])
def test_a_last_batch_of_one_record_that_batchnorm_cannot_take(module, size, says, tmp_path):
    name = module(net("nn.Sequential(nn.Flatten(), nn.LazyLinear(4), nn.BatchNorm1d(4))"))
    pool = Pool.from_arrays("toy", np.zeros((2 * size, 4, 4, 3), np.uint8), np.arange(2 * size) % 4)
    masks = balanced_masks(2 * size, models=2, seed=0)
    members = np.arange(2 * size) < size
    masks = masks._replace(members=np.array([members, ~members]))
    config = TrainConfig(epochs=1, batch_size=16)
    options = {"store": tmp_path, "jobs": 1, "progress": False}
    if says:
        with pytest.raises(InputError, match="batch of one record.*choose another batch_size"):
            train(pool, masks, f"{name}:net", config, **options)
    else:
        assert np.isfinite(train(pool, masks, f"{name}:net", config, **options).logits).all()


# ---- what names it -----------------------------------------------------------------------------


def test_a_changed_helper_is_another_model(module, tmp_path):
    helper, other = module("width = 3\n"), module("unused = 1\n")
    package = tmp_path / "own_package"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text("from .deep import scale\n")
    (package / "deep.py").write_text("scale = 1.0\n")
    name = module(
        f"import {helper}\nfrom own_package import parts\n"
        "def net(shape, classes):\n"
        f"    return nn.Sequential(nn.Flatten(), nn.LazyLinear({helper}.width), nn.LazyLinear(classes))\n"
    )
    ids = [architecture_id(f"{name}:net")]
    (package / "deep.py").write_text("scale = 2.0\n")
    ids.append(architecture_id(f"{name}:net"))
    module("width = 5\n", helper)
    ids.append(architecture_id(f"{name}:net"))
    assert len(set(ids)) == 3 and all(i.startswith(f"{name}:net@") for i in ids)
    module("unused = 2\n", other)
    assert architecture_id(f"{name}:net") == ids[-1]
    assert build(f"{name}:net", (4, 4, 1), 2)[1].out_features == 5


def test_sources_are_parsed_in_one_thread_at_a_time(module, monkeypatch):
    name = f"{module(net(FLAT))}:net"
    parsing = threading.Semaphore()
    parse = factory.ast.parse

    def alone(source, *rest):
        assert parsing.acquire(blocking=False)
        time.sleep(0.01)
        parsing.release()
        return parse(source, *rest)

    monkeypatch.setattr(factory.ast, "parse", alone)
    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(architecture_id, [name] * 8))
    assert len(names) == 1


def test_an_edit_in_a_running_session_is_what_is_trained_next(module):
    name = module(net("nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Linear(8, classes))"))
    assert build(f"{name}:net", (4, 4, 3), 2)[1].out_features == 8
    # Of the same size and in the same second: a compiled file would pass for it.
    module(net("nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.Linear(9, classes))"), name)
    assert build(f"{name}:net", (4, 4, 3), 2)[1].out_features == 9


def test_a_module_that_was_imported_before_it_was_edited_is_imported_again(module):
    import importlib

    name = module(net("nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Linear(8, classes))"))
    importlib.import_module(name)
    module(net("nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.Linear(7, classes))"), name)
    assert build(f"{name}:net", (4, 4, 3), 2)[1].out_features == 7


def test_a_deleted_module_is_said_to_be_missing(module, tmp_path):
    name = module(net(FLAT))
    build(f"{name}:net", (4, 4, 3), 2)
    (tmp_path / f"{name}.py").unlink()
    with pytest.raises(InputError, match="cannot be imported"):
        architecture_id(f"{name}:net")


def test_an_installed_package_is_named_by_its_version():
    import torchvision

    assert architecture_id("torchvision.models:resnet18") == (
        f"torchvision.models:resnet18@{torchvision.__version__.partition('+')[0]}"
        if "+" not in _version("torchvision")
        else f"torchvision.models:resnet18@{_version('torchvision')}"
    )


def _version(name):
    from importlib.metadata import version

    return version(name)


def test_published_names_of_architectures_stay():
    for name in ("mlp", "cnn", "alexnet", "resnet", "efficientnet"):
        assert architecture_id(name) == name
    for name in ("cnn", "mlp"):
        twice = f"mia_utils.softmax_twice:{name}"
        assert architecture_id(twice) == f"{twice}@0fd446e46009a777"


def test_naming_an_architecture_imports_nothing_else(module):
    """An optional import is looked at by name, not carried out."""
    name = module("def net(shape, classes):\n    from pandas import DataFrame\n    return None\n")
    code = (
        "import sys; from mia_utils.training.factory import factory_id; "
        f"sys.path.insert(0, sys.argv[1]); factory_id('{name}:net'); "
        f"sys.exit('pandas' in sys.modules or '{name}' in sys.modules)"
    )
    import importlib.util

    folder = importlib.util.find_spec(name).origin.rpartition("/")[0]
    assert subprocess.run([sys.executable, "-c", code, folder], check=False).returncode == 0


def test_lazy_layers_take_their_size_from_the_pool(module):
    name = module(net("nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.Linear(5, classes))"))
    first, second = (build(f"{name}:net", (4, 4, 3), 2) for _ in range(2))
    assert first[1].in_features == 48 and first.training
    assert isinstance(second[1], torch.nn.Linear)
