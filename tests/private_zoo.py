"""Models for 8x8 colour images and 4 classes that DP-SGD must take, and others that it must refuse.

Architectures are named "private_zoo:NAME". `TAKEN` and `REFUSED` list them.
"""

from __future__ import annotations

import types

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

PIXELS = 192


def _freeze(layer: nn.Module) -> nn.Module:
    return layer.requires_grad_(False)


def _flat(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *layers)


class Around(nn.Module):
    """Layers, and a function of their own between them: (self, x) -> logits."""

    def __init__(self, pass_on, **layers) -> None:
        super().__init__()
        self.pass_on = pass_on
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.pass_on(self, x)


# ---- taken -------------------------------------------------------------------------------------


def frozen_layer(shape, classes):
    return _flat(_freeze(nn.Linear(PIXELS, 8)), nn.ReLU(), nn.Linear(8, classes))


def frozen_bias(shape, classes):
    last = nn.Linear(8, classes)
    _freeze(last.bias)
    return _flat(nn.Linear(PIXELS, 8), nn.ReLU(), last)


def frozen_convolution(shape, classes):
    return nn.Sequential(
        _freeze(nn.Conv2d(3, 6, 3)),
        nn.GroupNorm(2, 6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 4, 3, bias=False),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def frozen_norm(shape, classes):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), _freeze(nn.BatchNorm2d(4)), nn.Flatten(), nn.Linear(144, classes)
    )


def norm_without_parameters(shape, classes):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(144, classes)
    )


def norm_of_rows(shape, classes):
    return _flat(nn.Linear(PIXELS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, classes))


class MyNorm(nn.BatchNorm2d):
    pass


def norm_of_their_own(shape, classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), MyNorm(4), nn.Flatten(), nn.Linear(144, classes))


def norm_used_twice(shape, classes):
    norm = nn.BatchNorm1d(8)
    return _flat(nn.Linear(PIXELS, 8), norm, nn.Linear(8, 8), norm, nn.Linear(8, classes))


def tied(shape, classes):
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    return _flat(nn.Linear(PIXELS, 8), first, nn.Tanh(), second, nn.Linear(8, classes))


def same_memory(shape, classes):
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = nn.Parameter(first.weight.data)
    return _flat(nn.Linear(PIXELS, 8), first, nn.Tanh(), second, nn.Linear(8, classes))


def used_twice(shape, classes):
    layer = nn.Linear(8, 8)
    return _flat(nn.Linear(PIXELS, 8), layer, nn.Tanh(), layer, nn.Linear(8, classes))


def unused(shape, classes):
    def pass_on(self, x):
        return self.used(x.flatten(1))

    return Around(pass_on, used=nn.Linear(PIXELS, classes), idle=nn.Linear(5, 5))


def number(shape, classes):
    def pass_on(self, x):
        return self.scale * self.line(x.flatten(1))

    return Around(pass_on, line=nn.Linear(PIXELS, classes), scale=nn.Parameter(torch.tensor(2.0)))


def weight_norm(shape, classes):
    return _flat(
        parametrizations.weight_norm(nn.Linear(PIXELS, 8)), nn.ReLU(), nn.Linear(8, classes)
    )


def old_weight_norm(shape, classes):
    return _flat(nn.utils.weight_norm(nn.Linear(PIXELS, 8)), nn.ReLU(), nn.Linear(8, classes))


def orthogonal(shape, classes):
    return _flat(
        nn.Linear(PIXELS, 8), parametrizations.orthogonal(nn.Linear(8, 8)), nn.Linear(8, classes)
    )


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def frozen_and_parametrized(shape, classes):
    layer = _freeze(nn.Linear(PIXELS, 8))
    parametrize.register_parametrization(layer, "weight", Doubled())
    return _flat(layer, nn.ReLU(), nn.Linear(8, classes))


def grouped(shape, classes):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), nn.Flatten(), nn.Linear(216, classes)
    )


def transposed(shape, classes):
    return nn.Sequential(
        nn.ConvTranspose2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(200, classes)
    )


def recurrent(shape, classes):
    def pass_on(self, x):
        return self.head(self.rows(x.flatten(2))[0][:, -1])

    return Around(pass_on, rows=nn.LSTM(64, 6, batch_first=True), head=nn.Linear(6, classes))


def attention(shape, classes):
    def pass_on(self, x):
        return self.head(self.block(self.embed(x).flatten(2).mT).mean(dim=1))

    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return Around(
        pass_on, embed=nn.Conv2d(3, 8, 4, stride=4), block=block, head=nn.Linear(8, classes)
    )


def norms(shape, classes):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.InstanceNorm2d(4, affine=True),
        nn.PReLU(4),
        nn.Flatten(),
        nn.LayerNorm(144),
        nn.Linear(144, 8),
        nn.GroupNorm(2, 8),
        nn.Linear(8, classes),
    )


