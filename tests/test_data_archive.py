"""Archives and memory-mapped folders: round trips, damage, disks without space."""

from __future__ import annotations

import errno
import io
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mia_utils.data import Pool, archive, load_dataset, memory, open_pool, quarters, write_archive
from mia_utils.data.mapped import write_mapped
from mia_utils.errors import InputError

RNG = np.random.default_rng(0)
ARRAYS = {
    "images": RNG.integers(0, 256, (20, 6, 5, 3), dtype=np.uint8),
    "labels": np.arange(20) % 4,
    "train": np.arange(20) < 15,
    "classes": np.array(["a", "b", "ç", "d"]),
}


def same(one: Pool, other: Pool) -> bool:
    return one.fingerprint == other.fingerprint and (one.train == other.train).all()


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("records", [ARRAYS["images"], RNG.random((20, 3), dtype=np.float32)])
def test_round_trip(tmp_path, records, compress):
    pool = Pool.from_arrays("mine", records, *(ARRAYS[k] for k in ("labels", "classes", "train")))
    written = write_archive(pool, tmp_path / "new/mine.npz", compress=compress)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.npz"]
    assert written.path == str(tmp_path / "new/mine.npz")
    for read in (load_dataset("mine", tmp_path / "new"), open_pool(written.path)):
        assert same(read, pool) and read.path == written.path and read.name == "mine"


def test_train_and_classes_may_be_missing(tmp_path):
    np.savez(tmp_path / "table.npz", features=np.eye(20, 7), labels=ARRAYS["labels"])
    pool = load_dataset("table", tmp_path)
    assert pool.records.dtype == np.float32 and pool.shape == (7,) and pool.train.all()
    assert pool.classes == ("0", "1", "2", "3")


@pytest.fixture
def damaged(tmp_path):
    """Writes ARRAYS with changes, gives the path; None leaves an array out."""

    def make(**changes):
        arrays = {k: v for k, v in {**ARRAYS, **changes}.items() if v is not None}
        np.savez(tmp_path / "set.npz", **arrays)
        return tmp_path / "set.npz"

    return make


@pytest.mark.parametrize(
    "changes, words",
    [
        (dict(labels=None), "holds the arrays images, train, classes; expected labels"),
        (dict(images=None), "expected labels and one of images and features"),
        (dict(features=np.eye(20)), "one of images and features"),
        (dict(images=np.eye(20)), "images have shape"),
        (dict(images=None, features=ARRAYS["images"]), "features have shape"),
        (dict(labels=np.array([{}] * 20)), "not a readable archive.*allow_pickle"),
        (dict(classes=np.array(["a", None])), "not a readable archive"),
        (dict(labels=np.arange(20)), "label 19 of record 19 is out of range; expected 0 to 3"),
        (dict(labels=np.arange(19) % 4), "20 records but 19 labels"),
        (dict(images=ARRAYS["images"] / 100), "float images must be finite"),
        (dict(train=np.ones(3, bool)), "train has"),
    ],
)
def test_arrays_that_do_not_fit(damaged, changes, words):
    path = damaged(**changes)
    with pytest.raises(InputError, match=words) as error:
        load_dataset("set", path.parent)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    """One byte of a pixel: only the archive's checksum can tell."""
    return data[:700] + bytes([data[700] ^ 1]) + data[701:]


