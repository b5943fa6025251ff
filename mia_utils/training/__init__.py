"""One model: how it is configured, built and trained on its members.

Begin with `loop.fit`, which trains one model, and `config.TrainConfig`, which says how. `models`
builds the architectures; `augment`, `dp` and `clipping` change what a step does, `accounting` says
what that promises, `graphs` how a GPU runs it, `device` where. Many models at a time are the wing `engine`.
"""

from .config import DPConfig, TrainConfig

_PRIVATE = ("epsilon_of", "noise_multiplier", "sampling")
__all__ = ["DPConfig", "TrainConfig", *_PRIVATE]


def __getattr__(name: str):
    # Resolved when first used: a configuration needs no torch.
    if name in _PRIVATE:
        from . import accounting

        return getattr(accounting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
