"""Files of every format that is read: valid ones, spoiled in content or in their bytes.

A damaged file is refused, or read as what it held before. A changed one is refused, or read as what
another reader finds in it.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from functools import cache
from pathlib import Path

import numpy as np

from mia_utils import InputError, Outputs
from mia_utils.audit import read_answers, read_token_data
from mia_utils.audit.material import read_material, read_members
from mia_utils.audit.models import load_weights
from mia_utils.data import load_dataset
from mia_utils.paths import environment
from mia_utils.text import TokenOutputs, read_corpus

from .case import Case, differs, surface
from .values import anything, damaged, harmless, pick, spoiled

ROOT = Path(__file__).parents[2]
N, C = 40, 3


# ---- answers -------------------------------------------------------------------------------------


def _answers(rng: np.random.Generator) -> dict[str, np.ndarray]:
    labels = rng.integers(C, size=N)
    logits = rng.normal(size=(N, C)).astype(np.float32).round(4)
    logits[np.arange(N), labels] += 2
    return {
        "logits": logits,
        "labels": labels,
        "members": rng.permutation(N) < N // 2,
        "ids": rng.permutation(N) + 100,
        "group_site": rng.choice(["a", "b"], N),
    }


def _write(path: Path, arrays: dict, rng: np.random.Generator) -> None:
    if path.suffix == ".npz":
        (np.savez_compressed if rng.integers(2) else np.savez)(path, **arrays)
        return
    import pandas as pd

    columns = {f"logit_{c}": arrays["logits"][:, c] for c in range(C)}
    columns |= {name: values for name, values in arrays.items() if name != "logits"}
    frame = pd.DataFrame(columns)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False, sep=pick(rng, [",", ";", "\t"]))
    else:
        frame.to_parquet(path, index=False)


def _read(path: Path) -> dict:
    data = read_answers(path)
    outputs = data.outputs
    return {
        "logits": outputs.logits[0].astype(np.float64),
        "labels": outputs.labels,
        "members": outputs.members[0],
    }


def _expected(arrays: dict) -> dict:
    return {name: np.asarray(arrays[name]) for name in ("logits", "labels", "members")}


def _damaged_file(rng, path: Path) -> str:
    content, how = damaged(rng, path.read_bytes())
    path.write_bytes(content)
    return how


@surface("answers: damaged .npz", 4)
def damaged_npz(rng, folder):
    path, arrays = folder / "answers.npz", _answers(rng)
    _write(path, arrays, rng)
    how = _damaged_file(rng, path)
    right = _expected(arrays)
    return Case(how, lambda: _read(path), [path.name], lambda a: differs(a, right))


@surface("answers: damaged .parquet", 3)
def damaged_parquet(rng, folder):
    path, arrays = folder / "answers.parquet", _answers(rng)
    _write(path, arrays, rng)
    how = _damaged_file(rng, path)
    try:  # Parquet has no checksums: what its own reader finds is what it holds
        import pyarrow.parquet

        columns = pyarrow.parquet.read_table(path)
        right = np.stack([columns[f"logit_{c}"].to_numpy() for c in range(C)], axis=1)
    except Exception:
        right = None

    def wrong(answer) -> str:
        if right is None:
            return "read, though Parquet's own reader cannot"
        return differs(answer["logits"], right)

    return Case(how, lambda: _read(path), [path.name], wrong)


@surface("answers: damaged .npy", 3)
def damaged_npy(rng, folder):
    arrays, places = _answers(rng), {}
    for name in ("logits", "labels", "members"):
        places[name] = folder / f"{name}.npy"
        np.save(places[name], arrays[name])
    chosen = pick(rng, list(places))
    how = _damaged_file(rng, places[chosen])
    try:  # no checksums either
        array = np.load(places[chosen], allow_pickle=False)
    except Exception:
        array = None

    def call():
        data = read_answers(places["logits"], labels=places["labels"], members=places["members"])
        return {
            "logits": data.outputs.logits[0].astype(np.float64),
            "labels": data.outputs.labels,
            "members": data.outputs.members[0],
        }

    def wrong(answer) -> str:
        if array is None:
            return "read, though NumPy's own reader cannot"
        right = _expected(arrays | {chosen: array})
        if array.shape != arrays[chosen].shape and array.size == arrays[chosen].size:
            right[chosen] = array.reshape(arrays[chosen].shape)
        return differs(answer, right)

    return Case(f"{chosen}: {how}", call, [f"{chosen}.npy", "logits.npy"], wrong)


@surface("answers: damaged .csv", 5)
def damaged_csv(rng, folder):
    path = folder / "answers.csv"
    _write(path, _answers(rng), rng)
    how = _damaged_file(rng, path)
    right = _by_another_reader(path)

    def wrong(answer) -> str:
        if right is None:
            return ""  # what it holds is a question of dialect
        return differs(answer["logits"], right)

    return Case(how, lambda: _read(path), [path.name], wrong)


def _by_another_reader(path: Path) -> np.ndarray | None:
    """The logits by Python's csv module; None where that does not read them as plain numbers."""
    try:
        text = path.read_text(encoding="utf-8")
        separator = max(",;\t", key=text.split("\n", 1)[0].count)
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
        head, rows = [name.strip() for name in rows[0]], rows[1:]
        places = [head.index(f"logit_{c}") for c in range(C)]
        if any(name.startswith("logit") for i, name in enumerate(head) if i not in places):
            return None
        return np.array([[float(row[i]) for i in places] for row in rows]).astype(np.float32)
    except (ValueError, IndexError, UnicodeError, csv.Error):
        return None


