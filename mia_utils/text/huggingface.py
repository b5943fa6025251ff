"""A causal language model in a Hugging Face folder, asked about documents; nothing is fetched."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from ..errors import InputError, InputWarning
from .outputs import TokenOutputs
from .pieces import Cut, cuts

if TYPE_CHECKING:
    import torch

_AT_ONCE = 2**27  # logits that a model gives back at once
_MOST = 2**17  # positions of a model that names no limit


def load_whole(kind, folder: str | os.PathLike, **options):
    """`kind.from_pretrained(folder)`, if the folder holds the weights of every layer.

    transformers fills what a file lacks with random numbers and says so in its log alone.

    Raises
    ------
    InputError
        If weights are missing or of another shape.

    Warns
    -----
    InputWarning
        If the file holds weights that the model does not have.
    """
    options |= {"use_safetensors": True, "output_loading_info": True}
    model, found = kind.from_pretrained(folder, **options)
    kinds = ("missing_keys", "mismatched_keys", "unexpected_keys")
    missing, others, more = (sorted(map(str, found.get(kind) or ())) for kind in kinds)
    if missing or others:
        raise InputError(
            f"{folder}: the weights lack {(missing + others)[0]} ({len(missing + others)} such); "
            "expected those of the model that its config.json describes"
        )
    if more:
        warnings.warn(
            f"{folder}: the weights hold {more[0]} ({len(more)} such), which the model that its "
            "config.json describes does not have; is that file of another model?",
            InputWarning,
            stacklevel=3,
        )
    return model


class CausalModel:
    """A causal language model and its tokenizer, from a folder.

    Weights are read from safetensors, and no code of the folder is run. On a CPU the model answers
    in single precision, on a GPU in its own; the softmax is always taken in single precision.

    Parameters
    ----------
    folder : path
        With config.json, model.safetensors and the tokenizer's files, as `save_pretrained` writes
        them.
    device : "auto", "cpu" or "cuda"

    Raises
    ------
    InputError
        If transformers is not installed, or the folder holds no such model.
    """

    def __init__(self, folder: str | os.PathLike, *, device: str = "auto") -> None:
        from ..training.device import resolve_device

        try:
            import transformers
        except ModuleNotFoundError:
            raise InputError(
                f"{folder} needs the package transformers: pip install 'mia-utils[huggingface]'"
            ) from None
        if not os.path.isdir(folder):
            raise InputError(
                f"{folder}: no such folder; expected a Hugging Face model on this disk"
            )
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
            model = load_whole(transformers.AutoModelForCausalLM, folder, **options)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{folder}: not a causal language model ({' '.join(str(error).split())[:200]}); "
                "expected config.json, model.safetensors and the tokenizer's files"
            ) from None
        self.device = resolve_device(device)
        self.model = (model.float() if self.device == "cpu" else model).to(self.device).eval()
        self.folder = folder
        self._check_causal()
        config = model.config
        named = (getattr(config, name, None) for name in ("max_position_embeddings", "n_positions"))
        self.context = next((int(n) for n in named if n), _MOST)
        self.vocabulary = model.get_input_embeddings().num_embeddings

    def _check_causal(self) -> None:
        """Refuse a model that looks ahead: transformers loads BERT as a causal one, too."""
        import torch

        rows = torch.tensor([[0, 1, 0], [0, 1, 1]], device=self.device)
        with torch.inference_mode():
            first, other = self.model(input_ids=rows, attention_mask=torch.ones_like(rows)).logits
        apart = (first[:2] - other[:2]).abs().max()
        if apart > 1e-5 * first[:2].abs().max():
            raise InputError(
                f"{self.folder}: what it says of a token depends on the tokens after it; expected a "
                "causal language model"
            )

    def tokens(self, texts: Sequence[str], names: Sequence | None = None) -> list[list[int]]:
        """Each text's tokens, after a start symbol if the tokenizer puts one before a text.

        Parameters
        ----------
        names : what each text is called in an error, by default its position

        Raises
        ------
        InputError
            If a text has nothing to score, or holds what the tokenizer or the model does not know.
        """
        names = range(len(texts)) if names is None else names
        if not len(texts):
            raise InputError("there are no documents; expected a list of texts")
        plain = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        whole = self.tokenizer(list(texts))["input_ids"]
        unknown, start = self.tokenizer.unk_token_id, self.tokenizer.bos_token_id
        found = []
        for name, text, own, marked in zip(names, texts, plain, whole, strict=True):
            if unknown is not None and unknown in own:
                raise InputError(
                    f"document {name} ({text[:30]!r}) holds something that the tokenizer does not "
                    "know: leave the document out, or that part of it"
                )
            if own and not 0 <= min(own) <= max(own) < self.vocabulary:
                raise InputError(
                    f"document {name} has the token {max(own)}; {self.folder} knows 0 to "
                    f"{self.vocabulary - 1}: are tokenizer and model of one kind?"
                )
            opened = start is not None and marked[:1] == [start] and own[:1] != [start]
            row = [start, *own] if opened else list(own)
            if len(row) < 3:
                raise InputError(
                    f"document {name} ({text[:30]!r}) has {len(own)} token{'s' * (len(own) != 1)}; "
                    "expected at least two that something precedes: leave it out"
                )
            found.append(row)
        return found

    def ask(self, rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """What the model says of each token but the first of each row.

        A row longer than the model's context is read in parts that overlap by half, so that every
        token is preceded by at least half a context.

        Returns
        -------
        float32 (4, T), int64 (rows + 1,)
            Log-probability, mean, standard deviation and rank of each token; bounds of the rows.
        """
        import torch

        bounds = np.cumsum([0, *map(len, rows)])
        tokens = torch.from_numpy(np.concatenate(rows))
        found = np.empty((4, len(tokens)), np.float32)
        left = sorted(
            cuts(bounds, self.context, self.context // 2), key=lambda cut: cut.end - cut.begin
        )
        with torch.inference_mode():
            while left:
                longest = left[-1].end - left[-1].begin
                count = max(1, _AT_ONCE // (longest * self.vocabulary))
                self._ask(tokens, left[-count:], found)
                del left[-count:]
        if not np.isfinite(found[0, np.setdiff1d(np.arange(len(tokens)), bounds)]).all():
            raise InputError(
                f"{self.folder}: the model answers with NaN or infinity; are its weights damaged?"
            )
        # Nothing precedes the first token of a row.
        return np.delete(found, bounds[:-1], axis=1), bounds - np.arange(len(bounds))

    def _ask(self, tokens: torch.Tensor, some: list[Cut], found: np.ndarray) -> None:
        """Write what the model says of the pieces' tokens into `found`, (4, T)."""
        import torch

        from .distribution import told

        longest = max(cut.end - cut.begin for cut in some)
        inputs = torch.zeros((len(some), longest), dtype=torch.int64)
        seen = torch.zeros_like(inputs)
        for number, (_, begin, end, _) in enumerate(some):
            inputs[number, : end - begin] = tokens[begin:end]
            seen[number, : end - begin] = 1
        inputs = inputs.to(self.device)
        logits = self.model(input_ids=inputs, attention_mask=seen.to(self.device)).logits
        for number, (_, begin, end, first) in enumerate(some):
            here = slice(max(1, first - begin), end - begin)
            before = logits[number, here.start - 1 : here.stop - 1]
            said = torch.stack([part.float() for part in told(before, inputs[number, here])])
            found[:, begin + here.start : end] = said.cpu().numpy()

    def means(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """Mean log-probability of each row's tokens but the first, float32 (rows,)."""
        found, offsets = self.ask(rows)
        sums = np.add.reduceat(found[0], offsets[:-1], dtype=np.float64)
        return (sums / np.diff(offsets)).astype(np.float32)


def ask_causal(
    model: CausalModel | str | os.PathLike,
    texts: Sequence[str],
    members,
    *,
    lowercase: bool = False,
    neighbours: int | Sequence[Sequence[str]] = 0,
    ids=None,
    groups=None,
    evaluated=None,
    fingerprint: str = "",
    seed: int = 0,
) -> TokenOutputs:
    """What a Hugging Face causal language model says of documents.

    A token's log-probability is given all tokens before it in its document. The first token of a
    document is scored only where the tokenizer puts a start symbol before it.

    Parameters
    ----------
    model : CausalModel, or its folder
    texts : sequence of str (D,)
    members : bool (D,), or ids of members
    lowercase : bool
        Ask about the texts in lower case too.
    neighbours : int, or D sequences of P texts
        Perturbed versions of each text, about which it is asked too. A number makes so many, in
        which one token in ten is another one of the documents, drawn by frequency and `seed`;
        Mattern et al. (2023) let a masked language model choose better ones.
    ids, groups, evaluated, fingerprint
        As `TokenOutputs` has them.

    Raises
    ------
    InputError
        If the model cannot be read, or a text has fewer than two tokens to score, or tokens that
        are unknown.
    """
    if isinstance(texts, str):
        raise InputError("texts is one text; expected a list, one text a document")
    arguments.seed(seed)
    model = model if isinstance(model, CausalModel) else CausalModel(model)
    texts, names = list(texts), range(len(texts)) if ids is None else list(ids)
    rows = model.tokens(texts, names)
    (log_probs, mean, std, ranks), offsets = model.ask(rows)
    other: dict = {}
    if lowercase:
        lower = model.tokens([text.lower() for text in texts], names)
        other["lowercase_log_probs"] = model.means(lower)
    if versions := _versions(model, rows, neighbours, names, seed):
        means = [model.means(version) for version in versions]
        other["neighbour_log_probs"] = np.stack(means, axis=1)[None]
    return TokenOutputs(
        log_probs,
        offsets,
        members,
        evaluated=evaluated,
        ids=ids,
        mean=mean,
        std=std,
        ranks=ranks,
        texts=tuple(texts),
        groups=groups or {},
        fingerprint=fingerprint,
        **other,
    )


def _versions(model: CausalModel, rows, neighbours, names, seed: int) -> list[list[list[int]]]:
    """Tokens of the perturbed documents, version by version."""
    if isinstance(neighbours, Integral) and not isinstance(neighbours, bool):
        if neighbours < 0:
            raise InputError(f"neighbours={neighbours}; expected a number of at least 0, or texts")
        return [_perturbed(rows, [seed, version]) for version in range(neighbours)]
    counts = {len(each) for each in neighbours}
    if len(neighbours) != len(rows) or len(counts) != 1 or counts == {0}:
        raise InputError(
            f"neighbours: {len(neighbours)} lists of {min(counts, default=0)} to "
            f"{max(counts, default=0)} texts; expected {len(rows)} lists, all of one length"
        )
    return [model.tokens(version, names) for version in zip(*neighbours, strict=True)]


def _perturbed(rows: Sequence[Sequence[int]], seed: Sequence[int]) -> list[list[int]]:
    """Every row with one token in ten, but for the first, drawn anew from all rows."""
    rng = np.random.default_rng(seed)
    flat = np.concatenate([row[1:] for row in rows])
    changed = np.where(rng.random(flat.size) < 0.1, rng.permutation(flat), flat)
    parts = np.split(changed, np.cumsum([len(row) - 1 for row in rows])[:-1])
    return [[row[0], *part.tolist()] for row, part in zip(rows, parts, strict=True)]
