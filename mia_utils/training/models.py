"""Architectures by name, sized to the data set, or a factory of the reader's own.

The sizes are those of the report's code on its four data sets; `build` states the rule elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from numbers import Integral

import torch
from torch import nn

from .. import arguments
from ..errors import InputError
from .factory import SIGNATURE, check_factory, factory_id, has_own_draws, inputs, make
from .generators import DrawnFrom, Generators

_CIFAR_STEM_BELOW = 128  # pixels: smaller images keep their resolution through resnet's stem


def _need(shape: tuple[int, ...], name: str, smallest: int) -> tuple[int, int, int]:
    """Height, width and channels, or a clear word why `name` cannot take this shape."""
    if len(shape) != 3:
        raise InputError(
            f"{name} needs images; records of shape {shape} suit 'mlp', or a module:function"
        )
    if min(shape[:2]) < smallest:
        raise InputError(
            f"{name} needs images of at least {smallest}x{smallest} pixels; got {shape[0]}x{shape[1]}"
        )
    return shape


def _mlp(shape: tuple[int, ...], classes: int, dropout: float | None) -> nn.Module:
    """Fully connected. Below 1,024 inputs 512-256-128-64, else 2048-2048-1024-512 and a last layer
    of 64 (256 beyond 64 classes); hidden layers narrower than the number of classes are left out."""
    width = 1
    for side in shape:
        width *= side
    last = 64 if classes <= 64 else 256
    hidden = (512, 256, 128, 64) if width < 1024 else (2048, 2048, 1024, 512, last)
    layers: list[nn.Module] = [nn.Flatten()]
    for units in (units for units in hidden if units >= classes):
        layers += [nn.Linear(width, units), nn.ReLU(inplace=True)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = units
    return nn.Sequential(*layers, nn.Linear(width, classes))


def _conv(inputs: int, outputs: int, pool: bool = True, stride: int = 1) -> list[nn.Module]:
    """3x3 convolution, pooling, ReLU: max-pooling first gives the same values for a quarter of the ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    return [convolution, *([nn.MaxPool2d(2)] if pool else []), nn.ReLU(inplace=True)]