@surface("answers: spoiled content", 8)
def spoiled_answers(rng, folder):
    arrays = _answers(rng)
    path = folder / "answers.npz"
    chosen = pick(rng, list(arrays))
    action = int(rng.integers(5))
    if action == 0:
        del arrays[chosen]
        how, names = f"no {chosen}", [chosen, path.name]
    elif action == 1:
        arrays[
            str(pick(rng, ["logits_", "label", "members2", "probabilities", "evaluated", "x"]))
        ] = arrays[chosen]
        how, names = f"{chosen} under one more name", [path.name]
    else:
        value, kind = spoiled(rng, arrays[chosen])
        try:
            arrays[chosen] = np.asarray(value)
        except ValueError:
            arrays[chosen] = np.array(value, dtype=object)
        how, names = f"{chosen}: {kind}", [path.name]
    np.savez(path, allow_pickle=True, **arrays)

    def wrong(answer) -> str:
        logits = answer["logits"]
        if not np.isfinite(logits).all():
            return "logits are not finite"
        if not ((answer["labels"] >= 0) & (answer["labels"] < logits.shape[1])).all():
            return "labels are out of range"
        return ""

    return Case(how, lambda: _read(path), names, wrong)


@surface("answers: the same in other words", 5)
def same_answers(rng, folder):
    arrays = _answers(rng)
    right = _expected(arrays)
    action = int(rng.integers(6))
    path = folder / pick(rng, ["answers.npz", "answers.csv", "answers.parquet"])
    how = ""
    if path.suffix == ".npz":
        names = [n for n in arrays if n != "group_site"]
        chosen = pick(rng, names)
        value, how = harmless(rng, arrays[chosen])
        how = f"{chosen} as {how}"
        arrays[chosen] = np.asarray(value)
        if action == 0:
            arrays = dict(reversed(list(arrays.items())))
        elif action == 1:
            arrays["members"] = arrays["ids"][right["members"]]
            how += ", members by ids"
        elif action == 2:
            arrays["labels"] = np.eye(C)[right["labels"]]
            how += ", labels one-hot"
        elif action == 3:
            arrays["unused"] = rng.normal(size=7)
        elif action == 4:
            arrays["logits"] = np.asarray(arrays["logits"])[None]
        _write(path, arrays, rng)
    else:
        arrays["members"] = pick(
            rng, [arrays["members"], arrays["members"].astype(int), arrays["members"].astype(str)]
        )
        _write(path, arrays, rng)
        if path.suffix == ".csv":
            text = path.read_text(encoding="utf-8")
            changes = {
                "line ends of Windows": lambda t: t.replace("\n", "\r\n"),
                "a byte-order mark": lambda t: "\ufeff" + t,
                "spaces after separators": lambda t: t.replace(",", ", "),
                "no last line end": lambda t: t.rstrip("\n"),
                "blank lines at the end": lambda t: t + "\n\n",
                "as it is": lambda t: t,
            }
            how = pick(rng, list(changes))
            path.write_bytes(changes[how](text).encode("utf-8"))
    return Case(
        f"{path.suffix} {how}", lambda: _read(path), [path.name], lambda a: differs(a, right)
    )


