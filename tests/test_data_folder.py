"""Image folders: every kind of image, damage, sizes, one archive at the end."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mia_utils.data import archive, folder, images, load_dataset, memory, open_pool, scan
from mia_utils.errors import InputError

RNG = np.random.default_rng(0)
SHOT = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.fixture
def root(tmp_path):
    """faces/: 3 classes, 4 images each in train/, 2 in val/, 8 x 6 pixels; and what is no image."""
    for split, count in (("train", 4), ("val", 2)):
        for name in ("anna", "bert", "cleo"):
            path = tmp_path / "faces" / split / name
            path.mkdir(parents=True)
            for number in range(count):
                image = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
                Image.fromarray(image).save(path / f"{number}.png")
    (tmp_path / "faces/train/.DS_Store").write_text("x")
    (tmp_path / "faces/train/anna/._0.png").write_text("x")
    (tmp_path / "faces/train/anna/Thumbs.db").write_text("x")
    (tmp_path / "faces/train/readme.txt").write_text("x")
    return tmp_path


def shot(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_folder_becomes_an_archive(root):
    pool = load_dataset("faces", root)
    assert pool.classes == ("anna", "bert", "cleo") and pool.shape == (6, 8, 3)
    assert pool.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0, 0, 1, 1, 2, 2]
    assert pool.train.tolist() == [True] * 12 + [False] * 6
    np.testing.assert_array_equal(pool.records[5], shot(root / "faces/train/bert/1.png"))
    np.testing.assert_array_equal(pool.records[-1], shot(root / "faces/val/cleo/1.png"))
    assert pool.path == str(root / "faces.npz")
    assert sorted(path.name for path in root.iterdir()) == ["faces", "faces.npz"]
    assert open_pool(pool.path).fingerprint == pool.fingerprint


def test_a_folder_is_decoded_once(root, monkeypatch):
    pool = load_dataset("faces", root)
    monkeypatch.setattr(folder, "read_rgb", None)
    assert load_dataset("faces", root).fingerprint == pool.fingerprint
    (root / "faces/train/anna/notes.txt").write_text("no image: changes nothing")
    assert load_dataset("faces", root).fingerprint == pool.fingerprint


def draw(path, size=(8, 6), **saved):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **saved)


def new_class(root):
    draw(root / "faces/train/dora/0.png")


def new_image(root):
    draw(root / "faces/val/anna/9.png")


def removed(root):
    (root / "faces/train/anna/3.png").unlink()


def renamed(root):
    (root / "faces/train/anna").rename(root / "faces/train/emil")
    (root / "faces/val/anna").rename(root / "faces/val/emil")


def replaced(root):
    """Of the same size, at another time."""
    path = root / "faces/train/anna/0.bmp"
    before = path.stat()
    draw(path)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def moved_to_the_other_split(root):
    (root / "faces/train/anna/3.png").rename(root / "faces/val/anna/3.png")


@pytest.mark.parametrize(
    "change", [new_class, new_image, removed, renamed, replaced, moved_to_the_other_split]
)
def test_a_changed_folder_is_noticed_and_decoded_anew(root, change):
    draw(root / "faces/train/anna/0.bmp")
    old = load_dataset("faces", root)
    change(root)
    with pytest.warns(
        UserWarning, match=r"has changed since faces.npz was written \(19 im"
    ) as told:
        new = load_dataset("faces", root)
    assert told[0].filename == __file__, "a warning points at the caller"
    (root / "faces.npz").rename(root / "old.npz")
    fresh = load_dataset("faces", root)
    assert fresh.fingerprint == new.fingerprint and (fresh.train == new.train).all()
    unlike = (old.train.shape != new.train.shape) or (old.train != new.train).any()
    assert new.fingerprint != old.fingerprint or unlike
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_dataset("faces", root).fingerprint == new.fingerprint


def test_a_folder_that_was_resized_is_decoded_anew_at_that_size(root):
    load_dataset("faces", root, size=4)
    draw(root / "faces/train/dora/0.png", size=(30, 20))
    with pytest.warns(UserWarning, match="has changed"):
        assert load_dataset("faces", root).shape == (4, 4, 3)
    draw(root / "faces/train/dora/1.png", size=(30, 20))
    with pytest.warns(UserWarning, match="has changed"):
        assert load_dataset("faces", root, size=5).shape == (5, 5, 3)


def test_images_that_were_removed_once_decoded_are_not_missed(root):
    pool = load_dataset("faces", root)
    shutil.rmtree(root / "faces/train/anna")
    for path in (root / "faces").glob("*/*/*.png"):
        path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_dataset("faces", root).fingerprint == pool.fingerprint
        shutil.rmtree(root / "faces")
        assert load_dataset("faces", root).fingerprint == pool.fingerprint


def test_an_archive_that_no_folder_made_is_never_written_over(root):
    """Somebody's own archive, or an older one: nothing tells where it came from."""
    pool = load_dataset("faces", root)
    own = replace(pool.subset(np.arange(9)), name="faces")
    archive.write_archive(own, root / "faces.npz")
    content = (root / "faces.npz").read_bytes()
    with pytest.warns(
        UserWarning, match="9 records in 3 classes, the folder faces beside it 18 in"
    ):
        assert len(load_dataset("faces", root)) == 9
    archive.write_archive(pool, root / "faces.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_dataset("faces", root)) == 18
    assert (root / "faces.npz").read_bytes() != content


def test_folders_inside_a_class_belong_to_it(root):
    draw(root / "faces/train/anna/2021/may/a.png")
    draw(root / "faces/train/bert/2020/a.png")
    (root / "faces/train/bert/0.png").unlink()
    pool = load_dataset("faces", root)
    assert pool.classes == ("anna", "bert", "cleo")
    assert pool.labels[:13].tolist() == [0] * 5 + [1] * 4 + [2] * 4
    np.testing.assert_array_equal(pool.records[3], shot(root / "faces/train/anna/2021/may/a.png"))


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "avif", "webp", "jp2", "tga", "JPEG", "dib"])
def test_what_pillow_reads_is_read(root, suffix):
    if f".{suffix.lower()}" not in images.suffixes():
        pytest.skip(f"this Pillow was built without .{suffix}")
    kind = "JPEG" if suffix in ("jfif", "jpe") else None
    for number in range(3):
        draw(root / f"faces/train/owl/{number}.{suffix}", format=kind)
    pool = load_dataset("faces", root)
    assert pool.classes[3] == "owl" and (pool.labels == 3).sum() == 3


