"""A reader's own architecture, `module:function`: how it is found, named and tried out."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ..errors import InputError
from .generators import DrawnFrom, Generators, own_layers

SIGNATURE = (
    "a factory is f(shape, classes) -> torch.nn.Module, shape (H, W, C) or (D,); the model takes "
    "images (B, C, H, W) or features (B, D) and returns logits (B, classes)"
)

_PUBLISHED = {"mia_utils.softmax_twice": "0fd446e46009a777"}
"""What names the book's own factories. Their layers are the built-in ones, named by the recipe."""

_lock = threading.RLock()
_loaded: dict[str, str] = {}
"""Modules that factories came from, and the digest of the sources they were imported from."""


# ---- where it comes from -------------------------------------------------------------------------


def load_factory(architecture: str) -> Callable[..., nn.Module]:
    """The function that `module:function` names, from its sources as they are now.

    The module is looked for in the working directory and on Python's path. One that was edited
    since it was imported is imported again, with those of the reader's own that it uses.

    Raises
    ------
    InputError
        If there is no such module or function, or importing it fails.
    """
    module_name, _, function = architecture.partition(":")
    with _lock:
        sources = _sources(architecture)
        digest = _digest(sources)
        if sources and _loaded.get(module_name) != digest:
            for name, path in sources.items():
                if not path.endswith(".py"):
                    continue
                sys.modules.pop(name, None)
                # A compiled file is trusted by size and whole seconds: too coarse for an edit.
                Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
            importlib.invalidate_caches()
        try:
            factory = getattr(importlib.import_module(module_name), function)
        except Exception as error:
            raise InputError(
                f"architecture {architecture!r} cannot be imported: {_line(error)}"
            ) from None
        _loaded[module_name] = digest
    if not callable(factory):
        raise InputError(f"architecture {architecture!r} is no function; {SIGNATURE}")
    return factory


def factory_id(architecture: str) -> str:
    """What names the factory in a model's hash: its text and that of the reader's modules it uses.

    A factory of an installed package is named by the package's version.
    """
    module_name = architecture.partition(":")[0]
    if module_name in _PUBLISHED:
        return f"{architecture}@{_PUBLISHED[module_name]}"
    with _lock:  # CPython 3.11 parses in one thread at a time: its depth counter is a global one
        sources = _sources(architecture)
    if not sources:
        return f"{architecture}@{_version(module_name.partition('.')[0])}"
    return f"{architecture}@{_digest(sources)[:16]}"


def _sources(architecture: str) -> dict[str, str]:
    """Files of the module and of all modules of the reader's own that it imports, by module name."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module_name = architecture.partition(":")[0]
    spec = _find(module_name)
    if spec is None or not spec.has_location:
        raise InputError(
            f"architecture {architecture!r} cannot be imported: no module file {module_name!r} in "
            f"{Path.cwd()} or on Python's path"
            f"{' (a module is named without .py)' if module_name.endswith('.py') else ''}; {SIGNATURE}"
        )
    found: dict[str, str] = {}
    waiting = [spec]
    while waiting:
        spec = waiting.pop()
        if spec.name in found or not _is_own(spec):
            continue
        if spec.origin:
            found[spec.name] = spec.origin
        names = (*_imports(spec), spec.name.rpartition(".")[0])
        # What is installed is not looked into: that would import its packages.
        own = (n for n in names if n and (top := _find(n.partition(".")[0])) and _is_own(top))
        waiting += [spec for name in own if (spec := _find(name))]
    return found


def _find(name: str):
    """Where a module lies, or None: no such file, or a name that is no module."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    gone = spec is not None and spec.has_location and not Path(str(spec.origin)).exists()
    return None if gone else spec


def _is_own(spec) -> bool:
    """Neither of Python, nor installed, nor of this package, whose recipes have versions."""
    if spec.name.partition(".")[0] == __name__.partition(".")[0]:
        return False
    places = [spec.origin] if spec.has_location else [*(spec.submodule_search_locations or ())]
    paths = [Path(place).resolve() for place in places]
    return bool(paths) and not any(
        {"site-packages", "dist-packages"} & set(path.parts) or path.is_relative_to(root)
        for path in paths
        for root in _PYTHON
    )


_PYTHON = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}


def _imports(spec) -> list[str]:
    """Names that a source file imports, wherever in it: modules, and what may be modules."""
    if not spec.has_location or not spec.origin.endswith(".py"):
        return []
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (SyntaxError, ValueError):
        return []  # importing it will say why
    package = spec.name if spec.submodule_search_locations else spec.name.rpartition(".")[0]
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _digest(sources: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(sources.items()):
        digest.update(f"{name} ".encode() + hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package, ())
        return "+".join(f"{name}-{importlib.metadata.version(name)}" for name in sorted(names))


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


# ---- whether it works ----------------------------------------------------------------------------


def inputs(shape: tuple[int, ...], count: int) -> torch.Tensor:
    """Some random records as a model takes them."""
    size = shape if len(shape) == 1 else (shape[2], *shape[:2])
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(0))


