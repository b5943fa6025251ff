"""A user's own log-probabilities, in each of the shapes that are taken; what is refused, and how."""

import numpy as np
import pandas as pd
import pytest
from test_text_outputs import assert_same
from tokens import token_outputs

from mia_utils import InputError
from mia_utils.text.outputs import TokenOutputs
from mia_utils.text.read import holds_tokens, read_named, read_tokens

pytest.importorskip("pyarrow", reason="needs mia-utils[audit]")


@pytest.fixture(scope="module")
def outputs() -> TokenOutputs:
    whole = token_outputs(2, 12, seed=1, leak=1.0)
    names = np.array([f"doc-{number}" for number in range(12)])
    year = np.where(np.arange(12) % 2, "2020", "2021")
    return whole.replace(ids=names, groups={"year": year}, fingerprint="")


def frames(outputs: TokenOutputs) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same as a long table and as one with lists."""
    short, long = [], []
    for model in range(len(outputs)):
        for row in range(outputs.documents):
            here = slice(*outputs.offsets[row : row + 2])
            common = {
                "model": f"m{model}",
                "document": f"doc-{row}",
                "member": bool(outputs.members[model, row]),
                "text": outputs.texts[row],
                "group_year": outputs.groups["year"][row],
                "lowercase_log_prob": outputs.lowercase_log_probs[model, row],
            }
            values = {
                name: getattr(outputs, field)[model, here]
                for name, field in (
                    ("log_probs", "log_probs"),
                    ("mean", "mean"),
                    ("std", "std"),
                    ("ranks", "ranks"),
                )
            }
            near = outputs.neighbour_log_probs[model, row]
            short.append(common | values | {"neighbour_log_probs": near})
            for position in range(values["mean"].size):
                own = {name: column[position] for name, column in values.items()}
                long.append(common | {"position": position} | own)
    return pd.DataFrame(long), pd.DataFrame(short)


def write(frame: pd.DataFrame, path):
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_long_table_in_any_order(outputs, tmp_path, kind):
    long = frames(outputs)[0]
    first = long[long.model == "m0"].drop_duplicates("document").document
    shuffled = pd.concat([long[long.document == name] for name in first])  # documents as they were
    shuffled = pd.concat([shuffled[shuffled.model == "m0"], shuffled[shuffled.model == "m1"]])
    inside = shuffled.groupby(["model", "document"], sort=False).sample(frac=1, random_state=0)
    found = read_tokens(write(inside, tmp_path / f"long.{kind}"))
    assert_same(found, outputs.replace(neighbour_log_probs=None))
    assert "2 models, 12 documents" in repr(found)


def test_a_table_with_lists(outputs, tmp_path):
    path = write(frames(outputs)[1], tmp_path / "lists.parquet")
    found, names = read_named(path)
    assert_same(found, outputs)
    assert names[3] == "doc-3" and holds_tokens(path)


def test_the_least_that_is_needed(tmp_path):
    lists = pd.DataFrame({"logprobs": [[-1.0, -2.0], [-3.0, -3.0, -1.0]], "is_member": [1, 0]})
    found = read_tokens(write(lists, tmp_path / "a.parquet"))
    assert found.lengths.tolist() == [2, 3] and found.members.tolist() == [[True, False]]
    rows = pd.DataFrame({"doc": [7, 7, 5, 5], "log_prob": [-1.0, -2.0, -3.0, -4.0]})
    path = write(rows, tmp_path / "b.csv")
    found = read_tokens(path, members=[5])
    assert found.ids.tolist() == [7, 5] and found.members.tolist() == [[False, True]]
    np.testing.assert_array_equal(found.log_probs, [[-1, -2, -3, -4]])


def test_archives_with_offsets_lengths_or_filled_up(tmp_path):
    flat, members = -np.arange(1.0, 7), [True, False]
    filled = np.array([[-1, -2, 9, 9], [-3, -4, -5, -6]])
    for fields in (
        {"log_probs": flat, "offsets": [0, 2, 6]},
        {"log_probs": flat, "lengths": [2, 4]},
        {"logprobs": filled.astype(float), "lengths": [2, 4]},
        {"log_probs": filled[None].astype(float), "lengths": [2, 4], "group_x": ["a", "b"]},
    ):
        np.savez(tmp_path / "a.npz", members=members, **fields)
        found = read_tokens(tmp_path / "a.npz")
        np.testing.assert_array_equal(found.log_probs, flat[None])
        assert found.lengths.tolist() == [2, 4]
    assert found.groups["x"].tolist() == ["a", "b"]


def test_what_was_saved_is_read_too(outputs, tmp_path):
    path = outputs.save(tmp_path / "a.npz")
    assert holds_tokens(path)
    assert_same(read_tokens(path), outputs)
    assert_same(read_tokens(path, groups=["year"]), outputs)
    with pytest.raises(InputError, match="no groups 'site'; it has year"):
        read_tokens(path, groups=["site"])
    swapped = read_tokens(path, members=~outputs.members)
    np.testing.assert_array_equal(swapped.members, ~outputs.members)
    one = outputs.select(models=[0]).save(tmp_path / "one.npz")
    named = read_tokens(one, members=["doc-1", "doc-4"])
    assert np.flatnonzero(named.members[0]).tolist() == [1, 4]


def test_answers_of_a_classifier_are_told_apart(tmp_path):
    np.savez(tmp_path / "a.npz", logits=np.zeros((3, 2)), labels=[0, 1, 1], members=[1, 0, 0])
    assert not holds_tokens(tmp_path / "a.npz")
    (tmp_path / "a.npy").write_bytes(b"")
    assert not holds_tokens(tmp_path / "a.npy")
    with pytest.raises(InputError, match="no such file"):
        holds_tokens(tmp_path / "none.npz")


def changed(frame: pd.DataFrame, row: int, column: str, value) -> pd.DataFrame:
    frame = frame.copy()
    frame[column] = frame[column].astype(object)
    frame.at[row, column] = value
    return frame.infer_objects()


LONG = [
    (
        lambda f: f.rename(columns={"document": "page"}),
        "unknown 'page'; expected log_probs, .*--groups page",
    ),
    (lambda f: f.drop(columns="document"), "also a column document"),
    (lambda f: f.drop(columns="member"), "expected also members: .*--members FILE"),
    (lambda f: f.drop(columns="log_probs"), "expected log_probs"),
    (lambda f: f.drop(index=4), "has no position 4"),
    (lambda f: f.assign(position=f.position + 2), "positions begin at 2"),
    (lambda f: pd.concat([f, f.iloc[[3]]]), "tokens of model|twice"),
    (
        lambda f: f[(f.model == "m0") | (f.document != "doc-3")],
        "document doc-3 has 0 tokens of model 1",
    ),
    (lambda f: changed(f, 1, "member", not f.member[1]), "row 1 says members .*earlier row"),
    (lambda f: changed(f, 1, "group_year", "1999"), "row 1 says group 'year' '1999'"),
    (lambda f: changed(f, 0, "log_probs", np.nan), "nan at token 0 of document"),
    (lambda f: f.assign(log_probs=-f.log_probs), "write -losses"),
    (lambda f: f.assign(log_prob=f.log_probs), "says the same as another column"),
    (lambda f: f.iloc[:0], "holds no record"),
]


@pytest.mark.parametrize(("change", "message"), LONG)
def test_long_tables_that_cannot_be_read_are_refused(outputs, tmp_path, change, message):
    path = write(change(frames(outputs)[0]), tmp_path / "long.parquet")
    with pytest.raises(InputError, match=message) as caught:
        read_tokens(path)
    assert "\n" not in str(caught.value) and "long.parquet" in str(caught.value)


SHORT = [
    (lambda f: changed(f, 0, "log_probs", []), "document 0 has 0 tokens|document 0 has"),
    (lambda f: changed(f, 0, "log_probs", None), "row 0 of column 'log_probs' is empty"),
    (lambda f: f.assign(log_probs=[["a"]] * len(f)), "holds other things than numbers"),
    (lambda f: f.assign(mean=-1.0), "mean holds numbers and log_probs lists"),
    (
        lambda f: changed(f, 0, "mean", [-1.0]),
        "mean of model 1: document 0 has 34 tokens, elsewhere 1",
    ),
    (lambda f: changed(f, 0, "neighbour_log_probs", [-1.0]), "lists differ in length"),
    (lambda f: f.assign(document="one"), "document one is there twice"),
    (lambda f: f.drop(index=20), "1 pairs of a model and a document have no row"),
    (lambda f: f.drop(columns=["document"]), "no ids"),
    (lambda f: changed(f, 0, "text", "another"), "texts of a document differs between models"),
]


@pytest.mark.parametrize(("change", "message"), SHORT)
def test_tables_of_lists_that_cannot_be_read_are_refused(outputs, tmp_path, change, message):
    path = write(change(frames(outputs)[1]), tmp_path / "lists.parquet")
    with pytest.raises(InputError, match=message) as caught:
        read_tokens(path)
    assert "\n" not in str(caught.value) and "lists.parquet" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"log_probs": [-1.0, -2.0]}, "expected offsets"),
        ({"log_probs": [-1.0, -2.0], "offsets": [0, 2], "lengths": [2]}, "one of the two"),
        ({"log_probs": [-1.0, -2.0], "lengths": [-2, 4]}, "fall below 0"),
        ({"log_probs": [-1.0, -2.0], "offsets": [0, 2], "scores": [1]}, "unknown 'scores'"),
        ({"log_probs": [-1.0, -2.0], "offsets": [0, 2], "members": [True, False]}, "members"),
        ({"losses": [1.0]}, "unknown 'losses'|expected log_probs"),
    ],
)
def test_archives_that_cannot_be_read_are_refused(tmp_path, fields, message):
    np.savez(tmp_path / "a.npz", **{"members": [True]} | fields)
    with pytest.raises(InputError, match=message):
        read_tokens(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("document,log_prob,member\n1,-1,1\n1,-2,1\n2,-3,0\n2,-4,0\n", [1, 2]),
        ("document;log_prob;member\n1;-1,0;1\n1;-2,0;1\n2;-3,0;0\n2;-4,0;0\n", [1, 2]),
        (
            "Document\tLogProb\tMember\n1\t-1\tTRUE\n1\t-2\tTRUE\n2\t-3\tFALSE\n2\t-4\tFALSE\n",
            [1, 2],
        ),
        ("\ufeffdocument, log_prob, member\n007,-1,1\n007,-2,1\n7,-3,0\n7,-4,0\n", ["007", "7"]),
    ],
)
def test_tables_as_programs_write_them(tmp_path, text, ids):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    assert holds_tokens(tmp_path / "a.csv")
    found, names = read_named(tmp_path / "a.csv")
    np.testing.assert_array_equal(found.log_probs, [[-1, -2, -3, -4]])
    assert found.members.tolist() == [[True, False]] and names.tolist() == list(map(str, ids))
    assert found.offsets.tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,-1,1\na,,1\nb,-1,0\nb,-1,0", "nan at token 1 of document a"),
        ("a,-1,1\n,-2,1\nb,-1,0\nb,-1,0", "row 1 has nothing under document"),
        ("a,-1,1\na,-2,1\nb,-1,\nb,-1,0", "row 2 has nothing under member"),
        ("a,-1,so\na,-2,so\nb,-1,la\nb,-1,la", "members has 4 values for 4 records, such as 'so'"),
        ("a,-1,1\na,x,1\nb,-1,0\nb,-1,0", "log_probs are texts"),
    ],
)
def test_gaps_and_words_in_a_table_are_named(tmp_path, rows, message):
    (tmp_path / "a.csv").write_text(f"document,log_prob,member\n{rows}\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_tokens(tmp_path / "a.csv")


def test_blanks_that_begin_a_document_are_its_own(tmp_path):
    (tmp_path / "t.csv").write_text(
        "document, text, log_prob, member\n"
        'a,"    def f(): pass",-1,yes\na,"    def f(): pass",-2,yes\n b,x, -1, no\nb,x,-3,no\n',
        encoding="utf-8",
    )
    outputs, names = read_named(tmp_path / "t.csv")
    assert outputs.texts == ("    def f(): pass", "x") and names.tolist() == ["a", "b"]
    np.testing.assert_array_equal(outputs.members, [[True, False]])
    np.testing.assert_array_equal(outputs.log_probs, [[-1, -2, -1, -3]])


def test_a_document_without_a_text_among_others_is_named(tmp_path):
    rows = {"document": ["a", "b"], "log_probs": [[-1.0, -2.0]] * 2, "member": [1, 0]}
    pd.DataFrame(rows | {"text": ["here", None]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="row 1 has nothing under text"):
        read_tokens(tmp_path / "t.parquet")


def test_tokens_beside_log_probabilities_are_passed_over(tmp_path):
    (tmp_path / "t.csv").write_text(
        "document,token_id,token,log_prob,member\na,5,x,-1,1\na,6,y,-2,1\nb,5,x,-1,0\nb,6,y,-3,0\n",
        encoding="utf-8",
    )
    assert read_tokens(tmp_path / "t.csv").documents == 2


def test_lists_that_are_filled_up_beyond_the_longest_are_cut(tmp_path):
    log_probs = np.full((2, 9), 7.0)
    log_probs[0, :3], log_probs[1, :2] = -1, -2
    np.savez(tmp_path / "t.npz", log_probs=log_probs, lengths=[3, 2], members=[1, 0])
    outputs = read_tokens(tmp_path / "t.npz")
    np.testing.assert_array_equal(outputs.log_probs, [[-1, -1, -1, -2, -2]])
