"""The store of trained models, and what is exported from it."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np

from mia_utils import InputError

from ..case import Case, differs, surface
from ..values import anything, damaged, pick
from .common import command, damage_file
from .prepared import shared_place, trained_store


@surface("store: damaged models", 5)
def damaged_models(rng, folder):
    from mia_utils import Store
    from mia_utils.cli.main import main
    from mia_utils.engine import load_model

    source, names = trained_store(str(shared_place(folder)))
    root = folder / "store"
    shutil.copytree(source, root)
    name = pick(rng, names)
    files = [file for file in sorted(Store(root).folder(name).iterdir()) if file.is_file()]
    file = pick(rng, files)
    how = damage_file(rng, file)
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


@surface("store: damaged archives of models", 4)
def archives_of_models(rng, folder):
    from mia_utils import Store
    from mia_utils.engine.transfer import import_models

    source, names = trained_store(str(shared_place(folder)))
    path = folder / "models.zip"
    shutil.copy(shared_place(folder) / "models.zip", path)
    if rng.integers(2):
        how = damage_file(rng, path)
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
