"""Pools: what arrays become, fingerprints, subsets, refusals."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mia_utils.data import Pool
from mia_utils.data import pool as pool_module
from mia_utils.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def make(records=IMAGES, labels=LABELS, **given) -> Pool:
    return Pool.from_arrays("some", records, labels, **given)


def test_arrays_become_a_pool():
    pool = make(train=LABELS > 0, classes=["a", "b", "c"])
    assert pool.records is IMAGES and pool.labels.dtype == np.int64 and pool.train.sum() == 8
    assert (len(pool), pool.shape, pool.is_image, pool.path) == (12, (4, 5, 3), True, None)
    assert pool.classes == ("a", "b", "c") and make().classes == ("0", "1", "2")
    assert make().train.all()


def test_grey_images_get_their_channel():
    assert make(IMAGES[..., 0]).shape == (4, 5, 1)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(hnp.arrays(np.uint8, (3, 4, 4)), st.sampled_from([np.float16, np.float32, np.float64]))
def test_float_images_round_trip(images, kind):
    pool = make((images / 255).astype(kind), [0, 1, 2])
    assert pool.records.dtype == np.uint8
    np.testing.assert_array_equal(pool.records[..., 0], images)


def test_floats_between_levels_go_to_the_nearer():
    levels = np.array([0, 0.4, 0.6, 99.4, 99.6, 254.6]).reshape(1, 2, 3) / 255
    assert make(levels, [0]).records.ravel().tolist() == [0, 0, 1, 99, 100, 255]


def test_other_integers_and_features():
    np.testing.assert_array_equal(make(IMAGES.astype(np.int64)).records, IMAGES)
    for rows in (np.eye(12, 7), np.eye(12, 7, dtype=bool), np.eye(12, 7, dtype=np.int8)):
        pool = make(rows)
        assert pool.records.dtype == np.float32 and pool.shape == (7,) and not pool.is_image


def put(array, where, value):
    array = np.array(array, dtype=float)
    array[where] = value
    return array


@pytest.mark.parametrize(
    "changed, words",
    [
        (dict(records=put(IMAGES / 255, (7, 1, 2, 0), np.nan)), "record 7 holds nan"),
        (dict(records=put(IMAGES / 255, (7, 1, 2, 0), np.inf)), "record 7 holds inf"),
        (dict(records=put(IMAGES / 255, (7, 1, 2, 0), -0.01)), "record 7 holds -0.01"),
        (dict(records=put(IMAGES * 0, (5, 1, 2, 0), 255.0)), "record 5 holds 255.*divide by 255"),
        (dict(records=IMAGES.astype(int) * 2), "integer images hold 0 to"),
        (dict(records=IMAGES > 9), "type bool"),
        (dict(records=IMAGES.transpose(0, 3, 1, 2)), "channels come last"),
        (dict(records=IMAGES[:, 0, 0, 0]), "have shape"),
        (dict(records=IMAGES[:0], labels=LABELS[:0]), "have shape"),
        (dict(records=put(np.ones((12, 3)), (4, 0), np.inf)), "record 4 are not finite"),
        (dict(records=np.full((12, 3), "x")), "expected numbers"),
        (dict(labels=LABELS[:-1]), "12 records but 11 labels"),
        (dict(labels=LABELS + 0.5), "labels are float64 and hold 0.5; expected integers"),
        (dict(labels=[None] * 12), "labels: list of dtype object"),
        (dict(labels=LABELS[:, None]), r"shape \(12, 1\)"),
        (dict(labels=LABELS - 1), "label -1 of record 0 is out of range"),
        (dict(classes=["a", "b"]), "label 2 of record 2 is out of range; expected 0 to 1"),
        (dict(labels=LABELS + 1000), "label 1002 with 12 records"),
        (dict(train=LABELS), "train have dtype int64 and hold 2; expected bool, or 0 and 1"),
        (dict(train=LABELS[:-1] > 0), r"shape \(11,\)"),
    ],
)
def test_what_does_not_fit_is_one_line(changed, words):
    with pytest.raises(InputError, match=words) as error:
        make(**changed)
    assert "\n" not in str(error.value)


def test_the_bad_record_is_named_in_a_later_block(monkeypatch):
    monkeypatch.setattr(pool_module, "_BLOCK", 1000)
    np.testing.assert_array_equal(make(IMAGES / 255).records, IMAGES)
    with pytest.raises(InputError, match="record 11 holds 2 "):
        make(put(IMAGES / 255, (11, 0, 0, 0), 2))
    monkeypatch.setattr(pool_module, "_BLOCK", 30)
    with pytest.raises(InputError, match="features of record 11 are not finite"):
        make(put(np.ones((12, 3)), (11, 2), np.nan))


def test_fingerprint_tells_every_difference(monkeypatch):
    images = IMAGES.copy()
    images[-1, -1, -1, -1] ^= 1
    pools = [
        make(),
        make(images),
        make(IMAGES.reshape(12, 5, 4, 3)),
        make(IMAGES.reshape(12, 60)),
        make(labels=LABELS[::-1]),
        make(classes=["a", "b", "c"]),
        make(classes=["a", "b", "c", "d"]),
        make().subset(np.arange(11)),
        make().subset(np.arange(12)[::-1]),
    ]
    assert len({pool.fingerprint for pool in pools}) == len(pools)
    whole = pools[0].fingerprint
    monkeypatch.setattr(pool_module, "_BLOCK", 100)
    assert make().fingerprint == whole  # whatever the blocks
    assert make(np.asfortranarray(IMAGES)).fingerprint == whole  # and the memory layout
    assert make(train=LABELS > 0).fingerprint == whole  # the public split decides no training


def test_fingerprint_is_computed_once(monkeypatch):
    pool = make()
    first = pool.fingerprint
    monkeypatch.setattr(pool_module.hashlib, "sha256", None)
    assert pool.fingerprint == first


def test_subset():
    pool = make(train=LABELS > 0)
    part = pool.subset([5, 1, 1], "part")
    np.testing.assert_array_equal(part.records, IMAGES[[5, 1, 1]])
    assert (part.name, part.path, part.classes) == ("part", None, pool.classes)
    assert part.labels.tolist() == [2, 1, 1] and part.train.all()
    assert pool.subset(LABELS == 1).labels.tolist() == [1] * 4
    assert pool.subset(LABELS == 1).name == "some"


@pytest.mark.parametrize("index", [[12], [-1], [], [[0]], [0.5], LABELS[:-1] > 0])
def test_subset_refuses_what_is_not_there(index):
    with pytest.raises(InputError):
        make().subset(index)


def test_sample_keeps_the_order_and_repeats_nothing():
    pool = make()
    few = pool.sample(5, seed=0)
    rows = [int(np.flatnonzero((pool.records == r).all(axis=(1, 2, 3)))[0]) for r in few.records]
    assert rows == sorted(set(rows)) and len(few) == 5
    assert pool.sample(5, seed=0).fingerprint == few.fingerprint
    assert any(pool.sample(5, seed=s).fingerprint != few.fingerprint for s in (1, 2, 3))
    assert pool.sample(len(pool), seed=0).fingerprint == pool.fingerprint


def test_a_sample_larger_than_the_pool_is_the_pool_and_says_so():
    pool = make()
    with pytest.warns(UserWarning, match="some has 12 records, fewer than the 500 asked for: all"):
        assert pool.sample(500, seed=0) is pool


@pytest.mark.parametrize("count", [0, -1, 2.5, "5", None, True])
def test_a_sample_of_no_number_is_refused(count):
    with pytest.raises(InputError, match=f"count={count!r}; expected an integer of at least 1"):
        make().sample(count, seed=0)


def test_class_counts():
    counts = make(train=np.arange(12) < 5, classes=["a", "b", "c", "none"]).class_counts()
    assert counts.tolist() == [[2, 2], [2, 2], [1, 3], [0, 0]]


def test_tensors_frames_and_whole_numbers_are_read():
    tensor = torch.tensor(IMAGES / 255, dtype=torch.float32, requires_grad=True)
    labels = torch.tensor(LABELS, dtype=torch.int32)
    pool = make(tensor, labels, train=torch.tensor(LABELS > 0))
    plain = make(IMAGES, LABELS, train=LABELS > 0)
    assert pool.fingerprint == plain.fingerprint and (pool.train == plain.train).all()
    assert make(labels=LABELS * 1.0, train=(LABELS > 0) * 1).fingerprint == plain.fingerprint
    assert make(labels=LABELS > 0).labels.tolist() == [0, 1, 1] * 4
    frame = pd.DataFrame({"a": range(12), "b": np.arange(12) / 2})
    assert make(frame, pd.Series(LABELS)).shape == (2,)
    assert make(torch.ones(12, 3, dtype=torch.bfloat16)).records.dtype == np.float32


@pytest.mark.parametrize(
    "changed, line",
    [
        (dict(labels=np.eye(3)[LABELS]), "labels.argmax(axis=1)"),
        (dict(labels=LABELS[:, None]), "labels[:, 0]"),
        (dict(labels=np.array(list("abc"))[LABELS]), "np.unique(labels, return_inverse=True)"),
        (dict(records=np.concatenate([IMAGES, IMAGES[..., :1]], axis=3)), "[..., :3]"),
        (dict(records=IMAGES.astype(np.uint16) * 257), "images >> 8"),
        (dict(records=[np.zeros((2, 2)), np.zeros((3, 3))]), "expected one array"),
        (dict(classes={"a": 1, "b": 0, "c": 2}), "sorted(classes, key=classes.get)"),
        (dict(classes="abc"), "expected a list of names"),
        (dict(classes={"a", "b", "c"}), "expected a list of names"),
        (dict(classes=3), "expected a list of names"),
        (dict(classes=["a", "b", "a"]), "classes hold 'a' more than once"),
        (dict(classes=np.array("abc")), "expected a list of names"),
    ],
)
def test_what_is_common_elsewhere_is_refused_with_the_line_to_write(changed, line):
    with pytest.raises(InputError) as error:
        make(**changed)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_numbers_that_are_no_labels_get_no_wrong_advice():
    for labels in (LABELS + 0.5, np.eye(3)[LABELS] / 2 + 0.1):
        with pytest.raises(InputError) as error:
            make(labels=labels)
        assert "use labels" not in str(error.value) and "argmax" not in str(error.value)


def test_class_names_are_texts_of_one_line():
    names = [b"caf\xc3\xa9", "two\nlines", "Zoé \u3000\U0001f600"]
    pool = make(classes=names)
    assert pool.classes == ("café", "two\\nlines", "Zoé \u3000\U0001f600")
    assert make(classes=np.array([b"a", b"b", b"c"])).classes == ("a", "b", "c")
    assert make(classes=["a\u2028b", "\udcfc", "\x85"]).classes == ("a\\u2028b", "\\udcfc", "\\x85")


def test_features_beyond_float32_are_refused_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="record 4 are not finite"):
            make(put(np.ones((12, 3)), (4, 0), 1e300))
