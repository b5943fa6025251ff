"""What is other about a language model under audit: its attacks, and what tells documents apart.

Its documents are records to all else (`text.as_records`): measured, judged and reported like those
of a classifier.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..attacks import CalibratedAttack, LossAttack
from ..errors import InputError
from ..text.attacks import (
    LowercaseAttack,
    MinKAttack,
    MinKPlusPlusAttack,
    NeighbourhoodAttack,
    PerplexityAttack,
    ZlibAttack,
    given,
)
from ..text.blind import blind_scores
from ..text.outputs import TokenOutputs
from ..text.read import NAMES, complete, read_named, read_texts
from ..text.shadow import LossRatioAttack, as_records
from .answers import AuditData
from .scores import RECIPES, Recipe
from .tables import read_array, sha256

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
    sources = [Path(path)]
    if isinstance(members, (str, os.PathLike)):
        sources.append(Path(members))
        members = np.asarray(read_array(members))
    outputs, names = read_named(path, members=members, groups=groups)
    return token_data(
        outputs, names=names, sources=[(source.name, sha256(source)) for source in sources]
    )


def is_language_model(model: str | os.PathLike) -> bool:
    """Is it the folder of a Hugging Face model that says it is a causal language model?"""
    try:
        config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
        kinds = [str(kind) for kind in config.get("architectures") or ()]
    except (OSError, ValueError, AttributeError):
        return False
    return any(kind.endswith(("ForCausalLM", "LMHeadModel")) for kind in kinds)


def asked_token_data(
    folder: str | os.PathLike,
    path: str | os.PathLike,
    *,
    members=None,
    groups: Sequence[str] = (),
) -> AuditData:
    """What a Hugging Face causal language model says of documents, and of them in lower case if its
    tokenizer knows that.

    Parameters
    ----------
    path : .parquet or .csv table, or a folder
        A table has a column `text`; if there `id`, `member` and `group_NAME`. Of a folder all .txt
        files are documents, whose ids are their paths in it.
    members : a file with a mask or ids of members, in place of the table's column

    Raises
    ------
    InputError
        If something is missing or cannot be read, or as `text.huggingface.ask_causal`.
    """
    from ..text.huggingface import CausalModel, ask_causal

    path = Path(path)
    found = _text_files(path) if path.is_dir() else _text_table(path, groups)
    if members is not None:
        found["members"] = np.asarray(read_array(members))
    if found.get("members") is None:
        raise InputError(
            f"{path}: which documents are members? Give --members FILE, or a column member"
        )
    names = found["ids"]
    model = CausalModel(folder)
    try:
        model.tokens([text.lower() for text in found["texts"]], names)
    except InputError:  # a tokenizer of capital letters: that attack is not run
        lowercase = False
    else:
        lowercase = True
    outputs = ask_causal(model, lowercase=lowercase, **found)
    sources = [Path(p) for p in (path, members) if p is not None and Path(p).is_file()]
    return token_data(outputs, names=names, sources=[(p.name, sha256(p)) for p in sources])


def _text_files(folder: Path) -> dict:
    files = [file for file in sorted(folder.rglob("*.txt")) if file.is_file()]
    if not files:
        raise InputError(f"{folder}: no .txt file; expected one a document, or a table with texts")
    root = folder.resolve()
    for file in files:
        if not file.resolve().is_relative_to(root):
            raise InputError(f"{file}: a link that leads out of {folder.name}; copy the text there")
    try:
        texts = [file.read_text(encoding="utf-8-sig") for file in files]
    except UnicodeDecodeError as error:
        raise InputError(f"{folder}: a file is no UTF-8 text ({error})") from None
    return {"texts": texts, "ids": np.array([f.relative_to(folder).as_posix() for f in files])}


def _text_table(path: Path, groups: Sequence[str]) -> dict:
    table = read_texts(path, groups)
    missing = [name for name in groups if name not in table]
    if missing:
        raise InputError(f"{path} has no column {missing[0]!r}; it holds {', '.join(table)}")

    def column(field: str):
        return next((table[name] for name in NAMES[field] if name in table), None)

    texts, ids = column("texts"), column("ids")
    if texts is None:
        raise InputError(f"{path} holds {', '.join(table)}; expected a column text")
    chosen = [name for name in table if name.startswith("group_") or name in groups]
    return {
        "texts": complete(texts.astype(str), "texts").tolist(),
        "ids": np.arange(texts.size).astype(str) if ids is None else ids.astype(str),
        "members": column("members"),
        "groups": {name.removeprefix("group_"): table[name] for name in chosen},
    }


def perplexity(data: AuditData, rows: np.ndarray) -> float:
    """exp of the mean loss of the tokens of some documents, by position, under the first model."""
    tokens = given(data.tokens)
    sums = np.add.reduceat(tokens.log_probs[0], tokens.offsets[:-1], dtype=np.float64)
    with np.errstate(over="ignore"):
        return float(np.exp(-sums[rows].sum() / tokens.lengths[rows].sum()))


def blind_of_documents(data: AuditData, rows: np.ndarray, truth: np.ndarray, seed: int):
    """Scores (n,) of documents by their words and groups, without the model."""
    texts = given(given(data.tokens).texts)
    words = [texts[row] for row in rows]
    for name, values in data.groups.items():
        own = [re.sub(r"\W", "_", f"group {name} {value}") for value in values[rows]]
        words = [f"{text} {group}" for text, group in zip(words, own, strict=True)]
    return blind_scores(words, truth, seed=seed)
