"""Models from one store to another as a file; what is damaged, foreign or hostile is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from mia_utils import InputError, Store
from mia_utils.__main__ import main
from mia_utils.engine import transfer
from mia_utils.engine.folders import digest
from mia_utils.engine.transfer import export_models, import_models

LOGITS = np.arange(8, dtype=np.float32).reshape(4, 2)


def _put(store: Store, number: int, **config) -> str:
    """A model as the engine stores it, without training one."""
    identity = {"number": number}
    record = {"identity": identity, "classes": 2, "config": config, "pool": "toy"}
    store.put(digest(identity), record, LOGITS + number, {"w": np.full(3, number, np.float32)})
    return digest(identity)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "here")
    for number in range(3):
        _put(store, number)
    return store


@pytest.fixture
def there(tmp_path):
    return Store(tmp_path / "there")


@pytest.fixture
def file(store, tmp_path):
    path = tmp_path / "models.zip"
    export_models(store, path, store.names())
    return path


def test_models_arrive_under_their_names_with_the_same_bytes(store, there, file):
    assert import_models(there, file) == (store.names(), [])
    for name in store.names():
        assert there.damage(name) is None
        for path in store.folder(name).iterdir():
            assert (there.folder(name) / path.name).read_bytes() == path.read_bytes()
    assert sorted(p.name for p in there.root.iterdir()) == ["models"]


def test_what_is_there_is_left_and_what_is_damaged_is_replaced(store, there, file):
    one, two, three = store.names()
    shutil.copytree(store.folder(one), there.folder(one))
    shutil.copytree(store.folder(two), there.folder(two))
    (there.folder(two) / "logits.npy").write_bytes(b"")
    before = there.folder(one).stat().st_ino
    assert import_models(there, file) == ([two, three], [one])
    assert there.folder(one).stat().st_ino == before
    assert [there.damage(name) for name in store.names()] == [None] * 3


def test_soft_labels_travel_with_the_models_that_learned_them(store, there, tmp_path):
    label = store.put_soft_labels(np.full((4, 2), 0.5))
    name = _put(store, 9, soft_labels=label)
    export_models(store, tmp_path / "one.zip", [name])
    import_models(there, tmp_path / "one.zip")
    np.testing.assert_array_equal(there.soft_labels(label), store.soft_labels(label))


def test_models_are_chosen_by_how_their_names_begin(store, tmp_path):
    one, two, _ = store.names()
    assert export_models(store, tmp_path / "a", [one[:8], f"{one}+{two}"]) == [one, two]
    with pytest.raises(InputError, match="no model is called 'zz'"):
        export_models(store, tmp_path / "b", ["zz"])
    with pytest.raises(InputError, match="3 models begin with|no model is called ''"):
        export_models(store, tmp_path / "b", [""])
    _put(store, 3), _put(store, 4)
    first = [n for n in store.names() if sum(m[0] == n[0] for m in store.names()) > 1]
    for name in first[:1]:
        with pytest.raises(InputError, match=f"models begin with '{name[0]}'"):
            export_models(store, tmp_path / "b", [name[0]])
    assert not (tmp_path / "b").exists()


def test_nothing_is_overwritten_and_nothing_damaged_is_exported(store, file, tmp_path):
    with pytest.raises(InputError, match="models.zip exists; choose another name"):
        export_models(store, file, store.names())
    (store.folder(store.names()[0]) / "logits.npy").write_bytes(b"")
    with pytest.raises(InputError, match="is damaged: logits.npy .*nothing was exported"):
        export_models(store, tmp_path / "b", store.names())
    with pytest.raises(InputError, match="is a folder; choose another name"):
        export_models(store, tmp_path, store.names())
    with pytest.raises(InputError, match="holds no model"):
        export_models(Store(tmp_path / "empty"), tmp_path / "b", [])
    assert not (tmp_path / "b").exists()


# ---- what is refused ----


def _rewrite(path, change, compression=zipfile.ZIP_STORED, forged=True):
    """The archive with `change(entries)` applied to {name: bytes}; the manifest made to fit."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    change(entries)
    if forged:
        manifest = json.loads(entries.pop("manifest.json"))
        manifest["files"] = {
            name: {"size": len(data), "sha256": transfer.hashlib.sha256(data).hexdigest()}
            for name, data in entries.items()
        }
        entries = {"manifest.json": json.dumps(manifest).encode(), **entries}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def _model(entries, file="logits.npy"):
    return next(name for name in entries if name.endswith(file))


