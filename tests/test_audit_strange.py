"""Files as R, pandas, Excel and people write them: read rightly, or refused in a line that helps."""

import csv
import decimal

import numpy as np
import pandas as pd
import pytest
from audited import answers

from mia_utils.audit import audit, read_answers
from mia_utils.audit.material import read_material
from mia_utils.errors import InputError

GIVEN = answers(records=60, leak=1.0)
LOGITS, LABELS, MEMBERS = GIVEN.logits[0], GIVEN.labels, GIVEN.members[0]
SURE = np.exp(LOGITS.astype(float))
SURE /= SURE.sum(axis=1, keepdims=True)
NAMES = np.array(["tabby cat", "dog", "NA", "null"])
ZEROS = [f"{i:06d}" for i in range(100, 160)]


def frame(columns=range(4), prefix="logit_", values=LOGITS, **others) -> pd.DataFrame:
    made = pd.DataFrame({f"{prefix}{name}": values[:, i] for i, name in enumerate(columns)})
    return made.assign(label=LABELS, member=MEMBERS).assign(**others)


def saved(path, table, **options):
    table.to_csv(path / "a.csv", **({"index": False} | options))
    return read_answers(path / "a.csv")


def typed(path, text, name="a.csv", encoding="utf-8", **options):
    (path / name).write_bytes(text.encode(encoding))
    return read_answers(path / name, **options)


def beside(path, members: bytes, name="m.txt", **columns):
    (path / name).write_bytes(members)
    frame(**columns).drop(columns="member").to_csv(path / "a.csv", index=False)
    return read_answers(path / "a.csv", members=path / name)


def arrays(path, **others):
    np.savez(path / "a.npz", **({"logits": LOGITS, "labels": LABELS, "members": MEMBERS} | others))
    return read_answers(path / "a.npz")


def capitals(path):
    np.savez(path / "c.npz", Logits=LOGITS, Y_true=LABELS, Members=MEMBERS)
    return read_answers(path / "c.npz")


def parquet(path, table):
    pytest.importorskip("pyarrow")
    table.to_parquet(path / "a.parquet")
    return read_answers(path / "a.parquet")


def comma(values) -> list[str]:
    return [f"{value:.6f}".replace(".", ",") for value in values]


def listed(ids, end="\n") -> bytes:
    return end.join(str(i) for i in np.asarray(ids)[MEMBERS]).encode()


