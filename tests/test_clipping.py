"""Clipped sums of record gradients: against loops of single records, and layer by layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mia_utils.training.clipping import clipped_sum, known_layers, record_gradients
from mia_utils.training.dp import private_layers
from mia_utils.training.models import build

SHAPE, CLASSES = (16, 16, 3), 5


def model_of(architecture, standardised=False):
    torch.manual_seed(0)
    model = private_layers(build(architecture, SHAPE, CLASSES), standardised).eval()
    return model.to(memory_format=torch.channels_last)


def batch(records=6, copies=1):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(records, copies, 3, *SHAPE[:2], generator=draw)
    return x, torch.randint(CLASSES, (records,), generator=draw)


def alone(model, x, y):
    """Loss and gradients of one record with its copies, by an ordinary backward pass."""
    loss = functional.cross_entropy(model(x), y.expand(len(x)))
    return loss, torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("architecture", ["cnn", "mlp", "resnet"])
def test_record_gradients_equal_a_loop_of_single_records(architecture, standardised):
    model, (x, y) = model_of(architecture, standardised), batch(copies=2)
    found, losses = record_gradients(model)(x, y)
    for i in range(len(y)):
        loss, gradients = alone(model, x[i], y[i])
        torch.testing.assert_close(losses[i], loss)
        for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
            torch.testing.assert_close(found[name][i], gradient, rtol=1e-3, atol=1e-5)


def test_copies_of_a_record_count_as_one():
    """The gradient of a record is the mean over its copies, before anything is clipped."""
    model, (x, y) = model_of("cnn"), batch(records=2, copies=3)
    found, _ = record_gradients(model)(x, y)
    single, _ = record_gradients(model)(x.flatten(0, 1)[:, None], y.repeat_interleave(3))
    for name, gradient in found.items():
        expected = single[name].unflatten(0, (2, 3)).mean(dim=1)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("bound", [0.01, 1.0, 1e6])
@pytest.mark.parametrize("architecture", ["cnn", "mlp", "alexnet", "resnet"])
def test_the_clipped_sum_equals_a_loop_of_single_records(architecture, bound, copies):
    model, (x, y) = model_of(architecture), batch(copies=copies)
    assert known_layers(model)
    found, losses = clipped_sum(model, x, y, bound)
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for i in range(len(y)):
        loss, gradients = alone(model, x[i], y[i])
        torch.testing.assert_close(losses[i], loss.detach())
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))
        for name, gradient in zip(expected, gradients, strict=True):
            expected[name] += gradient * min(1.0, bound / norm)
    assert set(found) == set(expected)
    for name, value in expected.items():
        tolerance = 1e-4 * value.abs().max().item()
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=tolerance)


def test_both_ways_are_the_same_with_flattened_labels():
    model, (x, y) = model_of("cnn"), batch(copies=2)
    mine, losses = clipped_sum(model, x, y, 0.5, 0.2)
    model.append(_Unknown())
    assert not known_layers(model)
    other, same = clipped_sum(model, x, y, 0.5, 0.2)
    torch.testing.assert_close(losses, same)
    for name, value in other.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-3, atol=1e-6)


class _Unknown(nn.Module):
    def forward(self, x):
        return x


class _Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(self.layer(x))


def _tied():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return nn.Sequential(first, second)


def _frozen():
    layer = nn.Linear(4, 4)
    layer.bias.requires_grad_(False)
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    "model",
    [
        _Twice(),
        _tied(),
        _frozen(),
        nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)),
        nn.Sequential(nn.Conv2d(4, 4, 3, dilation=2)),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding="same")),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding_mode="reflect", padding=1)),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        nn.Sequential(nn.Linear(4, 4), nn.PReLU()),
        model_of("cnn", standardised=True),
    ],
    ids=[
        "twice",
        "tied",
        "frozen",
        "groups",
        "dilated",
        "same",
        "reflect",
        "norm",
        "prelu",
        "standardised",
    ],
)
def test_layers_that_are_not_surely_known_go_record_by_record(model):
    assert not known_layers(model)


def test_strides_and_odd_kernels():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, (3, 5), stride=(2, 3), padding=(1, 0), bias=False),
        nn.ReLU(inplace=True),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.Linear(4 * 8 * 4, CLASSES, bias=False),
    )
    assert known_layers(model)
    x, y = batch()
    found, _ = clipped_sum(model, x, y, 0.5)
    each, _ = record_gradients(model)(x, y)
    factors = 0.5 / torch.sqrt(sum(g.flatten(1).square().sum(1) for g in each.values()))
    for name, gradients in each.items():
        expected = torch.einsum("b,b...->...", factors.clamp(max=1), gradients)
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-5)


def test_a_record_without_a_gradient_changes_nothing():
    model, (x, y) = model_of("mlp"), batch(records=2)
    with torch.no_grad():  # sure of the class: the loss of record 0 is flat
        model[-1].weight.zero_()
        model[-1].bias.copy_(200.0 * functional.one_hot(y[0], CLASSES))
    found, _ = clipped_sum(model, x[:1], y[:1], 1.0)
    assert all(torch.equal(g, torch.zeros_like(g)) for g in found.values())