def _cnn(shape: tuple[int, ...], classes: int, dropout: float | None) -> nn.Module:
    """Three 3x3 convolutions with max-pooling, 16-32-64 channels on gray images and 32-64-128 on
    colour, and one linear layer; from 8x8 pixels."""
    height, width, channels = _need(shape, "cnn", 8)
    a, b, c = (16, 32, 64) if channels == 1 else (32, 64, 128)
    head = [nn.Flatten(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(
        *_conv(channels, a),
        *_conv(a, b),
        *_conv(b, c),
        *head,
        nn.Linear(c * (height // 8) * (width // 8), classes),
    )


def _alexnet(shape: tuple[int, ...], classes: int, dropout: float | None) -> nn.Module:
    """Convolutions 64-192-384-256-256 and 4096-4096 with dropout: torchvision's from 64 pixels on,
    below that with 3x3 kernels, as is usual for CIFAR; from 16x16 pixels."""
    height, width, channels = _need(shape, "alexnet", 16)
    rate = 0.5 if dropout is None else dropout
    if min(height, width) >= 64:
        from torchvision.models import alexnet

        model = alexnet(num_classes=classes, dropout=rate)
        if channels != 3:
            model.features[0] = nn.Conv2d(channels, 64, kernel_size=11, stride=4, padding=2)
        return model
    return nn.Sequential(
        *_conv(channels, 64, stride=2),
        *_conv(64, 192),
        *_conv(192, 384, pool=False),
        *_conv(384, 256, pool=False),
        *_conv(256, 256),
        nn.Flatten(),
        nn.Dropout(rate),
        nn.Linear(256 * (-(-height // 2) // 8) * (-(-width // 2) // 8), 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(rate),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Linear(4096, classes),
    )


def _resnet(shape: tuple[int, ...], classes: int, dropout: float | None) -> nn.Module:
    """torchvision's ResNet-18; below 128 pixels with CIFAR's stem (3x3, no pooling); from 8x8 pixels."""
    from torchvision.models import resnet18

    height, width, channels = _need(shape, "resnet", 8)
    model = resnet18(num_classes=classes)
    if min(height, width) < _CIFAR_STEM_BELOW:
        model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    elif channels != 3:
        model.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    if dropout:
        model.fc = nn.Sequential(nn.Dropout(dropout), model.fc)
    return model


def _normed(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    """3x3 convolution, BatchNorm, ReLU; max-pooling before the ReLU gives the same values."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        *([nn.MaxPool2d(2)] if pool else []),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """x + branch(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_normed(channels, channels), _normed(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x)


class _Scaled(nn.Linear):
    """A linear layer without bias whose logits start small."""

    def __init__(self, inputs: int, outputs: int, scale: float = 0.125) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * super().forward(x)


def _resnet9(shape: tuple[int, ...], classes: int, dropout: float | None) -> nn.Module:
    """The small fast ResNet of the DAWNBench entries (Page, 2018): eight 3x3 convolutions of 64 to
    512 channels with BatchNorm, two residual blocks, one linear layer; 6.6 million parameters; from
    8x8 pixels."""
    _, _, channels = _need(shape, "resnet9", 8)
    return nn.Sequential(
        _normed(channels, 64),
        _normed(64, 128, pool=True),
        _Residual(128),
        _normed(128, 256, pool=True),
        _normed(256, 512, pool=True),
        _Residual(512),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        *([nn.Dropout(dropout)] if dropout else []),
        _Scaled(512, classes),
    )


def _efficientnet(shape: tuple[int, ...], classes: int, dropout: float | None) -> nn.Module:
    """torchvision's EfficientNetV2-S (the report's "cnn" on A1K); from 32x32 pixels."""
    from torchvision.models import efficientnet_v2_s

    _, _, channels = _need(shape, "efficientnet", 32)
    model = efficientnet_v2_s(num_classes=classes, dropout=0.2 if dropout is None else dropout)
    if channels != 3:
        stem = model.features[0][0]
        model.features[0][0] = nn.Conv2d(
            channels, stem.out_channels, 3, stride=2, padding=1, bias=False
        )
    return model


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "alexnet": _alexnet,
    "resnet": _resnet,
    "resnet9": _resnet9,
    "efficientnet": _efficientnet,
}


def build(
    architecture: str, shape: tuple[int, ...], classes: int, *, dropout: float | None = None
) -> nn.Module:
    """A freshly initialised model: normalised images (B, C, H, W) or features (B, D) to logits (B, classes).

    Parameters
    ----------
    architecture : str
        "mlp", "cnn", "alexnet", "resnet", "resnet9", "efficientnet", or "module:function": a factory
        f(shape, classes) of the reader's own.
    shape : (H, W, C) or (D,)
        `Pool.shape`.
    dropout : float or None
        None: the architecture's own rate.

    Raises
    ------
    InputError
        If the name is unknown, the size does not suit it, or a factory fails or cannot take `dropout`.
    """
    if _is_built_in(architecture):
        return ARCHITECTURES[architecture](_shape(shape), _classes(classes), _rate(dropout))
    if not isinstance(architecture, str) or not all(architecture.partition(":")):
        raise InputError(
            f"unknown architecture {architecture!r}; expected one of {sorted(ARCHITECTURES)} or "
            f"'module:function': {SIGNATURE}"
        )
    if dropout is not None:
        raise InputError(
            f"dropout={dropout} with {architecture!r}: put dropout into your own factory"
        )
    return make(architecture, _shape(shape), _classes(classes))


def _is_built_in(architecture) -> bool:
    return isinstance(architecture, str) and architecture in ARCHITECTURES


def _shape(shape) -> tuple[int, ...]:
    sides = arguments.several("shape", shape, "(H, W, C) of images, or (D,) of features")
    whole = all(isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 1 for n in sides)
    if len(sides) not in (1, 3) or not whole:
        raise InputError(f"shape={shape!r}; expected (H, W, C) of images, or (D,) of features")
    return tuple(map(int, sides))


def _classes(classes) -> int:
    arguments.count("classes", classes)
    return int(classes)


def _rate(dropout) -> float | None:
    if dropout is not None:
        arguments.number("dropout", dropout, "a number in [0, 1) or None", 0, 1, closed="low")
    return dropout


def architecture_id(architecture: str) -> str:
    """The name that enters a model's hash: a reader's factory carries the hash of its sources."""
    return architecture if _is_built_in(architecture) else factory_id(architecture)


def draws_by_itself(architecture: str, shape: tuple[int, ...], classes: int) -> bool:
    """Whether a model has random layers that cannot be given a generator, as only a reader's own has."""
    return architecture not in ARCHITECTURES and has_own_draws(architecture, shape, classes)


def check_model(
    architecture: str,
    shape: tuple[int, ...],
    classes: int,
    *,
    dropout: float | None = None,
    batches: Collection[int] = (),
) -> None:
    """Whether models of this kind can be trained at all, before any training.

    Parameters
    ----------
    batches : integers
        Sizes of the last batches of an epoch.

    Raises
    ------
    InputError
        As `build` and `check_factory`, or if a batch of one record cannot be trained on.
    """
    with DrawnFrom(Generators.of_seed(0, "cpu")):
        model = build(architecture, shape, classes, dropout=dropout)
        if architecture not in ARCHITECTURES:
            check_factory(architecture, shape, classes)
        if 1 in batches:
            try:
                with torch.no_grad():
                    model.train()(inputs(shape, 1))
            except ValueError as error:  # of BatchNorm, where one record has one value a channel
                raise InputError(
                    f"architecture {architecture!r} cannot be trained on a batch of one record, which "
                    f"the last batch of an epoch would be ({' '.join(str(error).split())}); "
                    "choose another batch_size"
                ) from None


def parameter_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def forward_flops(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-adds x 2 of one record's forward pass, by torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    x = torch.zeros(1, *shape) if len(shape) == 1 else torch.zeros(1, shape[2], *shape[:2])
    training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    model.train(training)
    return counter.get_total_flops()
