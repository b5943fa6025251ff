"""`train_text(...) -> TextModels`: the language models that the store lacks, trained into it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .. import arguments
from ..arrays import as_array
from ..engine.backend import Outcome, in_processes, in_turn, on_cluster, resolve_backend
from ..engine.place import named_device, named_precision
from ..engine.schedule import check_gpu, missing_models, run_into_store
from ..engine.store import Store
from ..engine.train import as_jobs
from ..engine.work import trained_into_store
from ..errors import InputError
from ..training.config import as_seed
from .config import RECIPE, TextConfig, TextSpec
from .corpus import Corpus
from .query import TextModels


def train_text(
    corpus: Corpus,
    copies,
    config: TextConfig = TextConfig(),
    *,
    seed: int = 0,
    precision: str = "fp32",
    device: str = "auto",
    store: str | os.PathLike | Store | None = None,
    jobs: int | None = None,
    backend: str | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> TextModels:
    """Train one language model for each row of `copies`, unless the store has it.

    As `engine.train`: a model's bits do not depend on how many are trained at a time, or where on
    one kind of processor; a killed call goes on with what is missing, a long training from its
    checkpoint.

    Parameters
    ----------
    corpus : Corpus
        N documents.
    copies : bool or integers 0 to 255, (models, N) or (N,)
        Who is in which training set, and how often an epoch holds the document.
    jobs : int, default the number of free processors; one on a GPU
    seed, precision, device, store, backend, scheduler, progress
        As `engine.train`.

    Raises
    ------
    InputError
        If `copies` does not fit the corpus, a model has no member, a setting is unknown, private
        training cannot be had, models diverge, or the store cannot be written.
    """
    arguments.instance("corpus", corpus, Corpus, "a Corpus, as read_corpus gives it")
    arguments.instance("config", config, TextConfig, "a TextConfig")
    seed = as_seed(seed)
    counts = _counts(copies, len(corpus))
    jobs = as_jobs(jobs)
    backend, scheduler = resolve_backend(backend, scheduler)
    device = named_device(device)
    precision = named_precision(precision, device)
    if config.dp is not None:
        from .pieces import Pieces
        from .training import check_private

        pieces = Pieces.of(corpus.tokens, corpus.offsets, config.context, corpus.tokenizer.size)
        for row in counts:
            check_private(row, config, precision, pieces.documents)
    store = Store.of(store)
    specs = [
        TextSpec(
            corpus.name,
            seed,
            corpus.fingerprint,
            corpus.tokenizer.size,
            row.tobytes(),
            config,
            precision,
            device,
        )
        for row in counts
    ]
    if missing := missing_models(specs, store):
        if backend == "loky":
            check_gpu(missing, store)
        most = jobs or _default_jobs(device)

        def run(left: Sequence[TextSpec], wait: bool) -> Iterator[Outcome]:
            root = store.root.absolute()
            tasks = [(spec, corpus.tokens, corpus.offsets, root, wait) for spec in left]
            if backend == "dask":
                assert scheduler is not None, "`resolve_backend` asked for it"
                return on_cluster(fit_into_store, tasks, scheduler)
            if min(most, len(left)) == 1:
                return in_turn(fit_into_store, tasks)
            return in_processes(fit_into_store, tasks, min(most, len(left)))

        run_into_store(missing, store, run, jobs=most, progress=progress)
    names = tuple(spec.name for spec in specs)
    return TextModels(corpus, counts, config, names, store)


def _default_jobs(device: str) -> int:
    import joblib

    return 1 if device == "cuda" else joblib.cpu_count()


def _counts(copies, documents: int) -> np.ndarray:
    """uint8 (models, documents)."""
    given = as_array(copies, "copies")
    array = np.atleast_2d(given)
    if array.ndim != 2 or array.shape[1] != documents or array.dtype.kind not in "biu":
        raise InputError(
            f"copies are {array.dtype} {given.shape}; expected bool or integers "
            f"(models, {documents}), one for every document of the corpus"
        )
    if not array.size or array.min() < 0 or array.max() > 255:
        raise InputError("copies are out of range; expected 0 to 255 for each document")
    if not array.any(axis=1).all():
        raise InputError(f"copies: model {int(np.argmin(array.any(axis=1)))} has no member")
    return np.ascontiguousarray(array.astype(np.uint8))


def fit_into_store(
    spec: TextSpec, tokens: np.ndarray, offsets: np.ndarray, root: Path, wait: bool
) -> None:
    """Train one model and store it, unless it is there, or another process is at it."""
    from .training import fit

    store = Store(root)

    def trained():
        return fit(
            tokens,
            offsets,
            spec.vocabulary,
            spec.counts(),
            spec.config,
            seed=spec.seed,
            precision=spec.precision,
            device=spec.device,
            checkpoint=store.checkpoint(spec.name),
        )

    facts = {
        "pool": spec.corpus,
        "architecture": "gpt",
        "vocabulary": spec.vocabulary,
        "fingerprint": spec.fingerprint,
        "members": int((spec.counts() > 0).sum()),
        "documents": int(spec.counts().sum()),
        "recipe": RECIPE,
    }
    trained_into_store(spec, store, wait, trained, facts)
