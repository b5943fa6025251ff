"""The sum of a batch's clipped record gradients: the costly part of a DP-SGD step.

Where every layer is of a known kind, the norms of the gradients of single records follow from what
goes into each layer and what comes back out of it, and nobody needs those gradients themselves
("book-keeping", Bu et al., 2022). Elsewhere they are computed, by `torch.func`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from .generators import Dropout

Gradients = dict[str, torch.Tensor]


def clipped_sum(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    bound: float,
    label_smoothing: float = 0.0,
) -> tuple[Gradients, torch.Tensor]:
    """Sum over records of the gradients clipped to norm `bound`, by parameter name, and the losses.

    A record's loss is the mean over its copies.

    Parameters
    ----------
    x : (B, copies, ...)
    y : int64 (B,)

    Returns
    -------
    (dict of tensors shaped as the parameters, (B,))
    """
    how = _by_layer if known_layers(model) else _by_record
    return how(model, x, y, bound, label_smoothing)


def _factors(squares: torch.Tensor, bound: float) -> torch.Tensor:
    """What each record's gradient is multiplied with (Abadi et al., 2016, algorithm 1)."""
    # Products of places may round a vanishing norm to below zero.
    return (bound / (squares.clamp(min=0).sqrt() + 1e-6)).clamp(max=1.0)


# ---- any model ---------------------------------------------------------------------------------


def record_gradients(model: nn.Module, label_smoothing: float = 0.0):
    """Function (x (B, copies, ...), y (B,)) -> (gradients by parameter name (B, ...), losses (B,))."""
    from torch.func import functional_call, grad_and_value, vmap

    def loss(parameters, x, y):
        logits = functional_call(model, parameters, (x,))
        return functional.cross_entropy(
            logits, y.expand(len(logits)), label_smoothing=label_smoothing
        )

    each = vmap(grad_and_value(loss), in_dims=(None, 0, 0), randomness="different")

    def gradients(x: torch.Tensor, y: torch.Tensor):
        return each({name: p.detach() for name, p in model.named_parameters()}, x, y)

    return gradients


def _by_record(model, x, y, bound, label_smoothing):
    found, losses = record_gradients(model, label_smoothing)(x, y)
    squares = sum(gradient.flatten(1).square().sum(dim=1) for gradient in found.values())
    factors = _factors(squares, bound)
    sums = {name: torch.tensordot(factors, gradient, 1) for name, gradient in found.items()}
    return sums, losses


# ---- known layers ------------------------------------------------------------------------------

_PLAIN = (
    nn.Identity,
    nn.Flatten,
    nn.ReLU,
    nn.Dropout,
    Dropout,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
)
"""Layers without parameters that treat every record by itself."""


def known_layers(model: nn.Module) -> bool:
    """Does the model consist of layers whose clipped sums are known, each with its own parameters?

    Containers are `nn.Sequential` and torchvision's models, whose code is known to use every layer
    once and never to mix records.
    """
    uses = list(model.named_parameters(remove_duplicate=False))
    own = len(uses) == len(list(model.parameters()))
    return own and all(p.requires_grad for _, p in uses) and all(map(_known, model.modules()))


def _known(module: nn.Module) -> bool:
    kind = type(module)  # a subclass may do anything
    if kind is nn.Conv2d:
        usual = module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
        return usual and not isinstance(module.padding, str)
    if kind in _LAYERS or kind in _PLAIN or kind is nn.Sequential:
        return True
    return kind.__module__.startswith("torchvision.models.") and not module._parameters


