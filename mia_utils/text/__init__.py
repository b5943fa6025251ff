"""Membership inference on models of text: `outputs.TokenOutputs` is what attacks see; a small
generator of characters is `characters.train_characters`.
"""

from .characters import docstrings, encode, train_characters
from .outputs import TokenOutputs

__all__ = ["TokenOutputs", "docstrings", "encode", "train_characters"]
