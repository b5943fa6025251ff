"""Data sets: archives, mapped folders, image folders, tables of features."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np

from mia_utils.audit.material import read_material
from mia_utils.data import load_dataset
from mia_utils.paths import environment

from ..case import Case, differs, surface
from ..values import anything, pick, spoiled
from .common import C, N, damage_file


def _pool_arrays(rng) -> dict[str, np.ndarray]:
    labels = np.arange(N) % C
    images = rng.integers(256, size=(N, 6, 6, 3)).astype(np.uint8)
    return {"images": images, "labels": labels, "train": np.arange(N) < 30}


def _load(root: Path) -> list:
    with environment(MIA_DATA=str(root)):
        pool = load_dataset("own", root, download=False)
    return [np.asarray(pool.records), pool.labels, pool.train]


@surface("data: archives", 4)
def data_archives(rng, folder):
    arrays = _pool_arrays(rng)
    right = [arrays["images"], arrays["labels"], arrays["train"]]
    path = folder / "own.npz"
    if rng.integers(2):
        np.savez(path, **arrays)
        how = damage_file(rng, path)
        return Case(how, lambda: _load(folder), ["own"], lambda a: differs(a, right))
    chosen = pick(rng, list(arrays))
    value, kind = spoiled(rng, arrays[chosen])
    try:
        arrays[chosen] = np.asarray(value)
    except ValueError:
        arrays[chosen] = np.array(value, dtype=object)
    np.savez(path, allow_pickle=True, **arrays)
    return Case(
        f"{chosen}: {kind}",
        lambda: _load(folder),
        ["own"],
        lambda a: "" if (a[1] >= 0).all() else "negative labels",
    )


@surface("data: mapped folders", 3)
def mapped_folders(rng, folder):
    arrays = _pool_arrays(rng)
    place = folder / "own"
    place.mkdir()
    for name, array in arrays.items():
        np.save(place / f"{name}.npy", array)
    (place / "classes.txt").write_text("a\nb\nc\n")
    chosen = pick(rng, sorted(place.iterdir()))
    how = damage_file(rng, chosen)
    loaded = None
    if chosen.suffix == ".npy":
        try:
            loaded = np.load(chosen, allow_pickle=False)
        except Exception:
            return Case(
                f"{chosen.name}: {how}",
                lambda: _load(folder),
                ["own"],
                lambda a: "read, though NumPy's own reader cannot",
            )
        arrays[chosen.stem] = loaded
    right = [arrays["images"], arrays["labels"], arrays["train"]]
    return Case(
        f"{chosen.name}: {how}", lambda: _load(folder), ["own"], lambda a: differs(a, right)
    )


@surface("data: image folders", 4)
def image_folders(rng, folder):
    from PIL import Image

    place = folder / "own"
    kept: dict[str, bytes] = {}
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (place / part / name).mkdir(parents=True)
            for number in range(4):
                buffer = io.BytesIO()
                picture = rng.integers(256, size=(6, 6, 3)).astype(np.uint8)
                Image.fromarray(picture).save(buffer, "PNG")
                kept[f"{part}/{name}/{number}.png"] = buffer.getvalue()
    chosen = pick(rng, list(kept))
    how = pick(
        rng,
        ["damaged", "text", "grey", "16 bit", "size", "hidden", "name", "link", "empty", "deep"],
    )
    for name, content in kept.items():
        (place / name).write_bytes(content)
    file = place / chosen
    if how == "damaged":
        how = damage_file(rng, file)
    elif how == "text":
        file.write_text("no image")
    elif how == "grey":
        Image.new("L", (6, 6)).save(file)
    elif how == "16 bit":
        Image.new("I;16", (6, 6)).save(file)
    elif how == "size":
        Image.new("RGB", (int(rng.integers(1, 9)), 6)).save(file)
    elif how == "hidden":
        shutil.copy(file, file.parent / ".hidden.png")
    elif how == "name":
        name = str(anything(rng, "texts")).replace("/", "_").replace("\0", "")[:40]
        if name not in ("", ".", ".."):
            file.rename(file.parent / f"{name}.png")
    elif how == "link":
        (folder / "outside.png").write_bytes(kept[chosen])
        file.unlink()
        file.symlink_to(folder / "outside.png")
    elif how == "empty":
        shutil.rmtree(file.parent)
        file.parent.mkdir()
    else:
        (file.parent / "deep" / "er").mkdir(parents=True)
        file.rename(file.parent / "deep" / "er" / "x.png")
    pixels = [np.asarray(Image.open(io.BytesIO(content))) for content in kept.values()]
    sums = sorted(int(p.sum()) for p in pixels)

    def wrong(answer) -> str:
        found = sorted(int(r.sum()) for r in answer[0])
        strange = len([s for s in found if s not in sums])
        return f"{strange} images are not those of the folder" if strange > 1 else ""

    if rng.integers(2):
        return Case(f"{chosen}: {how}", lambda: _load(folder), ["own"], wrong)
    return Case(
        f"{chosen}: {how}",
        lambda: [np.asarray(read_material(place).pool.records)],
        ["own"],
        wrong,
    )


@surface("data: tables of features", 3)
def feature_tables(rng, folder):
    import pandas as pd

    path = folder / pick(rng, ["own.csv", "own.parquet"])
    features = rng.normal(size=(N, 3)).round(4)
    frame = pd.DataFrame(features, columns=["x", "y", "z"])
    frame["label"], frame["id"] = np.arange(N) % 2, np.arange(N)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    how = damage_file(rng, path)

    def wrong(answer) -> str:
        return "" if np.isfinite(answer).all() else "features are not finite"

    return Case(how, lambda: np.asarray(read_material(path).pool.records), ["own"], wrong)