def test_a_class_that_cannot_be_read_is_named_with_what_it_holds(root):
    for number in range(12):
        (root / "faces/train/owl").mkdir(exist_ok=True)
        (root / f"faces/train/owl/{number}.heic").write_bytes(b"x")
    (root / "faces/train/owl/README").write_bytes(b"x")
    with pytest.raises(
        InputError,
        match=r"train: class 'owl' has no image .*\(it holds 12 .heic, 1 without an ending\)",
    ):
        load_dataset("faces", root)
    shutil.rmtree(root / "faces/train/owl")
    (root / "faces/train/owl").mkdir()
    with pytest.raises(InputError, match=r"class 'owl' has no image .*\(it holds nothing\)"):
        load_dataset("faces", root)


def test_files_of_other_kinds_are_counted(root):
    for name in ("a.heic", "b.HEIC", "c.mp4", "d.txt"):
        (root / "faces/train/anna" / name).write_bytes(b"x")
    draw(root / "faces/train/lost.png")
    with pytest.warns(UserWarning) as caught:
        load_dataset("faces", root)
    lines = [str(one.message) for one in caught]
    assert len(lines) == 2 and lines[0].endswith("as an image: 2 .heic, 1 .mp4")
    assert {one.filename for one in caught} == {__file__}
    assert lines[1].endswith("in no class folder of train/: 1")


