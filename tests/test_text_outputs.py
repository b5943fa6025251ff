"""`TokenOutputs`: shapes that are taken, what is refused with one line, files that are mapped."""

import numpy as np
import pytest

from mia_utils import InputError
from mia_utils.text.outputs import TokenOutputs

LENGTHS = (3, 2, 5)
OFFSETS = [0, 3, 5, 10]
TEXTS = ("a b c", "", "Ünïcode \ud800 e")


def full(**changes) -> TokenOutputs:
    """Two models, three documents, every field."""
    rng = np.random.default_rng(0)
    fields = dict(
        log_probs=-rng.random((2, 10)).astype(np.float32),
        offsets=OFFSETS,
        members=[[1, 0, 1], [0, 1, 0]],
        evaluated=[[1, 1, 0], [1, 1, 1]],
        ids=["x", "y", "z"],
        mean=-rng.random((2, 10)).astype(np.float32),
        std=rng.random((2, 10)).astype(np.float32),
        ranks=rng.integers(0, 9, (2, 10)),
        texts=TEXTS,
        lowercase_log_probs=-rng.random((2, 3)),
        neighbour_log_probs=-rng.random((2, 3, 4)),
        groups={"year": [2001, 2002, 2003]},
        names=("a", "b"),
        fingerprint="corpus",
    )
    return TokenOutputs(**fields | changes)


def fields_of(outputs: TokenOutputs) -> dict:
    return {k: v for k, v in vars(outputs).items() if k != "groups"} | {
        f"group {k}": v for k, v in outputs.groups.items()
    }


def assert_same(a: TokenOutputs, b: TokenOutputs) -> None:
    mine, other = fields_of(a), fields_of(b)
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(other[name]), err_msg=name)


def test_lists_of_documents_are_the_flat_arrays():
    outputs = full()
    cut = lambda rows: [np.split(row, OFFSETS[1:-1]) for row in rows]  # noqa: E731
    names = ("members", "evaluated", "texts", "lowercase_log_probs", "neighbour_log_probs")
    rest = {name: getattr(outputs, name) for name in (*names, "groups", "names", "fingerprint")}
    lists = {name: cut(getattr(outputs, name)) for name in ("mean", "std", "ranks")}
    again = TokenOutputs.from_documents(
        cut(outputs.log_probs), **rest, **lists, ids=["x", "y", "z"]
    )
    assert_same(outputs, again)
    one = TokenOutputs.from_documents([[-1, -2], [-1.0, -2.0, -3.0]], [True, False])
    assert one.members.shape == (1, 2) and one.lengths.tolist() == [2, 3]


def mapped(array) -> bool:
    """Is it a view of a memory map?"""
    return array is not None and (isinstance(array, np.memmap) or mapped(array.base))


def test_what_is_saved_is_read_back_mapped(tmp_path):
    outputs = full()
    again = TokenOutputs.load(outputs.save(tmp_path / "all.npz"))
    assert_same(outputs, again)
    assert mapped(again.log_probs) and mapped(again.mean)
    assert mapped(again.select(models=1, documents=slice(1, 3)).log_probs)
    plain = TokenOutputs([[-1.0, -2.0]], [0, 2], [True])
    assert_same(plain, TokenOutputs.load(plain.save(tmp_path / "all.npz")))


def test_some_models_and_documents():
    outputs = full()
    part = outputs.select(models=[1], documents=[2, 0])
    for name in ("log_probs", "mean", "std", "ranks"):
        whole = getattr(outputs, name)[1]
        np.testing.assert_array_equal(getattr(part, name)[0], [*whole[5:10], *whole[:3]])
    assert part.offsets.tolist() == [0, 5, 8] and part.texts == (TEXTS[2], TEXTS[0])
    assert part.members.tolist() == [[False, False]] and part.names == ("b",)
    assert part.groups["year"].tolist() == ["2003", "2001"]
    np.testing.assert_array_equal(part.neighbour_log_probs, outputs.neighbour_log_probs[1:, [2, 0]])
    np.testing.assert_array_equal(part.ids, outputs.ids[[2, 0]])
    assert_same(part, part.replace(fingerprint="corpus"))  # a part of something sound is sound
    with pytest.raises(InputError, match="repeats a document"):
        outputs.select(documents=[0, 0])
    with pytest.raises(InputError, match="there are 3"):
        outputs.select(documents=[3])
    assert "0 documents" in repr(outputs.select(documents=[]))


def test_the_repr_says_what_was_understood():
    told = repr(full())
    for part in (
        "2 models, 3 documents of 2 to 5 tokens",
        "1 member each",
        "2 to 3 evaluated documents each",
        "with mean, std, ranks, texts, lowercase_log_probs, neighbour_log_probs, groups by year",
    ):
        assert part in told


def values(position: int, value: float) -> np.ndarray:
    log_probs = np.full((2, 10), -1.0, np.float32)
    log_probs[1, position] = value
    return log_probs


