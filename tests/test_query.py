"""Stored models asked about transformed records."""

from __future__ import annotations

import numpy as np
import pytest

from mia_utils import (
    InputError,
    LiRA,
    Outputs,
    Pool,
    TrainConfig,
    balanced_masks,
    independent_masks,
    query,
    train,
)
from mia_utils.defenses import temperature, top_k

CONFIG = TrainConfig(epochs=2, batch_size=16)


def trained(pool, folder, architecture="cnn", models=4):
    masks = balanced_masks(len(pool), models=models, seed=0)
    return train(pool, masks, architecture, CONFIG, store=folder, jobs=1, progress=False)


@pytest.fixture(scope="module")
def pool() -> Pool:
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    return Pool.from_arrays("toy", records, np.arange(64) % 4)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def outputs(pool, store):
    return trained(pool, store)


def answers(records, pool, outputs, store):
    """The slow way: all records at once, normalised and given to the models."""
    import torch

    from mia_utils import load_model
    from mia_utils.training.batches import Loader
    from mia_utils.training.epochs import score

    loader = Loader(np.ascontiguousarray(records), pool.labels, "cpu")
    with torch.no_grad():
        return np.stack([score(load_model(name, store)[0], loader) for name in outputs.names])


def test_an_unchanged_record_gets_the_stored_answer(pool, outputs, store):
    same = query(outputs, pool, lambda records: records, store=store)
    np.testing.assert_allclose(same.logits, outputs.logits, atol=1e-5)
    for field in ("labels", "members", "evaluated", "ids"):
        np.testing.assert_array_equal(getattr(same, field), getattr(outputs, field))
    assert same.fingerprint == outputs.fingerprint and same.names == outputs.names


def test_flip_and_shift_are_those_of_the_picture(pool, outputs, store):
    flipped = query(outputs, pool, "flip", store=store)
    mirrored = np.stack([np.fliplr(picture) for picture in pool.records])
    np.testing.assert_allclose(flipped.logits, answers(mirrored, pool, outputs, store), atol=1e-5)
    assert np.abs(flipped.logits - outputs.logits).max() > 1e-3
    shifted = query(outputs, pool, ("shift", 2, -1), store=store)
    moved = np.empty_like(pool.records)
    for y in range(8):
        for x in range(8):
            from_y, from_x = abs(y - 2), 7 - abs(7 - (x + 1))
            moved[:, y, x] = pool.records[:, from_y, from_x]
    np.testing.assert_allclose(shifted.logits, answers(moved, pool, outputs, store), atol=1e-5)


def test_noise_belongs_to_the_record_and_the_seed(pool, outputs, store):
    noisy = query(outputs, pool, ("noise", 0.2), store=store, seed=3)
    part = outputs.select(models=[2, 0], records=[40, 7])
    again = query(part, pool, ("noise", 0.2), store=store, seed=3)
    np.testing.assert_allclose(again.logits, noisy.logits[[2, 0]][:, [40, 7]], atol=1e-5)
    other = query(part, pool, ("noise", 0.2), store=store, seed=4)
    assert np.abs(other.logits - again.logits).max() > 1e-3
    still = query(part, pool, ("noise", 0), store=store)
    np.testing.assert_allclose(still.logits, part.logits, atol=1e-5)


def test_a_function_gets_plain_pictures_and_noise_stays_within_them(pool, outputs, store):
    seen = []

    def keep(records):
        seen.append(records)
        return records

    query(outputs.select(models=[0], records=[5, 6]), pool, keep, store=store)
    assert seen[0].dtype == np.float32
    np.testing.assert_array_equal(seen[0], pool.records[5:7])
    from mia_utils.engine.query import _noise

    wild = _noise(pool.records.astype(np.float32), np.arange(64), 3.0, 0)
    assert wild.min() == 0 and wild.max() == 255


def test_feature_rows_take_noise_and_functions(tmp_path):
    rng = np.random.default_rng(1)
    pool = Pool.from_arrays("rows", rng.normal(size=(40, 6)), np.arange(40) % 2)
    outputs = trained(pool, tmp_path, "mlp", models=2)
    doubled = query(outputs, pool, lambda rows: 2 * rows, store=tmp_path)
    expected = answers(2 * pool.records, pool, outputs, tmp_path)
    np.testing.assert_allclose(doubled.logits, expected, atol=1e-5)
    assert np.isfinite(query(outputs, pool, ("noise", 1.0), store=tmp_path).logits).all()
    for transform in ("flip", ("shift", 1, 1)):
        with pytest.raises(InputError, match="needs images; pool 'rows' has feature rows"):
            query(outputs, pool, transform, store=tmp_path)


def test_several_queries_go_to_lira(pool, outputs, store):
    flipped = query(outputs, pool, "flip", store=store)
    other = train(
        pool, independent_masks(64, models=1, seed=1), "cnn", CONFIG, store=store, progress=False
    )
    attack = LiRA().fit([outputs, flipped])
    scores = attack.score([other, query(other, pool, "flip", store=store)])
    assert scores.shape == (1, 64) and np.isfinite(scores).all()


def test_mistaken_inputs_are_named(pool, outputs, store, tmp_path):
    with pytest.raises(InputError, match="without names"):
        query(outputs.replace(names=()), pool, "flip", store=store)
    with pytest.raises(InputError, match="not from 'toy'"):
        query(outputs.replace(fingerprint=""), pool, "flip", store=store)
    with pytest.raises(InputError, match="not from 'toy'"):
        query(outputs, pool.subset(np.arange(63)), "flip", store=store)
    for wrong in ("mirror", "shift", ("shift", 8, 0), ("noise", -1), ("flip", 1), None, ()):
        with pytest.raises(InputError, match='transform is .*; expected "flip"'):
            query(outputs, pool, wrong, store=store)
    with pytest.raises(InputError, match=r"turned a batch of shape \(64, 8, 8, 3\)"):
        query(outputs, pool, lambda records: records[..., 0], store=store)
    with pytest.raises(InputError, match="no model .* train it first"):
        query(outputs, pool, "flip", store=tmp_path)


def test_masked_answers_cannot_be_asked_again_as_if_they_were_the_models(pool, store, outputs):
    masked = top_k(outputs, 1)
    assert masked.masked and masked.select(models=[0]).masked and not outputs.masked
    with pytest.raises(InputError, match="query the answers before the mask"):
        query(masked, pool, "flip", store=store)


def test_masked_answers_stay_so_in_a_file(outputs, tmp_path):
    for each in (outputs, temperature(outputs, 2.0)):
        assert Outputs.load(each.save(tmp_path / "a.npz")).masked == each.masked


def test_a_shift_is_held_against_the_side_along_which_it_goes(tmp_path):
    records = np.random.default_rng(0).integers(0, 256, (32, 8, 12, 3), dtype=np.uint8)
    wide = Pool.from_arrays("wide", records, np.arange(32) % 2)
    outputs = trained(wide, tmp_path, models=2)
    assert query(outputs, wide, ("shift", 0, 9), store=tmp_path).logits.shape == (2, 32, 2)
    for shift in ((9, 0), (-8, 0), (0, 12)):
        with pytest.raises(InputError, match="transform is"):
            query(outputs, wide, ("shift", *shift), store=tmp_path)
