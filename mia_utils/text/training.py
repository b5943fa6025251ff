"""Train one language model: the steps of an epoch. All else is the package's own loop over epochs."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import InputError
from ..randomness import numpy_generator, torch_generator
from ..training.accounting import noise_multiplier, sampling, statement
from ..training.checkpoint import load_checkpoint
from ..training.clipping import clipped_sum, trained_parameters
from ..training.epochs import Trained, run_epochs
from ..training.generators import DrawnFrom, Generators
from ..training.regularizer import Regularizer
from ..training.worker import Place
from .config import RECIPE, TextConfig
from .distribution import told
from .model import GPT, PrivateForm
from .pieces import IGNORED, Pieces

ANSWERS = ("log_probs", "mean", "std", "ranks")
"""What is kept of every token: its log-probability, mean and standard deviation of the
log-probability over the model's own distribution, and how many tokens are likelier."""
_AT_ONCE = 32
"""Pieces that are asked about, or clipped, at a time."""


def build(vocabulary: int, config: TextConfig, generators: Generators) -> GPT:
    """A fresh model, its weights drawn from the generators."""
    with DrawnFrom(generators):
        return GPT(
            vocabulary,
            config.context,
            layers=config.layers,
            width=config.width,
            heads=config.heads,
        )


@torch.no_grad()
def answers(model: GPT, tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """What a model says of every token, float32 (4, T): rows as `ANSWERS`; in full precision.

    In a document that is longer than the model's context, every token has at least half a context
    before it.
    """
    model.eval()
    device = model.tokens.weight.device
    half = model.context // 2
    pieces = Pieces.of(tokens, offsets, model.context, model.opening, repeated=half)
    found = []
    for index in torch.arange(len(pieces.inputs)).split(_AT_ONCE):
        inputs, targets = pieces.rows(index, device)
        used = targets != IGNORED
        said = told(model(inputs)[used], targets[used])
        # Ranks are exact as floats, too: no vocabulary has 2^24 tokens.
        found.append(torch.stack([part.float() for part in said]))
    return torch.cat(found, dim=1).cpu().numpy()


class Looks(Regularizer):
    """Asks the model after some epochs, and changes nothing; its answers go into checkpoints."""

    field = "looks"

    def __init__(self, config: TextConfig, ask: Callable[[Any], np.ndarray]) -> None:
        super().__init__(config)
        self._ask = ask
        self.seen: list[np.ndarray] = []

    def epoch_ends(self, epoch, model, held_loss) -> bool:
        if epoch + 1 in self.value:
            self.seen.append(self._ask(model))
        return False

    def state(self) -> dict:
        return {"seen": [torch.from_numpy(one) for one in self.seen]}

    def load_state(self, state: dict) -> None:
        self.seen = [one.cpu().numpy() for one in state["seen"]]


def fit(
    tokens: np.ndarray,
    offsets: np.ndarray,
    vocabulary: int,
    copies: np.ndarray,
    config: TextConfig,
    *,
    seed: int,
    precision: str = "fp32",
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: float = 600.0,
) -> Trained:
    """Train one model on its members and ask it about every token of the corpus.

    Parameters
    ----------
    tokens, offsets : int32 (T,), int64 (N + 1,)
    copies : uint8 (N,)
        How often an epoch holds each document.
    precision, device : resolved names, never "auto"
    checkpoint : path or None
        As `training.loop.fit`.

    Returns
    -------
    Trained
        `logits` is float32 (looks + 1, 4, T): what `answers` says after each look and in the end.

    Raises
    ------
    Diverged
        In the epoch in which the loss is no longer finite.
    """
    state = load_checkpoint(checkpoint, device)
    generators = Generators.of_seed(seed, device)
    model = build(vocabulary, config, generators).to(device)
    decayed = [p for p in model.parameters() if p.ndim == 2]
    plain = [p for p in model.parameters() if p.ndim != 2]
    groups: list[dict[str, Any]] = [
        {"params": decayed},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=config.lr,
        weight_decay=config.weight_decay,
        betas=(0.9, 0.95),
        fused=True,
    )
    looks = Looks(config, lambda model: answers(model, tokens, offsets))
    place = Place(model, optimizer, cast(Any, None), generators, (looks,))
    pieces = Pieces.of(tokens, offsets, config.context, model.opening)
    one_epoch: Callable[[int], float | None]
    privacy: dict | None
    if config.dp is None:
        one_epoch, privacy = _plain(place, pieces, copies, config, seed, precision, device), None
    else:
        check_private(copies, config, precision, pieces.documents)
        own = _own_name(tokens, offsets, copies, vocabulary, config, device)
        one_epoch, privacy = _private(place, pieces, copies, config, seed, own, device)
    trained = run_epochs(
        place,
        config,
        one_epoch,
        state=state,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        worker=None,
        answers=lambda: np.stack([*looks.seen, answers(model, tokens, offsets)]),
    )
    trained.privacy = privacy
    return trained


def _plain(
    place: Place,
    pieces: Pieces,
    copies: np.ndarray,
    config: TextConfig,
    seed: int,
    precision: str,
    device: str,
) -> Callable[[int], float]:
    """An epoch of steps on the mean loss over a batch's tokens."""
    index = np.repeat(np.arange(len(pieces.documents)), copies[pieces.documents])
    per_epoch = -(-len(index) // config.batch_size)

    def amp():
        # Entered anew at every step: autocast keeps its bf16 copies of the weights until it is left.
        if precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=torch.bfloat16)

    def one_epoch(epoch: int) -> float:
        # Drawn from (seed, epoch): a resumed run meets the same batches.
        order = torch.from_numpy(np.random.default_rng([seed, 0, epoch]).permutation(index))
        total = torch.zeros((), device=device)
        for number, batch in enumerate(order.split(config.batch_size)):
            place.set_rate(config.rate(epoch * per_epoch + number))
            inputs, targets = pieces.rows(batch, device)
            with amp():
                logits = place.model(inputs)
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
            place.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(place.model.parameters(), 1.0)
            place.optimizer.step()
            total += loss.detach() * len(batch)
        return float(total) / len(index)

    return one_epoch


def _private(
    place: Place,
    pieces: Pieces,
    copies: np.ndarray,
    config: TextConfig,
    seed: int,
    own: str,
    device: str,
) -> tuple[Callable[[int], None], dict]:
    """An epoch of DP-SGD (Abadi et al., 2016, algorithm 1): Poisson batches, clipped and noised.

    The gradient that is clipped is that of one document's mean loss: the document is what is
    protected, not its author, and not a text that several documents repeat. `own` keeps the streams
    of sampling and noise apart from those of any other model.
    """
    dp = config.dp
    assert dp is not None, "only private trainings come here"
    index = np.flatnonzero(copies)
    rate, steps = sampling(config, len(index))
    noise = noise_multiplier(dp, rate, steps)
    per_epoch, bound = steps // config.epochs, dp.max_grad_norm
    form = PrivateForm(place.model)
    parameters = trained_parameters(form)

    def one_epoch(epoch: int) -> None:
        drawing = numpy_generator(seed, "dp sampling", own, epoch)
        noising = torch_generator(seed, "dp noise", own, epoch, device=device)
        for number in range(per_epoch):
            place.set_rate(config.rate(epoch * per_epoch + number))
            batch = torch.from_numpy(index[drawing.random(len(index)) < rate])
            sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
            for part in batch.split(_AT_ONCE) if len(batch) else ():
                inputs, targets = pieces.rows(part, device)
                with sdpa_kernel(SDPBackend.MATH):  # the one that vmap takes apart
                    clipped = clipped_sum(form, inputs[:, None], targets, bound)
                for name, found in clipped.items():
                    sums[name] += found
            for name, parameter in parameters.items():
                drawn = torch.randn(
                    parameter.shape, generator=noising, dtype=parameter.dtype, device=device
                )
                parameter.grad = (sums[name] + noise * bound * drawn) / (rate * len(index))
            place.optimizer.step()
            place.optimizer.zero_grad(set_to_none=True)

    privacy = statement(
        dp,
        noise,
        rate,
        steps,
        unit="document",
        not_covered="no figure that was computed from members, and not the tokenizer",
    )
    return one_epoch, privacy


def _own_name(tokens, offsets, copies, vocabulary, config, device) -> str:
    """Of a model's streams: a hash of all that decides it, beside the seed."""
    facts = json.dumps([RECIPE, vocabulary, config.changed(), device], sort_keys=True)
    own = hashlib.sha256(facts.encode())
    for array in (copies, offsets, tokens):
        own.update(np.ascontiguousarray(array).data)
    return own.hexdigest()


def check_private(
    copies: np.ndarray, config: TextConfig, precision: str, documents: np.ndarray
) -> None:
    """Raise InputError for what DP-SGD on documents cannot be asked for."""
    if precision != "fp32":
        raise InputError(f"dp with precision={precision!r}; DP-SGD trains in fp32")
    if copies.max() > 1:
        raise InputError(
            f"dp: document {int(copies.argmax())} is in the training set {int(copies.max())} times; "
            "the promise is about one document, once: remove the copies first"
        )
    if len(documents) > len(copies):
        longest = int(np.bincount(documents).argmax())
        raise InputError(
            f"dp: document {longest} is longer than context={config.context} tokens and would count "
            "as several; choose a larger context, or cut the documents first"
        )
    assert config.dp is not None, "only private trainings come here"
    if config.dp.delta * int(copies.sum()) >= 1:
        raise InputError(
            f"dp: delta={config.dp.delta:g} with {int(copies.sum())} documents; expected less than "
            "one over their number"
        )
