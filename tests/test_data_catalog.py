"""Data sets by name: inside the package, downloaded, missing."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets

from mia_utils.data import (
    Pool,
    at_hand,
    data_root,
    download,
    load_dataset,
    make_embedded,
    open_pool,
    quarters,
    write_archive,
)
from mia_utils.data.catalog import CATALOG, EMBEDDED, title
from mia_utils.errors import InputError


def test_cifar10_mini():
    pool = load_dataset("cifar10-mini")
    assert (len(pool), pool.shape, len(pool.classes)) == (2000, (32, 32, 3), 10)
    assert pool.classes[:2] == ("airplane", "automobile") and 0 < pool.train.sum() < 2000
    assert len(np.unique(pool.records.reshape(2000, -1), axis=0)) == 2000
    assert make_embedded.TARGET.stat().st_size <= 6e6
    for part in quarters(pool.labels, seed=1).values():
        assert np.bincount(pool.labels[part]).tolist() == [50] * 10


def test_digits():
    pool = load_dataset("digits")
    assert (len(pool), pool.shape, len(pool.classes)) == (1797, (8, 8, 1), 10)
    assert pool.records.max() == 255 and pool.records.min() == 0
    assert pool.train[:1500].all() and not pool.train[1500:].any()


@pytest.mark.parametrize(
    "name, fingerprint",
    [
        ("digits", "3fc9bad05513d26598c23d042e903b6cfd6bdf75eb89cba0e34187f16af63088"),
        ("cifar10-mini", "e7cde3a15f42081efd031cb0c4716d84cdf117b04b7eebd96288501cb87926ec"),
    ],
)
def test_published_pools_keep_their_fingerprints(name, fingerprint):
    """Stored models and committed records rest on them."""
    assert load_dataset(name).fingerprint == fingerprint


def test_published_samples_keep_their_records():
    few = load_dataset("cifar10-mini").sample(500, seed=0)
    assert few.fingerprint == "4a279b8932876b9d12bde15df5764a33348b9ec3a6cc96d8ec04a2d061932774"


@pytest.mark.parametrize("name", ["digits", "cifar10-mini"])
def test_sets_inside_the_package_reopen_anywhere(name, tmp_path, monkeypatch):
    pool = load_dataset(name, tmp_path)  # no root needed, none made
    monkeypatch.chdir(tmp_path)
    again = open_pool(pool.path)
    assert (again.name, again.path, again.fingerprint) == (name, pool.path, pool.fingerprint)
    assert not list(tmp_path.iterdir())


def test_the_embedded_draw_is_balanced_and_seeded():
    labels = np.repeat(np.arange(10), 600)
    images = (np.arange(6000, dtype=np.int64)[:, None, None] >> np.array([0, 8])) % 256
    cifar10 = Pool.from_arrays("cifar10", images, labels)
    mini = make_embedded.draw(cifar10)
    assert np.bincount(mini.labels).tolist() == [200] * 10 and mini.name == "cifar10-mini"
    assert len(np.unique(mini.records.reshape(2000, -1), axis=0)) == 2000
    assert len(np.unique(mini.labels[:100])) == 10  # in mixed order
    assert mini.fingerprint == make_embedded.draw(cifar10).fingerprint
    assert mini.fingerprint != make_embedded.draw(cifar10, seed=1).fingerprint


def test_the_embedded_archive_is_made_from_the_cifar10_at_hand(tmp_path):
    labels = np.repeat(np.arange(10), 201)
    cifar10 = Pool.from_arrays("cifar10", np.zeros((2010, 4, 4), np.uint8), labels)
    write_archive(cifar10, tmp_path / "cifar10.npz")
    made = make_embedded.write(tmp_path, tmp_path / "mini.npz")
    assert made.fingerprint == make_embedded.draw(cifar10).fingerprint
    assert load_dataset("mini", tmp_path).fingerprint == made.fingerprint


def test_the_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MIA_DATA", str(tmp_path))
    assert data_root() == tmp_path and data_root("/else") == data_root("/else").absolute()
    np.savez(tmp_path / "mine.npz", images=np.zeros((4, 2, 2), np.uint8), labels=[0, 1, 0, 1])
    assert load_dataset("mine").path == str(tmp_path / "mine.npz")
    monkeypatch.delenv("MIA_DATA")
    assert data_root().parts[-3:] == (".cache", "mia", "data")
    monkeypatch.chdir(tmp_path.parent)
    assert load_dataset("mine", tmp_path.name).path == str(
        tmp_path / "mine.npz"
    )  # for other folders


@pytest.mark.parametrize(
    "name, given, words",
    [
        (
            "nosuch",
            {},
            "no data set 'nosuch': looked for .*nosuch.npz.*nosuch/train/; known without files: c",
        ),
        (
            "mnist",
            dict(download=False),
            "no data set 'mnist': looked for .*mnist.npz.*mia data make",
        ),
        ("../mnist", {}, "'../mnist' is not the name"),
        ("", {}, "'' is not the name"),
        (".", {}, "'.' is not the name"),
        ("digits", dict(on_damaged="ignore"), "on_damaged='ignore'; expected 'error' or 'skip'"),
        ("digits", dict(size=16), "size=16 was asked for"),
        ("digits", dict(size=0), "size=0; expected"),
        ("digits", dict(size="8"), "size='8'; expected"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path, name, given, words):
    with pytest.raises(InputError, match=words) as error:
        load_dataset(name, tmp_path, **given)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


@pytest.fixture
def stand_in(monkeypatch):
    """torchvision's MNIST and CIFAR10, 100 times smaller and without a network."""

    def make(kind, shape, counts, classes):
        def dataset(root, train, download):
            assert download and os.path.isdir(root)
            open(os.path.join(root, f"raw-{train}"), "w", encoding="utf-8").close()
            rng = np.random.default_rng(train)
            count = counts[0] if train else counts[1]
            return SimpleNamespace(
                data=rng.integers(0, 256, (count, *shape), dtype=np.uint8),
                targets=[number % classes for number in range(count)],
                classes=[f"{number} - some" for number in range(classes)],
            )

        monkeypatch.setattr(torchvision.datasets, kind, dataset)

    make("MNIST", (28, 28), (600, 100), 10)
    make("CIFAR10", (32, 32, 3), (500, 101), 10)
    small = {
        name: replace(CATALOG[name], records=CATALOG[name].records // 100, train=train // 100)
        for name, train in (("mnist", 60_000), ("cifar10", 50_000))
    }
    monkeypatch.setattr(download, "CATALOG", small)


def test_a_download_becomes_an_archive(tmp_path, stand_in):
    root = tmp_path / "new"
    pool = load_dataset("mnist", root)
    assert (len(pool), pool.shape, pool.train.sum()) == (700, (28, 28, 1), 600)
    assert pool.classes[9] == "9" and pool.train[:600].all()
    assert [path.name for path in root.iterdir()] == ["mnist.npz"]
    again = load_dataset("mnist", root, download=False)
    assert again.fingerprint == pool.fingerprint and again.path == pool.path


def test_a_download_of_another_shape_is_refused(tmp_path, stand_in):
    with pytest.raises(
        InputError, match=r"cifar10: torchvision gave images uint8 \(101, 32, 32, 3\)"
    ):
        load_dataset("cifar10", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error, words",
    [
        (
            URLError("no route\nto host"),
            "cifar100: download failed .*no route to host.*cifar100.npz",
        ),
        (RuntimeError("File not found or corrupted."), "download failed .*corrupted"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no space left"),
    ],
)
def test_a_download_that_fails(tmp_path, monkeypatch, error, words):
    def fails(*given, **more):
        raise error

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", fails)
    with pytest.raises(InputError, match=words) as raised:
        load_dataset("cifar100", tmp_path)
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


def test_a_failed_download_leaves_no_folder_behind(tmp_path, monkeypatch):
    def fails(*given, **more):
        raise URLError("no route")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fails)
    with pytest.raises(InputError, match="download failed"):
        load_dataset("mnist", tmp_path / "new/data")
    assert not list(tmp_path.iterdir())
    (tmp_path / "data").mkdir()  # but what was there stays
    with pytest.raises(InputError, match="download failed"):
        load_dataset("mnist", tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_without_torchvision_a_download_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match="mnist: downloading needs torchvision .*mnist.npz there"):
        load_dataset("mnist", tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_the_catalog_says_what_the_embedded_sets_are():
    for name in EMBEDDED:
        pool, facts = load_dataset(name), CATALOG[name]
        found = (pool.shape, len(pool.classes), len(pool), pool.train.sum())
        assert found == (facts.shape, facts.classes, facts.records, facts.train)


def test_the_catalog_says_what_the_reports_sets_are():
    """Krizhevsky (2009), LeCun et al. (1998) and section 4.2 of the report."""
    known = {name: (f.shape, f.classes, f.records, f.train) for name, f in CATALOG.items()}
    assert known["mnist"] == ((28, 28, 1), 10, 70_000, 60_000)
    assert known["cifar10"] == ((32, 32, 3), 10, 60_000, 50_000)
    assert known["cifar100"] == ((32, 32, 3), 100, 60_000, 50_000)
    assert known["a1k"] == ((64, 64, 3), 1_000, 95_134, None)
    assert title("a1k") == "A1K" and title("mine") == "mine"


@pytest.mark.parametrize("name", [2024, 1, True, 1e3, None, b"digits", ["digits"]])
def test_a_name_that_is_no_text_says_how_to_write_one(tmp_path, name):
    with pytest.raises(InputError, match=r'a text, .* is of type .*"2024".*-r dataset 2024') as e:
        load_dataset(name, tmp_path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["2024", "001", "True", "1e3", "Zoé's faces", "a.b"])
def test_data_sets_may_be_named_like_numbers(tmp_path, name):
    np.savez(tmp_path / f"{name}.npz", images=np.zeros((4, 2, 2), np.uint8), labels=[0, 1, 0, 1])
    assert load_dataset(name, tmp_path).name == name


@pytest.mark.parametrize("name", ["a\0b", "digits\n", "x" * 300, "a/b", "..", ".hidden"])
def test_what_cannot_be_a_file_name_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="is not the name of a data set") as error:
        load_dataset(name, tmp_path)
    assert "\n" not in str(error.value)


def test_a_file_name_is_no_name(tmp_path):
    with pytest.raises(InputError, match="leave the ending out; the name is 'mine'"):
        load_dataset("mine.npz", tmp_path)
    with pytest.raises(
        InputError, match="'data/mine' is not the name .*root=, --data, or MIA_DATA"
    ):
        load_dataset("data/mine", tmp_path)


def test_an_own_set_under_an_embedded_name_is_not_passed_over_in_silence(tmp_path):
    np.savez(tmp_path / "digits.npz", images=np.zeros((4, 2, 2), np.uint8), labels=[0, 1, 0, 1])
    with pytest.warns(UserWarning, match="digits.npz is not read: give it another name"):
        assert len(load_dataset("digits", tmp_path)) == 1797


@pytest.mark.parametrize("name, meant", [("CIFAR-10", "cifar10"), ("minst", "mnist")])
def test_a_name_that_is_nearly_known_names_the_known_one(tmp_path, name, meant):
    with pytest.raises(InputError, match=f"did you mean '{meant}'"):
        load_dataset(name, tmp_path)


def test_a_folder_of_another_layout_is_named_with_what_it_holds(tmp_path):
    for name in ("cat", "dog", "elk", "fox"):
        (tmp_path / "pets" / name).mkdir(parents=True)
    with pytest.raises(
        InputError, match="pets holds cat, dog, elk, ...; expected the folder train"
    ):
        load_dataset("pets", tmp_path)


@pytest.mark.parametrize(
    "name, words", [("a1k", "only participants"), ("a1k-standin", "data make")]
)
def test_sets_that_are_not_downloaded_say_where_they_come_from(tmp_path, name, words):
    with pytest.raises(InputError, match=words):
        load_dataset(name, tmp_path)


@pytest.mark.parametrize("link", ["mnist.npz", "mnist"])
def test_a_link_to_nowhere_is_named_and_not_downloaded_over(tmp_path, link):
    (tmp_path / link).symlink_to(tmp_path / "unmounted")
    with pytest.raises(InputError, match=f"{link}: a link to .*unmounted, where nothing is"):
        load_dataset("mnist", tmp_path)
    assert (tmp_path / link).is_symlink()


def test_what_is_at_hand(tmp_path):
    np.savez(tmp_path / "mine.npz", images=np.zeros((4, 2, 2), np.uint8), labels=[0, 1, 0, 1])
    (tmp_path / "mine/train").mkdir(parents=True)  # the archive comes first
    (tmp_path / "faces/train").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / ".0123.killed.npz").touch()
    (tmp_path / ".decoding/train").mkdir(parents=True)
    found = at_hand(tmp_path)
    assert not [name for name in found if name.startswith(".")]
    assert set(found) == {"mine", "faces", *EMBEDDED} and found["mine"].endswith("mine.npz")
    assert set(at_hand(tmp_path / "nowhere")) == set(EMBEDDED)


def test_a_link_to_an_archive_is_followed(tmp_path):
    (tmp_path / "far").mkdir()
    np.savez(tmp_path / "far/x.npz", images=np.zeros((4, 2, 2), np.uint8), labels=[0, 1, 0, 1])
    (tmp_path / "mine.npz").symlink_to(tmp_path / "far/x.npz")
    assert load_dataset("mine", tmp_path).name == "mine"
