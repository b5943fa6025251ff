"""One model: how it is configured, built and trained on its members.

Begin with `loop.fit`, which trains one model, and `config.TrainConfig`, which says how. `models`
builds the architectures, `summary` says what is in them; `augment`, `dp` and `clipping` change what
a step does, `accounting` says what that promises, `graphs` how a GPU runs it, `device` where. Many
models at a time are the wing `engine`.
"""

from importlib import import_module

from .config import DPConfig, TrainConfig

_LATER = {
    "accounting": ("epsilon_of", "faults", "noise_multiplier", "sampling"),
    "models": ("ARCHITECTURES", "build"),
    "summary": ("Layer", "layers"),
}
_HOME = {name: module for module, names in _LATER.items() for name in names}
__all__ = ["DPConfig", "TrainConfig", *_HOME]


def __getattr__(name: str):
    # Resolved when first used: a configuration needs no torch.
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
