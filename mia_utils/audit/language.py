"""What is other about a language model under audit: its attacks, and what tells documents apart.

Its documents are records to all else (`text.as_records`): measured, judged and reported like those
of a classifier.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..attacks import CalibratedAttack, LossAttack
from ..text.attacks import (
    LowercaseAttack,
    MinKAttack,
    MinKPlusPlusAttack,
    NeighbourhoodAttack,
    PerplexityAttack,
    ZlibAttack,
)
from ..text.blind import blind_scores
from ..text.outputs import TokenOutputs
from ..text.read import read_named
from ..text.shadow import LossRatioAttack, as_records
from .answers import AuditData
from .scores import RECIPES, Recipe
from .tables import sha256

_WINDOW = 32  # tokens
CLASSES = ("other", "document")
SCALE = "log-probabilities"

TOKEN_RECIPES: dict[str, Recipe] = {
    "loss": Recipe("Perplexity", lambda _: LossAttack(), "never"),
    "window": Recipe(
        f"Perplexity of the likeliest {_WINDOW} tokens",
        lambda _: PerplexityAttack(window=_WINDOW),
        "tokens",
    ),
    "zlib": Recipe("Perplexity against zlib", lambda _: ZlibAttack(), "tokens"),
    "lowercase": Recipe("Against lower case", lambda _: LowercaseAttack(), "tokens"),
    "neighbourhood": Recipe("Against perturbed texts", lambda _: NeighbourhoodAttack(), "tokens"),
    "min_k": Recipe("Min-K%", lambda _: MinKAttack(), "tokens"),
    "min_k_plus_plus": Recipe("Min-K%++", lambda _: MinKPlusPlusAttack(), "tokens"),
    "population": RECIPES["population"],
    "lira": RECIPES["lira"],
    "base": RECIPES["base"],
    "rmia": RECIPES["rmia"],
    "difference": Recipe(
        "Loss minus the reference models'", lambda _: CalibratedAttack(threshold=0.0), "shadows"
    ),
    "ratio": Recipe(
        "Ratio to the reference models' loss", lambda _: LossRatioAttack(threshold=1.0), "shadows"
    ),
    "reference": RECIPES["reference"],
}
"""Attacks on a language model: on its documents as records, or ("tokens") on their tokens."""


def token_data(outputs: TokenOutputs, *, names=None, sources=()) -> AuditData:
    """Documents under one or several language models, as `audit` takes them."""
    return AuditData.of(
        as_records(outputs),
        names=names,
        groups=outputs.groups,
        classes=CLASSES,
        scale=SCALE,
        sources=tuple(sources),
        tokens=outputs,
    )


def read_token_data(
    path: str | os.PathLike, *, members=None, groups: Sequence[str] = ()
) -> AuditData:
    """A file of log-probabilities, as `text.read.read_tokens` reads it.

    Parameters
    ----------
    members : mask or ids of members, or a file of them, in place of those in the file

    Raises
    ------
    InputError
        As `read_tokens`.
    """
    from .tables import read_array

    sources = [Path(path)]
    if isinstance(members, (str, os.PathLike)):
        sources.append(Path(members))
        members = np.asarray(read_array(members))
    outputs, names = read_named(path, members=members, groups=groups)
    return token_data(
        outputs, names=names, sources=[(source.name, sha256(source)) for source in sources]
    )


def perplexity(data: AuditData, rows: np.ndarray) -> float:
    """exp of the mean loss of the tokens of some documents, by position, under the first model."""
    tokens = data.tokens
    sums = np.add.reduceat(tokens.log_probs[0], tokens.offsets[:-1], dtype=np.float64)
    return float(np.exp(-sums[rows].sum() / tokens.lengths[rows].sum()))


def blind_of_documents(data: AuditData, rows: np.ndarray, truth: np.ndarray, seed: int):
    """Scores (n,) of documents by their words and groups, without the model."""
    words = [data.tokens.texts[row] for row in rows]
    for name, values in data.groups.items():
        own = [re.sub(r"\W", "_", f"group {name} {value}") for value in values[rows]]
        words = [f"{text} {group}" for text, group in zip(words, own, strict=True)]
    return blind_scores(words, truth, seed=seed)
