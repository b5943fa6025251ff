"""What the engine seldom meets: other machines, other owners, damaged and foreign files."""

import errno
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mia_utils import InputError, Store
from mia_utils.engine import folders, lease
from mia_utils.engine.backend import resolve_backend
from mia_utils.engine.transfer import export_models, import_models
from mia_utils.evaluation.epsilon import _LARGEST, _largest_refuted
from mia_utils.experiments import records


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    weights = {"w": np.ones(2, np.float32)}
    made.put("a" * 32, {"classes": 2, "config": {}}, np.zeros((3, 2), np.float32), weights)
    return made


def test_a_backend_that_is_none_is_refused():
    with pytest.raises(InputError, match="backend='spark'; expected one of loky, dask"):
        resolve_backend("spark")


def test_a_file_that_the_disk_does_not_give_is_named(store, monkeypatch):
    def failing(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    assert store.damage("a" * 32) is None
    monkeypatch.setattr(folders, "file_sha256", failing)
    assert store.damage("a" * 32) == "logits.npy cannot be read (Input/output error)"


@pytest.mark.parametrize(
    ("raised", "dead"), [(ProcessLookupError, True), (PermissionError, False), (None, False)]
)
def test_an_owner_of_another_user_is_alive(raised, dead, monkeypatch):
    def kill(pid, signal):
        if raised is not None:
            raise raised

    monkeypatch.setattr(lease.os, "kill", kill)
    assert lease._is_dead(f"{lease._machine()}|123|x") == dead
    assert not lease._is_dead("another machine|123|x")
    assert not lease._is_dead(f"{lease._machine()}|nobody|x")


def test_a_machine_without_proc_has_a_name_of_its_own(monkeypatch):
    lease._machine.cache_clear()
    linux = lease._machine()
    lease._machine.cache_clear()
    monkeypatch.setattr(lease.os, "readlink", lambda path: os.stat("/no such file"))
    other = lease._machine()
    lease._machine.cache_clear()
    assert other != linux and other.split()[0] == linux.split()[0] and len(other.split()) == 2


def test_an_archive_with_a_name_twice_is_refused(store, tmp_path):
    path, there = tmp_path / "models.zip", Store(tmp_path / "there")
    export_models(store, path, ["a" * 32])
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(next(iter(entries)), b"another")
    with pytest.raises(InputError, match=r"a name appears twice\); nothing was imported"):
        import_models(there, path)
    assert not there.root.exists() or not list(there.root.iterdir())


def test_the_largest_epsilon_that_is_looked_for_is_an_answer():
    assert _largest_refuted(10, 10, 10, 0.0, 0.05, lambda *given: 0.0) == _LARGEST
    assert _largest_refuted(10, 10, 10, 0.0, 0.05, lambda *given: 1.0) == 0.0
    half = _largest_refuted(10, 10, 10, 0.0, 0.05, lambda m, r, v, epsilon, d: epsilon / 20)
    assert half == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\xff", "not readable as records"),
        (b"[1, 2]\n", r"line 1 is \[1, 2\]; expected an object with the columns of SCHEMA"),
        (b"{\n", "line 1 is no JSON"),
        (None, "not readable as records"),
    ],
)
def test_files_that_are_no_records_are_refused(content, said, tmp_path):
    path = Path(tmp_path / "run.jsonl")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        records.read_run(path)


def test_signals_that_are_damaged_are_named(tmp_path):
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals/r1.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"r1\.npz: not readable as signals"):
        records.load_signals("r1", tmp_path)
