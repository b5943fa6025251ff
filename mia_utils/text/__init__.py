"""Membership inference on models of text: `outputs.TokenOutputs` is what attacks see; a small
generator of characters is `characters.train_characters`.
"""

from .attacks import (
    LowercaseAttack,
    MinKAttack,
    MinKPlusPlusAttack,
    NeighbourhoodAttack,
    PerplexityAttack,
    ZlibAttack,
)
from .blind import BlindAttack, blind_scores
from .characters import docstrings, encode, train_characters
from .interface import label_only, top_k
from .outputs import TokenOutputs
from .shadow import DocumentAttack, LossRatioAttack, as_records

__all__ = [
    "BlindAttack",
    "DocumentAttack",
    "LossRatioAttack",
    "LowercaseAttack",
    "MinKAttack",
    "MinKPlusPlusAttack",
    "NeighbourhoodAttack",
    "PerplexityAttack",
    "TokenOutputs",
    "ZlibAttack",
    "as_records",
    "blind_scores",
    "docstrings",
    "encode",
    "label_only",
    "top_k",
    "train_characters",
]