@surface("answers: zip entries", 2)
def zip_entries(rng, folder):
    """Archives whose directory lies: doubled, renamed, nested, encrypted or absent entries."""
    path, arrays = folder / "answers.npz", _answers(rng)
    np.savez(path, **arrays)
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    chosen = pick(rng, list(entries))
    action = pick(
        rng, ["renamed", "doubled", "emptied", "swapped", "folder", "path", "text", "gone"]
    )
    other = pick(rng, list(entries))
    with zipfile.ZipFile(path, "w") as archive, _quiet():
        for name, content in entries.items():
            if name == chosen:
                if action == "renamed":
                    name = str(anything(rng, "texts")).replace("\0", "")[:50] or "x"
                elif action == "doubled":
                    archive.writestr(name, entries[other])
                elif action == "emptied":
                    content = b""
                elif action == "swapped":
                    content = entries[other]
                elif action == "folder":
                    name = f"folder/{name}"
                elif action == "path":
                    name = f"../../{name}"
                elif action == "text":
                    content = b"1, 2, 3"
                elif action == "gone":
                    continue
            archive.writestr(name, content)
    needed = chosen.removesuffix(".npy") in ("logits", "labels", "members")
    right = _expected(arrays)

    def wrong(answer) -> str:
        if action in ("renamed", "folder", "path", "gone") and needed:
            return f"read without {chosen}"
        if action in ("doubled", "swapped"):
            return ""  # whichever of the two is read is in the file
        return differs(answer, right)

    return Case(f"{chosen} {action}", lambda: _read(path), [path.name], wrong)


def _quiet():
    import warnings

    return warnings.catch_warnings(action="ignore")


@surface("answers: ids and members in files of their own", 3)
def side_files(rng, folder):
    arrays = _answers(rng)
    path, side = folder / "answers.npz", folder / pick(rng, ["members.txt", "members.npy"])
    np.savez(path, logits=arrays["logits"], labels=arrays["labels"], ids=arrays["ids"])
    if side.suffix == ".npy":
        np.save(side, arrays["members"])
    else:
        side.write_text("".join(f"{i}\n" for i in arrays["ids"][arrays["members"]]))
    how = _damaged_file(rng, side)
    return Case(
        f"{side.name}: {how}",
        lambda: (read_members(side), read_answers(path, members=side).outputs.members)[1],
        [side.name, "members"],
    )


@surface("outputs: Outputs.load", 3)
def outputs_file(rng, folder):
    path, arrays = folder / "outputs.npz", _answers(rng)
    outputs = Outputs(arrays["logits"][None], arrays["labels"], arrays["members"][None])
    outputs.save(path)
    how = _damaged_file(rng, path)

    def call():
        back = Outputs.load(path)
        return [np.asarray(back.logits), back.labels, back.members]

    right = [outputs.logits, outputs.labels, outputs.members]
    return Case(how, call, [path.name], lambda a: differs(a, right))


# ---- tokens --------------------------------------------------------------------------------------


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
    how = _damaged_file(rng, path)
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


# ---- data sets -----------------------------------------------------------------------------------


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
        how = _damaged_file(rng, path)
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
    how = _damaged_file(rng, chosen)
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
        how = _damaged_file(rng, file)
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
    how = _damaged_file(rng, path)

    def wrong(answer) -> str:
        return "" if np.isfinite(answer).all() else "features are not finite"

    return Case(how, lambda: np.asarray(read_material(path).pool.records), ["own"], wrong)


# ---- weights and models --------------------------------------------------------------------------


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
    how = _damaged_file(rng, path)

    def wrong(answer) -> str:
        if path.suffix == ".safetensors":  # has no checksums: what its length can tell
            return "" if len(path.read_bytes()) == len(clean) else "read, of another length"
        return differs({k: v.numpy() for k, v in sorted(answer.items())}, _plain(state))

    return Case(f"{path.suffix}: {how}", lambda: load_weights(path), [path.name], wrong)


def _plain(state) -> dict:
    return {name: tensor.numpy() for name, tensor in sorted(state.items())}


def _classifier(folder: Path) -> Path | None:
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


_IMAGES = np.random.default_rng(0).integers(256, size=(2, 16, 16, 3)).astype(np.uint8)


@surface("models: Hugging Face folders", 1)
def model_folders(rng, folder):
    from mia_utils.audit.models import HuggingFaceModel

    source, place = _classifier(_place(folder)), folder / "classifier"
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
        how = _damaged_file(rng, file)

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


