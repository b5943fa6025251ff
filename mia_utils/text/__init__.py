"""Membership inference on models of text: `train.train_text` trains small language models on a
`corpus`, `outputs.TokenOutputs` is what attacks see; `characters.train_characters` is a smaller start.
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
from .canaries import Canary, canaries, exposure
from .characters import docstrings, encode, train_characters
from .config import TextConfig
from .corpus import Corpus, read_corpus
from .extraction import Extraction, extraction, generate
from .interface import label_only, top_k
from .masking import mask_names_and_numbers
from .outputs import TokenOutputs
from .query import TextModels
from .shadow import DocumentAttack, LossRatioAttack, as_records
from .train import train_text

__all__ = [
    "BlindAttack",
    "Canary",
    "Corpus",
    "DocumentAttack",
    "Extraction",
    "LossRatioAttack",
    "LowercaseAttack",
    "MinKAttack",
    "MinKPlusPlusAttack",
    "NeighbourhoodAttack",
    "PerplexityAttack",
    "TextConfig",
    "TextModels",
    "TokenOutputs",
    "ZlibAttack",
    "as_records",
    "blind_scores",
    "canaries",
    "docstrings",
    "encode",
    "exposure",
    "extraction",
    "generate",
    "label_only",
    "mask_names_and_numbers",
    "read_corpus",
    "top_k",
    "train_characters",
    "train_text",
]
