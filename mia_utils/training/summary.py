"""What a network is made of, layer by layer, for a table or a drawing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from .models import build

_BLOCKS = {"BasicBlock": "residual block", "_Residual": "residual block"}
_FUSED = {"FusedMBConv": "fused MBConv", "MBConv": "MBConv"}


class Layer(NamedTuple):
    """Some equal layers in a row.

    Parameters
    ----------
    kind : str
        "convolution 3x3", "dense", "residual block", "max-pooling", ...
    count : int
    output : (C, H, W) or (units,)
        What one record becomes.
    parameters : int
        Trainable, of all of them.
    flops : int
        Multiply-adds x 2 of one record's forward pass, of all of them.
    """

    kind: str
    count: int  # type: ignore[assignment]  # hides the method of a tuple
    output: tuple[int, ...]
    parameters: int
    flops: int


def layers(
    architecture: str, shape: tuple[int, ...], classes: int, *, dropout: float | None = None
) -> list[Layer]:
    """The layers that have parameters, and those that pool, in the order in which they act.

    Batch normalisation counts to the layer before it. A residual block is one layer.

    Parameters
    ----------
    architecture, shape, classes, dropout
        As in `models.build`.

    Raises
    ------
    InputError
        If the architecture is unknown or cannot take the shape.

    >>> [layer.output for layer in layers("mlp", (8, 8, 1), 10)]
    [(512,), (256,), (128,), (64,), (10,)]
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):  # shapes alone: no memory, no random numbers
        model = build(architecture, shape, classes, dropout=dropout).eval()
        x = torch.empty(1, *shape) if len(shape) == 1 else torch.empty(1, shape[2], *shape[:2])
    parts = dict(_parts(model))
    outputs: dict[str, tuple[int, ...]] = {}

    def remember(name: str):
        return lambda module, inputs, output: outputs.__setitem__(name, tuple(output.shape[1:]))

    for name, part in parts.items():
        part.register_forward_hook(remember(name))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    flops = counter.get_flop_counts()
    root = type(model).__name__
    found: list[Layer] = []
    for name in outputs:
        part = parts[name]
        parameters = sum(p.numel() for p in part.parameters() if p.requires_grad)
        spent = sum(flops.get(f"{root}.{name}", {}).values())
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and found:
            found[-1] = found[-1]._replace(parameters=found[-1].parameters + parameters)
        elif parameters or "Pool" in type(part).__name__:
            found.append(Layer(_kind(part), 1, _plain(outputs[name]), parameters, spent))
    return list(_merged(found))


def _parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules that are layers: plain sequences are opened, and the network itself."""
    for name, child in module.named_children():
        if type(child) is nn.Sequential:
            yield from _parts(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:1] if shape[1:] == (1, 1) else shape


def _kind(part: nn.Module) -> str:
    name = type(part).__name__
    if name == "Conv2dNormActivation":
        part = next(part.children())
    if isinstance(part, nn.Conv2d):
        stride = f", stride {part.stride[0]}" if part.stride[0] > 1 else ""
        return f"convolution {part.kernel_size[0]}x{part.kernel_size[1]}{stride}"
    if isinstance(part, nn.Linear):
        return "dense"
    if "Pool" in name:
        return "average pooling" if "Avg" in name else "max-pooling"
    return (_BLOCKS | _FUSED).get(name, name.lstrip("_"))


def _merged(found: list[Layer]) -> Iterator[Layer]:
    """Neighbours of one kind and output as one row."""
    last: Layer | None = None
    for layer in found:
        if last and (last.kind, last.output) == (layer.kind, layer.output):
            last = last._replace(
                count=last.count + 1,
                parameters=last.parameters + layer.parameters,
                flops=last.flops + layer.flops,
            )
        else:
            if last:
                yield last
            last = layer
    if last:
        yield last
