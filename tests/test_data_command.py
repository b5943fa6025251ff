"""`mia data`: what is at hand, what is made, what a data set holds."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mia_utils.cli import data as command
from mia_utils.cli import main as cli
from mia_utils.data import Pool, load_dataset, write_archive
from mia_utils.data.catalog import EMBEDDED

RNG = np.random.default_rng(0)


def error_line(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture
def faces(tmp_path):
    """An image folder with a copy across the splits, a note and a file of another kind."""
    for place in ("train/anna", "train/bert", "val/anna", "val/bert"):
        (tmp_path / "faces" / place).mkdir(parents=True)
        for number in range(3):
            pixels = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "faces" / place / f"{number}.png")
    (tmp_path / "faces/val/anna/9.png").write_bytes(
        (tmp_path / "faces/train/bert/1.png").read_bytes()
    )
    (tmp_path / "faces/train/anna/note.txt").touch()
    (tmp_path / "faces/train/anna/a.heic").touch()
    (tmp_path / "faces/val/unlabelled.png").touch()
    return tmp_path


def test_data_list_shows_what_is_where(tmp_path, capsys):
    (tmp_path / "mnist.npz").write_bytes(b"")
    (tmp_path / "faces/train/anna").mkdir(parents=True)
    (tmp_path / "table").mkdir()
    np.save(tmp_path / "table/features.npy", np.eye(3))
    (tmp_path / "cifar10").mkdir()
    np.save(tmp_path / "cifar10/images.npy", np.zeros((2, 2, 2), np.uint8))
    assert cli.main(["data", "list", "--data", str(tmp_path)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["cifar10-mini"] == lines["digits"] == "inside the package"
    assert lines["mnist"] == str(tmp_path / "mnist.npz")
    assert lines["faces"].startswith("image folder")
    assert lines["cifar100"].startswith("not here")
    assert lines["table"] == f"memory-mapped arrays in {tmp_path / 'table'}"
    assert lines["cifar10"] == f"memory-mapped arrays in {tmp_path / 'cifar10'}"


def test_every_embedded_set_can_be_loaded():
    assert [load_dataset(name).name for name in EMBEDDED] == list(EMBEDDED)


def test_a_verb_takes_its_own_options_alone(tmp_path, capsys):
    for given in (["make"], ["check"], ["list", "digits"], ["list", "--near"], []):
        assert cli.main(["data", *given]) == 2
        assert error_line(capsys).startswith("mia: error: ")
    assert cli.main(["data", "check", "digits", "--size", "3"]) == 2
    assert "unrecognized arguments: --size" in error_line(capsys)
    assert cli.main(["data", "check", "no-such-set", "--data", str(tmp_path)]) == 2
    assert "no-such-set" in error_line(capsys)
    assert cli.main(["data", "make", "digits"]) == 2
    assert "nothing to make" in error_line(capsys)


def test_help_shows_every_layout(capsys):
    with pytest.raises(SystemExit):
        cli.main(["data", "--help"])
    said = capsys.readouterr().out
    for word in ("DIR/NAME.npz", "train/CLASS/*", "images.npy", "features.npy", "classes.txt"):
        assert word in said
    assert max(map(len, said.splitlines())) <= 100


def test_the_layouts_that_help_shows_are_read(tmp_path):
    """The line of the help for arrays, with what it says of their types."""
    images, labels = np.zeros((6, 4, 4), np.uint8), np.arange(6) % 2
    line = next(line.strip() for line in command.LAYOUTS.splitlines() if "np.savez" in line)
    line = line.replace("DIR", str(tmp_path)).replace("NAME", "mine")
    exec(line, {"np": np, "images": images, "labels": labels})
    assert load_dataset("mine", tmp_path).shape == (4, 4, 1)


def test_make_decodes_a_folder(faces, capsys):
    assert cli.main(["data", "make", "faces", "--size", "4", "--data", str(faces)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{faces / 'faces.npz'}: 13 records of shape (4, 4, 3) in 2 classes\n"
    assert f"mia: note: {faces / 'faces'}: left out, since" in said.err and "1 .heic" in said.err
    (faces / "faces.npz").unlink()
    (faces / "faces/train/bert/0.png").write_bytes(b"x")
    assert cli.main(["data", "make", "faces", "--data", str(faces)]) == 2
    assert "1 damaged of 13 images" in error_line(capsys)
    assert cli.main(["data", "make", "faces", "--skip-damaged", "--data", str(faces)]) == 0
    assert "mia: note: 1 damaged images left out" in capsys.readouterr().err


def test_check_tells_classes_splits_copies_and_what_was_left_out(faces, capsys):
    assert cli.main(["data", "check", "faces", "--data", str(faces)]) == 0
    said = capsys.readouterr().out
    pool = load_dataset("faces", faces)
    for line in (
        f"faces: 13 records of shape (8, 8, 3), 2 classes, fingerprint {pool.fingerprint[:16]}",
        "splits      6 for training, 7 held out",
        "0 anna         3 for training        4 held out",
        "duplicates  1 records are exact copies of an earlier one (1 with another label); 1 of "
        "those held out are in the training split too",
        "9 = 4",
        "no images   1 .heic, 1 .txt in the class folders",
        "images outside of every class folder: 1 in val/",
    ):
        assert line in said, said
    assert "damaged" not in said and "nearly" not in said
    (faces / "faces/train/bert/0.png").write_bytes(b"x")
    (faces / "faces.npz").unlink()
    with pytest.warns(UserWarning):
        load_dataset("faces", faces, on_damaged="skip")
    assert cli.main(["data", "check", "faces", "--data", str(faces)]) == 0
    assert "damaged     left out: train/bert/0.png" in capsys.readouterr().out


def lines_of(pool: Pool, **given) -> str:
    return "\n".join(command.describe(pool, **given))


def test_copies_are_counted_by_split_and_label():
    images = RNG.integers(0, 256, (8, 4, 4), dtype=np.uint8)
    images[[4, 5, 6]] = images[0]  # 0, 4 in train; 5, 6 held out, 6 of another label
    images[7] = images[3]  # both in train
    images[2] = np.clip(images[1].astype(int) + 2, 0, 255)
    train = np.array([1, 0, 1, 1, 1, 0, 0, 1], bool)
    pool = Pool.from_arrays("p", images, [0, 1, 1, 0, 0, 0, 1, 0], train=train)
    said = lines_of(pool, near=True)
    assert "4 records are exact copies of an earlier one (1 with another label); 2 of those" in said
    assert "4 = 0, 5 = 0, 6 = 0, 7 = 3" in said
    assert "nearly      1 further pairs differ by at most 8 of 255" in said
    assert "(root mean square), 1 of them across the two splits" in said
    assert "no record is an exact copy of another" in lines_of(pool.subset([0, 1, 2, 3]))


def test_empty_and_small_classes_are_named():
    labels = [0] * 4 + [1] * 3 + [3] * 5
    pool = Pool.from_arrays("p", RNG.random((12, 3)), labels, ["a", "b", "c", "d"])
    said = lines_of(pool, near=True)
    assert "without a record: c" in said and "too small for four quarters: b" in said
    assert "classes     0 to 5 records each" in said and "nearly" not in said


def test_many_classes_are_listed_in_few_lines():
    labels = np.repeat(np.arange(200), 4)
    said = lines_of(Pool.from_arrays("p", RNG.random((800, 3)), labels))
    assert "199 199" in said and len(said.splitlines()) < 30
    assert max(map(len, said.splitlines())) <= 100


def test_the_stand_in_is_made_by_its_name(tmp_path, capsys):
    images = RNG.integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    names = [f"c{number}" for number in range(100)]
    cifar100 = Pool.from_arrays("cifar100", images, np.arange(200) % 100, names)
    write_archive(cifar100, tmp_path / "cifar100.npz")
    assert cli.main(["data", "make", "a1k-standin", "--data", str(tmp_path)]) == 0
    assert "200 records of shape (64, 64, 3) in 100 classes" in capsys.readouterr().out


def test_class_names_are_printed_in_any_locale(tmp_path):
    pool = Pool.from_arrays("m", np.zeros((4, 2, 2)), [0, 1, 0, 1], ["Zoé", "雪"])
    write_archive(pool, tmp_path / "m.npz")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment = {**os.environ, **plain, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    argv = [sys.executable, "-m", "mia_utils", "data", "check", "m", "--data", tmp_path]
    said = subprocess.run(argv, env=environment, check=True, capture_output=True).stdout.decode()
    assert r"0 Zo\xe9" in said and r"1 \u96ea" in said
