"""A Hugging Face causal model in a folder: its log-probabilities against plain forward passes."""

import json
import shutil

import numpy as np
import pytest

from mia_utils import InputError
from mia_utils.__main__ import main
from mia_utils.audit.language import asked_token_data
from mia_utils.text.attacks import MinKPlusPlusAttack, NeighbourhoodAttack
from mia_utils.text.huggingface import CausalModel, _perturbed, ask_causal

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

WORDS = ("the", "cat", "sat", "on", "a", "mat", "The", "dog", "ran", "off")
TEXTS = ["the cat sat on a mat", "The dog ran off", " ".join(WORDS * 5), "a cat ran"]
CONTEXT = 16


def saved(folder, *, opening: bool, words=WORDS, vocabulary: int | None = None):
    """A tiny random model and a tokenizer of words; `opening`: it puts a start symbol first."""
    vocab = {word: number for number, word in enumerate(("<s>", "<unk>", *words))}
    tokenizer = {
        "version": "1.0",
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
        "pre_tokenizer": {"type": "Whitespace"},
        "added_tokens": [
            {
                "id": number,
                "content": word,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, word in enumerate(("<s>", "<unk>"))
        ],
    }
    if opening:
        start = {"SpecialToken": {"id": "<s>", "type_id": 0}}
        a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
        tokenizer["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [start, a],
            "pair": [start, a, b],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        }
    folder.mkdir()
    (folder / "raw.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "raw.json"), bos_token="<s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=vocabulary or len(vocab),
        n_positions=CONTEXT,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=0,
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {o: saved(root / f"model-{o}", opening=o) for o in (False, True)}


def by_hand(model: CausalModel, ids: list[int]) -> list[tuple[float, float, float, int]]:
    """Log-probability, mean, deviation and rank of each token but the first, one pass a token."""
    found = []
    for place in range(1, len(ids)):
        with torch.no_grad():
            logits = model.model(torch.tensor([ids[:place]])).logits[0, -1].double()
        p = torch.softmax(logits, 0).numpy()
        log_p = np.log(p)
        mean = (p * log_p).sum()
        own = log_p[ids[place]]
        std = np.sqrt((p * (log_p - mean) ** 2).sum())
        found.append((own, mean, std, int((log_p > own).sum())))
    return found


@pytest.mark.parametrize("opening", [False, True])
def test_log_probabilities_are_those_of_plain_passes_over_one_document(folders, opening):
    texts = [TEXTS[0], TEXTS[1], TEXTS[3]]
    outputs = ask_causal(folders[opening], texts, [1, 0, 1])
    model = CausalModel(folders[opening])
    for document, text in enumerate(texts):
        ids = model.tokenizer(text)["input_ids"]
        assert (ids[0] == 0) is opening and len(ids) == len(text.split()) + opening
        here = slice(*outputs.offsets[document : document + 2])
        expected = np.array(by_hand(model, ids))
        for column, name in enumerate(("log_probs", "mean", "std", "ranks")):
            found = getattr(outputs, name)[0, here]
            np.testing.assert_allclose(found, expected[:, column], rtol=1e-4, atol=1e-5)
    assert np.isfinite(MinKPlusPlusAttack().score(outputs)).all()
    assert outputs.texts == tuple(texts)


def test_a_long_document_is_read_in_parts_that_overlap_by_half(folders):
    outputs = ask_causal(folders[False], [TEXTS[2], TEXTS[1]], [1, 0])
    model = CausalModel(folders[False])
    ids = model.tokenizer(TEXTS[2])["input_ids"]
    assert outputs.lengths[0] == len(ids) - 1 > 2 * CONTEXT
    for place in range(1, len(ids)):
        seen = []
        for begin in range(max(0, place - CONTEXT + 1), max(1, place - CONTEXT // 2 + 1)):
            with torch.no_grad():
                logits = model.model(torch.tensor([ids[begin:place]])).logits[0, -1]
            seen.append(float(torch.log_softmax(logits, 0)[ids[place]]))
        assert np.abs(np.array(seen) - outputs.log_probs[0, place - 1]).min() < 1e-4


def test_how_many_are_asked_at_once_changes_nothing(folders, monkeypatch):
    whole = ask_causal(folders[True], TEXTS, [1, 0, 1, 0])
    monkeypatch.setattr("mia_utils.text.huggingface._AT_ONCE", 1)
    monkeypatch.setattr("mia_utils.text.distribution._AT_ONCE", 1)
    alone = ask_causal(folders[True], TEXTS, [1, 0, 1, 0])
    np.testing.assert_allclose(alone.log_probs, whole.log_probs, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(alone.ranks, whole.ranks)


def test_lower_case_and_neighbours_are_asked_too(folders):
    model, text = CausalModel(folders[True]), "The cat sat"
    neighbours = [["the dog sat", "a dog ran off"], ["a cat", "a mat"]]
    outputs = ask_causal(
        model,
        [text, "The mat"],
        ["b"],
        ids=["a", "b"],
        lowercase=True,
        neighbours=neighbours,
        groups={"year": [1, 2]},
    )
    lower = by_hand(model, model.tokenizer("the cat sat")["input_ids"])
    near = by_hand(model, model.tokenizer("a dog ran off")["input_ids"])
    expected = np.mean([each[0] for each in lower]), np.mean([each[0] for each in near])
    assert outputs.lowercase_log_probs[0, 0] == pytest.approx(expected[0], rel=1e-4)
    assert outputs.neighbour_log_probs[0, 0, 1] == pytest.approx(expected[1], rel=1e-4)
    assert outputs.members.tolist() == [[False, True]]
    assert NeighbourhoodAttack().score(outputs).shape == (1, 2)


def test_neighbours_are_made_by_the_number(folders):
    model = CausalModel(folders[True])
    texts = [" ".join(WORDS), "the cat sat on a mat"] * 10
    first, again, other = (
        ask_causal(model, texts, [1, 0] * 10, neighbours=3, seed=seed).neighbour_log_probs
        for seed in (0, 0, 1)
    )
    assert first.shape == (1, 20, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    rows = model.tokens(texts)
    near = _perturbed(rows, [0, 0])
    differing = [np.not_equal(a, b) for a, b in zip(rows, near, strict=True)]
    assert not any(row[0] for row in differing) and 0.02 < np.mean(np.concatenate(differing)) < 0.12


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["the cat", ""], {}, r"document 1 \(''\) has 0 tokens"),
        (["the cat", "cat"], {}, r"document 1 \('cat'\) has 1 token;.*leave it out"),
        (["the cat", "the xylophone"], {"ids": ["x", "y"]}, "document y .*tokenizer does not know"),
        ([], {}, "no documents"),
        ("the cat", {}, "one text a document"),
        (["the cat", "a mat"], {"neighbours": [["a cat"], []]}, "all of one length"),
        (
            ["the cat", "a mat"],
            {"neighbours": -1},
            "neighbours=-1; expected a number of at least 0",
        ),
        (["the cat", "a mat"], {"neighbours": [["a cat"]]}, "1 lists of 1 to 1 texts; expected 2"),
    ],
)
def test_documents_that_cannot_be_asked_about_are_named(folders, texts, options, message):
    with pytest.raises(InputError, match=message) as caught:
        ask_causal(folders[True], texts, [1, 0][: len(texts)], **options)
    assert "\n" not in str(caught.value)


def test_without_a_start_symbol_two_tokens_are_too_few(folders):
    with pytest.raises(InputError, match="has 2 tokens; expected at least two that something"):
        ask_causal(folders[False], ["the cat", "a mat on"], [1, 0])


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    folder = saved(tmp_path / "other", opening=True, vocabulary=8)
    with pytest.raises(InputError, match="has the token 11; .* knows 0 to 7"):
        ask_causal(folder, ["a dog ran off", "the cat"], [1, 0])


def test_folders_that_hold_no_such_model_are_named(tmp_path, folders):
    with pytest.raises(InputError, match="no such folder"):
        CausalModel(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: not a causal language model") as caught:
        CausalModel(tmp_path / "empty")
    assert "\n" not in str(caught.value)


# ---- audits ----


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(4, 14))) for _ in range(80)]


def test_an_audit_asks_a_model_in_a_folder_about_a_table(folders, documents, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    members = np.arange(80) % 2 == 0
    frame = pandas.DataFrame({"text": documents, "member": members, "year": np.arange(80) % 3})
    frame.to_csv(tmp_path / "texts.csv", index=False)
    command = ["audit", "--model", str(folders[True]), "--data", str(tmp_path / "texts.csv")]
    command += ["-o", str(tmp_path / "report")]
    assert main([*command, "--groups", "year"]) == 0
    told = capsys.readouterr()
    assert "80 documents of" in told.err and "groups by year" in told.err
    assert "No leakage was found" in told.out  # of an untrained model
    names = json.loads((tmp_path / "report/report.json").read_text("utf-8"))["attacks"]
    assert {"min_k_plus_plus", "lowercase", "zlib"} <= {row["name"] for row in names}
    assert main([*command, "--shadows", "4"]) == 2
    assert "--shadows FILE" in capsys.readouterr().err
    frame.drop(columns="member").to_csv(tmp_path / "texts.csv", index=False)
    assert main(command) == 2 and "--members FILE" in capsys.readouterr().err


def test_an_audit_asks_about_a_folder_of_texts(folders, documents, tmp_path, capsys):
    for number, text in enumerate(documents):
        path = tmp_path / "texts" / ("a" if number % 3 else "b") / f"{number:02}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "members.txt").write_text(
        "\n".join(f"{'a' if n % 3 else 'b'}/{n:02}.txt" for n in range(0, 80, 2)), encoding="utf-8"
    )
    command = ["audit", "--model", str(folders[True]), "-o", str(tmp_path / "report"), "--quiet"]
    command += ["--data", str(tmp_path / "texts"), "--members", str(tmp_path / "members.txt")]
    assert main(command) == 0
    exposed = json.loads((tmp_path / "report/report.json").read_text("utf-8"))["exposed"]
    assert exposed[0]["id"].endswith(".txt") and exposed[0]["id"][:2] in ("a/", "b/")
    (tmp_path / "texts/a/01.txt").unlink()
    (tmp_path / "texts/a/01.txt").symlink_to("/etc/hostname")
    assert main(command) == 2 and "leads out of texts" in capsys.readouterr().err


def test_a_model_that_looks_ahead_is_refused(folders, tmp_path):
    folder = tmp_path / "ahead"
    shutil.copytree(folders[True], folder)
    for file in ("config.json", "model.safetensors", "generation_config.json"):
        (folder / file).unlink(missing_ok=True)
    config = transformers.BertConfig(
        vocab_size=12,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=CONTEXT,
    )
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    with pytest.raises(InputError, match="depends on the tokens after it"):
        CausalModel(folder)


def test_a_model_that_answers_with_no_numbers_is_named(folders, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(folders[True], folder)
    model = transformers.GPT2LMHeadModel.from_pretrained(folder)
    torch.nn.init.constant_(model.transformer.ln_f.bias, float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(InputError, match="broken: the model answers with NaN or infinity"):
        ask_causal(folder, TEXTS[:2], [1, 0])


def test_a_tokenizer_of_capital_letters_costs_one_attack_and_not_the_audit(tmp_path):
    folder = saved(tmp_path / "cased", opening=True, words=("The", "Cat", "sat", "on"))
    rows = [f"{number:03},The Cat sat on The Cat,{number % 2}" for number in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["id,text,member", *rows]), encoding="utf-8")
    data = asked_token_data(folder, tmp_path / "t.csv")
    assert data.tokens.lowercase_log_probs is None
    assert data.names.tolist() == [f"{number:03}" for number in range(6)]


def test_texts_of_a_table_are_asked_about_as_they_are_written(tmp_path, monkeypatch):
    folder = saved(tmp_path / "words", opening=True, words=("a",), vocabulary=300)
    tokenizer = transformers.ByT5Tokenizer()  # of bytes: whatever is written is known
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    (tmp_path / "t.csv").write_text(
        "text,member,group_zip\n0.50,yes,00\nnull,no,01\nN/A,no,01\n 12,no,01\n", encoding="utf-8"
    )
    data = asked_token_data(folder, tmp_path / "t.csv")
    assert data.tokens.texts == ("0.50", "null", "N/A", " 12")
    assert data.groups["zip"].tolist() == ["00", "01", "01", "01"]
    assert data.outputs.members.tolist() == [[True, False, False, False]]
    (tmp_path / "t.csv").write_text("text,member\n a a a,yes\n,no\n", encoding="utf-8")
    with pytest.raises(InputError, match="row 1 has nothing under text"):
        asked_token_data(folder, tmp_path / "t.csv")


def test_a_folder_that_is_not_there_is_named_before_the_data(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("text,member\na b c,1\n", encoding="utf-8")
    assert main(["audit", "--model", "nowhere", "--data", str(tmp_path / "t.csv")]) == 2
    assert "--model nowhere: no such folder" in capsys.readouterr().err