@cache
def _trained(place: str) -> tuple[Path, tuple[str, ...]]:
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

    _classifier(place)
    store, names = _trained(str(place))
    if not (place / "models.zip").exists():
        export_models(Store(store), place / "models.zip", list(names))


def _place(folder: Path) -> Path:
    return folder.parent / "shared"


@surface("store: damaged models", 5)
def damaged_models(rng, folder):
    from mia_utils import Store
    from mia_utils.cli.main import main
    from mia_utils.engine import load_model

    source, names = _trained(str(_place(folder)))
    root = folder / "store"
    shutil.copytree(source, root)
    name = pick(rng, names)
    files = [file for file in sorted(Store(root).folder(name).iterdir()) if file.is_file()]
    file = pick(rng, files)
    how = _damaged_file(rng, file)
    if rng.integers(6) == 0:
        file.unlink()
        how = "gone"
    what = pick(rng, ["logits", "weights", "record", "load_model", "verify", "list", "export"])
    right = np.array(Store(source).logits(name))

    def call():
        store = Store(root)
        if what == "logits":
            return np.array(store.logits(name))
        if what == "weights":
            return store.weights(name)
        if what == "record":
            return store.record(name)["architecture"]
        if what == "load_model":
            return load_model(name, store)
        extra = [str(folder / "out.zip"), "--all"] if what == "export" else []
        return command(main, ["store", what, "--store", str(root), *extra])

    def wrong(answer) -> str:
        return differs(answer, right) if what == "logits" else ""

    return Case(f"{file.name}: {how}, {what}", call, [name, file.name, "store"], wrong)


def command(main, argv: list[str]) -> int:
    """A command line as a function: what it prints after "mia: error: " is an InputError."""
    import contextlib

    said, shown = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
        try:
            code = main(argv)
        except SystemExit as stop:
            code = stop.code
    errors = [line for line in said.getvalue().splitlines() if line.startswith("mia: error: ")]
    if code == 2 and errors:
        raise InputError(errors[-1].removeprefix("mia: error: "))
    if code not in (0, 1, 3, None):
        raise RuntimeError(f"exit code {code}: {said.getvalue()[-200:]}")
    return int(code or 0)


@surface("store: damaged archives of models", 4)
def archives_of_models(rng, folder):
    from mia_utils import Store
    from mia_utils.engine.transfer import import_models

    source, names = _trained(str(_place(folder)))
    path = folder / "models.zip"
    shutil.copy(_place(folder) / "models.zip", path)
    if rng.integers(2):
        how = _damaged_file(rng, path)
    else:
        with zipfile.ZipFile(path) as archive:
            entries = {i.filename: archive.read(i) for i in archive.infolist()}
        chosen = pick(rng, list(entries))
        how = pick(rng, ["gone", "spoiled", "renamed", "extra", "manifest"])
        if how == "gone":
            del entries[chosen]
        elif how == "spoiled":
            entries[chosen] = damaged(rng, entries[chosen])[0]
        elif how == "renamed":
            entries[f"../../{Path(chosen).name}"] = entries.pop(chosen)
        elif how == "extra":
            entries["../evil.txt"] = b"x"
        else:
            manifest = json.loads(entries["manifest.json"])
            manifest["files"] = {
                str(anything(rng, "texts")): facts for facts in manifest["files"].values()
            }
            entries["manifest.json"] = json.dumps(manifest).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name.replace("\0", "") or "x", content)
        how = f"{chosen} {how}"
    store = Store(folder / "store")
    right = [np.array(Store(source).logits(name)) for name in sorted(names)]

    def call():
        try:
            import_models(store, path)
        except InputError:
            assert not store.names(), "refused, and something is stored"
            raise
        return [np.array(store.logits(name)) for name in sorted(store.names())]

    return Case(how, call, [path.name], lambda a: differs(a, right))


# ---- grids, parameters, records, signals ---------------------------------------------------------

_GRID = """[[grid]]
chapter = "01_baselines"
dataset = "digits"
epochs = 2
seed = [0, 1]

[[grid]]
chapter = "10_experiments"
dataset = "digits"
architecture = ["mlp"]
defense = ["none", "early_stopping"]
settings = {lr = 0.01}
epochs = 1
"""


