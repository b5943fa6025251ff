"""Signals against plain formulas, and where plain formulas give up."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from mia_utils import InputError, Outputs, signals
from mia_utils.data import memory
from mia_utils.outputs import align


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (4, 30, 6)).astype(np.float32)


LABELS = np.arange(30) % 6


def of_label(values: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, np.broadcast_to(LABELS, (4, 30))[..., None], -1)[..., 0]


def test_signals_are_their_formulas(logits):
    z = logits.astype(np.float64)
    p, log_p = softmax(z, -1), log_softmax(z, -1)
    own = of_label(p)
    rest = p * np.log1p(-p)
    close = {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(signals.log_softmax(logits), log_p, **close)
    np.testing.assert_allclose(signals.loss(logits, LABELS), -of_label(log_p), **close)
    np.testing.assert_allclose(signals.margin(logits, LABELS), np.log(own / (1 - own)), rtol=1e-8)
    np.testing.assert_allclose(signals.confidence(logits), p.max(-1), **close)
    np.testing.assert_allclose(signals.entropy(logits), -(p * log_p).sum(-1), **close)
    expected = -(1 - own) * np.log(own) - (rest.sum(-1) - of_label(rest))
    np.testing.assert_allclose(signals.modified_entropy(logits, LABELS), expected, rtol=1e-8)
    np.testing.assert_array_equal(signals.correct(logits, LABELS), p.argmax(-1) == LABELS)


def test_certain_answers_still_rank_apart():
    """Losses of 1e-12 and 1e-300: a log-softmax calls both zero."""
    logits = np.array([[-np.log(1e-12), 0.0], [-np.log(1e-300), 0.0]])
    values = signals.loss(logits, np.array([0, 0]))
    np.testing.assert_allclose(values, [1e-12, 1e-300], rtol=1e-10)
    assert signals.log_confidence(logits)[0] < signals.log_confidence(logits)[1] < 0
    assert signals.entropy(logits)[0] > signals.entropy(logits)[1] > 0
    assert (log_softmax(logits, -1)[1, 0]) == 0


@pytest.mark.parametrize("scale", [1e3, 1e30, 3e38])
def test_nothing_overflows(scale):
    logits = np.array([[scale, -scale, 0.0], [-scale, scale, 0.0]], np.float32)
    labels = np.array([0, 0])
    for values in (
        signals.loss(logits, labels),
        signals.entropy(logits),
        signals.modified_entropy(logits, labels),
        signals.log_confidence(logits),
    ):
        assert np.isfinite(values).all()


OF_LABEL = (signals.loss, signals.margin, signals.modified_entropy, signals.correct)
OF_ANSWER = (signals.entropy, signals.confidence, signals.log_confidence, signals.log_sum_exp)


@pytest.mark.parametrize("signal", [*OF_LABEL, *OF_ANSWER])
@pytest.mark.parametrize("kind", ["usual", "rounded", "one sure class"])
def test_the_order_of_classes_and_of_memory_changes_no_bit(signal, kind):
    rng = np.random.default_rng(0)
    z = rng.normal(0, 4, (60, 10)).astype(np.float32)
    if kind == "rounded":  # many answers hold the same numbers in another order, and ties
        z = np.log(np.maximum(softmax(z, -1).round(1), 1e-12)).astype(np.float32)
    if kind == "one sure class":
        z = np.log(np.full((60, 10), 1e-12))
        z[np.arange(60), np.arange(60) % 10] = 0
    labels = rng.integers(0, 10, 60)

    def read(logits, labels):
        return signal(logits, labels) if signal in OF_LABEL else signal(logits)

    expected = read(z, labels)
    order = rng.permutation(10)
    np.testing.assert_array_equal(read(z[:, order], np.argsort(order)[labels]), expected)
    np.testing.assert_array_equal(read(np.asfortranarray(z), labels), expected)
    records = rng.permutation(60)
    np.testing.assert_array_equal(read(z[records], labels[records]), expected[records])
    np.testing.assert_array_equal(
        [read(*one).item() for one in zip(z, labels, strict=True)], expected
    )


def test_answers_that_hold_the_same_numbers_tie():
    """On outputs rounded to one digit the entropy's AUC was 0.6929, reversed 0.6981: ties were
    broken by the class."""
    p = np.array([1, *[1e-12] * 9])
    rows = np.log(np.stack([np.roll(p, shift) for shift in range(10)]))
    for signal in (signals.entropy, signals.log_confidence, signals.log_sum_exp):
        assert np.unique(signal(rows)).size == 1
    for signal in (signals.loss, signals.margin, signals.modified_entropy):
        assert np.unique(signal(rows, np.arange(10))).size == 1


def test_a_tie_is_not_right_whichever_class_comes_first():
    for labels in (0, 1, 2):
        assert not signals.correct(np.array([1.0, 1.0, 0.0]), np.array(labels))
    assert signals.correct(np.array([0.0, 1.0, 0.5]), np.array(1))


def outputs(**changes) -> Outputs:
    fields = {
        "logits": np.zeros((2, 3, 4), np.float32),
        "labels": np.array([0, 1, 3]),
        "members": np.zeros((2, 3), bool),
        "fingerprint": "a",
    }
    return Outputs(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"logits": np.zeros((2, 5), np.float32)}, r"logits have shape \(2, 5\)"),
        ({"logits": np.full((2, 3, 4), np.nan, np.float32)}, "NaN or infinity, first at record 0"),
        ({"logits": np.zeros((2, 3, 4), int)}, "dtype"),
        ({"labels": np.array([0, 1, 4])}, r"labels run from 0 to 4"),
        ({"labels": np.array([0, 1])}, "there are 2 labels"),
        ({"members": np.zeros((2, 2), bool)}, "members has shape"),
        ({"members": np.full((2, 3), 0.5)}, "members have dtype float64 and hold 0.5"),
        ({"evaluated": np.zeros((3, 2), bool)}, "evaluated has shape"),
        ({"ids": np.array([1, 1, 2])}, "ids repeat"),
        ({"names": ("one",)}, "1 names for 2 models"),
    ],
)
def test_outputs_that_do_not_fit(changes, word):
    with pytest.raises(InputError, match=word):
        outputs(**changes)


def test_outputs_come_back_from_disk(tmp_path):
    given = outputs(names=("x", "y"), ids=np.array([5, 7, 9]))
    got = Outputs.load(given.save(tmp_path / "o.npz"))
    for name in ("logits", "labels", "members", "evaluated", "ids", "fingerprint", "names"):
        np.testing.assert_array_equal(getattr(got, name), getattr(given, name))
    assert [path.name for path in tmp_path.iterdir()] == ["o.npz"]
    part = got.select(models=1, records=[0, 2])
    assert part.names == ("y",) and part.ids.tolist() == [5, 9] and len(part) == 1


def test_archives_that_are_none(tmp_path):
    with pytest.raises(InputError, match="no file"):
        Outputs.load(tmp_path / "nothing.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="cannot be read"):
        Outputs.load(tmp_path / "broken.npz")
    np.savez(tmp_path / "half.npz", logits=np.zeros((1, 1, 2), np.float32))
    with pytest.raises(InputError, match="lacks"):
        Outputs.load(tmp_path / "half.npz")


def stored(path, **changes):
    """The archive of one `Outputs`, with some arrays replaced; an array as bytes is written as such."""
    arrays = {
        "logits": np.zeros((1, 2, 2), np.float32),
        "labels": np.arange(2),
        "members": [[1, 0]],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (arrays | changes).items():
            content = io.BytesIO()
            if not isinstance(array, bytes):
                np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue() or array)
    return path


def claiming(shape, payload):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return header.getvalue() + payload


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"labels": np.array([{}, {}])}, "allow_pickle"),
        ({"logits": claiming((10**6, 100, 100), b"1234")}, "should have 40,000,000,000 bytes"),
        ({"meta": np.array("[]")}, "no JSON object"),
        ({"meta": np.array("{")}, "cannot be read"),
    ],
)
def test_archives_that_would_do_harm(changes, words, tmp_path):
    with pytest.raises(InputError, match=words):
        Outputs.load(stored(tmp_path / "o.npz", **changes))


def test_an_archive_that_unpacks_to_more_than_memory_is_not_unpacked(tmp_path, monkeypatch):
    path = stored(tmp_path / "o.npz", logits=np.zeros((1, 2, 2_000_000), np.float32))
    assert path.stat().st_size < 1e5
    monkeypatch.setattr(memory, "physical_memory", lambda: 10_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"o.npz takes .* save fewer models"):
            Outputs.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"fingerprint": "b"}, "different pools"),
        ({"ids": np.array([2, 1, 0])}, "different record ids"),
        ({"labels": np.array([0, 1, 2])}, "different labels"),
        ({"logits": np.zeros((2, 3, 5), np.float32)}, "4 and 5 classes"),
    ],
)
def test_records_that_do_not_align(changes, word):
    align(outputs(), outputs())
    with pytest.raises(InputError, match=word):
        align(outputs(), outputs(**changes))
