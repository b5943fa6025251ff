"""Somebody else's models: files of weights, Hugging Face folders."""

from __future__ import annotations

import json
import shutil

import numpy as np

from mia_utils.audit.models import load_weights

from ..case import Case, differs, surface
from ..values import anything, pick
from .common import damage_file
from .prepared import classifier, shared_place


@surface("models: files of weights", 4)
def weights(rng, folder):
    import torch
    from safetensors.torch import save_file

    path = folder / pick(rng, ["w.safetensors", "w.pt", "w.pth"])
    state = {"a": torch.randn(3, 4), "b": torch.arange(5)}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    clean = path.read_bytes()
    how = damage_file(rng, path)

    def wrong(answer) -> str:
        if path.suffix == ".safetensors":  # has no checksums: what its length can tell
            return "" if len(path.read_bytes()) == len(clean) else "read, of another length"
        return differs({k: v.numpy() for k, v in sorted(answer.items())}, _plain(state))

    return Case(f"{path.suffix}: {how}", lambda: load_weights(path), [path.name], wrong)


def _plain(state) -> dict:
    return {name: tensor.numpy() for name, tensor in sorted(state.items())}


_IMAGES = np.random.default_rng(0).integers(256, size=(2, 16, 16, 3)).astype(np.uint8)


@surface("models: Hugging Face folders", 1)
def model_folders(rng, folder):
    from mia_utils.audit.models import HuggingFaceModel

    source, place = classifier(shared_place(folder)), folder / "classifier"
    if source is None:
        place.mkdir()
        return Case("nothing in it", lambda: HuggingFaceModel(place, ("a", "b")), [place.name])
    shutil.copytree(source, place)
    right = HuggingFaceModel(source, ("a", "b")).logits(_IMAGES)
    file = place / pick(rng, ["config.json", "config.json", "model.safetensors"])
    if file.suffix == ".json" and rng.integers(2):
        described = json.loads(file.read_text())
        name = pick(rng, list(described))
        described[name] = anything(rng, pick(rng, ["numbers", "texts"]))
        how = f"{name}={described[name]!r}"[:100]
        file.write_text(json.dumps(described, default=str))
    else:
        how = damage_file(rng, file)

    def wrong(answer) -> str:
        # What config.json says of activations or of norms is another model, and weights have no
        # checksums: only the shape, and that there are numbers, can be known.
        return "" if answer.shape == right.shape else f"logits of shape {answer.shape}"

    return Case(
        f"{file.name}: {how}",
        lambda: HuggingFaceModel(place, ("a", "b")).logits(_IMAGES),
        [place.name],
        wrong,
    )
