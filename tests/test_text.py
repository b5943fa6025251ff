"""The small text generator: its corpus, its codes, and that repetition is what leaks."""

import numpy as np
import pytest

from mia_utils import InputError, auc
from mia_utils.text.characters import docstrings, encode, train_characters


def test_docstrings_are_of_one_length_and_all_different(tmp_path):
    (tmp_path / "a.py").write_text(
        '"""Hello,\n   wide world."""\ndef f():\n    """Hello, wide moon."""\n'
    )
    (tmp_path / "b.py").write_text(
        '"""Hello, wide world. And more."""\nclass C:\n    """Short."""\n'
    )
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "test").mkdir()
    (tmp_path / "test/c.py").write_text('"""Nobody reads the docstrings of tests."""')
    assert docstrings(15, root=tmp_path) == ["Hello, wide wor", "Hello, wide moo"]
    with pytest.raises(InputError, match="no docstring of 99 characters"):
        docstrings(99, root=tmp_path)


def test_this_python_has_enough_of_them():
    assert len(docstrings(128)) > 1000


def test_codes_can_be_read_back():
    codes, alphabet = encode(["abca", "ccab"])
    assert ["".join(alphabet[c - 1] for c in row) for row in codes] == ["abca", "ccab"]
    with pytest.raises(InputError, match="differ in length"):
        encode(["a", "ab"])


@pytest.fixture(scope="module")
def random_codes():
    return np.random.default_rng(0).integers(1, 9, (60, 24))


def test_random_texts_can_only_be_learned_by_heart(random_codes):
    members = np.arange(60) < 30
    losses = train_characters(random_codes, members, epochs=(1, 60), seed=0, context=8, width=64)
    assert set(losses) == {1, 60} and losses[1].shape == (60, 24)
    start, end = (auc(-losses[e].mean(axis=1), members) for e in (1, 60))
    assert end > 0.99 > start
    assert losses[1].mean() == pytest.approx(np.log(8), abs=0.3)


def test_the_same_seed_gives_the_same_model(random_codes):
    members = np.arange(60) < 30
    a, b, c = (
        train_characters(random_codes, members, epochs=(2,), seed=s, context=8, width=16)[2]
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_model_sees_nothing_of_what_it_predicts(random_codes):
    """Changing the last character changes no loss but its own."""
    changed = random_codes.copy()
    changed[:, -1] = changed[:, -1] % 8 + 1
    members = np.arange(60) < 30
    members_only = random_codes.copy()
    members_only[30:] = changed[30:]
    a = train_characters(random_codes, members, epochs=(1,), seed=0, context=8, width=16)[1]
    b = train_characters(members_only, members, epochs=(1,), seed=0, context=8, width=16)[1]
    np.testing.assert_array_equal(a[:, :-1], b[:, :-1])
    assert not np.array_equal(a[30:, -1], b[30:, -1])


@pytest.mark.parametrize("members", [np.zeros(60, bool), np.ones(59, bool), np.ones(60)])
def test_nobody_to_learn_from(random_codes, members):
    with pytest.raises(InputError, match="expected bool"):
        train_characters(random_codes, members, epochs=(1,), seed=0)
