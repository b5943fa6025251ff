"""`mia store`: list, verify, prune; and a disk that is full."""

import subprocess
import sys

import numpy as np
import pytest

from mia_utils import InputError, Store
from mia_utils.__main__ import main
from mia_utils.cli.store import parse_age, parse_size
from mia_utils.engine.tidy import Stored, to_prune

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


def test_verify_finds_an_unreadable_record(store, capsys):
    (store.folder("a" * 32) / "record.json").write_text("{")
    assert mia(store, "verify") == 1 and "record.json" in capsys.readouterr().out


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
    [(parse_age, "3"), (parse_age, "xd"), (parse_size, "5X"), (parse_size, ""), (parse_age, "-1d")],
)
def test_limits_that_cannot_be_read(parse, text):
    with pytest.raises(InputError, match="expected a"):
        parse(text)


def test_prune_without_a_limit_and_a_store_that_is_not_there(store, tmp_path, capsys):
    assert mia(store, "prune") == 2 and "needs --older-than" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        mia(store, "list", "--yes")
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