RIGHT = {
    "pandas' index": lambda p: saved(p, frame(), index=True),
    "R's row names and TRUE": lambda p: saved(
        p,
        frame(member=np.where(MEMBERS, "TRUE", "FALSE")),
        index=True,
        quoting=csv.QUOTE_NONNUMERIC,
    ),
    "semicolons and decimal commas": lambda p: saved(p, frame(), sep=";", decimal=","),
    "semicolons and points": lambda p: saved(p, frame(), sep=";"),
    "tabs": lambda p: saved(p, frame(), sep="\t"),
    "a .tsv": lambda p: typed(p, frame().to_csv(sep="\t", index=False), "a.tsv"),
    "Excel's sep= line": lambda p: typed(p, "sep=;\r\n" + frame().to_csv(sep=";", index=False)),
    "a byte-order mark": lambda p: saved(p, frame(), encoding="utf-8-sig"),
    "UTF-16": lambda p: saved(p, frame(), encoding="utf-16"),
    "quoted decimal commas": lambda p: saved(
        p,
        frame().assign(**{f"logit_{i}": comma(LOGITS[:, i]) for i in range(4)}),
        quoting=csv.QUOTE_ALL,
    ),
    "blank lines": lambda p: typed(p, "\n\n" + frame().to_csv(index=False).replace("\n", "\n\n")),
    "capitals": lambda p: saved(p, frame().rename(columns=str.upper)),
    "blanks around names": lambda p: saved(p, frame().rename(columns=lambda name: f" {name} ")),
    "classes with blanks, called NA and null": lambda p: saved(
        p, frame(NAMES, label=NAMES[LABELS])
    ),
    "labels with a blank at the end": lambda p: saved(
        p, frame(NAMES, label=[f"{NAMES[y]} " for y in LABELS])
    ),
    "classes called by numbers": lambda p: saved(
        p, frame((10, 20, 30, 40), label=10 * LABELS + 10)
    ),
    "classes counted from 1": lambda p: saved(p, frame((1, 2, 3, 4), label=LABELS + 1)),
    "class names, labels as positions": lambda p: saved(p, frame(NAMES)),
    "ids with zeros in front": lambda p: saved(p, frame(id=ZEROS)),
    "members with zeros in front": lambda p: beside(p, listed(ZEROS), id=ZEROS),
    "members from Windows": lambda p: beside(
        p, b"\xef\xbb\xbf" + listed(range(60), "\r\n") + b"\r\n", id=range(60)
    ),
    "members in a table": lambda p: beside(p, b"id\n" + listed(range(60)), "m.csv", id=range(60)),
    "members written as floats": lambda p: beside(
        p, listed([f"{i}.0" for i in range(60)]), id=range(60)
    ),
    "members named twice": lambda p: beside(p, 2 * (listed(range(60)) + b"\n"), id=range(60)),
    "members as yes and no": lambda p: saved(p, frame(member=np.where(MEMBERS, "yes", "no"))),
    "members as train and test": lambda p: saved(
        p, frame(member=np.where(MEMBERS, "train", "test"))
    ),
    "dictionary columns": lambda p: parquet(
        p, frame(NAMES, label=pd.Categorical(NAMES[LABELS]), member=pd.Categorical(MEMBERS))
    ),
    "pandas' own types": lambda p: parquet(p, frame().convert_dtypes()),
    "decimals": lambda p: parquet(
        p, frame().assign(logit_0=[decimal.Decimal(f"{z:.7f}") for z in LOGITS[:, 0]])
    ),
    "texts as bytes": lambda p: arrays(
        p, labels=np.array(list("abcd"), "S")[LABELS], classes=np.array(list("abcd"), "S")
    ),
    "arrays with capitals": capitals,
}


@pytest.mark.parametrize("kind", RIGHT)
def test_it_is_read_to_the_same_numbers(kind, tmp_path):
    got = RIGHT[kind](tmp_path).outputs
    np.testing.assert_allclose(got.logits[0], LOGITS, atol=2e-6)
    np.testing.assert_array_equal(got.labels, LABELS)
    np.testing.assert_array_equal(got.members[0], MEMBERS)


