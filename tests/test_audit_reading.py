"""Every form in which answers are kept is read to the same numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audited import answers

from benchmarks.timing import in_a_process
from mia_utils.arrays import rows_of
from mia_utils.audit import AuditData, read_answers
from mia_utils.errors import InputError
from mia_utils.outputs import Outputs

GIVEN = answers(records=60, leak=1.0)
LOGITS, LABELS, MEMBERS = GIVEN.logits[0], GIVEN.labels, GIVEN.members[0]
IDS = np.arange(100, 160)
NAMES = ["cat", "dog", "elk", "fox"]


def _probabilities() -> np.ndarray:
    p = np.exp(LOGITS.astype(np.float64))
    return p / p.sum(axis=1, keepdims=True)


def _frame(prefix: str, values: np.ndarray, suffixes) -> pd.DataFrame:
    frame = pd.DataFrame({f"{prefix}{s}": values[:, i] for i, s in enumerate(suffixes)})
    return frame.assign(label=LABELS, member=MEMBERS, id=IDS)


def _npz(path, **arrays):
    base = {"logits": LOGITS, "labels": LABELS, "members": MEMBERS, "ids": IDS}
    np.savez(path / "a.npz", **(base | arrays))
    return read_answers(path / "a.npz")


def _npy(path):
    np.save(path / "logits.npy", LOGITS)
    np.save(path / "labels.npy", LABELS)
    np.save(path / "ids.npy", IDS)
    (path / "members.txt").write_text("\n".join(str(i) for i in IDS[MEMBERS]) + "\n")
    files = {"labels": "labels.npy", "members": "members.txt", "ids": "ids.npy"}
    return read_answers(path / "logits.npy", **{k: path / v for k, v in files.items()})


def _csv(path, frame):
    frame.to_csv(path / "a.csv", index=False)
    return read_answers(path / "a.csv")


def _parquet(path, frame):
    frame.to_parquet(path / "a.parquet")
    return read_answers(path / "a.parquet")


def _lists(path):
    frame = _frame("x", LOGITS, range(4))[["label", "member", "id"]].assign(logits=list(LOGITS))
    return _parquet(path, frame)


def _named(path):
    frame = _frame("logit_", LOGITS, NAMES)
    return _csv(path, frame.assign(label=[NAMES[i] for i in LABELS]))


def _shuffled(path):
    frame = _frame("logit_", LOGITS, range(4))
    return _csv(path, frame[[f"logit_{i}" for i in (2, 0, 3, 1)] + ["label", "member", "id"]])


FORMS = {
    "npz": _npz,
    "npz, models first": lambda path: _npz(path, logits=LOGITS[None]),
    "npz, float64": lambda path: _npz(path, logits=LOGITS.astype(np.float64)),
    "npz, one-hot labels": lambda path: _npz(path, labels=np.eye(4)[LABELS]),
    "npz, labels as floats": lambda path: _npz(path, labels=LABELS.astype(float)),
    "npz, members as 0 and 1": lambda path: _npz(path, members=MEMBERS.astype(int)),
    "npz, members as ids": lambda path: _npz(path, members=IDS[MEMBERS]),
    "npz, class names": lambda path: _npz(path, labels=np.array(NAMES)[LABELS], classes=NAMES),
    "npy and files beside it": _npy,
    "csv": lambda path: _csv(path, _frame("logit_", LOGITS, range(4))),
    "csv, columns in another order": _shuffled,
    "csv, class names": _named,
    "parquet": lambda path: _parquet(path, _frame("logit_", LOGITS, range(4))),
    "parquet, lists": _lists,
    "members as texts": lambda path: _csv(
        path, _frame("logit_", LOGITS, range(4)).assign(member=np.where(MEMBERS, "True", "False"))
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_read_to_the_same_numbers(form, tmp_path):
    if "parquet" in form:
        pytest.importorskip("pyarrow")
    got = FORMS[form](tmp_path).outputs
    np.testing.assert_allclose(got.logits[0], LOGITS, rtol=1e-6)
    np.testing.assert_array_equal(got.labels, LABELS)
    np.testing.assert_array_equal(got.members[0], MEMBERS)
    np.testing.assert_array_equal(got.ids, IDS)


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_probabilities_give_the_margins_of_the_logits(kind, tmp_path):
    if kind == "npz":
        arrays = {"probabilities": _probabilities(), "labels": LABELS, "members": MEMBERS}
        np.savez(tmp_path / "p.npz", **arrays)
        data = read_answers(tmp_path / "p.npz")
    else:
        data = _csv(tmp_path, _frame("prob_", _probabilities(), NAMES))
    assert data.scale == "probabilities"
    gaps = [z - z.mean(axis=1, keepdims=True) for z in (data.outputs.logits[0], LOGITS)]
    np.testing.assert_allclose(*gaps, atol=1e-5)


def test_half_precision_is_kept(tmp_path):
    data = _npz(tmp_path, logits=LOGITS.astype(np.float16))
    np.testing.assert_allclose(data.outputs.logits[0], LOGITS, atol=5e-3)


@pytest.mark.parametrize("name", ["logits", "probabilities"])
def test_one_number_a_record_of_two_classes(name, tmp_path):
    labels = np.arange(40) % 2
    z = np.linspace(-3, 3, 40) + labels
    value = z if name == "logits" else 1 / (1 + np.exp(-z))
    np.savez(tmp_path / "b.npz", **{name: value}, labels=labels, members=np.arange(40) % 3 == 0)
    logits = read_answers(tmp_path / "b.npz").outputs.logits[0]
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], z, atol=1e-5)


def test_texts_as_ids_align_two_files(tmp_path):
    ids = np.array([f"person {i}" for i in range(60)])
    order = np.random.default_rng(0).permutation(60)
    first = _npz(tmp_path, ids=ids)
    second = _npz(
        tmp_path, ids=ids[order], logits=LOGITS[order], labels=LABELS[order], members=MEMBERS[order]
    )
    np.testing.assert_array_equal(first.outputs.ids[order], second.outputs.ids)
    assert first.names[3] == "person 3"


def test_from_arrays_says_what_it_understood():
    got = Outputs.from_arrays(
        logits=LOGITS, labels=np.array(NAMES)[LABELS], classes=NAMES, members=MEMBERS
    )
    assert repr(got).startswith("Outputs(1 model, 60 records, 4 classes; 30 members; accuracy ")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"labels": np.array(["cat"] * 60)}, "classes="),
        ({"labels": np.array(["bee"] * 60), "classes": NAMES}, "'bee' is no class"),
        ({"members": np.array([1, 2, 3])}, "'1' is not among the ids"),
        ({"classes": ["a", "b"]}, "2 class names for 4 classes"),
        ({"probabilities": _probabilities()}, "only one of"),
        ({"features": np.zeros((59, 2))}, "59 rows"),
    ],
)
def test_what_has_no_meaning_is_refused_with_what_to_write(changes, words, tmp_path):
    with pytest.raises(InputError, match=words):
        _npz(tmp_path, **changes)


def test_what_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "m.npz", logits=LOGITS, labels=LABELS)
    with pytest.raises(InputError, match=r"expected also members.*--members FILE"):
        read_answers(tmp_path / "m.npz")
    with pytest.raises(InputError, match="no such file"):
        read_answers(tmp_path / "nothing.npz")
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"\.npz, \.npy, \.csv or \.parquet"):
        read_answers(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match="no column 'sex'"):
        _npz(tmp_path)
        read_answers(tmp_path / "a.npz", groups=["sex"])


def test_groups_are_read_from_columns(tmp_path):
    frame = _frame("logit_", LOGITS, range(4)).assign(group_site="north", age=30)
    frame.to_csv(tmp_path / "g.csv", index=False)
    data = read_answers(tmp_path / "g.csv", groups=["age"])
    assert set(data.groups) == {"site", "age"} and set(data.groups["age"]) == {"30"}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what is resident")
def test_large_answers_are_read_without_holding_the_file(tmp_path):
    path = tmp_path / "a.npy"
    made = np.lib.format.open_memmap(path, "w+", np.float16, (20_000, 2_000))
    made[:] = np.arange(20_000, dtype=np.float16)[:, None]
    made.flush()
    del made
    found = in_a_process(_read_everywhere, str(path))
    assert found["right"] and found["held"] < 2**25 < 8e7


def _resident() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("RssFile:")[1].split()[0]) * 1024


def _read_everywhere(path: str) -> dict:
    array = np.load(path, mmap_mode="r")[None][0]
    rows = np.random.default_rng(0).permutation(20_000)
    half, before = rows[:10_000], _resident()
    right = all(
        np.array_equal(rows_of(array, chosen)[:, 0], np.arange(20_000, dtype=np.float16)[chosen])
        for chosen in (half, np.sort(half), slice(500, 19_000), np.array([], int))
    )
    return {"right": right, "held": _resident() - before}


def test_what_may_be_written_to_is_never_let_go_of(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((10, 3), np.float32))
    array = np.load(tmp_path / "a.npy", mmap_mode="c")
    array[4] = 1
    assert rows_of(array, np.array([4, 5]))[:, 0].tolist() == [1, 0]
    assert array[4].tolist() == [1, 1, 1]


@pytest.mark.parametrize("prefix", ["prob", "proba", "probs", "probability", "probabilities"])
def test_columns_of_any_prefix_are_read_in_the_order_of_their_numbers(tmp_path, prefix):
    p = _probabilities()
    frame = _frame(f"{prefix}_", p, range(4))
    frame[[*reversed(frame.columns)]].to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_allclose(
        read_answers(tmp_path / "a.csv").outputs.logits[0], np.log(p), rtol=1e-5, atol=1e-6
    )


def test_a_word_that_begins_like_a_prefix_is_no_class(tmp_path):
    _frame("prob_", _probabilities(), range(4)).assign(probation=1.0).to_csv(
        tmp_path / "a.csv", index=False
    )
    assert read_answers(tmp_path / "a.csv").outputs.classes == 4


def test_what_an_array_is_called_says_more_than_the_option(tmp_path):
    np.savez(tmp_path / "a.npz", logits=LOGITS, labels=LABELS, members=MEMBERS)
    with pytest.raises(InputError, match=r"--probabilities is for a \.npy file"):
        read_answers(tmp_path / "a.npz", probabilities=True)


def test_the_accuracy_that_is_told_is_that_of_all_records():
    logits = np.zeros((1, 3000, 2), np.float32)
    labels = np.arange(3000) % 4 // 2  # of equal answers the first class counts
    logits[0, :1000, 1] = np.where(labels[:1000], 1, -1)
    data = AuditData.of(Outputs(logits, labels, np.arange(3000)[None] < 1000, fingerprint="x"))
    assert "accuracy 1.00 on members, 0.50 on others" in repr(data)
    assert data.accuracy == (1.0, 0.5)
