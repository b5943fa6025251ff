"""Clipped sums of record gradients: against loops of single records, and layer by layer."""

import math

import private_zoo
import pytest
import torch
from torch import nn
from torch.nn import functional

from mia_utils.training import clipping
from mia_utils.training.clipping import _affine, clipped_sum, known_layers, record_gradients
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
    """Gradients of one record with its copies, by an ordinary backward pass."""
    loss = functional.cross_entropy(model(x), y.expand(len(x)))
    return torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("standardised", [False, True])
@pytest.mark.parametrize("architecture", ["cnn", "mlp", "resnet"])
def test_record_gradients_equal_a_loop_of_single_records(architecture, standardised):
    model, (x, y) = model_of(architecture, standardised), batch(copies=2)
    found = record_gradients(model)(x, y)
    for i in range(len(y)):
        gradients = alone(model, x[i], y[i])
        for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
            torch.testing.assert_close(found[name][i], gradient, rtol=1e-3, atol=1e-5)


def test_copies_of_a_record_count_as_one():
    """The gradient of a record is the mean over its copies, before anything is clipped."""
    model, (x, y) = model_of("cnn"), batch(records=2, copies=3)
    found = record_gradients(model)(x, y)
    single = record_gradients(model)(x.flatten(0, 1)[:, None], y.repeat_interleave(3))
    for name, gradient in found.items():
        expected = single[name].unflatten(0, (2, 3)).mean(dim=1)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("architecture", ["cnn", "mlp", "alexnet", "resnet"])
def test_the_clipped_sum_equals_a_loop_of_single_records(architecture, copies):
    model, (x, y) = model_of(architecture), batch(copies=copies)
    assert known_layers(model)
    singles = [alone(model, x[i], y[i]) for i in range(len(y))]
    norms = [torch.sqrt(sum((g**2).sum() for g in gradients)) for gradients in singles]
    for bound in (0.01, 1.0, 1e6):
        found = clipped_sum(model, x, y, bound)
        expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
        for gradients, norm in zip(singles, norms, strict=True):
            for name, gradient in zip(expected, gradients, strict=True):
                expected[name] += gradient * min(1.0, bound / norm)
        assert set(found) == set(expected)
        for name, value in expected.items():
            tolerance = 1e-4 * value.abs().max().item()
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=tolerance)


def test_both_ways_are_the_same_with_flattened_labels():
    model, (x, y) = model_of("cnn"), batch(copies=2)
    mine = clipped_sum(model, x, y, 0.5, 0.2)
    model.append(_Unknown())
    assert not known_layers(model)
    other = clipped_sum(model, x, y, 0.5, 0.2)
    for name, value in other.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-3, atol=1e-6)


class _Unknown(nn.Module):
    def forward(self, x):
        return x


def _one(layer, **changes):
    for name, value in changes.items():
        setattr(layer, name, value)
    return nn.Sequential(layer)


def _hooked(kind):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    getattr(model[1], f"register_{kind}")(lambda *_: None)
    return model


NOT_KNOWN = {
    "groups": nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)),
    "dilated": nn.Sequential(nn.Conv2d(4, 4, 3, dilation=2)),
    "same": nn.Sequential(nn.Conv2d(4, 4, 3, padding="same")),
    "reflect": nn.Sequential(nn.Conv2d(4, 4, 3, padding_mode="reflect", padding=1)),
    "norm": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
    "prelu": nn.Sequential(nn.Linear(4, 4), nn.PReLU()),
    "standardised": model_of("cnn", standardised=True),
    "rows that are flattened away": nn.Sequential(nn.Flatten(0), nn.Linear(4, 4)),
    "hook": _hooked("forward_hook"),
    "pre-hook": _hooked("forward_pre_hook"),
    "backward hook": _hooked("full_backward_hook"),
    "backward pre-hook": _hooked("full_backward_pre_hook"),
    "own forward": _one(nn.ReLU(), forward=lambda x: x - x.mean(0)),
    "further parameter": _one(nn.Linear(4, 4), scale=nn.Parameter(torch.ones(()))),
    "parameter of a container": _one(nn.ReLU(), scale=nn.Parameter(torch.ones(()))),
    "buffer": _one(nn.ReLU()),
    **{
        name: getattr(private_zoo, name)((8, 8, 3), 4)
        for name in (
            *("tied", "used_twice", "weight_norm", "old_weight_norm", "norm_used_twice"),
            *("rows_mixed_by_a_hook", "rows_mixed_by_a_patch", "torchvision_patched", "unused"),
        )
    },
}
NOT_KNOWN["buffer"][0].register_buffer("count", torch.zeros(()))