def _by_layer(model, x, y, bound, label_smoothing):
    """One pass back to what each layer puts out, none to its parameters."""
    records, copies = x.shape[:2]
    seen: list[tuple[str, nn.Module, torch.Tensor]] = []
    edges = []

    def keep(name, layer, inputs, output):
        seen.append((name, layer, inputs[0].detach()))
        edges.append(torch.autograd.graph.get_gradient_edge(output))  # before a ReLU works in place

    hooks = [
        layer.register_forward_hook(partial(keep, name))
        for name, layer in model.named_modules()
        if type(layer) in _LAYERS
    ]
    try:
        logits = model(x.flatten(0, 1))
    finally:
        for hook in hooks:
            hook.remove()
    losses = functional.cross_entropy(
        logits, y.repeat_interleave(copies), reduction="none", label_smoothing=label_smoothing
    )
    losses = losses.unflatten(0, (records, copies)).mean(dim=1)
    backs = torch.autograd.grad(losses.sum(), edges)
    squares, parts = torch.zeros_like(losses), []
    with torch.no_grad():
        for (name, layer, put_in), back in zip(seen, backs, strict=True):
            found = _LAYERS[type(layer)](layer, put_in, back, records)
            parts.append((name, found))
            for square, _ in found.values():
                squares += square
        factors = _factors(squares, bound)
        sums = {
            f"{name}.{parameter}": total(factors)
            for name, found in parts
            for parameter, (_, total) in found.items()
        }
    return sums, losses.detach()


Part = tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]
"""Of one parameter: squared norms of the record gradients, (B,), and the sum by their factors."""


def _explicit(gradients: torch.Tensor) -> Part:
    """From the record gradients (B, ...) themselves."""
    squares = gradients.flatten(1).square().sum(dim=1)
    return squares, lambda factors: torch.tensordot(factors, gradients, 1)


def _affine(put_in: torch.Tensor, back: torch.Tensor) -> Part:
    """Of a matrix that is applied at T places: (B, T, inputs) and (B, T, outputs).

    A record's gradient is the product of the two. Its norm follows from the products between
    places if those are the smaller ones ("ghost clipping", Goodfellow, 2015; Li et al., 2022).
    """
    places, inputs, outputs = put_in.shape[1], put_in.shape[2], back.shape[2]
    if places * (inputs + outputs) >= inputs * outputs:
        return _explicit(back.mT @ put_in)
    squares = ((put_in @ put_in.mT) * (back @ back.mT)).sum(dim=(1, 2))

    def total(factors):
        return (back * factors[:, None, None]).flatten(0, 1).T @ put_in.flatten(0, 1)

    return squares, total


def _linear(layer: nn.Linear, put_in: torch.Tensor, back: torch.Tensor, records: int):
    put_in, back = (t.reshape(records, -1, t.shape[-1]) for t in (put_in, back))
    found = {"weight": _affine(put_in, back)}
    if layer.bias is not None:
        found["bias"] = _explicit(back.sum(dim=1))
    return found


def _convolution(layer: nn.Conv2d, put_in: torch.Tensor, back: torch.Tensor, records: int):
    """As a linear layer on the patches (channels last: whole runs of memory are copied)."""
    (height, width), (down, right) = layer.kernel_size, layer.stride
    top, left = layer.padding
    padded = functional.pad(put_in, (left, left, top, top)).permute(0, 2, 3, 1)
    windows = padded.unfold(1, height, down).unfold(2, width, right).permute(0, 1, 2, 4, 5, 3)
    patches = windows.reshape(records, -1, height * width * layer.in_channels)
    back = back.permute(0, 2, 3, 1).reshape(records, -1, layer.out_channels)
    squares, total = _affine(patches, back)

    def kernels(factors):
        flat = total(factors).view(layer.out_channels, height, width, layer.in_channels)
        return flat.permute(0, 3, 1, 2)

    found = {"weight": (squares, kernels)}
    if layer.bias is not None:
        found["bias"] = _explicit(back.sum(dim=1))
    return found


def _group_norm(layer: nn.GroupNorm, put_in: torch.Tensor, back: torch.Tensor, records: int):
    if not layer.affine:
        return {}

    def by_channel(values):
        return values.flatten(2).sum(dim=2).unflatten(0, (records, -1)).sum(dim=1)

    normed = functional.group_norm(put_in, layer.num_groups, eps=layer.eps)
    return {
        "weight": _explicit(by_channel(back * normed)),
        "bias": _explicit(by_channel(back)),
    }


_LAYERS = {nn.Linear: _linear, nn.Conv2d: _convolution, nn.GroupNorm: _group_norm}