def make(architecture: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A freshly initialised model of the reader's own factory.

    Raises
    ------
    InputError
        If the factory fails, or returns something else.
    """
    factory = load_factory(architecture)
    try:
        model = factory(tuple(shape), classes)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"architecture {architecture!r} failed for shape {tuple(shape)} and {classes} classes: "
            f"{_line(error)}; {SIGNATURE}"
        ) from None
    if not isinstance(model, nn.Module):
        raise InputError(
            f"architecture {architecture!r} returned {type(model).__name__}; {SIGNATURE}"
        )
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        _answer(
            model.eval(), architecture, inputs(shape, 1), classes
        )  # lazy layers take their size
        model.train()
    return model


def _answer(model, architecture: str, x: torch.Tensor, classes: int) -> torch.Tensor:
    """Logits of a trial batch."""
    mode = "training" if model.training else "evaluation"
    try:
        with torch.set_grad_enabled(model.training):
            answer = model(x)
    except Exception as error:
        raise InputError(
            f"architecture {architecture!r} fails on a batch of shape {tuple(x.shape)} in {mode} "
            f"mode: {_line(error)}; {SIGNATURE}"
        ) from None
    expected = (len(x), classes)
    if not isinstance(answer, torch.Tensor):
        raise InputError(
            f"architecture {architecture!r} returned a {type(answer).__name__} in {mode} mode; "
            f"expected one tensor of shape {expected}; {SIGNATURE}"
        )
    if tuple(answer.shape) != expected or not answer.is_floating_point():
        raise InputError(
            f"architecture {architecture!r} returned {tuple(answer.shape)} {answer.dtype} in {mode} "
            f"mode; expected {expected} of floats; {SIGNATURE}"
        )
    return answer


def _backward(answer: torch.Tensor, architecture: str) -> None:
    try:
        answer.sum().backward()
    except RuntimeError as error:
        raise InputError(
            f"architecture {architecture!r} has no gradient: {_line(error)}; {SIGNATURE}"
        ) from None


def check_factory(architecture: str, shape: tuple[int, ...], classes: int) -> None:
    """Two models from one seed, each asked twice: what cannot be trained is found before training.

    Raises
    ------
    InputError
        If the model fails, answers in another form or at random in evaluation mode, or depends on
        something that no seed reaches.
    """
    answers = []
    for _ in range(2):
        with DrawnFrom(Generators.of_seed(0, "cpu")):
            model, x = make(architecture, shape, classes).eval(), inputs(shape, 2)
            first, second = (_answer(model, architecture, x, classes) for _ in range(2))
            weights = [value.clone() for value in model.state_dict().values()]
            trained = _answer(model.train(), architecture, x, classes)
            answers.append((first, trained.detach(), *weights))
        with DrawnFrom(Generators.of_seed(0, "cpu")) as backward:
            _backward(trained, architecture)
    if not _same(first, second):
        raise InputError(
            f"architecture {architecture!r}: answers differ between two passes in evaluation mode, "
            "so that its outputs could not be repeated; draw at random only `if self.training`"
        )
    if not all(_same(a, b) for a, b in zip(*answers, strict=True)):
        raise InputError(
            f"architecture {architecture!r}: two models from one seed differ; draw weights and "
            "dropout with torch, not with NumPy's or Python's random numbers"
        )
    if backward.draws:
        raise InputError(
            f"architecture {architecture!r} draws at random in its backward pass (layers that are "
            "recomputed by torch.utils.checkpoint?), where the numbers would be others than before"
        )
    own = architecture.partition(":")[0] not in _PUBLISHED
    if own and bool((first >= 0).all()) and torch.allclose(first.sum(dim=1), torch.ones(2)):
        warnings.warn(
            f"{architecture} answers with probabilities (each row sums to 1), but the loss applies a "
            "softmax of its own: let the model end in its last linear layer",
            stacklevel=4,
        )


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.float(), b.float(), equal_nan=True)


def has_own_draws(architecture: str, shape: tuple[int, ...], classes: int) -> bool:
    """Whether the model's own layers draw random numbers while it is trained."""
    generators = Generators.of_seed(0, "cpu")
    with DrawnFrom(generators):
        model = own_layers(make(architecture, shape, classes), generators.device).train()
    with DrawnFrom(generators) as drawn:
        _answer(model, architecture, inputs(shape, 2), classes)
    return drawn.draws > 0
