"""Image folders: every kind of image, damage, sizes, one archive at the end."""

from __future__ import annotations

import errno
import os
import warnings

import numpy as np
import pytest
from PIL import Image

from mia_utils.data import archive, folder, load_dataset, open_pool
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
    (root / "faces/train/anna/0.png").write_text("decoded once: nobody looks here again")
    assert load_dataset("faces", root).fingerprint == pool.fingerprint


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
    with pytest.warns(UserWarning, match="2 damaged images left out: .*anna/0.png.*bert/2.png"):
        pool = load_dataset("faces", root, on_damaged="skip")
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
