"""One model: how it is configured, built and trained on its members.

Begin with `loop.fit`, which trains one model, and `config.TrainConfig`, which says how (`recipes` has
one as models are trained today). `models` builds the architectures, `factory` tries out a reader's
own, `summary` says what is in them. `regularizer` is what a training defense may change; each has a
file: `augment`, `mixup`, `relax_loss`, `early_stopping`; `regularizers` says which a configuration asks
for. `dp` and `clipping` are the private step,
`accounting` says what it promises. `worker` is what a thread trains its models with: `batches` of the
pool, `generators` of its own, on a GPU recorded steps (`graphs`); `device` says where. Many models at a
time are the wing `engine`.
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