@pytest.mark.parametrize("name", NOT_KNOWN)
def test_layers_that_are_not_surely_known_go_record_by_record(name):
    assert not known_layers(NOT_KNOWN[name])


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
    found = clipped_sum(model, x, y, 0.5)
    each = record_gradients(model)(x, y)
    factors = 0.5 / torch.sqrt(sum(g.flatten(1).square().sum(1) for g in each.values()))
    for name, gradients in each.items():
        expected = torch.einsum("b,b...->...", factors.clamp(max=1), gradients)
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-5)


def test_a_record_without_a_gradient_changes_nothing():
    model, (x, y) = model_of("mlp"), batch(records=2)
    with torch.no_grad():  # sure of the class: the loss of record 0 is flat
        model[-1].weight.zero_()
        model[-1].bias.copy_(200.0 * functional.one_hot(y[0], CLASSES))
    found = clipped_sum(model, x[:1], y[:1], 1.0)
    assert all(torch.equal(g, torch.zeros_like(g)) for g in found.values())


@pytest.mark.parametrize("name", ["frozen_layer", "frozen_bias", "frozen_convolution"])
def test_frozen_parameters_are_neither_in_the_sum_nor_in_the_norm(name):
    """By layers and record by record, against gradients of the trained parameters alone."""
    torch.manual_seed(0)
    model = getattr(private_zoo, name)((8, 8, 3), 4)
    assert known_layers(model)
    x, y = torch.randn(5, 2, 3, 8, 8), torch.arange(5) % 4
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    expected = {n: torch.zeros_like(p) for n, p in trained.items()}
    for i in range(5):
        loss = functional.cross_entropy(model(x[i]), y[i].expand(2))
        gradients = torch.autograd.grad(loss, list(trained.values()))
        norm = torch.sqrt(sum((g**2).sum() for g in gradients))
        for n, gradient in zip(trained, gradients, strict=True):
            expected[n] += gradient * min(1.0, 0.1 / norm)
    by_layer = clipped_sum(model, x, y, 0.1)
    model.append(_Unknown())
    for found in (by_layer, clipped_sum(model, x, y, 0.1)):
        assert list(found) == list(trained)
        for n, value in expected.items():
            torch.testing.assert_close(found[n], value, rtol=1e-3, atol=1e-6)


def _of_places(values, backs, bound=1.0):
    """Clipped sum of a linear layer at T places, (B, T, inputs) and (B, T, outputs), and its norms."""
    squares, total = _affine(values, backs)
    return total((bound / (squares.sqrt() + 1e-6)).clamp(max=1.0)), squares


def test_norms_whose_parts_cancel_are_not_underestimated():
    """Places that are nearly alike and whose gradients add up to nearly nothing."""
    draw = torch.Generator().manual_seed(0)
    values = 1000 + 0.001 * torch.randn(40, 64, 300, generator=draw)
    backs = torch.randn(40, 64, 200, generator=draw)
    backs -= backs.mean(dim=1, keepdim=True)
    exact = (backs.double().mT @ values.double()).square().sum(dim=(1, 2))
    naive = ((values @ values.mT) * (backs @ backs.mT)).sum(dim=(1, 2))
    assert (naive < 0.5 * exact).any()  # what the products between places say
    for i in range(40):
        alone, squares = _of_places(values[i : i + 1], backs[i : i + 1])
        assert alone.double().norm() <= 1 + 1e-5
        assert squares.item() > 0.9 * exact[i].item()
    together, _ = _of_places(values, backs)
    for i in range(40):
        others = torch.arange(40) != i
        assert (together - _of_places(values[others], backs[others])[0]).norm() <= 1 + 1e-3


