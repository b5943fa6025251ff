"""The shapes and types that people bring: read as what they mean, or refused with the line to write."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from scipy.special import expit, softmax
from synthetic import gaussian_outputs

from mia_utils import InputError, LossAttack, Outputs, auc, evaluate, tpr_at_fpr
from mia_utils.arrays import as_array, as_bool, as_integers
from mia_utils.errors import InputWarning

RNG = np.random.default_rng(0)
N, C = 40, 3
LOGITS = RNG.normal(0, 2, (N, C)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
MEMBERS = RNG.random(N) < 0.5
ONE = Outputs(LOGITS[None], LABELS, MEMBERS[None])
TWO = Outputs(LOGITS[:, :2], LABELS % 2, MEMBERS)


def same(a: Outputs, b: Outputs) -> None:
    for name in ("logits", "labels", "members", "evaluated", "ids"):
        found, expected = getattr(a, name), getattr(b, name)
        assert found.dtype == expected.dtype, name
        np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize(
    "given",
    {
        "one model's answers": (LOGITS, LABELS, MEMBERS),
        "float64": (LOGITS.astype(float), LABELS, MEMBERS),
        "lists": (LOGITS.tolist(), LABELS.tolist(), MEMBERS.tolist()),
        "whole floats as labels": (LOGITS, LABELS.astype(float), MEMBERS),
        "labels as a column": (LOGITS, LABELS[:, None], MEMBERS),
        "one-hot labels": (LOGITS, np.eye(C)[LABELS], MEMBERS),
        "one-hot bools": (LOGITS, np.eye(C, dtype=bool)[LABELS], MEMBERS),
        "members as 0 and 1": (LOGITS, LABELS, MEMBERS.astype(int)),
        "members as floats": (LOGITS, LABELS, MEMBERS[None] * 1.0),
        "members as a column": (LOGITS, LABELS, MEMBERS[:, None]),
        "members as objects": (LOGITS, LABELS, MEMBERS.astype(object)),
        "frames": (pd.DataFrame(LOGITS), pd.Series(LABELS), pd.Series(MEMBERS, dtype="boolean")),
        "sparse": (LOGITS, scipy.sparse.csr_matrix(np.eye(C)[LABELS]), MEMBERS),
        "tensors": (
            torch.tensor(LOGITS, requires_grad=True),
            torch.tensor(LABELS),
            torch.tensor(MEMBERS),
        ),
        "a list of tensors": (
            [torch.tensor(z, requires_grad=True) for z in LOGITS],
            [torch.tensor(y) for y in LABELS],
            MEMBERS,
        ),
        "a mask that hides nothing": (np.ma.array(LOGITS), np.ma.array(LABELS), MEMBERS),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_has_one_meaning_is_read(given):
    same(Outputs(*given[1]), ONE)


def test_low_precision_is_read():
    half = torch.tensor(LOGITS).to(torch.bfloat16)
    np.testing.assert_array_equal(Outputs(half, LABELS, MEMBERS).logits[0], half.float().numpy())
    assert Outputs(LOGITS.astype(np.float16), LABELS, MEMBERS).logits.dtype == np.float16
    assert Outputs(LOGITS.astype(np.longdouble), LABELS, MEMBERS).logits.dtype == np.float32
    loss = LossAttack().score(Outputs(LOGITS.astype(np.float16), LABELS, MEMBERS))
    np.testing.assert_allclose(loss, LossAttack().score(ONE), rtol=0.01, atol=0.01)


def test_files_stay_on_disk(tmp_path):
    np.save(tmp_path / "z.npy", LOGITS[None].astype(np.float16))
    mapped = np.load(tmp_path / "z.npy", mmap_mode="r")
    assert np.shares_memory(Outputs(mapped, LABELS, MEMBERS).logits, mapped)


def test_one_number_a_record_is_that_of_class_1():
    single = (LOGITS[:, 1] - LOGITS[:, 0]).astype(np.float32)
    expected = LossAttack().score(TWO)
    for shape in ((N,), (N, 1), (1, N), (1, N, 1)):
        one = Outputs(single.reshape(shape), LABELS % 2, MEMBERS)
        assert one.classes == 2 and one.logits.dtype == np.float32
        np.testing.assert_allclose(LossAttack().score(one), expected, rtol=1e-5)
        p = Outputs.from_probabilities(
            expit(single.astype(float)).reshape(shape), LABELS % 2, MEMBERS
        )
        np.testing.assert_allclose(LossAttack().score(p), expected, rtol=1e-5)
    both = Outputs(np.stack([single, 2 * single]), LABELS % 2, np.stack([MEMBERS, ~MEMBERS]))
    assert both.logits.shape == (2, N, 2)
    np.testing.assert_array_equal(both.logits[1, :, 1], 2 * single)


def test_as_many_models_or_classes_as_records():
    square = RNG.normal(size=(5, 5)).astype(np.float32)
    labels = np.arange(5) % 2
    assert Outputs(square, labels, labels).logits.shape == (1, 5, 5)
    many = Outputs(square, labels, np.eye(5, dtype=bool))
    assert many.logits.shape == (5, 5, 2)
    np.testing.assert_array_equal(many.logits[..., 1], square)


BAD = {
    "logits None": ((None, LABELS, MEMBERS), "logits: got None"),
    "members None": ((LOGITS, LABELS, None), "members: got None"),
    "labels as texts": ((LOGITS, np.array(["cat"] * N), MEMBERS), r"classes.index\(label\)"),
    "soft labels": ((LOGITS, np.full((N, C), 1 / C), MEMBERS), r"write labels.argmax\(axis=1\)"),
    "half a label": ((LOGITS, LABELS + 0.5, MEMBERS), "expected integers"),
    "labels from 1": ((LOGITS, LABELS + 1, MEMBERS), "write labels - 1"),
    "labels NaN": ((LOGITS, np.where(MEMBERS, np.nan, 0), MEMBERS), "hold nan; expected integers"),
    "members -1": ((LOGITS, LABELS, np.where(MEMBERS, 1, -1)), "hold -1; .* write members == 1"),
    "members as texts": ((LOGITS, LABELS, np.where(MEMBERS, "in", "out")), "write members =="),
    "members of many models": (
        (np.stack([LOGITS, LOGITS]), LABELS, MEMBERS),
        r"numpy.tile\(members, \(2, 1\)\)",
    ),
    "members turned": (
        (np.stack([LOGITS, LOGITS]), LABELS, np.stack([MEMBERS] * 2).T),
        "write members.T",
    ),
    "evaluated turned": (
        (np.stack([LOGITS] * 2), LABELS, np.stack([MEMBERS] * 2), np.ones((N, 2), bool)),
        "write evaluated.T",
    ),
    "logits turned": ((LOGITS.T, LABELS, MEMBERS), "write logits.T"),
    "records first": (
        (np.stack([LOGITS] * 2, axis=1), LABELS, np.stack([MEMBERS] * 2)),
        r"write logits.transpose\(1, 0, 2\)",
    ),
    "other records": ((LOGITS[1:], LABELS, MEMBERS), "there are 40 labels"),
    "predicted labels": ((LABELS[:, None] * 1, LABELS, MEMBERS), "no predicted labels"),
    "one logit, three classes": ((LOGITS[:, 0], LABELS, MEMBERS), "class 1 of two; but labels run"),
    "no classes": ((LOGITS[:, :0], LABELS, MEMBERS), "classes >= 2"),
    "ragged": (([[1.0, 2.0], [1.0]], [0, 1], [0, 1]), "logits: .*expected one array"),
    "masked": ((np.ma.array(LOGITS, mask=LOGITS > 4), LABELS, MEMBERS), "values are masked"),
    "complex": ((LOGITS * 1j, LABELS, MEMBERS), "dtype complex"),
    "objects": ((np.array([{}] * N), LABELS, MEMBERS), "dtype object"),
    "log of 0": (
        (np.log(np.eye(C)[LABELS] + [[0, 0, 0]]), LABELS, MEMBERS),
        r"from_probabilities\(numpy.exp\(logits\)",
    ),
    "too large": ((LOGITS.astype(float) * 1e39, LABELS, MEMBERS), "float32 ends at 3.4e38"),
    "ids as texts": ((LOGITS, LABELS, MEMBERS, None, np.array(["a"] * N)), "ids are texts"),
    "ids of others": ((LOGITS, LABELS, MEMBERS, None, np.arange(3)), "ids have shape"),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_what_has_no_or_two_meanings_is_refused_with_the_line_to_write(given, message):
    with pytest.raises(InputError, match=message) as caught:
        Outputs(*given)
    assert "\n" not in str(caught.value)


# ---- probabilities ----

P = softmax(LOGITS.astype(float), axis=1)


def test_probabilities_give_the_scores_of_their_logits():
    np.testing.assert_allclose(
        LossAttack().score(Outputs.from_probabilities(P, LABELS, MEMBERS)),
        LossAttack().score(ONE),
        rtol=1e-5,
    )
    two = Outputs.from_probabilities(np.stack([P, P[::-1]]), LABELS, np.stack([MEMBERS] * 2))
    np.testing.assert_allclose(softmax(two.logits[1], axis=1), P[::-1], rtol=1e-5)
    kept = Outputs.from_probabilities(
        P, LABELS, MEMBERS, ids=np.arange(N) + 7, fingerprint="f", names=("n",)
    )
    assert (kept.ids[0], kept.fingerprint, kept.names) == (7, "f", ("n",))


def test_a_zero_counts_as_the_floor():
    p = np.array([[1.0, 0.0], [0.5, 0.5]])
    with pytest.warns(InputWarning, match=r"25\.00% .* 0 and count as 1e-30, .* floor=0\.2"):
        one = Outputs.from_probabilities(p, [0, 1], [1, 0])
    assert one.logits[0, 0].tolist() == pytest.approx([0, np.log(1e-30)])
    with pytest.warns(InputWarning):
        one = Outputs.from_probabilities(p, [0, 1], [1, 0], floor=1e-3)
    assert one.logits[0, 0, 1] == pytest.approx(np.log(1e-3))
    with pytest.warns(InputWarning):
        single = Outputs.from_probabilities([1.0, 0.5], [1, 0], [1, 0])
    assert single.logits[0, 0].tolist() == pytest.approx([np.log(1e-30), 0])


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (LOGITS, r"expected numbers in \[0, 1\]: write Outputs\(logits=...\)"),
        (np.where(LABELS[:, None] == 2, np.nan, P), "hold nan"),
        (P * 0.9, r"sum to 0.9 at record 0; expected 1: write p / p.sum"),
        (P[:, :0], "classes >= 2"),
    ],
)
def test_what_is_no_probability_is_refused(p, message):
    with pytest.raises(InputError, match=message):
        Outputs.from_probabilities(p, LABELS, MEMBERS)


@pytest.mark.parametrize("floor", [0, 1, -1, np.nan])
def test_a_floor_is_a_small_probability(floor):
    with pytest.raises(InputError, match="floor="):
        Outputs.from_probabilities(P, LABELS, MEMBERS, floor=floor)


def test_large_probabilities_are_read_in_parts(monkeypatch):
    monkeypatch.setattr("mia_utils.reading._ROWS", 7 * C)
    same(Outputs.from_probabilities(P, LABELS, MEMBERS), Outputs(np.log(P), LABELS, MEMBERS))
    bad = P.copy()
    bad[23] *= 2
    with pytest.raises(InputError, match="at record 23"):
        Outputs.from_probabilities(bad, LABELS, MEMBERS)


# ---- signs of a mistake ----


def leaky(**changes) -> dict:
    pool = gaussian_outputs(1, 2000, C, seed=0, leak=3.0, masks="independent")
    return {"logits": pool.logits, "labels": pool.labels, "members": pool.members} | changes


def test_what_is_plausible_is_taken_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        Outputs(**leaky())
        Outputs(**leaky(members=np.random.default_rng(0).random((1, 2000)) < 0.5))
        Outputs(LOGITS, np.zeros(N, int), MEMBERS)  # one class alone: nothing to compare
        wrong = leaky()["labels"][::-1]
        Outputs(**leaky(labels=wrong), fingerprint="known")  # trained here


def test_probabilities_given_as_logits_are_warned_of():
    p = softmax(leaky()["logits"].astype(float), axis=-1)
    with pytest.warns(InputWarning, match=r"are they probabilities\? Write Outputs.from_prob"):
        Outputs(**leaky(logits=p))


def test_answers_in_another_order_are_warned_of():
    with pytest.warns(InputWarning, match="are logits and labels in one order"):
        Outputs(**leaky(logits=leaky()["logits"][:, ::-1]))
    with pytest.warns(InputWarning, match="one order"):
        Outputs(**leaky(labels=(leaky()["labels"] + 1) % C))


def test_members_and_others_swapped_are_warned_of():
    with pytest.warns(InputWarning, match=r"were they swapped\? Write members=~members"):
        Outputs(**leaky(members=~leaky()["members"]))


def test_several_signs_are_one_warning():
    two = {name: np.concatenate([value] * 2) for name, value in leaky().items() if name != "labels"}
    with pytest.warns(InputWarning, match=r"model 0 .*\(and 1 more such signs\)") as caught:
        Outputs(two["logits"][:, ::-1], leaky()["labels"], two["members"])
    assert len(caught) == 1


def test_repr_says_what_was_understood():
    assert repr(Outputs(**leaky())) == (
        "Outputs(1 model, 2,000 records, 3 classes; 987 members; accuracy 0.99 on members, 0.77 "
        "on others)"
    )
    pool = gaussian_outputs(3, 100, C, seed=0, leak=0.0, masks="independent")
    some = pool.replace(evaluated=np.arange(300).reshape(3, 100) < 150)
    assert repr(some).startswith("Outputs(3 models, 100 records, 3 classes; 0 to 49 members each; ")
    assert "; 0 to 100 evaluated records each; " in repr(some)
    assert (
        repr(pool.select(records=[])) == "Outputs(3 models, 0 records, 3 classes; 0 members each)"
    )


# ---- scores and choices ----


def test_scores_may_be_tensors():
    scores = torch.arange(40.0, requires_grad=True)
    members = torch.arange(40) >= 20
    assert auc(scores, members) == 1.0
    assert tpr_at_fpr(scores.bfloat16(), members.int(), 0.5) == 1.0
    assert evaluate(scores, members=members, threshold=19.5).accuracy.value == 1.0
    with pytest.raises(InputError, match="scores: dict of dtype object"):
        auc({}, members)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"models": 99}, r"select\(models=99\); there are 1, expected 0 to 0"),
        ({"models": [0, 1]}, r"there are 1"),
        ({"records": [0, 0]}, "repeats a record"),
        ({"records": [0.5]}, "expected positions or a bool mask"),
        ({"records": ["a"]}, "expected positions or a bool mask"),
        ({"records": np.ones(3, bool)}, "a bool mask of that length"),
        ({"records": [[0, 1]]}, "one dimension"),
    ],
)
def test_records_and_models_that_are_not_there(chosen, message):
    with pytest.raises(InputError, match=message):
        ONE.select(**chosen)


def test_a_part_is_the_same_as_one_made_of_it():
    some = RNG.permutation(N)[:7]
    part = ONE.select(records=some)
    same(part, Outputs(LOGITS[some], LABELS[some], MEMBERS[some], ids=some))
    same(ONE.select(models=[True], records=np.arange(N) < 3), ONE.select(records=slice(3)))
    same(
        ONE.select(models=torch.tensor([0]), records=torch.tensor([2, 1])),
        ONE.select(records=[2, 1]),
    )


def test_arrays_of_other_types():
    assert as_bool(np.array([0.0, 1.0]), "x").tolist() == [False, True]
    assert as_integers(np.uint8([3]), "x").dtype == np.int64
    with pytest.raises(InputError, match="at most 63 bits"):
        as_integers(np.array([2**64 - 1], np.uint64), "x")
    with pytest.raises(InputError, match="hold inf"):
        as_integers(np.array([np.inf]), "x")
    assert as_array(torch.eye(2).to_sparse(), "x").tolist() == [[1, 0], [0, 1]]
    array = np.arange(3)
    assert as_array(array, "x") is array


def test_probabilities_that_were_rounded_to_two_digits_are_taken():
    p = [[0.34, 0.33, 0.34], [0.33, 0.33, 0.33]]  # 1.01 and 0.99, but for the last bits
    assert Outputs.from_probabilities(p, [0, 1], members=[1, 0]).classes == 3


def test_a_number_that_is_missing_among_probabilities_is_called_so():
    with pytest.raises(InputError, match="hold nan at record 1.*gave no number"):
        Outputs.from_probabilities([[0.5, 0.5], [np.nan, 0.5]], [0, 1], members=[1, 0])


def test_what_all_logits_of_a_record_have_in_common_costs_no_digits():
    near = np.random.default_rng(0).normal(size=(40, 3))
    far = Outputs(near + 1e8 * np.arange(40)[:, None], np.arange(40) % 3, np.arange(40) % 2)
    close = near - near.max(axis=1, keepdims=True)
    np.testing.assert_allclose(far.logits[0, 1:], close[1:], atol=1e-6)
    np.testing.assert_array_equal(far.logits[0, 0], near[0].astype(np.float32))
