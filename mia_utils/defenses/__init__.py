"""Defenses: what is done to a model's answers (masking) or to its training (presets, stacking, SELENA)."""

from .masking import label_only, noise, rounding, temperature, top_k
from .memguard import memguard
from .presets import Defense, names, preset, train_defended
from .selena import train_selena
from .stacking import train_stacked

__all__ = [
    "Defense",
    "label_only",
    "memguard",
    "names",
    "noise",
    "preset",
    "rounding",
    "temperature",
    "top_k",
    "train_defended",
    "train_selena",
    "train_stacked",
]