def lone_array(data: bytes) -> bytes:
    """An .npy file by the name of an .npz."""
    file = io.BytesIO()
    np.save(file, ARRAYS["images"])
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flipped,
        lone_array,
        lambda d: b"",
        lambda d: b"x" * 99,
        lambda d: pickle.dumps([1] * 99),
    ],
)
def test_damaged_files(damaged, damage):
    path = damaged()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="not a readable archive.*delete it") as error:
        load_dataset("set", path.parent)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_an_archive_that_is_gone(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_pool(str(tmp_path / "gone.npz"))


def test_a_folder_in_an_archives_place(tmp_path):
    (tmp_path / "set.npz").mkdir()
    with pytest.raises(InputError, match="set.npz: is a directory$"):
        load_dataset("set", tmp_path)


def lying(path: Path, shape: tuple[int, ...], payload: bytes, *, version=(1, 0)) -> None:
    """An archive whose images are shorter than their header says."""
    header, labels = io.BytesIO(), io.BytesIO()
    array = {"descr": "|u1", "fortran_order": False, "shape": shape}
    write = np.lib.format.write_array_header_1_0
    (write if version == (1, 0) else np.lib.format.write_array_header_2_0)(header, array)
    np.save(labels, np.arange(20) % 2)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images.npy", header.getvalue() + payload)
        file.writestr("labels.npy", labels.getvalue())


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("records", [10_000_000, 10**13])
def test_a_header_that_claims_more_than_there_is_takes_no_memory(tmp_path, records, version):
    lying(tmp_path / "set.npz", (records, 64, 64), b"x" * 100, version=version)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"set.npz: not a.* should have [\d,]+ bytes and has 100"):
        load_dataset("set", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_header_that_claims_less_than_there_is(tmp_path):
    lying(tmp_path / "set.npz", (20, 2, 2), b"x" * 81)
    with pytest.raises(InputError, match="images should have 80 bytes and has 81"):
        load_dataset("set", tmp_path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """20 MB of zeros in 20 kB, on a machine of 10 MB."""
    lying(tmp_path / "set.npz", (20, 1000, 1000), bytes(20_000_000))
    assert (tmp_path / "set.npz").stat().st_size < 1e5
    assert load_dataset("set", tmp_path).shape == (1000, 1000, 1)
    monkeypatch.setattr(memory, "physical_memory", lambda: 10_000_000)
    tracemalloc.start()
    with pytest.raises(InputError, match="set.npz takes 0.0 GB, this machine has .*images.npy and"):
        load_dataset("set", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_this_machine_tells_its_memory():
    assert 1e8 < memory.physical_memory() < 1e14
    memory.check_memory(1000, "a small array", "")


@pytest.mark.parametrize("member", ["images.npy", "labels.npy"])
def test_members_that_are_no_arrays(tmp_path, member):
    np.savez(tmp_path / "good.npz", **ARRAYS)
    with zipfile.ZipFile(tmp_path / "good.npz") as good:
        contents = {name: good.read(name) for name in good.namelist()}
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as bad:
        for name, content in contents.items():
            bad.writestr(name, b"not an array" if name == member else content)
    with pytest.raises(InputError, match="not a readable archive"):
        load_dataset("set", tmp_path)


def test_arrays_of_another_tool_say_what_to_write(tmp_path):
    np.savez(tmp_path / "set.npz", x_train=ARRAYS["images"], y_train=ARRAYS["labels"])
    with pytest.raises(
        InputError, match=r"holds the arrays x_train, y_train; .*np.savez\(path, im"
    ):
        load_dataset("set", tmp_path)


def test_an_array_of_somebody_elses_called_source_is_ignored(tmp_path):
    for text in ("a camera", '{"state": 1}', "[1]", '{"damaged": 3}'):
        np.savez(tmp_path / "set.npz", **ARRAYS, source=text)
        assert archive.read_source(tmp_path / "set.npz") is None
        assert len(load_dataset("set", tmp_path)) == 20


class FullDisk:
    """A file that takes 100 bytes."""

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        if self.file.tell() > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "set.npz"
    path.write_bytes(b"the old one")
    monkeypatch.setattr(archive, "open", lambda *given: FullDisk(open(*given)), raising=False)
    pool = Pool.from_arrays("set", ARRAYS["images"], ARRAYS["labels"])
    with pytest.raises(InputError, match="no space left.*nothing was written") as error:
        write_archive(pool, path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == ["set.npz"]
    assert path.read_bytes() == b"the old one"


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(archive.np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_archive(Pool.from_arrays("s", ARRAYS["images"], ARRAYS["labels"]), tmp_path / "s.npz")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_archive(
            Pool.from_arrays("s", ARRAYS["images"], ARRAYS["labels"]), tmp_path / "file/sub/s.npz"
        )


@pytest.fixture
def mapped(tmp_path):
    folder = tmp_path / "big"
    folder.mkdir()
    for name in ("images", "labels", "train"):
        np.save(folder / f"{name}.npy", ARRAYS[name])
    (folder / "classes.txt").write_text("a\nb\nç\nd\n", encoding="utf-8")
    return folder


def test_a_mapped_pool_is_the_same_pool(mapped):
    pool = load_dataset("big", mapped.parent)
    assert isinstance(pool.records, np.memmap) and not pool.records.flags.writeable
    assert pool.path == str(mapped) and same(pool, open_pool(pool.path))
    whole = Pool.from_arrays("big", *(ARRAYS[k] for k in ("images", "labels", "classes", "train")))
    assert same(pool, whole)
    part = pool.subset([3, 1])
    assert not isinstance(part.records, np.memmap) and part.path is None
    (mapped / "train.npy").unlink()
    (mapped / "classes.txt").unlink()
    assert load_dataset("big", mapped.parent).train.all()


def test_a_mapped_pool_is_not_read_into_memory(tmp_path):
    folder = tmp_path / "big"
    folder.mkdir()
    shape = (60_000, 28, 28)  # 47 MB, sparse on disk
    np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape).flush()
    np.save(folder / "labels.npy", np.arange(60_000) % 10)
    tracemalloc.start()
    pool = load_dataset("big", tmp_path)
    assert pool.shape == (28, 28, 1) and len(pool.fingerprint) == 64
    quarters(pool.labels, seed=0)
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()


def test_features_may_be_mapped(tmp_path):
    (tmp_path / "table").mkdir()
    np.save(tmp_path / "table/features.npy", np.eye(20, 7, dtype=np.float32))
    np.save(tmp_path / "table/labels.npy", ARRAYS["labels"])
    pool = load_dataset("table", tmp_path)
    assert isinstance(pool.records, np.memmap) and pool.shape == (7,) and pool.train.all()
    assert same(pool, Pool.from_arrays("table", np.eye(20, 7), ARRAYS["labels"]))


@pytest.mark.parametrize("name", ["images", "labels", "train"])
def test_pickles_are_never_opened(mapped, name):
    """A pickle runs code as it is read."""

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(mapped / "ran"),)

    (mapped / f"{name}.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=f"{name}.npy: not a readable array"):
        load_dataset("big", mapped.parent)
    objects = np.empty(20, object)
    objects[:] = Trap()
    np.save(mapped / f"{name}.npy", objects, allow_pickle=True)
    with pytest.raises(InputError, match=f"{name}.npy: not a readable array"):
        load_dataset("big", mapped.parent)
    assert not (mapped / "ran").exists()


def test_images_and_features_together_are_refused(mapped):
    np.save(mapped / "features.npy", np.eye(20, 7, dtype=np.float32))
    with pytest.raises(InputError, match="holds images.npy and features.npy; expected one"):
        load_dataset("big", mapped.parent)


@pytest.mark.parametrize("records", [ARRAYS["images"], RNG.random((20, 3), dtype=np.float32)])
def test_a_written_mapped_pool_is_the_same_pool(tmp_path, records):
    names = ["line\nbreak", " blanks ", "form\x0cfeed", "unit\u2028 Zoé"]
    pool = Pool.from_arrays("m", records, ARRAYS["labels"], names, ARRAYS["train"])
    write_mapped(pool, tmp_path)
    assert same(open_pool(str(tmp_path)), pool)


def test_class_names_of_any_editor_are_read(mapped):
    (mapped / "classes.txt").write_bytes("\ufeffa\r\nb\r\nç\x85\r\nd".encode())
    assert load_dataset("big", mapped.parent).classes == ("a", "b", "ç\\x85", "d")
    (mapped / "classes.txt").write_bytes("a\nb\nç\nd\n".encode("latin-1"))
    with pytest.raises(InputError, match="classes.txt: not readable as UTF-8 text"):
        load_dataset("big", mapped.parent)


def test_class_names_survive_a_locale_without_umlauts(tmp_path):
    """In the C locale, without Python's UTF-8 mode, files are ASCII unless one says otherwise."""
    code = (
        "import locale, sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from mia_utils.data import Pool, load_dataset, open_pool, write_archive\n"
        "from mia_utils.data.mapped import write_mapped\n"
        "assert 'utf' not in locale.getpreferredencoding(False).lower()\n"
        "pool = Pool.from_arrays('m', np.zeros((4, 2, 2)), [0, 1, 0, 1], ['Zo\\xe9', '\\u96ea'])\n"
        "write_mapped(pool, Path(sys.argv[1])); write_archive(pool, sys.argv[1] + '/m.npz')\n"
        "assert open_pool(sys.argv[1]).fingerprint == pool.fingerprint\n"
        "assert open_pool(sys.argv[1] + '/m.npz').classes == pool.classes\n"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {**os.environ, **plain, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code, tmp_path], env=environment, check=True)


def test_mapped_pools_that_cannot_be_used(mapped):
    np.save(mapped / "images.npy", ARRAYS["images"] / 255)
    with pytest.raises(InputError, match="images.npy: type float64"):
        load_dataset("big", mapped.parent)
    np.save(mapped / "images.npy", ARRAYS["images"])
    (mapped / "images.npy").write_bytes(cut((mapped / "images.npy").read_bytes()))
    with pytest.raises(InputError, match="images.npy: not a readable array"):
        load_dataset("big", mapped.parent)
    np.save(mapped / "images.npy", ARRAYS["images"])
    np.save(mapped / "labels.npy", ARRAYS["labels"] + 1)
    with pytest.raises(InputError, match="big: label 4 of record 3"):
        load_dataset("big", mapped.parent)
    (mapped / "labels.npy").unlink()
    with pytest.raises(InputError, match="labels.npy: missing"):
        load_dataset("big", mapped.parent)
