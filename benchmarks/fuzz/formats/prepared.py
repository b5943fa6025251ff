"""What takes time to make: made once, and copied by the cases."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mia_utils.data import load_dataset


def classifier(folder: Path) -> Path | None:
    """A tiny Hugging Face classifier, made once; None where transformers is not installed."""
    try:
        import transformers
    except ModuleNotFoundError:
        return None
    place = folder / "classifier"
    if not place.exists():
        config = transformers.ViTConfig(
            **dict.fromkeys(("hidden_size", "intermediate_size", "image_size"), 16),
            num_hidden_layers=2,
            num_attention_heads=2,
            patch_size=8,
            num_labels=2,
        )
        transformers.ViTForImageClassification(config).save_pretrained(place)
        transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(place)
    return place


@cache
def trained_store(place: str) -> tuple[Path, tuple[str, ...]]:
    """A store with two small models, made once a process."""
    from mia_utils import TrainConfig, balanced_masks, train

    store = Path(place) / "trained"
    pool = load_dataset("digits").sample(60, seed=0)
    outputs = train(
        pool,
        balanced_masks(60, models=2, seed=0),
        "mlp",
        TrainConfig(epochs=1),
        store=store,
        jobs=1,
        progress=False,
    )
    return store, outputs.names


def prepare(place: Path) -> None:
    """What cases share and could not write themselves."""
    from mia_utils import Store
    from mia_utils.engine.transfer import export_models

    classifier(place)
    store, names = trained_store(str(place))
    if not (place / "models.zip").exists():
        export_models(Store(store), place / "models.zip", list(names))


def shared_place(folder: Path) -> Path:
    return folder.parent / "shared"
