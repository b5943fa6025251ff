"""The table of a network agrees with the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mia_utils.errors import InputError
from mia_utils.training import ARCHITECTURES, build, layers
from mia_utils.training.models import forward_flops, parameter_count

SHAPES = [((8, 8, 1), 10), ((28, 28, 1), 10), ((32, 32, 3), 100), ((64, 64, 3), 20), ((7,), 2)]


@pytest.mark.parametrize("shape, classes", SHAPES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_and_operations_add_up_to_those_of_the_model(architecture, shape, classes):
    try:
        model = build(architecture, shape, classes)
    except InputError as error:
        with pytest.raises(InputError) as same:
            layers(architecture, shape, classes)
        assert str(same.value) == str(error)
        return
    found = layers(architecture, shape, classes)
    assert sum(layer.parameters for layer in found) == parameter_count(model)
    assert sum(layer.flops for layer in found) == forward_flops(model, shape)
    assert found[-1].output == (classes,)


def test_the_small_cnn_layer_by_layer():
    found = [layer[:4] for layer in layers("cnn", (32, 32, 3), 10)]
    assert found == [
        ("convolution 3x3", 1, (32, 32, 32), 3 * 32 * 9 + 32),
        ("max-pooling", 1, (32, 16, 16), 0),
        ("convolution 3x3", 1, (64, 16, 16), 32 * 64 * 9 + 64),
        ("max-pooling", 1, (64, 8, 8), 0),
        ("convolution 3x3", 1, (128, 8, 8), 64 * 128 * 9 + 128),
        ("max-pooling", 1, (128, 4, 4), 0),
        ("dense", 1, (10,), 128 * 16 * 10 + 10),
    ]


def test_equal_neighbours_are_one_row():
    kinds = [(layer.kind, layer.count) for layer in layers("resnet", (32, 32, 3), 10)]
    assert kinds == [
        ("convolution 3x3", 1),
        *[("residual block", 2)] * 4,
        ("average pooling", 1),
        ("dense", 1),
    ]
    alexnet = [(layer.kind, layer.count) for layer in layers("alexnet", (32, 32, 3), 10)]
    assert alexnet[0] == ("convolution 3x3, stride 2", 1) and alexnet[-2:] == [
        ("dense", 2),
        ("dense", 1),
    ]


def test_a_table_draws_no_random_number_and_takes_no_memory():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    layers("alexnet", (32, 32, 3), 10)
    assert torch.equal(before, torch.get_rng_state())
    assert isinstance(build("cnn", (8, 8, 1), 10), nn.Module)
    assert next(build("cnn", (8, 8, 1), 10).parameters()).device.type == "cpu"