@surface("grids: TOML", 1)
def grids(rng, folder):
    from mia_utils.cli.main import main

    path = folder / "grid.toml"
    lines = _GRID.splitlines()
    action = int(rng.integers(3))
    if action == 0:
        content, how = damaged(rng, _GRID.encode())
    else:
        place = pick(rng, [i for i, line in enumerate(lines) if "=" in line])
        name = lines[place].split("=")[0].strip()
        value = anything(rng)
        text = json.dumps(value, default=str) if not isinstance(value, bytes) else "[1, 2]"
        lines[place] = f"{name} = {text}"
        if action == 2:
            lines[place] = f"{json.dumps(str(anything(rng, 'texts')))} = 1"
        how, content = lines[place], "\n".join(lines).encode()
    path.write_bytes(content)
    given = [how.split("=")[0].strip(), path.name, "grid", "cell", "chapter", "notebook"]
    return Case(
        how[:100],
        lambda: command(main, ["sweep", str(path), "--dry-run", "--root", str(ROOT)]),
        given,
    )


@cache
def _chapters() -> dict[str, dict]:
    from mia_utils.book import notebooks

    return {
        path.stem: notebooks.parameters(notebooks.read(path))
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    }


@surface("notebooks: parameters", 8)
def notebook_parameters(rng, folder):
    from mia_utils.parameters import check

    chapter = pick(rng, [name for name, known in _chapters().items() if known])
    known = _chapters()[chapter]
    name = pick(rng, list(known))
    value = anything(rng)
    if rng.integers(2):
        value = str(value)

    def wrong(answer) -> str:
        kind, default = type(answer[name]), known[name]
        if isinstance(default, (int, float, str)) and not isinstance(default, bool):
            wanted = (int, float) if isinstance(default, (int, float)) else (str,)
            if not issubclass(kind, wanted):
                return f"{answer[name]!r} for {default!r}"
        return ""

    return Case(f"{chapter} {name}={value!r}", lambda: check(known, {name: value}), [name], wrong)


@surface("notebooks: damaged .ipynb", 2)
def damaged_notebooks(rng, folder):
    from mia_utils.cli.main import main

    (folder / "notebooks").mkdir()
    path = folder / "notebooks" / "01_baselines.ipynb"
    content, how = damaged(rng, (ROOT / "notebooks" / path.name).read_bytes())
    path.write_bytes(content)
    argv = ["sweep", "--chapter", "01_baselines", "-p", "dataset", "digits", "--dry-run"]
    return Case(
        how,
        lambda: command(main, [*argv, "--root", str(folder)]),
        ["01_baselines"],
    )


@surface("records: JSON lines", 4)
def records(rng, folder):
    from mia_utils.experiments.records import read, read_run

    source = pick(rng, sorted((ROOT / "book/results/records").glob("*.jsonl")))
    (folder / "records").mkdir()
    path = folder / "records" / source.name
    lines = source.read_text("utf-8").splitlines()[:6]
    if rng.integers(2):
        content, how = damaged(rng, "\n".join(lines).encode())
    else:
        rows = [json.loads(line) for line in lines]
        row = pick(rng, rows)
        name = pick(rng, list(row))
        value = anything(rng)
        if isinstance(value, bytes):
            value = None
        row[name] = value
        how = f"{name}={value!r}"
        content = "\n".join(json.dumps(row, default=str) for row in rows).encode()
    path.write_bytes(content)
    whole = bool(rng.integers(2))
    return Case(
        how[:100],
        lambda: read(folder) if whole else read_run(path),
        [path.name, path.stem],
        _strict,
    )


def _strict(answer) -> str:
    rows = answer.to_dict("records") if hasattr(answer, "to_dict") else answer
    bad = [r for r in rows for n in ("auc", "auc_low") if isinstance(r.get(n), str)]
    return f"{bad[0]}" if bad else ""


@surface("signals: .npz of published runs", 2)
def signals(rng, folder):
    from mia_utils.experiments import load_signals

    sources = sorted((ROOT / "book/results/signals").glob("*.npz"), key=lambda p: p.stat().st_size)
    source = pick(rng, sources[:8])
    (folder / "signals").mkdir()
    path = folder / "signals" / source.name
    path.write_bytes(source.read_bytes())
    with np.load(source, allow_pickle=False) as archive:
        right = {name: archive[name] for name in sorted(archive.files)}
    how = _damaged_file(rng, path)
    return Case(
        how,
        lambda: dict(sorted(load_signals(source.stem, folder).items())),
        [path.name, path.stem],
        lambda a: differs(a, right),
    )
