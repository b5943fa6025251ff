"""A mistake on purpose: models that end in a softmax, trained by a loss that applies its own.

The report's code may have done so; chapter 11 looks how far that moves its numbers. The name of an
architecture is `mia_utils.softmax_twice:cnn`, `:mlp`, ...; what such a model answers are
probabilities, which the loss and the attacks then take for logits.
"""

from __future__ import annotations

from torch import nn

from .training.models import build


def cnn(shape: tuple[int, ...], classes: int) -> nn.Module:
    """The book's "cnn" with a softmax at its end."""
    return nn.Sequential(build("cnn", shape, classes), nn.Softmax(dim=1))


def mlp(shape: tuple[int, ...], classes: int) -> nn.Module:
    """The book's "mlp" with a softmax at its end."""
    return nn.Sequential(build("mlp", shape, classes), nn.Softmax(dim=1))


def alexnet(shape: tuple[int, ...], classes: int) -> nn.Module:
    """The book's "alexnet" with a softmax at its end."""
    return nn.Sequential(build("alexnet", shape, classes), nn.Softmax(dim=1))


def resnet(shape: tuple[int, ...], classes: int) -> nn.Module:
    """The book's "resnet" with a softmax at its end."""
    return nn.Sequential(build("resnet", shape, classes), nn.Softmax(dim=1))
