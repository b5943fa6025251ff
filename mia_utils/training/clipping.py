"""The sum of a batch's clipped record gradients: the costly part of a DP-SGD step.

Where every layer is of a known kind, the norms of the gradients of single records follow from what
goes into each layer and what comes back out of it, and nobody needs those gradients themselves
("book-keeping", Bu et al., 2022). Elsewhere they are computed, by `torch.func`, which shows the
model one record at a time: whatever its layers do, no record meets another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from .generators import Dropout

_ZERO = torch.zeros(())

Gradients = dict[str, torch.Tensor]
Part = tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]
"""Of one parameter: squared norms of the record gradients, (B,), and the sum by their factors."""

_NUMBERS = 2**28
"""Numbers that the record gradients of any model may hold at once (1 GiB in fp32)."""


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training moves, each once, by name. Frozen ones are not among them."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def clipped_sum(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    bound: float,
    label_smoothing: float = 0.0,
) -> Gradients:
    """Sum over records of their gradients, each clipped to norm `bound`, by parameter name.

    A record's gradient is that of its mean loss over its copies, by all parameters that are
    trained. Where it is not finite, or its square is too large a number, the record counts for
    nothing.

    Parameters
    ----------
    x : (B, copies, ...)
    y : int64 (B,)
    bound : float
        L2 norm over all trained parameters together.

    Returns
    -------
    dict of tensors shaped as the parameters
    """
    parameters = trained_parameters(model)
    if not len(x):
        return {name: torch.zeros_like(p) for name, p in parameters.items()}
    if known_layers(model):
        parts = _by_layer(model, x, y, label_smoothing)
    else:
        most = max(1, _NUMBERS // sum(p.numel() for p in parameters.values()))
        if len(x) > most:
            pieces = zip(x.split(most), y.split(most), strict=True)
            sums = [clipped_sum(model, *piece, bound, label_smoothing) for piece in pieces]
            return {name: sum((each[name] for each in sums), _ZERO) for name in parameters}
        found = record_gradients(model, label_smoothing)(x, y)
        parts = {name: _explicit(gradients) for name, gradients in found.items()}
    squares = sum((square for square, _ in parts.values()), _ZERO)
    finite = squares.isfinite()
    if not finite.all():  # infinity times a factor of zero would be no number
        return clipped_sum(model, x[finite], y[finite], bound, label_smoothing)
    # Abadi et al. (2016), algorithm 1.
    factors = (bound / (squares.sqrt() + 1e-6)).clamp(max=1.0)
    return {name: total(factors) for name, (_, total) in parts.items()}


def _explicit(gradients: torch.Tensor) -> Part:
    """From the record gradients (B, ...) themselves."""
    squares = gradients.unsqueeze(-1).flatten(1).square().sum(dim=1)  # a parameter may be a number
    return squares, lambda factors: torch.tensordot(factors, gradients, 1)


# ---- any model ---------------------------------------------------------------------------------


def record_gradients(model: nn.Module, label_smoothing: float = 0.0):
    """Function (x (B, copies, ...), y (B,)) -> gradients by name of the trained parameter, (B, ...)."""
    from torch.func import functional_call, grad, vmap

    places = _places(model)

    def loss(parameters, x, y):
        # Named place by place: left to itself, torch loses the parameters of a layer of two names.
        where = {place: parameters[name] for place, name in places.items()}
        logits = functional_call(model, where, (x,), tie_weights=False)
        return functional.cross_entropy(
            logits, y.expand(len(logits)), label_smoothing=label_smoothing
        )

    each = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")

    def gradients(x: torch.Tensor, y: torch.Tensor) -> Gradients:
        return each({name: p.detach() for name, p in trained_parameters(model).items()}, x, y)

    return gradients


def _places(model: nn.Module) -> dict[str, str]:
    """Every place where a layer holds a trained parameter, with the parameter's name."""
    names = {id(parameter): name for name, parameter in trained_parameters(model).items()}
    return {
        f"{layer}.{own}".removeprefix("."): names[id(parameter)]
        for layer, module in model.named_modules()
        for own, parameter in module._parameters.items()
        if id(parameter) in names
    }


# ---- known layers ------------------------------------------------------------------------------

_POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_PLAIN = (nn.Identity, nn.ReLU, nn.Dropout, Dropout, *_POOLING)
"""Layers without parameters that treat every record by itself; so does a Flatten that keeps rows."""
_CONTAINERS = tuple(f"torchvision.models.{name}" for name in ("alexnet", "resnet", "vgg"))
"""Their models' code was read: it uses every layer once, and no line mixes rows of a batch."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def known_layers(model: nn.Module) -> bool:
    """Does the model consist of layers whose clipped sums are known, each with its own parameters?

    Not if somebody has added to a layer: hooks, a method of its own, further parameters, buffers.
    """
    uses = list(model.named_parameters(remove_duplicate=False))
    own = len(uses) == len(list(model.parameters()))
    return own and all(_known(m) and not _changed(m) for m in model.modules())


def _known(module: nn.Module) -> bool:
    kind = type(module)  # a subclass may do anything
    if kind is nn.Conv2d:
        usual = module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
        return bool(usual) and not isinstance(module.padding, str)
    if kind is nn.Flatten:
        return bool(module.start_dim == 1)
    if kind in _LAYERS or kind in _PLAIN or kind is nn.Sequential:
        return True
    return kind.__module__ in _CONTAINERS


def _changed(module: nn.Module) -> bool:
    allowed = {"weight", "bias"} if type(module) in _LAYERS else set()
    return (
        bool(module._parameters.keys() - allowed)
        or bool(module._buffers)
        or any(getattr(module, name) for name in _HOOKS)
        or any(callable(getattr(type(module), name, None)) for name in vars(module))
    )


def _by_layer(model, x, y, label_smoothing) -> dict[str, Part]:
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
        if type(layer) in _LAYERS and any(p.requires_grad for p in layer.parameters())
    ]
    try:
        logits = model(x.flatten(0, 1))
    finally:
        for hook in hooks:
            hook.remove()
    losses = functional.cross_entropy(
        logits, y.repeat_interleave(copies), reduction="none", label_smoothing=label_smoothing
    )
    backs = torch.autograd.grad(losses.sum() / copies, edges)
    with torch.no_grad():
        return {
            f"{name}.{parameter}".removeprefix("."): part  # a model may be one layer
            for (name, layer, put_in), back in zip(seen, backs, strict=True)
            for parameter, part in _LAYERS[type(layer)](layer, put_in, back, records).items()
            if getattr(layer, parameter).requires_grad
        }


def _affine(put_in: torch.Tensor, back: torch.Tensor) -> Part:
    """Of a matrix that is applied at T places: (B, T, inputs) and (B, T, outputs).

    A record's gradient is the product of the two. Its norm follows from the products between
    places if those are the smaller ones ("ghost clipping", Goodfellow, 2015; Li et al., 2022).
    Where those cancel, so that rounding may hide the norm, the gradient itself is computed.
    """
    places, inputs, outputs = put_in.shape[1], put_in.shape[2], back.shape[2]
    if places * (inputs + outputs) >= inputs * outputs:
        return _explicit(back.mT @ put_in)
    ours, theirs = put_in @ put_in.mT, back @ back.mT
    squares = (ours * theirs).sum(dim=(1, 2))
    hidden: list[int] = []
    if places > 1:
        sizes = (ours.diagonal(dim1=1, dim2=2) * theirs.diagonal(dim1=1, dim2=2)).sqrt()
        # Rounding may take that part of what the sum would be if nothing cancelled.
        rounding = (inputs + outputs + places) * torch.finfo(squares.dtype).eps
        hidden = (squares < 16 * rounding * sizes.sum(dim=1).square()).nonzero().ravel().tolist()

    def gradient(record):
        return back[record].T @ put_in[record]

    for record in hidden:
        squares[record] = gradient(record).square().sum()

    def total(factors):
        kept = factors.clone()
        kept[hidden] = 0  # in the one large product they would cancel again
        summed = (back * kept[:, None, None]).flatten(0, 1).T @ put_in.flatten(0, 1)
        for record in hidden:
            summed += factors[record] * gradient(record)
        return summed

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
    assert not isinstance(layer.padding, str), "`_known` lets none pass"
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
    def by_channel(values):
        values = values.unflatten(0, (records, -1))  # (records, copies, channels, places ...)
        return values.sum(dim=(1, *range(3, values.ndim)))

    normed = functional.group_norm(put_in, layer.num_groups, eps=layer.eps)
    return {
        "weight": _explicit(by_channel(back * normed)),
        "bias": _explicit(by_channel(back)),
    }


_LAYERS: dict[type[nn.Module], Callable[..., dict[str, Part]]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.GroupNorm: _group_norm,
}
