"""Membership inference on models of text; begin with `characters.train_characters`."""

from .characters import docstrings, encode, train_characters

__all__ = ["docstrings", "encode", "train_characters"]
