"""Answers of a classifier: .npz, .npy, .csv and .parquet, and what lies beside them."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np

from mia_utils import Outputs
from mia_utils.audit import read_answers
from mia_utils.audit.material import read_members

from ..case import Case, differs, surface
from ..values import anything, harmless, pick, spoiled
from .common import C, N, damage_file


def some_answers(rng: np.random.Generator) -> dict[str, np.ndarray]:
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


@surface("answers: damaged .npz", 4)
def damaged_npz(rng, folder):
    path, arrays = folder / "answers.npz", some_answers(rng)
    _write(path, arrays, rng)
    how = damage_file(rng, path)
    right = _expected(arrays)
    return Case(how, lambda: _read(path), [path.name], lambda a: differs(a, right))


@surface("answers: damaged .parquet", 3)
def damaged_parquet(rng, folder):
    path, arrays = folder / "answers.parquet", some_answers(rng)
    _write(path, arrays, rng)
    how = damage_file(rng, path)
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
    arrays, places = some_answers(rng), {}
    for name in ("logits", "labels", "members"):
        places[name] = folder / f"{name}.npy"
        np.save(places[name], arrays[name])
    chosen = pick(rng, list(places))
    how = damage_file(rng, places[chosen])
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
    _write(path, some_answers(rng), rng)
    how = damage_file(rng, path)
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
    arrays = some_answers(rng)
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
    arrays = some_answers(rng)
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
    path, arrays = folder / "answers.npz", some_answers(rng)
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
    arrays = some_answers(rng)
    path, side = folder / "answers.npz", folder / pick(rng, ["members.txt", "members.npy"])
    np.savez(path, logits=arrays["logits"], labels=arrays["labels"], ids=arrays["ids"])
    if side.suffix == ".npy":
        np.save(side, arrays["members"])
    else:
        side.write_text("".join(f"{i}\n" for i in arrays["ids"][arrays["members"]]))
    how = damage_file(rng, side)
    return Case(
        f"{side.name}: {how}",
        lambda: (read_members(side), read_answers(path, members=side).outputs.members)[1],
        [side.name, "members"],
    )


@surface("outputs: Outputs.load", 3)
def outputs_file(rng, folder):
    path, arrays = folder / "outputs.npz", some_answers(rng)
    outputs = Outputs(arrays["logits"][None], arrays["labels"], arrays["members"][None])
    outputs.save(path)
    how = damage_file(rng, path)

    def call():
        back = Outputs.load(path)
        return [np.asarray(back.logits), back.labels, back.members]

    right = [outputs.logits, outputs.labels, outputs.members]
    return Case(how, call, [path.name], lambda a: differs(a, right))