def _other_logits(entries):
    entries[_model(entries)] = entries[_model(entries)][:-1] + b"\x01"


def _claims_to_be_huge(entries):
    """A header of 40 GB: consistent checksums, a file of a few bytes."""
    name = _model(entries)
    entries[name] = entries[name].replace(b"(4, 2)", b"(4,2000000000)")
    _fit_record(entries, name)


def _objects(entries):
    import io

    name, buffer = _model(entries), io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    entries[name] = buffer.getvalue()
    _fit_record(entries, name)


def _no_safetensors(entries):
    name = _model(entries, "weights.safetensors")
    entries[name] = b"\xff" * 40
    _fit_record(entries, name)


def _fit_record(entries, name):
    """As somebody would who wants to be believed."""
    folder, _, file = name.rpartition("/")
    record = json.loads(entries[f"{folder}/record.json"])
    record.pop("checksum")
    record["checksums"][file] = transfer.hashlib.sha256(entries[name]).hexdigest()
    entries[f"{folder}/record.json"] = json.dumps({**record, "checksum": digest(record)}).encode()


def _renamed(entries):
    """A whole model under another model's name."""
    old = _model(entries).split("/")[1]
    for name in [name for name in entries if old in name]:
        entries[name.replace(old, "f" * 32)] = entries.pop(name)


def _other_classes(entries):
    """A record that does not fit its logits."""
    name = _model(entries, "record.json")
    record = json.loads(entries[name])
    record.pop("checksum")
    record["classes"] = 5
    entries[name] = json.dumps({**record, "checksum": digest(record)}).encode()


HOSTILE = {
    "classes": (_other_classes, "its logits are float32"),
    "content": (_other_logits, "logits.npy has changed"),
    "huge": (_claims_to_be_huge, "damaged"),
    "objects": (_objects, "damaged"),
    "weights": (_no_safetensors, "damaged"),
    "renamed": (_renamed, "record.json is another model's"),
    "path": (lambda e: e.update({"models/../../evil": b"x"}), "holds 'models/../../evil'"),
    "absolute": (lambda e: e.update({"/tmp/evil": b"x"}), "holds '/tmp/evil'"),
    "name": (lambda e: e.update({"models/evil/logits.npy": b"x"}), "holds 'models/evil"),
    "file": (lambda e: e.update({f"models/{'a' * 32}/x.py": b"x"}), "holds 'models/a"),
    "incomplete": (lambda e: e.pop(_model(e, "weights.safetensors")), "is not complete"),
    "labels": (lambda e: e.update({f"soft_labels/{'a' * 32}.npy": b"x"}), "damaged"),
    "record": (lambda e: e.update({_model(e, "record.json"): b"[]"}), "record.json cannot be read"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_file_is_refused_and_nothing_is_stored(how, file, there):
    change, word = HOSTILE[how]
    _rewrite(file, change)
    _refused(file, there, word)


def _refused(file, there, word):
    with pytest.raises(InputError, match=f"(?s){word}.*nothing was imported") as raised:
        import_models(there, file)
    assert len(str(raised.value).splitlines()) == 1
    assert not there.root.exists() or list(there.root.iterdir()) == []


def test_a_file_whose_manifest_does_not_fit_is_refused(file, there):
    _rewrite(file, _other_logits, forged=False)
    _refused(file, there, "has another checksum")


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda m: m.update(format="something else"), "expected the format"),
        (lambda m: m["files"].popitem(), "holds other files"),
        (lambda m: next(iter(m["files"].values())).update(size=1), "holds other files"),
        (lambda m: m.update(files=[1]), "no list of files"),
    ],
)
def test_other_manifests_are_refused(change, word, file, there):
    def edit(entries):
        manifest = json.loads(entries["manifest.json"])
        change(manifest)
        entries["manifest.json"] = json.dumps(manifest).encode()

    _rewrite(file, edit, forged=False)
    _refused(file, there, word)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(file, there):
    _rewrite(file, lambda entries: None, zipfile.ZIP_DEFLATED)
    _refused(file, there, "is compressed")