def test_norms_that_do_not_cancel_take_the_short_way(monkeypatch):
    """And are those of the gradients themselves."""
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(30, 16, 300, generator=draw).relu()
    backs = torch.randn(30, 16, 200, generator=draw)
    explicit = torch.einsum("bti,bto->boi", values, backs)
    expected = (explicit / explicit.flatten(1).norm(dim=1)[:, None, None]).sum(dim=0)
    monkeypatch.setattr(torch.Tensor, "nonzero", lambda self: _none(self))
    found, squares = _of_places(values, backs)
    torch.testing.assert_close(squares, explicit.square().sum(dim=(1, 2)), rtol=1e-4, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def _none(hidden):
    assert not hidden.any()
    return torch.zeros(0, 1, dtype=torch.int64)


@pytest.mark.parametrize("bound", [0.3, 1e3])
def test_a_record_whose_gradient_is_no_number_counts_for_nothing(bound):
    features = torch.randn(6, 1, 5, generator=torch.Generator().manual_seed(0))
    y = torch.arange(6) % 4
    for model in (nn.Sequential(nn.Linear(5, 4)), nn.Sequential(nn.Linear(5, 4), _Unknown())):
        usual = clipped_sum(model, features[1:], y[1:], bound)
        for loud in (1e25, math.inf, math.nan):
            features[0] = loud
            found = clipped_sum(model, features, y, bound)
            for name, value in usual.items():
                torch.testing.assert_close(found[name], value)
        nobody = clipped_sum(model, features[:1], y[:1], bound)
        assert all(torch.equal(g, torch.zeros_like(g)) for g in nobody.values())


def test_a_batch_of_nobody_is_a_sum_of_zeros():
    model, (x, y) = model_of("cnn"), batch()
    found = clipped_sum(model, x[:0], y[:0], 1.0)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert all(torch.equal(g, torch.zeros_like(g)) for g in found.values())


def test_record_gradients_that_would_not_fit_are_taken_a_few_at_a_time(monkeypatch):
    model, (x, y) = model_of("cnn", standardised=True), batch(records=7)
    whole = clipped_sum(model, x, y, 0.5)
    monkeypatch.setattr(clipping, "_NUMBERS", 3 * sum(p.numel() for p in model.parameters()))
    sizes = []

    def counted(model, smoothing):
        gradients = record_gradients(model, smoothing)
        return lambda x, y: sizes.append(len(x)) or gradients(x, y)

    monkeypatch.setattr(clipping, "record_gradients", counted)
    parts = clipped_sum(model, x, y, 0.5)
    assert sizes == [3, 3, 1]
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-6)


def test_a_layer_of_two_names_keeps_its_parameters():
    """Torch's own `functional_call` leaves a dead tensor in the place of such a layer's weights."""
    model = private_zoo.used_twice((8, 8, 3), 4)
    before = [id(p) for p in model.parameters()]
    clipped_sum(model, torch.randn(3, 1, 3, 8, 8), torch.zeros(3, dtype=torch.int64), 1.0)
    assert [id(p) for p in model.parameters()] == before


@pytest.mark.parametrize("name", ["tied", "used_twice", "norm_used_twice", "same_memory"])
def test_a_parameter_of_several_places_has_the_gradient_of_all(name):
    torch.manual_seed(0)
    model = private_layers(getattr(private_zoo, name)((8, 8, 3), 4))
    x, y = torch.randn(4, 1, 3, 8, 8), torch.arange(4) % 4
    found = record_gradients(model)(x, y)
    assert list(found) == [n for n, _ in model.named_parameters()]
    for i in range(4):
        for gradient, expected in zip(found.values(), alone(model, x[i], y[i]), strict=True):
            torch.testing.assert_close(gradient[i], expected, rtol=1e-4, atol=1e-6)


def test_a_model_of_one_layer():
    model, x = nn.Linear(5, 4), torch.randn(3, 1, 5)
    assert clipped_sum(model, x, torch.arange(3), 1.0).keys() == {"weight", "bias"}