TEXT = frame().to_csv(index=False)
REFUSED = {
    "per cent": (lambda p: saved(p, frame(prefix="prob_", values=100 * SURE)), r"p / 100"),
    "per cent signs": (
        lambda p: saved(p, frame(prefix="prob_").assign(prob_0="12.5%")),
        r"'prob_0' holds '12.5%' in record 0; expected a number such as 0.25",
    ),
    "scores above 1": (lambda p: saved(p, frame(prefix="prob_", values=3 * SURE)), "in \\[0, 1\\]"),
    "a thousand or a comma": (
        lambda p: typed(p, 'logit_0,logit_1,label,member\n"1,234","2,345",0,1\n"0","1,000",1,0\n'),
        "a thousand, or a decimal comma",
    ),
    "blanks between columns": (
        lambda p: typed(p, frame().to_csv(sep=" ", index=False)),
        "separate columns by commas",
    ),
    "a comment on top": (lambda p: typed(p, f"# mine\n{TEXT}"), "one column, '# mine'"),
    "latin-1": (
        lambda p: saved(p, frame(["Ähre", *"abc"]), encoding="latin-1"),
        "save it as UTF-8",
    ),
    "nothing": (lambda p: typed(p, ""), "not a readable table"),
    "names alone": (lambda p: typed(p, TEXT.split("\n")[0]), "holds no record"),
    "arrays of no records": (
        lambda p: arrays(p, logits=LOGITS[:0], labels=LABELS[:0], members=MEMBERS[:0]),
        "holds no record",
    ),
    "a row too long": (lambda p: typed(p, TEXT.replace("\n", "\n1,2,3,4,0,True,7\n", 1)), "line"),
    "a row too short": (
        lambda p: typed(p, TEXT + "1,2,3,4\n"),
        "record 60 has nothing under labels",
    ),
    "a label missing": (
        lambda p: saved(p, frame(label=np.where(np.arange(60) == 3, np.nan, LABELS))),
        "record 3 has nothing under labels",
    ),
    "a membership missing": (
        lambda p: saved(p, frame(member=np.where(np.arange(60) == 3, np.nan, MEMBERS))),
        "record 3 has nothing under members",
    ),
    "an id missing": (
        lambda p: arrays(p, ids=np.where(np.arange(60) == 3, np.nan, np.arange(60))),
        "record 3 has nothing under ids",
    ),
    "an id twice": (
        lambda p: saved(p, frame(id=[*range(59), 7])),
        "record 59 has the id of an earlier one",
    ),
    "a word among numbers": (
        lambda p: saved(
            p, frame().astype({"logit_2": str}).replace({"logit_2": {str(LOGITS[5, 2]): "n/d"}})
        ),
        "'logit_2' holds 'n/d' in record 5",
    ),
    "a number missing": (
        lambda p: saved(p, frame().assign(logit_1=np.where(np.arange(60) == 3, np.nan, 1.0))),
        "first at record 3",
    ),
    "numbers beyond float32": (lambda p: arrays(p, logits=1e300 * LOGITS.astype(float)), "3.4e38"),
    "objects": (lambda p: arrays(p, labels=NAMES[LABELS].astype(object)), r"labels.astype\(str\)"),
    "arrays without names": (
        lambda p: (np.savez(p / "n.npz", LOGITS, LABELS), read_answers(p / "n.npz")),
        "holds arr_0, arr_1; expected logits or probabilities",
    ),
    "a class left out": (
        lambda p: saved(p, frame((0, 1, 2, 4))),
        "label '3' is no class of the model",
    ),
    "counted from 1 and from 0": (
        lambda p: saved(p, frame((1, 2, 3, 4))),
        "label '0' is no class of the model",
    ),
    "another column among the classes": (
        lambda p: saved(p, frame().assign(logit_label=1.0)),
        "'logit_label' stands among numbered",
    ),
    "two columns of labels": (lambda p: saved(p, frame(y=LABELS[::-1])), "label and y differ"),
    "one name in capitals and small": (lambda p: saved(p, frame(Label=LABELS)), "there twice"),
    "predictions alone": (
        lambda p: saved(p, frame()[["label", "member"]].assign(pred=LABELS)),
        "logits or probabilities",
    ),
    "lists as texts": (
        lambda p: saved(
            p, frame()[["label", "member"]].assign(logits=[str(list(z)) for z in LOGITS])
        ),
        "a column a class: logit_0",
    ),
    "the probability of class 0": (
        lambda p: saved(p, frame([0], "prob_", SURE, label=LABELS % 2)),
        "that of class 1 of two",
    ),
    "labels -1 and 1": (
        lambda p: arrays(p, logits=LOGITS[:, 0], labels=2 * (LABELS % 2) - 1),
        "or labels 0 and 1",
    ),
    "members in other words": (
        lambda p: saved(p, frame(member=np.where(MEMBERS, "ja", "nein"))),
        "expected true or false",
    ),
    "members of other ids": (
        lambda p: beside(p, listed(ZEROS), id=range(100, 160)),
        "'000100' is not .* such as '100'",
    ),
    "a list of several columns": (
        lambda p: beside(p, b"id,x\n1,2\n", "m.csv", id=range(60)),
        "several columns; expected one",
    ),
    "an empty list": (lambda p: beside(p, b"\r\n", id=range(60)), "is empty"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_in_a_line_that_helps(kind, tmp_path):
    read, words = REFUSED[kind]
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_ids_stay_as_they_are_written(tmp_path):
    assert saved(tmp_path, frame(id=ZEROS)).names.tolist() == ZEROS
    long = [str(12345678901234567890 + i) for i in range(60)]
    assert saved(tmp_path, frame(id=long)).names.tolist() == long
    odd = ["NA", "null", "None", *map(str, range(57))]
    assert saved(tmp_path, frame(id=odd)).names.tolist() == odd
    assert arrays(tmp_path, ids=np.arange(60.0)).names[:2].tolist() == ["0", "1"]
    assert parquet(tmp_path, frame(id=odd).set_index("id")).names.tolist() == odd


def test_groups_without_a_value_are_a_group(tmp_path):
    third = np.arange(60) % 3 > 0
    group = {"group_sex": np.where(third, "f", None), "group_age": np.where(third, 30.0, np.nan)}
    for read in (saved, parquet):
        got = read(tmp_path, frame(**group)).groups
        assert set(got["sex"]) == {"f", "missing"} and "missing" in got["age"]
        np.testing.assert_array_equal(got["sex"] == "missing", ~third)


@pytest.mark.parametrize("column", ["probability", "prob_1", "prob_sick"])
def test_one_probability_is_that_of_class_1_or_of_the_class_it_is_called_by(column, tmp_path):
    y = np.arange(60) % 2
    p = 0.2 + 0.6 * y
    label = np.array(["well", "sick"])[y] if column == "prob_sick" else y
    data = saved(tmp_path, pd.DataFrame({column: p, "label": label, "member": MEMBERS}))
    z = data.outputs.logits[0]
    np.testing.assert_allclose(z[:, 1] - z[:, 0], np.log(p / (1 - p)), atol=1e-5)
    assert data.outputs.labels.tolist() == y.tolist()


def test_reference_models_may_list_their_classes_in_another_order(tmp_path):
    order = [2, 0, 3, 1]
    table = frame(NAMES[order], values=LOGITS[:, order])
    for labels in (NAMES[LABELS], np.argsort(order)[LABELS]):
        table.assign(label=labels).to_csv(tmp_path / "a.csv", index=False)
        got = read_answers(tmp_path / "a.csv", classes=list(NAMES)).outputs
        np.testing.assert_allclose(got.logits[0], LOGITS, atol=1e-6)
        np.testing.assert_array_equal(got.labels, LABELS)
    with pytest.raises(InputError, match="has the classes"):
        read_answers(tmp_path / "a.csv", classes=["a", "b", "c", "d"])


def test_answers_of_unknown_order_of_classes_are_not_compared(tmp_path):
    target = saved(tmp_path, frame(NAMES, label=NAMES[LABELS]))
    order = [1, 0, 2, 3]
    other = saved(tmp_path, frame(NAMES[order], values=LOGITS[:, order], label=NAMES[LABELS]))
    with pytest.raises(InputError, match="list the classes in another order"):
        audit(target, other, accept=["copies"])


@pytest.mark.parametrize("start", [0, 1])
def test_an_index_written_beside_a_table_is_no_feature(start, tmp_path):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    table = table.assign(label=np.arange(30) % 2).set_index(np.arange(30) + start)
    table.to_csv(tmp_path / "t.csv")
    assert read_material(tmp_path / "t.csv").pool.shape == (2,)
    table.set_index(np.arange(30)[::-1]).to_csv(tmp_path / "t.csv")
    with pytest.raises(InputError, match="a column has no name"):
        read_material(tmp_path / "t.csv")


def test_a_table_of_features_from_a_german_spreadsheet(tmp_path):
    table = pd.DataFrame({"alter": [30.5, 41.0, 17.25] * 4, "label": ["ja", "nein", "ja"] * 4})
    table = table.assign(id=[f"{i:03d}" for i in range(12)])
    table.to_csv(tmp_path / "t.csv", sep=";", decimal=",", index=False, encoding="utf-8-sig")
    material = read_material(tmp_path / "t.csv")
    assert material.ids[0] == "000" and material.pool.classes == ("ja", "nein")
    np.testing.assert_allclose(material.pool.records[:, 0], table["alter"])
