"""The stand-in for A1K is a folder that is read like any other."""

from __future__ import annotations

import numpy as np

from mia_utils.data import Pool, load_dataset
from mia_utils.data.standin import NAME, write_standin


def test_the_stand_in_is_an_image_folder_of_64_pixels(tmp_path):
    records = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    pool = Pool.from_arrays("p", records, np.arange(40) % 2, ("a", "b"))
    write_standin(pool, tmp_path / NAME, per_class=10)
    made = load_dataset(NAME, tmp_path)
    assert made.shape == (64, 64, 3) and made.classes == ("a", "b")
    assert np.bincount(made.labels).tolist() == [10, 10] and made.train.sum() == 18
    # Enlarged, not replaced: averaged back, an image is nearly its original.
    small = made.records.reshape(20, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    distances = np.abs(small[0] - records.astype(float)).mean(axis=(1, 2, 3))
    first, second = np.sort(distances)[:2]
    assert first < 0.7 * second and distances.argmin() % 2 == made.labels[0]


def test_a_stand_in_that_is_there_is_not_written_again(tmp_path):
    records = np.zeros((8, 32, 32, 3), dtype=np.uint8)
    pool = Pool.from_arrays("p", records, np.arange(8) % 2)
    (tmp_path / NAME).mkdir()
    write_standin(pool, tmp_path / NAME)
    assert not list((tmp_path / NAME).iterdir())