def rows_mixed_in_the_open(shape, classes):
    """Subtracts the mean over the batch: of one record at a time, that is its own."""

    def pass_on(self, x):
        x = x.flatten(1)
        return self.line(x - 0.5 * x.mean(dim=0, keepdim=True))

    return Around(pass_on, line=nn.Linear(PIXELS, classes))


def _minus_mean(layer, inputs, output):
    return output - 0.5 * output.mean(dim=0, keepdim=True)


def rows_mixed_by_a_hook(shape, classes):
    model = _flat(nn.Linear(PIXELS, 8), nn.ReLU(), nn.Linear(8, classes))
    model[1].register_forward_hook(_minus_mean)
    return model


def rows_mixed_by_a_patch(shape, classes):
    model = _flat(nn.Linear(PIXELS, 8), nn.ReLU(), nn.Linear(8, classes))
    relu = model[2]
    relu.forward = types.MethodType(lambda self, x: _minus_mean(self, (), torch.relu(x)), relu)
    return model


def torchvision_patched(shape, classes):
    from torchvision.models import resnet18

    model = resnet18(num_classes=classes, norm_layer=lambda c: nn.GroupNorm(1, c))
    usual = model._forward_impl
    model._forward_impl = lambda x: _minus_mean(model, (), usual(x))
    return model


def overwritten_in_place(shape, classes):
    """What goes into the last layer is changed after it was used."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), Overwrites(144, classes))


class Overwrites(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.line = nn.Linear(inputs, classes)

    def forward(self, x):
        x = x.flatten(1)
        out = self.line(x.clone())
        x.mul_(3)
        return out


def dropouts(shape, classes):
    """Random layers of all kinds: those that can be given a generator, and those that cannot."""

    def pass_on(self, x):
        x = self.drop(self.images(x)).flatten(1)
        return self.line(functional.dropout(self.alpha(x), 0.1, self.training))

    return Around(
        pass_on,
        images=nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(), nn.Dropout2d(0.3)),
        drop=nn.Dropout(0.2),
        alpha=nn.AlphaDropout(0.1),
        line=nn.Linear(144, classes),
    )


def of_a_local_class(shape, classes):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(PIXELS, classes)

        def forward(self, x):
            return self.line(x.flatten(1))

    return Net()


TAKEN = (
    *("frozen_layer", "frozen_bias", "frozen_convolution", "frozen_norm"),
    *("norm_without_parameters", "norm_of_rows", "norm_of_their_own", "norm_used_twice"),
    *("tied", "same_memory", "used_twice", "unused", "number"),
    *("weight_norm", "old_weight_norm", "orthogonal", "frozen_and_parametrized"),
    *("grouped", "transposed", "recurrent", "attention", "norms"),
    *("rows_mixed_in_the_open", "rows_mixed_by_a_hook", "rows_mixed_by_a_patch"),
    *("overwritten_in_place", "of_a_local_class"),
)
AT_RANDOM = ("dropouts",)
"""Taken too; but what a record does depends on draws that are made anew in another batch."""


# ---- refused -----------------------------------------------------------------------------------


def all_frozen(shape, classes):
    return _freeze(_flat(nn.Linear(PIXELS, classes)))


def spectral_norm(shape, classes):
    return _flat(parametrizations.spectral_norm(nn.Linear(PIXELS, 8)), nn.Linear(8, classes))


def counts_its_batches(shape, classes):
    def pass_on(self, x):
        self.line.count.add_(1)
        return self.line(x.flatten(1))

    model = Around(pass_on, line=nn.Linear(PIXELS, classes))
    model.line.register_buffer("count", torch.zeros(()))
    return model


def running_mean_in_an_attribute(shape, classes):
    def pass_on(self, x):
        x = x.flatten(1)
        if self.training:
            self.seen = 0.5 * self.seen + 0.5 * x.detach().mean()
        return self.line(x - self.seen)

    model = Around(pass_on, line=nn.Linear(PIXELS, classes))
    model.seen = 0.0
    return model


def counts_in_an_attribute(shape, classes):
    def pass_on(self, x):
        self.calls += self.training
        return self.calls * self.line(x.flatten(1))

    model = Around(pass_on, line=nn.Linear(PIXELS, classes))
    model.calls = 1
    return model


def running_statistics(shape, classes):
    norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Flatten(), nn.Linear(144, classes))


def looks_at_the_values(shape, classes):
    def pass_on(self, x):
        return self.line(x.flatten(1)) if float(x.sum()) > 0 else self.line(-x.flatten(1))

    return Around(pass_on, line=nn.Linear(PIXELS, classes))


REFUSED = {
    "all_frozen": "frozen",
    "spectral_norm": "buffers",
    "counts_its_batches": "cannot be trained with dp",
    "running_mean_in_an_attribute": "cannot be trained with dp",
    "counts_in_an_attribute": "depends on more than the record",
    "running_statistics": "cannot be trained with dp",
    "looks_at_the_values": "vmap",
}