def test_photographs_are_turned_upright_before_sizes_are_compared(root):
    """Orientation 6: the camera was held upright, the pixels lie on their side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = root / "faces/train/anna/0.png"
    draw(path, size=(6, 8), exif=exif.tobytes())
    pool = load_dataset("faces", root)
    np.testing.assert_array_equal(pool.records[0], np.rot90(shot(path), -1))


def test_an_image_with_broken_exif_is_read_as_it_lies(root):
    path = root / "faces/train/anna/0.jpg"
    draw(path, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    (root / "faces/train/anna/0.png").unlink()
    with pytest.warns(UserWarning, match="Corrupt EXIF"):  # Pillow's
        np.testing.assert_array_equal(load_dataset("faces", root).records[0], shot(path))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_of_32_bits_are_refused_not_clipped(root, kind):
    Image.fromarray(np.arange(48, dtype=kind).reshape(6, 8)).save(root / "faces/train/anna/x.tif")
    with pytest.raises(InputError, match=r"anna/x.tif \(pixels of 32 bits"):
        load_dataset("faces", root)


def test_a_graymap_of_16_bits_is_scaled_not_clipped(root):
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1365
    path = root / "faces/train/anna/0.pgm"
    path.write_bytes(b"P5 8 6 65535\n" + deep.astype(">u2").tobytes())
    (root / "faces/train/anna/0.png").unlink()
    np.testing.assert_array_equal(load_dataset("faces", root).records[0, ..., 1], deep // 256)


def test_other_names_of_the_held_out_split(root):
    (root / "faces/val").rename(root / "faces/valid")
    draw(root / "faces/validation/anna/0.png")
    pool = load_dataset("faces", root)
    assert len(pool) == 19 and pool.train.sum() == 12


def test_class_folders_may_be_links(root):
    (root / "faces/train/cleo").rename(root / "cleo")
    (root / "faces/train/cleo").symlink_to(root / "cleo")
    assert len(load_dataset("faces", root)) == 18


def test_a_link_to_no_image_counts_as_damaged(root):
    (root / "faces/train/anna/x.png").symlink_to(root / "unmounted.png")
    with pytest.raises(InputError, match=r"1 damaged .*anna/x.png \(no such file or directory\)"):
        load_dataset("faces", root)


@pytest.mark.parametrize("target", ["faces/train", "faces/train/anna", "."])
def test_a_link_that_leads_back_ends_in_one_line(root, target):
    (root / "faces/train/anna/again").symlink_to(root / target)
    with pytest.raises(InputError, match="anna/again: a link that leads back to where it lies"):
        load_dataset("faces", root)


def test_what_is_no_file_is_left_alone(root):
    os.mkfifo(root / "faces/train/anna/pipe.png")
    assert len(load_dataset("faces", root)) == 18


def test_a_folder_that_cannot_be_read(root, monkeypatch):
    def denied(path):
        if str(path).endswith("bert"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(scan.os, "scandir", denied)
    with pytest.raises(InputError, match="train/bert: permission denied"):
        load_dataset("faces", root)


def test_class_names_that_break_lines_are_escaped(root):
    draw(root / "faces/train/line\nbreak/0.png")
    pool = load_dataset("faces", root)
    assert pool.classes[-1] == "line\\nbreak"
    assert open_pool(pool.path).fingerprint == pool.fingerprint
    draw(root / "faces/train/line\\nbreak/0.png")
    with pytest.raises(InputError, match="two class folders are both called") as error:
        load_dataset("faces", root)
    assert "\n" not in str(error.value)


def test_class_names_do_not_depend_on_the_locale(root):
    """In the C locale, without Python's UTF-8 mode, names of files are read as ASCII."""
    os.mkdir(os.fsencode(root / "faces/train") + b"/Zo\xc3\xa9")
    os.mkdir(os.fsencode(root / "faces/train") + b"/bad\xff")
    for name in (b"/Zo\xc3\xa9/0.png", b"/bad\xff/0.png"):
        shutil.copy(root / "faces/train/anna/0.png", os.fsencode(root / "faces/train") + name)
    pool = load_dataset("faces", root)
    assert pool.classes == ("Zoé", "anna", "bad\\xff", "bert", "cleo")
    code = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "from mia_utils.data import load_dataset\n"
        "print(load_dataset('faces', sys.argv[1]).fingerprint, sys.getfilesystemencoding())"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {**os.environ, **plain, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for archive_there in (True, False):
        if not archive_there:
            (root / "faces.npz").unlink()
        said = subprocess.run(
            [sys.executable, "-c", code, root], env=environment, check=True, capture_output=True
        )
        assert said.stdout.decode().split() == [pool.fingerprint, "ascii"]


def test_processes_decode_the_same(root, monkeypatch):
    monkeypatch.setattr(folder, "_TASK", 5)
    one = folder.read_folder(root / "faces", root / "one.npz", jobs=1)
    two = folder.read_folder(root / "faces", root / "two.npz", jobs=2)
    assert one.fingerprint == two.fingerprint and len(one) == 18


def test_test_and_val_are_both_held_out_and_bare_files_are_left_alone(root):
    (root / "faces/test/bert").mkdir(parents=True)
    Image.fromarray(SHOT).save(root / "faces/test/bert/x.jpg")
    Image.fromarray(SHOT).save(root / "faces/test/unlabelled.jpg")
    pool = load_dataset("faces", root)
    assert len(pool) == 19 and pool.train.sum() == 12


def test_a_folder_of_training_images_alone(root):
    (root / "faces/val").rename(root / "elsewhere")
    assert load_dataset("faces", root).train.all()


@pytest.mark.parametrize(
    "mode, suffix",
    [
        ("L", "png"),
        ("1", "png"),
        ("P", "gif"),
        ("P", "png"),
        ("RGBA", "png"),
        ("LA", "png"),
        ("CMYK", "jpg"),
    ]
    + [("L", "JPG"), ("RGB", "bmp"), ("RGB", "webp"), ("CMYK", "tif"), ("RGB", "ppm")],
)
def test_every_mode_becomes_rgb(root, mode, suffix):
    path = root / f"faces/train/anna/0.{suffix}"
    (root / "faces/train/anna/0.png").unlink()
    Image.fromarray(SHOT).convert(mode).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool = load_dataset("faces", root)
    np.testing.assert_array_equal(pool.records[0], shot(path))


def test_palette_with_transparent_entries(root):
    image = Image.fromarray(SHOT).quantize(8)
    image.save(root / "faces/train/anna/0.png", transparency=bytes([0, 128, 255]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool = load_dataset("faces", root)
    np.testing.assert_array_equal(pool.records[0], np.asarray(image.convert("RGB")))


def test_sixteen_bit_grey_is_scaled_not_clipped(root):
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1365
    Image.fromarray(deep).save(root / "faces/train/anna/0.png")
    np.testing.assert_array_equal(load_dataset("faces", root).records[0, ..., 1], deep // 256)


def test_resizing(root):
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(
        root / "faces/train/bert/0.png"
    )
    with pytest.raises(
        InputError, match=r"bert/0.png: 30 x 20 pixels, the first image has 8 x 6; pass size"
    ):
        load_dataset("faces", root)
    assert not (root / "faces.npz").exists()
    pool = load_dataset("faces", root, size=4)
    assert pool.shape == (4, 4, 3)
    expected = Image.open(root / "faces/train/bert/0.png").resize((4, 4), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pool.records[4], expected)
    assert load_dataset("faces", root, size=4).fingerprint == pool.fingerprint
    with pytest.raises(InputError, match="size=8 was asked for"):
        load_dataset("faces", root, size=8)
    (root / "faces.npz").unlink()
    assert load_dataset("faces", root, size=np.int64(1)).shape == (1, 1, 3)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def test_damaged_images_are_named(root):
    truncated(root / "faces/train/bert/2.png")
    (root / "faces/train/anna/0.png").write_bytes(b"")
    with pytest.raises(
        InputError, match="2 damaged of 18 images: .*anna/0.png.*bert/2.png.*skip"
    ) as error:
        load_dataset("faces", root)
    assert "\n" not in str(error.value) and [path.name for path in root.iterdir()] == ["faces"]
    words = "2 damaged images left out: .*anna/0.png.*bert/2.png"
    with pytest.warns(UserWarning, match=words) as told:
        pool = load_dataset("faces", root, on_damaged="skip")
    assert told[0].filename == __file__
    assert pool.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 4 + [0, 0, 1, 1, 2, 2]
    assert pool.train.sum() == 10
    np.testing.assert_array_equal(pool.records[0], shot(root / "faces/train/anna/1.png"))
    np.testing.assert_array_equal(pool.records[5], shot(root / "faces/train/bert/3.png"))


def test_many_damaged_images_are_counted(root):
    for path in (root / "faces/train").glob("*/[0-2].png"):
        truncated(path)
    with pytest.warns(UserWarning, match="9 damaged images left out: .* and 4 more"):
        assert len(load_dataset("faces", root, on_damaged="skip")) == 9


@pytest.mark.parametrize("size", [None, 4])
def test_nothing_but_damaged_images(root, size):
    for path in (root / "faces").glob("*/*/*.png"):
        path.write_bytes(b"x")
    with pytest.raises(InputError, match="damaged"):
        load_dataset("faces", root, size=size, on_damaged="skip")
    assert not (root / "faces.npz").exists()


def test_no_images(tmp_path):
    (tmp_path / "none/train/a").mkdir(parents=True)
    (tmp_path / "none/train/picture.png").touch()
    with pytest.raises(InputError, match="none/train: no images; expected none/train/CLASS"):
        load_dataset("none", tmp_path)
    (tmp_path / "none/train/a/b.heic").touch()
    with pytest.raises(InputError, match=r"no images; .*\(there are 1 .heic\)"):
        load_dataset("none", tmp_path)


def test_a_class_whose_training_images_are_all_damaged(root):
    for path in (root / "faces/train/bert").iterdir():
        truncated(path)
    with (
        pytest.warns(UserWarning, match="4 damaged images left out"),
        pytest.raises(InputError, match="all training images of class 'bert' are damaged"),
    ):
        load_dataset("faces", root, on_damaged="skip")
    assert not (root / "faces.npz").exists()


def test_what_was_left_out_is_kept_in_the_archive(root):
    truncated(root / "faces/train/bert/2.png")
    with pytest.warns(UserWarning, match="1 damaged"):
        load_dataset("faces", root, size=4, on_damaged="skip")
    source = archive.read_source(root / "faces.npz")
    assert (source.images, source.classes, source.size) == (18, 3, 4)
    assert source.damaged == ("train/bert/2.png",)


def test_images_that_would_not_fit_into_memory_say_so_first(root, monkeypatch):
    monkeypatch.setattr(memory, "physical_memory", lambda: 2000)
    with pytest.raises(InputError, match="18 images of 8 x 6 pixels takes .* mia data make --size"):
        load_dataset("faces", root)
    assert load_dataset("faces", root, size=4).shape == (4, 4, 3)


def test_a_class_that_is_only_held_out(root):
    (root / "faces/val/anna").rename(root / "faces/val/zoe")
    with pytest.raises(InputError, match="class 'zoe' is in test/ or val/ but not in train/"):
        load_dataset("faces", root)


def test_a_full_disk(root, monkeypatch):
    def full(file, **arrays):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(archive.np, "savez", full)
    with pytest.raises(InputError, match="faces.npz: no space left"):
        load_dataset("faces", root)
    assert [path.name for path in root.iterdir()] == ["faces"]