def test_files_that_overlap_are_refused(file):
    """So that a small archive unpacks to no more than its own size."""
    with zipfile.ZipFile(file) as archive:
        assert transfer._manifest(archive, file.stat().st_size)
        with pytest.raises(transfer._Refused, match="overlap"):
            transfer._manifest(archive, 1000)


@pytest.mark.parametrize("cut", [0.3, 0.99])
def test_a_file_cut_short_is_refused(cut, file, there):
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * cut)])
    _refused(file, there, "damaged")


def test_a_flipped_byte_is_noticed_wherever_it_is(file, there, tmp_path):
    data, rng, noticed = file.read_bytes(), np.random.default_rng(0), 0
    for place in rng.integers(0, len(data), 40):
        changed = bytearray(data)
        changed[place] ^= 0x10
        copy = tmp_path / "copy.zip"
        copy.write_bytes(changed)
        try:
            import_models(there, copy)
        except InputError:
            noticed += 1
        else:
            assert all(there.damage(name) is None for name in there.names())  # it means nothing
    assert noticed > 20


def test_other_files_are_refused(there, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        import_models(there, tmp_path / "nothing.zip")
    (tmp_path / "text.zip").write_text("no archive")
    _refused(tmp_path / "text.zip", there, "damaged")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    _refused(tmp_path / "arrays.npz", there, "no manifest.json")
    with pytest.raises(InputError, match="is a directory"):
        import_models(there, tmp_path)


def test_a_disk_without_room_is_known_before_anything_is_written(file, there, monkeypatch):
    usage = shutil.disk_usage(file.parent)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r": 0.00 GB are needed and 0.00 GB are free.*MIA_STORE"):
        import_models(there, file)
    assert list(there.root.iterdir()) == []


def test_room_is_told_in_gigabytes(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**29)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="2.25 GB are needed and 1.50 GB are free"):
        transfer._check_space(tmp_path, {"a": {"size": 2**30}, "b": {"size": 5 * 2**28}})
    transfer._check_space(tmp_path, {"a": {"size": 3 * 2**29}})  # exactly what there is


def test_older_weights_travel_too(store, there, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "safetensors.numpy", None)
        name = _put(store, 7)
    export_models(store, tmp_path / "old.zip", [name])
    import_models(there, tmp_path / "old.zip")
    np.testing.assert_array_equal(there.weights(name)["w"], store.weights(name)["w"])


# ---- the commands ----

BARE = """
import sys
for name in ("papermill", "opacus", "nbformat", "jupytext", "safetensors", "matplotlib", "dask"):
    sys.modules[name] = None
from mia_utils import TrainConfig, balanced_masks, load_dataset, load_model, train
from mia_utils.__main__ import main
folder = sys.argv[1]
pool = load_dataset("digits").subset(range(60))
masks = balanced_masks(60, models=2, seed=0)
names = train(pool, masks, "mlp", TrainConfig(epochs=1), store=f"{folder}/a", jobs=1,
              progress=False).names
assert main(["store", "export", f"{folder}/models.zip", "--all", "--store", f"{folder}/a"]) == 0
assert main(["store", "import", f"{folder}/models.zip", "--store", f"{folder}/b"]) == 0
load_model(names[0], f"{folder}/b")
"""


def test_a_bare_machine_trains_and_moves_models(tmp_path):
    """With torch and NumPy, and without what the book, DP-SGD or a cluster need."""
    run = subprocess.run(
        [sys.executable, "-c", BARE, str(tmp_path)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "2 models in" in run.stdout and "2 models imported into" in run.stdout


def test_the_commands_say_what_they_did(store, there, tmp_path, capsys):
    file = str(tmp_path / "models.zip")
    here, other = ["--store", str(store.root)], ["--store", str(there.root)]
    assert main(["store", "export", file, *here]) == 2
    assert "needs names of models, or --all" in capsys.readouterr().err
    assert main(["store", "export", file, "--all", *here]) == 0
    assert f"3 models in {file}" in capsys.readouterr().out
    for expected in ("3 models imported", "0 models imported into"):
        assert main(["store", "import", file, *other]) == 0
        assert expected in capsys.readouterr().out