HOSTILE = [
    ({"log_probs": values(4, np.nan)}, "model 1 hold nan at token 1 of document 8; .*first token"),
    ({"log_probs": values(4, -np.inf)}, "-inf at token 1 of document 8.*numpy.maximum"),
    ({"log_probs": values(5, 0.2)}, "0.2 at token 0 of document 9.*write -losses"),
    ({"log_probs": np.full((2, 10), 0.5)}, r"write numpy.log\(p\)"),
    ({"log_probs": np.full((2, 10), 3.0)}, "write -losses"),
    ({"log_probs": [[-1.0], [-1.0, -2.0]]}, "from_documents"),
    ({"log_probs": np.zeros((2, 3, 4))}, r"shape \(2, 3, 4\).*from_documents"),
    ({"log_probs": [["a"] * 10] * 2}, "texts"),
    ({"offsets": [0, 3, 3, 10]}, "document 8 is empty"),
    ({"offsets": [0, 3, 4, 10]}, "document 8 has one log-probability .*join it"),
    ({"offsets": [3, 2, 5]}, "numpy.cumsum"),
    ({"offsets": [0, 5, 3, 10]}, "and fall"),
    ({"offsets": [0, 3, 5, 9]}, "from 0 to 10"),
    ({"offsets": [0]}, "at least one document"),
    ({"offsets": [0.5, 3, 5, 10]}, "expected integers"),
    ({"members": [[1, 0], [0, 1]]}, r"members has shape \(2, 2\)"),
    ({"members": [[1, 0, 2], [0, 1, 1]]}, "hold 2"),
    ({"evaluated": [True] * 3}, "numpy.tile"),
    ({"ids": [1, 1, 2]}, "repeat"),
    ({"mean": np.zeros((2, 9))}, r"mean has shape \(2, 9\), log_probs \(2, 10\)"),
    ({"mean": np.full((2, 10), 1.0)}, "mean of model 0 has 1 at token 0 of document 7.*at most 0"),
    ({"std": np.full((2, 10), -1.0)}, "at least 0"),
    ({"std": np.full((2, 10), np.nan)}, "finite"),
    ({"ranks": np.full((2, 10), -1)}, "ranks of model 0 have -1"),
    ({"ranks": np.full((2, 10), 0.5)}, "expected integers"),
    ({"texts": ["a", "b"]}, "2 texts for 3 documents"),
    ({"texts": "abc"}, "one text a document"),
    ({"texts": ["a", None, "b"]}, "texts hold None"),
    ({"lowercase_log_probs": np.zeros((2, 2))}, r"\(models, documents\) with 2 and 3"),
    ({"lowercase_log_probs": np.full((2, 3), np.nan)}, r"lowercase_log_probs\[0, 0\] is nan"),
    ({"neighbour_log_probs": np.zeros((2, 3, 0))}, "neighbours"),
    ({"neighbour_log_probs": np.ones((2, 3, 1))}, "at most 0"),
    ({"groups": {"year": [1, 2]}}, "group 'year'"),
    ({"groups": ["2001", "2002", "2003"]}, "expected a dict from a name"),
    ({"texts": 5}, "texts are 5"),
    ({"ids": ["x", "y", "z"], "log_probs": values(4, np.nan)}, "token 1 of document y"),
    ({"ids": ["x", "y", "z"], "offsets": [0, 3, 3, 10]}, "document y is empty"),
    ({"names": ("a",)}, "1 names for 2 models"),
]


@pytest.mark.parametrize(("changes", "message"), HOSTILE, ids=lambda value: repr(value)[:50])
def test_what_has_no_meaning_is_refused_in_one_line(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        full(**{"ids": [7, 8, 9]} | changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("log_probs", "fields", "message"),
    [
        ([[-1.0, -1.0], []], {}, "document 1 is empty"),
        ([[-1.0, -1.0], [-1.0]], {}, "document 1 has one"),
        ([], {}, "one sequence of numbers a document"),
        ([[None, -1.0], [-1.0, -2.0]], {}, "nan at token 0 of document 0.*first token"),
        ([-1.0, -2.0], {}, "one sequence of numbers a document"),
        (
            [[[-1.0, -1.0], [-1.0, -2.0]], [[-1.0, -1.0], [-1.0] * 3]],
            {},
            "model 1: document 1 has 3 tokens, elsewhere 2",
        ),
        (
            [[[-1.0, -1.0], [-1.0, -2.0]], [[-1.0, -1.0]]],
            {},
            "model 1: 1 documents; the others have 2",
        ),
        (
            [[-1.0, -1.0], [-1.0, -2.0]],
            {"mean": [[-1.0, -1.0], [-1.0]]},
            "mean: document 1 has 1 tokens, elsewhere 2",
        ),
    ],
)
def test_lists_that_disagree_are_refused(log_probs, fields, message):
    with pytest.raises(InputError, match=message):
        TokenOutputs.from_documents(log_probs, [True, False], **fields)


def test_what_rounding_puts_above_zero_is_zero():
    outputs = TokenOutputs([[1e-6, -1.0]], [0, 2], [True])
    assert outputs.log_probs.max() == 0


@pytest.mark.parametrize("broken", ["missing", "text", "cut", "pickled", "lacks", "names"])
def test_damaged_files_are_named(tmp_path, broken):
    path = full().save(tmp_path / "a.npz")
    if broken == "missing":
        path.unlink()
    elif broken == "text":
        path.write_text("no archive", encoding="utf-8")
    elif broken == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif broken == "pickled":
        np.savez(path, log_probs=np.array([None]), offsets=[0, 2], members=[True])
    elif broken == "names":
        np.savez(path, log_probs=[[-1.0, -1.0]], offsets=[0, 2], members=[True], meta="[]")
    else:
        np.savez(path, log_probs=[[-1.0, -1.0]])
    with pytest.raises(InputError, match=r"a\.npz") as caught:
        TokenOutputs.load(path)
    assert "\n" not in str(caught.value)
