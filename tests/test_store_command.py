"""`mia store`: list, verify, prune; and a disk that is full."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from mia_utils import (
    DPConfig,
    InputError,
    Masks,
    Store,
    TrainConfig,
    balanced_masks,
    load_dataset,
    train,
)
from mia_utils.__main__ import main
from mia_utils.cli.store import parse_age, parse_size
from mia_utils.engine.tidy import Stored, leftovers, remains, stored_models, to_prune

RECORD = {"pool": "toy", "architecture": "cnn", "precision": "fp32", "config": {"epochs": 2}}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    for name in ("a" * 32, "b" * 32):
        store.put(name, RECORD, np.zeros((4, 2), np.float32), {"w": np.ones(3, np.float32)})
    return store


def mia(store, *arguments):
    return main(["store", *arguments, "--store", str(store.root)])


def test_list_names_every_model(store, capsys):
    assert mia(store, "list") == 0
    printed = capsys.readouterr().out
    assert "a" * 32 in printed and "toy" in printed and "2 models" in printed


@pytest.mark.parametrize("file", ["logits.npy", "weights.safetensors"])
@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_verify_finds_a_damaged_file(store, file, harm, capsys):
    assert mia(store, "verify") == 0
    path = store.folder("a" * 32) / file
    if harm == "remove":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    assert mia(store, "verify") == 1
    printed = capsys.readouterr().out
    assert f"{'a' * 32}: {file}" in printed and "1 of 2 models are whole" in printed


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"", None])
def test_a_bad_record_is_named_and_blocks_nothing(store, content, capsys):
    path = store.folder("a" * 32) / "record.json"
    path.unlink() if content is None else path.write_bytes(content)
    assert mia(store, "verify") == 1 and f"{'a' * 32}: record.json" in capsys.readouterr().out
    assert mia(store, "list") == 0
    listed = capsys.readouterr().out
    assert "record.json cannot be read" in listed and "2 models" in listed
    assert mia(store, "prune", "--damaged", "--yes") == 0
    assert store.names() == ["b" * 32]
    assert mia(store, "verify") == 0


def test_no_two_models_have_the_same_line(tmp_path, capsys):
    """What differs between two models is in their lines, besides name and time."""
    store, pool = Store(tmp_path), load_dataset("digits").subset(np.arange(60), "few")
    masks = balanced_masks(60, models=2, seed=0)
    one = Masks(masks.members[:1], masks.evaluated[:1])
    options = {"store": store, "jobs": 1, "progress": False}
    for config in (
        TrainConfig(epochs=1),
        TrainConfig(epochs=1, lr=0.01),
        TrainConfig(epochs=1, dp=DPConfig(noise_multiplier=1.0)),
        TrainConfig(epochs=1, dp=DPConfig(noise_multiplier=2.0)),
    ):
        train(pool, one, "mlp", config, **options)
    train(pool, one, "mlp", TrainConfig(epochs=1), seed=7, **options)
    assert mia(store, "list") == 0
    lines = capsys.readouterr().out.splitlines()[:-1]
    settings = {line.partition("B  ")[2] for line in lines}
    assert len(lines) == len(settings) == 5
    text = "\n".join(lines)
    for word in ("seed=0", "seed=7", "lr=0.01", "epochs=1", "noise_multiplier=2.0", "members=32"):
        assert word in text


def _old(path, days):
    then = time.time() - 86400 * days
    for file in (path, *path.rglob("*")):
        os.utime(file, (then, then))


@pytest.fixture
def littered(store):
    """A store with what joins, failures and kills leave behind, all of it a day old."""
    learned = store.put_soft_labels(np.full((4, 2), 0.5, np.float32))
    store.put("c" * 32, {**RECORD, "config": {"soft_labels": learned}}, np.zeros((4, 2)), {})
    forgotten = store.put_soft_labels(np.array([[0.25, 0.75]] * 4, np.float32))
    store.put_failure("d" * 32, {"reason": "loss NaN"})
    for name in (
        "outputs/abc/logits.npy",
        "pools/abc/records.npy",
        "checkpoints/abc.pt",
        "models/.0123.abc/logits.npy",
        "leases/abc",
        ".import-abc/x",
    ):
        path = store.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
    _old(store.root, 1)
    return store, learned, forgotten


def test_everything_is_found_under_its_kind_and_the_oldest_first(littered):
    store, _, forgotten = littered
    for days, name in ((4, "b" * 32), (3, "c" * 32)):
        _old(store.folder(name), days)
    assert [model.name[0] for model in stored_models(store)] == ["b", "c", "a"]
    _old(store.root / "outputs", 2)
    found = [(item.kind, item.name) for item in leftovers(store)]
    assert found[0] == ("joined outputs", "outputs/abc")
    assert set(found[1:]) == {
        ("failed training", f"failed/{'d' * 32}.json"),
        ("copy of a pool", "pools/abc"),
        ("checkpoint", "checkpoints/abc.pt"),
        ("soft labels", f"soft_labels/{forgotten}.npy"),
    }
    _old(store.root / "leases", 2)
    left = [(item.kind, item.name) for item in remains(store, time.time())]
    assert left[0] == ("lease", "leases/abc")
    assert set(left[1:]) == {
        ("unfinished", "models/.0123.abc"),
        ("unfinished import", ".import-abc"),
    }


def test_prune_removes_what_lies_beside_models_before_any_model(littered, capsys):
    store, learned, _forgotten = littered
    assert mia(store, "list") == 0
    assert "other things" in capsys.readouterr().out
    models = sum(p.stat().st_size for n in store.names() for p in store.folder(n).iterdir())
    assert mia(store, "prune", "--keep", f"{models / 1024 + 0.1}K", "--yes") == 0
    assert len(store.names()) == 3
    left = {str(p.relative_to(store.root)) for p in store.root.rglob("*") if p.is_file()}
    assert {name.partition("/")[0] for name in left} == {"models", "soft_labels"}
    assert [p.stem for p in store.root.glob("soft_labels/*")] == [learned]


def test_what_a_training_may_be_using_is_left(littered, capsys):
    store, learned, forgotten = littered
    (store.root / "leases" / "alive").write_text("")
    (store.root / "models" / ".4567.abc").mkdir()
    assert mia(store, "prune", "--older-than", "1h", "--yes") == 0
    assert store.names() == [] and not list(store.root.glob("outputs/*"))
    kept = {str(p.relative_to(store.root)) for p in store.root.glob("*/*")}
    assert kept == {
        "checkpoints/abc.pt",
        "pools/abc",
        "leases/alive",
        "models/.4567.abc",
        f"soft_labels/{learned}.npy",
        f"soft_labels/{forgotten}.npy",
    }


def test_a_store_that_cannot_be_pruned_is_one_line(store, capsys, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.rename", refused)
    assert mia(store, "prune", "--keep", "0K", "--yes") == 2
    assert "Permission denied" in capsys.readouterr().err


def test_prune_shows_first_and_removes_with_yes(store, capsys):
    assert mia(store, "prune", "--keep", "0K") == 0
    assert len(store.names()) == 2 and "would be removed" in capsys.readouterr().out
    assert mia(store, "prune", "--keep", "0K", "--yes") == 0
    assert store.names() == [] and list(store.root.glob("models/*")) == []


def test_a_model_that_is_being_written_is_not_there_yet(store):
    partial = store.root / "models" / f".{'c' * 32}.host.1"
    partial.mkdir()
    (partial / "record.json").write_text("{}")
    assert store.names() == ["a" * 32, "b" * 32]


def test_what_prune_chooses():
    models = [Stored(str(i), RECORD, 10, float(i)) for i in range(5)]

    def chosen(**limits):
        limits = {"older_than": None, "keep_bytes": None, **limits}
        return [m.name for m in to_prune(models, now=5.0, **limits)]

    assert chosen(older_than=3.5) == ["0", "1"]
    assert chosen(keep_bytes=25) == ["0", "1", "2"]
    assert chosen(older_than=3.5, keep_bytes=20) == ["0", "1", "2"]
    assert chosen(keep_bytes=50) == []


@pytest.mark.parametrize(
    "parse, text",
    [
        (parse_age, "3"),
        (parse_age, "xd"),
        (parse_size, "5X"),
        (parse_size, ""),
        (parse_age, "-1d"),
        (parse_size, "infG"),
        (parse_size, "nanM"),
        (parse_age, "1e999d"),
        (parse_age, ""),
    ],
)
def test_limits_that_cannot_be_read(parse, text):
    with pytest.raises(InputError, match="expected a"):
        parse(text)


def test_prune_without_a_limit_and_a_store_that_is_not_there(store, tmp_path, capsys):
    assert mia(store, "prune") == 2 and "needs --older-than" in capsys.readouterr().err
    assert mia(store, "list", "--yes") == 2 and "--yes" in capsys.readouterr().err
    assert main(["store", "list", "--store", str(tmp_path / "none")]) == 2
    assert "no store at" in capsys.readouterr().err


def test_a_file_that_cannot_grow_leaves_no_model(tmp_path):
    """The system refuses to write past 64 KiB, as a full disk would."""
    script = (
        "import resource, signal, sys, numpy as np\n"
        "from mia_utils import InputError, Store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try:\n"
        "    Store(sys.argv[1]).put('a' * 32, {}, np.zeros((9000, 10), np.float32), {})\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    assert (
        len(printed.strip().splitlines()) == 1
        and str(tmp_path) in printed
        and "MIA_STORE" in printed
    )
    assert Store(tmp_path).names() == [] and list(tmp_path.glob("models/*")) == []
