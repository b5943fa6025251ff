"""What texts seldom meet: each is refused by name, or read as what it is."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from tokens import token_outputs

from mia_utils import InputError
from mia_utils.audit.tables import read_table
from mia_utils.text.archive import mapped_arrays
from mia_utils.text.canaries import Canary, canaries, exposure
from mia_utils.text.config import TextConfig
from mia_utils.text.corpus import Corpus
from mia_utils.text.extraction import Extraction, extraction, generate
from mia_utils.text.masking import mask_names_and_numbers
from mia_utils.text.model import GPT
from mia_utils.text.query import TextModels
from mia_utils.text.read import read_tokens
from mia_utils.text.tables import column_names, read_columns
from mia_utils.text.train import train_text
from mia_utils.training.config import DPConfig

SMALL = {"layers": 1, "width": 16, "heads": 2, "context": 16, "batch_size": 4}
TOLD = token_outputs(1, 6, seed=0, leak=0.0)


def models():
    corpus = Corpus.of(["one text", "another"], vocabulary=260)
    return TextModels(corpus, np.ones((1, 2), np.uint8), TextConfig(**SMALL), ("a",), None)


def gpt():
    return GPT(260, 16, layers=1, width=16, heads=2)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: canaries(0), "count=0; expected a whole number"),
        (lambda: canaries(3, digits=10), "digits=10; expected a whole number, 1 to 9"),
        (lambda: exposure(models(), [Canary("The code is {}", "1234567")]), "10,000,000 possible"),
        (
            lambda: extraction(TOLD.replace(ranks=None), prompt=1, length=1),
            "needs the tokens' ranks",
        ),
        (
            lambda: extraction(TOLD, prompt=0, length=1),
            "prompt=0; expected a number of tokens, at least 1",
        ),
        (lambda: generate(gpt(), [1, 300], 2), "token 300 is not in the vocabulary of 260 tokens"),
        (lambda: generate(gpt(), [1] * 10, 7), r"10 \+ 7 tokens are more than the model's context"),
        (lambda: generate(gpt(), [1], 2, temperature=-1), "temperature=-1; expected a number"),
        (lambda: generate(gpt(), [1], 2, temperature="hot"), "temperature='hot'; expected a num"),
        (lambda: generate(gpt(), [1], "2"), "length='2'; expected"),
        (lambda: FOUND.within(0), "tries=0; expected"),
        (lambda: FOUND.within("2"), "tries='2'; expected"),
        (lambda: models().outputs(neighbours=-1), "neighbours=-1; expected a number of versions"),
        (lambda: GPT(260, 16, layers=1, width=10, heads=4), "width=10, heads=4; expected a width"),
        (lambda: mask_names_and_numbers(5), "text=5; expected a text"),
        (
            lambda: train_text(
                models().corpus,
                np.ones((1, 2), bool),
                TextConfig(**SMALL, dp=DPConfig(epsilon=8.0)),
                precision="bf16",
                progress=False,
            ),
            "dp with precision='bf16'; DP-SGD trains in fp32",
        ),
    ],
)
def test_what_cannot_be_asked_of_texts_is_refused_by_name(call, said, monkeypatch, tmp_path):
    monkeypatch.setenv("MIA_STORE", str(tmp_path))
    with pytest.raises(InputError, match=said):
        call()


FOUND = Extraction(np.array([True]), np.array([[False]]), np.log([[0.5]]))


def test_more_tries_find_more():
    assert [round(FOUND.within(n).item(), 6) for n in (1, 2, 3)] == [0.5, 0.75, 0.875]


def test_a_long_list_of_owners_names_each_but_once():
    assert len({canary.form for canary in canaries(3000, seed=1)}) == 3000


def test_training_in_bf16_is_another_model_and_nearly_the_same(tmp_path):
    corpus = Corpus.of([f"text number {i} of the corpus" for i in range(8)], vocabulary=260)
    members = np.arange(8)[None] < 4
    full, half = (
        train_text(
            corpus,
            members,
            TextConfig(**SMALL, epochs=1),
            precision=precision,
            store=tmp_path,
            jobs=1,
            progress=False,
        )
        for precision in ("fp32", "bf16")
    )
    assert full.names != half.names
    ours, theirs = (part.outputs().log_probs for part in (full, half))
    assert not np.array_equal(ours, theirs)
    np.testing.assert_allclose(ours.mean(), theirs.mean(), rtol=0.02)


# ---- files ----


def test_compressed_archives_hold_the_same_arrays_in_memory(tmp_path):
    arrays = {
        "log_probs": np.linspace(-3, 0, 50),
        "none": np.empty((0, 2)),
        "names": np.array(["ä"]),
    }
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    plain, small = (mapped_arrays(tmp_path / name) for name in ("plain.npz", "small.npz"))
    assert isinstance(plain["log_probs"], np.memmap) and not isinstance(
        small["log_probs"], np.memmap
    )
    for name, values in arrays.items():
        np.testing.assert_array_equal(plain[name], values)
        np.testing.assert_array_equal(small[name], values)


def _in_archive(path, data):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", data)
    return path


def test_headers_of_version_2_are_read_and_short_arrays_refused(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(5.0), version=(2, 0))
    whole = buffer.getvalue()
    read = mapped_arrays(_in_archive(tmp_path / "new.npz", whole))["a"]
    np.testing.assert_array_equal(read, np.arange(5.0))
    with pytest.raises(
        InputError, match=r"a\.npy claims 40 bytes and holds 32; the file is damaged"
    ):
        mapped_arrays(_in_archive(tmp_path / "short.npz", whole[:-8]))


def test_an_archive_that_is_filled_up_may_bring_its_texts(tmp_path):
    given = {"log_probs": -np.ones((2, 3)), "lengths": [3, 2], "members": [True, False]}
    np.savez(tmp_path / "a.npz", **given, texts=["one", "two"])
    assert read_tokens(tmp_path / "a.npz").texts == ("one", "two")


LONG = {"document": [0, 0, 1, 1], "log_prob": [-1.0, -2.0, -1.0, -1.0], "member": [1, 1, 0, 0]}


def test_groups_that_are_no_column_are_refused(tmp_path):
    pd.DataFrame(LONG).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(
        InputError, match=r"a\.csv: has no column 'site'; it holds document, log_pr"
    ):
        read_tokens(tmp_path / "a.csv", groups=["site"])


def test_whole_numbers_that_came_as_decimals_are_the_same_documents(tmp_path):
    pd.DataFrame(LONG).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame(LONG | {"document": [0.0, 0.0, 1.0, 1.0]}).to_parquet(tmp_path / "b.parquet")
    a, b = (read_tokens(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.offsets, b.offsets)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"x", "expected a file whose name ends in .npz, .parquet or .csv"),
        ("a.csv", b"x,x\n1,2\n", "the column 'x' is there twice"),
        ("a.csv", b"x,y\n", "holds no record"),
        ("a.csv", b"x,y\n\xff\xff\xff,1\n", "UTF-8"),
        ("a.csv", b"x,y,x\n1,2,3\n", "the column 'x' is there twice"),
        ("a.csv", b"sep=;\n x; y; x\n1;2;3\n", "the column 'x' is there twice"),
        ("a.parquet", b"PAR1 no table PAR1", r"a\.parquet: not "),
        ("a.npz", b"no archive", r"a\.npz: "),
    ],
)
def test_files_that_are_no_tables_are_refused_by_name(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        column_names(tmp_path / name) if name.endswith("npz") else read_columns(tmp_path / name)


def test_a_column_that_is_there_twice_is_refused_in_parquet_too(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    write_table(pyarrow.table([[1], [2]], names=["x", "x"]), tmp_path / "a.parquet")
    for read in (read_columns, read_table):
        with pytest.raises(InputError, match=r"a\.parquet: the column 'x' is there twice"):
            read(tmp_path / "a.parquet")


def test_columns_without_a_name_may_be_many(tmp_path):
    (tmp_path / "a.csv").write_text("x,,\n1,2,3\n")
    assert read_columns(tmp_path / "a.csv")["x"].tolist() == [1]


def test_truth_values_with_no_gap_stay_truth_values(tmp_path):
    frame = pd.DataFrame({"member": pd.array([True, False], dtype="boolean"), "text": ["a", None]})
    frame.to_parquet(tmp_path / "a.parquet")
    found = read_columns(tmp_path / "a.parquet")
    assert found["member"].dtype == bool and found["text"].tolist() == ["a", ""]


def test_the_repr_of_many_documents_tells_a_perplexity_near_theirs():
    many = token_outputs(1, 3000, seed=2, leak=0.5, masks="independent")
    inside = many.members[0]
    said = float(repr(many).partition("perplexity ")[2].split()[0].strip(",;"))
    lengths = np.diff(many.offsets)
    loss = -np.add.reduceat(many.log_probs[0], many.offsets[:-1])
    assert said == pytest.approx(np.exp(loss[inside].sum() / lengths[inside].sum()), rel=0.1)
