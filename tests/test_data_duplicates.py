"""Copies of records: every exact one, and every pair of images within a distance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_utils.data import duplicates as module
from mia_utils.data import load_dataset
from mia_utils.data.duplicates import first_copies, near_copies
from mia_utils.errors import InputError

RNG = np.random.default_rng(0)


def test_first_copies_of_images_and_rows():
    images = RNG.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
    images[[2, 5]] = images[0]
    images[4] = images[3]
    assert first_copies(images).tolist() == [0, 1, 0, 3, 3, 0]
    images[5, 3, 4, 2] ^= 1
    assert first_copies(images).tolist() == [0, 1, 0, 3, 3, 5]
    assert first_copies(np.asfortranarray(images)).tolist() == [0, 1, 0, 3, 3, 5]


def test_the_embedded_images_hold_no_copy():
    for name in ("cifar10-mini", "digits"):
        records = load_dataset(name).records
        assert (first_copies(records) == np.arange(len(records))).all()


def by_hand(images: np.ndarray, within: float) -> list[list[int]]:
    pixels = images.reshape(len(images), -1).astype(float)
    pairs = itertools.combinations(range(len(images)), 2)
    return [[i, j] for i, j in pairs if np.sqrt(((pixels[i] - pixels[j]) ** 2).mean()) <= within]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.floats(0.5, 60), st.data()
)
def test_no_near_pair_is_missed_and_none_is_added(height, width, channels, within, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    images = rng.integers(60, 190, (12, height, width, channels))
    for copy in range(6, 12):  # some further away than `within`, some less, some not at all
        noise = rng.normal(0, rng.choice([0, within / 2, within, 2 * within]), images[0].shape)
        images[copy] = np.clip(images[copy - 6] + np.rint(noise), 0, 255)
    images = images.astype(np.uint8)
    assert near_copies(images, within=within).tolist() == by_hand(images, within)


def test_near_pairs_in_several_blocks(monkeypatch):
    images = RNG.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    images[20:] = images[:20] ^ 1
    whole = near_copies(images)
    assert whole.tolist() == [[i, i + 20] for i in range(20)]
    monkeypatch.setattr(module, "_ROWS", 7)
    assert (near_copies(images) == whole).all()


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(module, "_MOST_PAIRS", 44)
    with pytest.raises(InputError, match="45 pairs of images .* too many"):
        near_copies(np.zeros((10, 8, 8, 1), np.uint8))
    monkeypatch.setattr(module, "_MOST_PAIRS", 45)
    assert len(near_copies(np.zeros((10, 8, 8, 1), np.uint8))) == 45


def test_a_pair_at_exactly_the_distance_is_near():
    images = np.full((2, 8, 8, 3), 100, np.uint8)
    images[1] += 8
    assert near_copies(images).tolist() == [[0, 1]]
    images[1] += 1
    assert near_copies(images).tolist() == []
