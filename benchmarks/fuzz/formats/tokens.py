"""Answers of a language model, and texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mia_utils.audit import read_token_data
from mia_utils.text import TokenOutputs, read_corpus

from ..case import Case, differs, surface
from ..values import anything, damaged, pick, spoiled
from .common import damage_file


def _tokens(rng) -> TokenOutputs:
    documents = [
        -rng.exponential(size=int(rng.integers(2, 9))).astype(np.float32) for _ in range(12)
    ]
    return TokenOutputs.from_documents(documents, members=np.arange(12) % 2 == 0)


def _token_numbers(path: Path) -> list:
    tokens = read_token_data(path).tokens
    return [np.asarray(tokens.log_probs), tokens.offsets, tokens.members]


@surface("tokens: .npz, .csv and .parquet", 5)
def token_files(rng, folder):
    tokens = _tokens(rng)
    path = folder / pick(rng, ["tokens.npz", "tokens.csv", "tokens.parquet"])
    right = [tokens.log_probs, tokens.offsets, tokens.members]
    if path.suffix == ".npz":
        tokens.save(path)
    else:
        import pandas as pd

        lengths = np.diff(tokens.offsets)
        document = np.repeat(np.arange(lengths.size), lengths)
        frame = pd.DataFrame(
            {
                "document": document,
                "log_prob": tokens.log_probs[0],
                "member": tokens.members[0][document],
            }
        )
        kind = int(rng.integers(4))
        if kind == 0:
            frame = frame.drop(columns=pick(rng, list(frame.columns)))
        elif kind == 1:
            column = pick(rng, list(frame.columns))
            value, _ = spoiled(rng, frame[column].to_numpy())
            value = np.asarray(value, dtype=object).ravel()[: len(frame)]
            frame = frame.iloc[: len(value)].assign(**{column: [str(v) for v in value]})
        if path.suffix == ".csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False)
        if kind < 2:
            return Case(
                f"{path.suffix}: content",
                lambda: _token_numbers(path),
                [path.name],
                lambda a: "" if np.isfinite(a[0]).all() and (a[0] <= 0).all() else "no logarithms",
            )
    how = damage_file(rng, path)
    checked = path.suffix == ".npz"
    return Case(
        f"{path.suffix}: {how}",
        lambda: _token_numbers(path),
        [path.name],
        lambda a: differs(a, right) if checked else "",
    )


@surface("texts: folders and their files", 2)
def texts(rng, folder):
    place = folder / "texts"
    place.mkdir()
    for number in range(4):
        words = rng.choice(["the", "cat", "sat", "on", "mat", "café", "\n\n"], 300)
        content = " ".join(words).encode("utf-8")
        if rng.integers(2):
            content = damaged(rng, content)[0]
        suffix = pick(rng, [".txt", ".md", ".py", ".bin"])
        (place / f"{number}{suffix}").write_bytes(content)
    length = pick(rng, [20, 50, 200, anything(rng, "numbers")])
    return Case(
        f"length={length!r}",
        lambda: len(read_corpus(place, length=length, vocabulary=300).texts),
        ["texts", "length", "vocabulary", "least"],
        lambda count: "" if count > 0 else "no document",
    )
