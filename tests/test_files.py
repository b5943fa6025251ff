"""What is written appears whole or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from mia_utils import InputError, Store
from mia_utils.errors import DiskError
from mia_utils.files import (
    file_sha256,
    one_line_disk_errors,
    remove_pieces,
    whole_file,
    whole_folder,
    write_if_changed,
)
from mia_utils.paths import data_root, ready, results_root, runs_root, store_root


def test_a_file_is_there_only_when_its_block_has_ended(tmp_path):
    path = tmp_path / "new" / "array.npy"
    with whole_file(path) as partial:
        np.save(partial, np.arange(3))
        assert partial.parent == path.parent and not path.exists()
    assert np.load(path).tolist() == [0, 1, 2]
    assert os.listdir(path.parent) == ["array.npy"]


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_what_a_killed_write_left_goes_and_nothing_else(tmp_path, whole):
    path, other = tmp_path / "limits[1].xml", tmp_path / "limits1.xml"
    pieces = []
    for killed in (path, other):
        with pytest.raises(RuntimeError), whole(killed) as partial:
            pieces.append(partial)
            raise RuntimeError
    for piece in pieces:
        piece.mkdir() if whole is whole_folder else piece.write_text("half")
    own = tmp_path / ".my.limits[1].xml"
    own.write_text("somebody's")
    path.touch()
    remove_pieces(tmp_path, path.name)
    assert not pieces[0].exists() and pieces[1].exists() and path.exists()
    remove_pieces(tmp_path)
    assert not pieces[1].exists() and own.exists()


@pytest.mark.parametrize("whole", [whole_file, whole_folder])
def test_a_failure_leaves_what_was_there(tmp_path, whole):
    path = tmp_path / "kept"
    path.mkdir() if whole is whole_folder else path.write_text("old")
    with pytest.raises(RuntimeError), whole(path) as partial:
        (partial / "x" if partial.is_dir() else partial).write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["kept"]
    assert path.is_dir() or path.read_text() == "old"


def test_of_two_folders_the_first_stays(tmp_path):
    path = tmp_path / "model"
    with whole_folder(path) as late:
        (late / "x").write_text("second")
        with whole_folder(path) as early:
            (early / "x").write_text("first")
    assert (path / "x").read_text() == "first" and os.listdir(tmp_path) == ["model"]


def test_a_folder_that_cannot_be_renamed_is_an_error(tmp_path):
    (tmp_path / "model").write_text("a file of that name")
    with pytest.raises(NotADirectoryError), whole_folder(tmp_path / "model"):
        pass


def test_the_same_bytes_are_not_written_again(tmp_path):
    path = tmp_path / "x"
    assert write_if_changed(path, b"a")
    before = path.stat().st_mtime_ns
    assert not write_if_changed(path, b"a") and path.stat().st_mtime_ns == before
    assert write_if_changed(path, b"b") and path.read_bytes() == b"b"


@pytest.mark.parametrize(
    "number, said", [(errno.ENOSPC, "no space left"), (errno.EACCES, "cannot be")]
)
def test_disk_errors_name_the_path_and_the_way_out(tmp_path, number, said):
    with pytest.raises(InputError, match=f"model: {said}.*--store") as error:
        with one_line_disk_errors(tmp_path / "model", "--store"):
            raise OSError(number, os.strerror(number))
    assert "\n" not in str(error.value)


def test_a_folder_in_the_way_of_a_model_is_named_and_the_checkpoint_stays(tmp_path):
    store = Store(tmp_path)
    for path in (store.folder("a") / "logits.npy", store.checkpoint("a")):
        path.parent.mkdir(parents=True)
        path.write_text("")
    with pytest.raises(InputError, match="holds no model"):
        store.put("a", {}, np.zeros((1, 1)), {})
    assert store.checkpoint("a").exists()


def test_numpys_words_for_a_full_disk_are_said_plainly(tmp_path):
    with pytest.raises(DiskError, match="model: no space left on this disk"):
        with one_line_disk_errors(tmp_path / "model", "--store"):
            raise OSError("17970 requested and 13280 written")


def test_a_checksum_follows_a_change_that_keeps_size_and_time(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 100)
    before, facts = file_sha256(path), path.stat()
    path.write_bytes(b"b" * 100)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert file_sha256(path) != before


def test_a_check_out_gives_the_same_bytes_on_every_system():
    attributes = (Path(__file__).parents[1] / ".gitattributes").read_text("utf-8")
    assert "* text=auto eol=lf" in attributes.splitlines()


def test_a_folder_that_cannot_be_written_is_named_before_the_work(tmp_path):
    assert ready(tmp_path / "a/b", "MIA_X") == tmp_path / "a/b" and (tmp_path / "a/b").is_dir()
    (tmp_path / "file").write_text("", "utf-8")
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(DiskError, match=r"file.*: cannot be written .*\(MIA_X\)"):
            ready(folder, "MIA_X")


def test_places_follow_their_variables_and_need_no_home(tmp_path, monkeypatch):
    places = {"DATA": data_root, "STORE": store_root, "RUNS": runs_root, "RESULTS": results_root}
    for name, place in places.items():
        monkeypatch.delenv(f"MIA_{name}", raising=False)
        assert place().parts[-3:] == (".cache", "mia", name.lower())
        monkeypatch.setenv(f"MIA_{name}", str(tmp_path / name))
        assert place() == tmp_path / name
    monkeypatch.setenv("MIA_RUNS", "~nobody-of-this-name/runs")
    with pytest.raises(InputError, match="no home folder is known; set MIA_RUNS"):
        runs_root()
