"""Language models: corpus, tokenizer, training through the engine, extraction and exposure."""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from mia_utils import InputError, auc
from mia_utils.engine.store import Store
from mia_utils.errors import InputWarning
from mia_utils.evaluation import null_auc_range
from mia_utils.text.canaries import Canary, canaries, exposure
from mia_utils.text.config import TextConfig
from mia_utils.text.corpus import Corpus, read_corpus
from mia_utils.text.duplicates import distinct
from mia_utils.text.extraction import extraction, generate
from mia_utils.text.tokenizer import Tokenizer
from mia_utils.text.train import train_text
from mia_utils.text.training import answers, build, fit
from mia_utils.training.config import DPConfig
from mia_utils.training.generators import Generators

SMALL = {"layers": 1, "width": 32, "heads": 2, "context": 32, "batch_size": 8}


def sentences(count, seed=0, rare=0.0):
    """Texts of random words, which can only be learned by heart; the k-th
    as often as 1 / k ** rare."""
    rng = np.random.default_rng(seed)
    known = ["".join(rng.choice(list("abcdefgh"), 4)) for _ in range(40)]
    weights = np.arange(1.0, 41) ** -rare
    weights /= weights.sum()
    return [" ".join(rng.choice(known, 8, p=weights)) for _ in range(count)]


@pytest.fixture(scope="module")
def corpus():
    return Corpus.of(sentences(48), vocabulary=300)


@pytest.fixture(scope="module")
def half():
    return np.random.default_rng(1).permutation(48) < 24


# ---- corpus ----


def test_near_copies_are_left_out_and_others_are_not():
    base = "def area(radius):\n    return math.pi * radius ** 2\n" * 2
    texts = [base, base + "# end", base.replace("radius", "r"), "something else entirely, really"]
    assert distinct(texts).tolist() == [0, 2, 3]
    assert distinct([*texts, base], similarity=1.0).tolist() == [0, 1, 2, 3]
    assert distinct(texts, most=1).tolist() == [0]
    with pytest.raises(InputError, match="similarity=0"):
        distinct(texts, similarity=0)


def test_near_copies_agree_with_all_pairs_compared_one_by_one():
    rng = np.random.default_rng(0)
    texts = sentences(30)
    texts += [" ".join(rng.permutation(text.split())) for text in texts]  # some alike, some not
    kept = []
    for number, text in enumerate(texts):
        sets = [
            {t[i : i + 8] for i in range(len(t) - 7)} for t in (text, *(texts[k] for k in kept))
        ]
        if all(len(sets[0] & s) / len(sets[0] | s) < 0.3 for s in sets[1:]):
            kept.append(number)
    assert 30 < len(kept) < 60
    found = distinct(texts, similarity=0.3).tolist()
    assert len(set(found) ^ set(kept)) <= 2  # candidates are found by hashing


def test_a_folder_is_cut_into_documents_that_do_not_overlap(tmp_path):
    (tmp_path / "b").mkdir()
    paragraphs = [f"{word} begins here, and goes on and on." for word in ("One", "Two", "Three")]
    (tmp_path / "b/long.txt").write_text("\n\n".join(paragraphs))
    (tmp_path / "a.md").write_text("A short one.")
    (tmp_path / "picture.png").write_bytes(b"\x89")
    found = read_corpus(tmp_path, length=30, least=5, vocabulary=256, similarity=1)
    assert sorted(found.texts) == sorted([*(p[:30] for p in paragraphs), "A short one."])
    assert set(found.sources) == {"a.md", "b/long.txt"}
    again = read_corpus(tmp_path, length=30, least=5, vocabulary=256, similarity=1)
    assert again.texts == found.texts and again.fingerprint == found.fingerprint
    other = read_corpus(tmp_path, length=30, least=5, vocabulary=256, similarity=1, seed=3)
    assert other.fingerprint != found.fingerprint
    (tmp_path / "latin.txt").write_bytes("für immer und ewig".encode("latin-1"))
    with pytest.warns(InputWarning, match=r"1 files are no UTF-8"):
        read_corpus(tmp_path, length=30, least=5, vocabulary=256, similarity=1)


def test_this_python_is_a_corpus():
    found = read_corpus(documents=60, length=120, vocabulary=300)
    assert len(found) == 60 and {len(text) for text in found.texts} == {120}
    pieces = np.split(found.tokens, found.offsets[1:-1])
    assert [found.tokenizer.decode(piece) for piece in pieces] == list(found.texts)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda p: read_corpus(p / "nowhere"), "no folder .*nowhere"),
        (lambda p: read_corpus(p, documents=2), "holds 0 distinct documents of 256"),
        (lambda p: read_corpus(p, length=5, least=6), "expected 1 <= least <= length"),
        (
            lambda p: read_corpus(p, documents=1),
            "documents=1; expected a number of documents, at least 2",
        ),
        (lambda p: Corpus.of(["some text", ""]), "document 1 is empty"),
        (lambda p: Corpus.of(["x", "some text"]), "document 0 has one token"),
        (lambda p: Corpus.of([]), "there are no documents"),
        (lambda p: Corpus.of(["ab", "cd"], vocabulary=255), "vocabulary=255"),
        (lambda p: Corpus(("ab", 3), Tokenizer()), "document 1 is a int; expected a text"),
    ],
)
def test_a_corpus_that_cannot_be(tmp_path, call, said):
    with pytest.raises(InputError, match=said):
        call(tmp_path)


def test_some_documents_of_a_corpus(corpus):
    for index in (slice(3), [0, 1, 2], np.arange(48) < 3):
        assert corpus.subset(index).texts == corpus.texts[:3]
    assert corpus.subset([5, 2]).tokens.tolist() == [
        *corpus.tokens[corpus.offsets[5] : corpus.offsets[6]],
        *corpus.tokens[corpus.offsets[2] : corpus.offsets[3]],
    ]
    for index, said in (
        ([48], "the corpus has 48"),
        ([0.5], "index="),
        ([], "there are no documents"),
    ):
        with pytest.raises(InputError, match=said):
            corpus.subset(index)


@pytest.mark.parametrize("text", ["naïve – 漢字 🙂", "\ud800 alone", " \n\t x  1234 y_z", "a"])
def test_any_text_comes_back_from_its_tokens(text):
    tokenizer = Tokenizer.trained(sentences(20), size=300)
    tokens = tokenizer.encode(text)
    assert b"".join(map(tokenizer._of, tokens)) == text.encode("utf-8", "surrogatepass")
    with pytest.raises(InputError, match="token 300 is not in the vocabulary"):
        tokenizer.decode([300])


def test_merges_are_those_of_a_count_of_all_pairs_each_time():
    texts = ["banana bandana", "an ananas"]
    words = [list(w.encode()) for w in ["banana", " bandana", "an", " ananas"]]
    merges = Tokenizer.trained(texts, size=262).merges
    assert len(merges) == 3
    for new, pair in enumerate(merges, start=256):
        counts = {}
        for word in words:
            for two in pairwise(word):
                counts[two] = counts.get(two, 0) + 1
        assert pair == min(counts, key=lambda p: (-counts[p], p))
        for word in words:
            place = 0
            while place + 1 < len(word):
                if (word[place], word[place + 1]) == pair:
                    word[place : place + 2] = [new]
                place += 1


# ---- training ----


@pytest.fixture(scope="module")
def trained(corpus, half, tmp_path_factory):
    """Two models, in two processes, of which each held half for 40 epochs."""
    store = tmp_path_factory.mktemp("store")
    config = TextConfig(epochs=40, looks=(1,), lr=1e-2, **SMALL)
    return train_text(
        corpus, np.stack([half, ~half]), config, store=store, jobs=2, device="cpu", progress=False
    )


def test_log_probabilities_are_those_of_a_plain_forward_pass(trained, corpus):
    outputs, model = trained.outputs(), trained.load(1)
    for document in (0, 7):
        span = slice(*corpus.offsets[document : document + 2])
        tokens = torch.tensor(corpus.tokens[span].astype(np.int64))
        logits = model(torch.cat([torch.tensor([model.opening]), tokens[:-1]])[None])[0].double()
        logs = torch.log_softmax(logits, -1).detach()
        said = logs[torch.arange(len(tokens)), tokens]
        p = logs.exp()
        mean = (p * logs).sum(-1)
        std = (p * logs**2).sum(-1).sub(mean**2).sqrt()
        np.testing.assert_allclose(outputs.log_probs[1, span], said, atol=1e-4)
        np.testing.assert_allclose(outputs.mean[1, span], mean, atol=1e-4)
        np.testing.assert_allclose(outputs.std[1, span], std, atol=1e-3)
        assert outputs.ranks[1, span].tolist() == (logs > said[:, None]).sum(-1).tolist()


def test_no_token_sees_itself_or_what_follows(trained, corpus):
    row = corpus.tokens[: corpus.offsets[1]].copy()
    changed = row.copy()
    changed[-1] = (row[-1] + 1) % corpus.tokenizer.size
    (one, _), (other, _) = trained.ask([row]), trained.ask([changed])
    np.testing.assert_allclose(one[0, :, :-1], other[0, :, :-1], atol=1e-5)
    assert (np.abs(one[0, :, -1] - other[0, :, -1]) > 1e-3).all()


def scores(outputs):
    sums = np.add.reduceat(outputs.log_probs, outputs.offsets[:-1], axis=1)
    return sums / np.diff(outputs.offsets)


def test_many_epochs_leak(trained):
    first, last = scores(trained.outputs(epoch=1)), scores(trained.outputs())
    for row, inside in enumerate(trained.members):
        assert auc(last[row], inside) > 0.95 > auc(first[row], inside)
    with pytest.raises(InputError, match="epoch=2; the models were asked after"):
        trained.outputs(epoch=2)


def test_one_epoch_on_plenty_of_text_does_not_leak(tmp_path):
    plenty = Corpus.of(sentences(1000, seed=2, rare=1.0), vocabulary=300)
    inside = np.random.default_rng(3).permutation(1000) < 500
    config = TextConfig(epochs=1, **SMALL)
    how = {"store": tmp_path, "jobs": 1, "device": "cpu", "progress": False}
    models = train_text(plenty, np.stack([inside, ~inside]), config, **how)
    found = scores(models.outputs())
    # Each held what the other did not: which texts are easy cancels.
    mean = np.mean([auc(s, m) for s, m in zip(found, models.members, strict=True)])
    low, high = null_auc_range(found[0], inside)
    assert low < mean < high


def test_one_process_or_two_or_a_look_between_change_no_bit(trained, corpus, half, tmp_path):
    alone = train_text(
        corpus, ~half, trained.config, store=tmp_path, jobs=1, device="cpu", progress=False
    )
    assert alone.names == trained.names[1:]
    np.testing.assert_array_equal(alone.outputs().log_probs[0], trained.outputs().log_probs[1])
    shorter = TextConfig(epochs=1, lr=1e-2, **SMALL)
    once = train_text(corpus, ~half, shorter, store=tmp_path, jobs=1, device="cpu", progress=False)
    np.testing.assert_array_equal(
        once.outputs().log_probs[0], trained.outputs(epoch=1).log_probs[1]
    )


def test_a_stored_model_is_not_trained_again(trained, corpus, half, monkeypatch):
    monkeypatch.setattr("mia_utils.text.train.run_into_store", pytest.fail)
    again = train_text(
        corpus, np.stack([half, ~half]), trained.config, store=trained.store, device="cpu"
    )
    assert again.names == trained.names
    names = {record["architecture"] for record in again.records()}
    assert names == {"gpt"}


def test_what_decides_the_bits_decides_the_name(corpus, half):
    from mia_utils.text.config import TextSpec

    plain = dict(
        corpus="c",
        base_seed=0,
        fingerprint="f",
        vocabulary=300,
        copies=half.tobytes(),
        config=TextConfig(),
        precision="fp32",
        device="cpu",
    )
    changes = [
        {"base_seed": 1},
        {"fingerprint": "g"},
        {"copies": (~half).tobytes()},
        {"config": TextConfig(width=32)},
        {"config": TextConfig(looks=(1,))},
        {"precision": "bf16"},
        {"device": "cuda"},
        {"config": TextConfig(dp=DPConfig(epsilon=1))},
    ]
    names = {TextSpec(**plain | change).name for change in [{}, *changes, {"corpus": "other"}]}
    assert len(names) == len(changes) + 1  # what a corpus is called changes nothing


@pytest.mark.parametrize("dp", [None, DPConfig(noise_multiplier=0.5, delta=1e-3)])
def test_a_killed_training_goes_on_as_if_it_had_not_stopped(
    corpus, half, tmp_path, monkeypatch, dp
):
    config = TextConfig(epochs=4, looks=(1, 3), dp=dp, **SMALL)
    args = (corpus.tokens, corpus.offsets, corpus.tokenizer.size, half.astype(np.uint8), config)
    whole = fit(*args, seed=3)
    kept = tmp_path / "checkpoint.pt"
    from mia_utils.training import epochs

    saved = epochs.save_checkpoint

    def save_and_die(path, state):
        saved(path, state)
        if state["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(epochs, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        fit(*args, seed=3, checkpoint=kept, checkpoint_every=0)
    monkeypatch.setattr(epochs, "save_checkpoint", saved)
    resumed = fit(*args, seed=3, checkpoint=kept)
    np.testing.assert_array_equal(resumed.logits, whole.logits)
    assert resumed.losses == whole.losses and len(whole.logits) == 3


def test_a_document_longer_than_the_context_is_read_in_pieces(half):
    texts = sentences(8)
    long = Corpus.of(["; ".join(texts), *texts], vocabulary=300)
    config = TextConfig(epochs=1, **SMALL | {"context": 8})
    result = fit(long.tokens, long.offsets, 300, np.ones(9, np.uint8), config, seed=0)
    assert result.logits.shape == (1, 4, long.tokens.size)


def test_a_token_far_inside_a_document_is_judged_by_half_a_context_before_it():
    long = Corpus.of([" ".join(sentences(4)), "short", sentences(1)[0]], vocabulary=300)
    model = build(
        long.tokenizer.size, TextConfig(**SMALL | {"context": 8}), Generators.of_seed(0, "cpu")
    )
    found = answers(model.eval(), long.tokens, long.offsets)[0]
    for first, end in pairwise(long.offsets):
        for place in range(first, end):
            begin = first if place - first < 8 else first + 4 * ((place - first) // 4 - 1)
            before = [model.opening, *long.tokens[begin:place]]
            with torch.no_grad():
                logs = torch.log_softmax(model(torch.tensor([before]))[0, -1], dim=-1)
            assert len(before) > min(place - first, 4)
            assert found[place] == pytest.approx(float(logs[long.tokens[place]]), abs=1e-4)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: read_corpus(length="x"), "length='x'; expected"),
        (lambda: read_corpus(documents=2.5), "documents=2.5; expected"),
        (lambda: canaries("3"), "count='3'; expected"),
        (lambda: Canary("a {x} {}", "12"), "no other braces"),
        (lambda: Canary("{0} {}", "12"), "no other braces"),
    ],
)
def test_what_cannot_be_meant_is_named(call, said):
    with pytest.raises(InputError, match=said):
        call()


@pytest.mark.parametrize(
    "copies, config, said",
    [
        (np.zeros(48, bool), {}, "model 0 has no member"),
        (np.ones(47, bool), {}, r"copies are bool \(47,\); expected"),
        (np.ones(48), {}, "copies are float64"),
        (np.full(48, 300), {}, "copies are out of range"),
        (np.full(48, 2), {"dp": DPConfig(epsilon=1, delta=1e-3)}, "document 0 is in .* 2 times"),
        (np.ones(48, bool), {"dp": DPConfig(epsilon=1, delta=0.5)}, "delta=0.5 with 48 documents"),
        (np.ones(48, bool), {"dp": DPConfig(epsilon=1), "context": 4}, "longer than context=4"),
    ],
)
def test_a_training_that_cannot_be(corpus, copies, config, said, tmp_path):
    with pytest.raises(InputError, match=said):
        train_text(corpus, copies, TextConfig(**SMALL | config), store=tmp_path, device="cpu")


@pytest.mark.parametrize("jobs", ["two", 0, True, 1.5])
def test_a_number_of_jobs_that_is_none(corpus, tmp_path, jobs):
    with pytest.raises(InputError, match="jobs="):
        train_text(corpus, np.ones(48, bool), store=tmp_path, jobs=jobs)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"epochs": 0}, "epochs=0"),
        ({"looks": 1.5}, "looks=1.5; expected numbers of epochs"),
        ({"looks": (11,)}, r"looks=\(11,\); expected epochs from 1 to 10"),
        ({"width": 30, "heads": 4}, "a width that heads divide"),
        ({"lr": float("nan")}, "lr=nan"),
    ],
)
def test_a_recipe_that_cannot_be(settings, said):
    with pytest.raises(InputError, match=said):
        TextConfig(**settings)


# ---- queries ----


def test_lower_case_and_neighbours_are_means_of_their_own(trained, corpus):
    outputs = trained.outputs(lowercase=True, neighbours=2)
    assert outputs.lowercase_log_probs.shape == (2, 48)
    # These texts have no capitals.
    np.testing.assert_allclose(outputs.lowercase_log_probs, scores(outputs), rtol=1e-4)
    assert outputs.neighbour_log_probs.shape == (2, 48, 2)
    inside = trained.members
    assert (scores(outputs)[inside] > outputs.neighbour_log_probs.mean(axis=2)[inside]).mean() > 0.9
    with pytest.raises(InputError, match="last epoch alone"):
        trained.outputs(epoch=1, lowercase=True)


@pytest.mark.parametrize(
    "documents, said",
    [
        ([[3]], "document 0 has one token"),
        ([[3, 4], []], "document 1 is empty"),
        ([[3, 4], [5, 300]], "token 300 of document 1 is not in the vocabulary"),
        ([[3, -1]], "token -1 of document 0"),
        ([[0.5, 1.0]], "documents are float64 and hold 0.5"),
        ([], "there are no documents"),
    ],
)
def test_a_document_that_cannot_be_asked_about(trained, documents, said):
    with pytest.raises(InputError, match=said):
        trained.ask(documents)


# ---- extraction and exposure ----


def test_ranks_tell_what_greedy_decoding_gives_word_for_word(trained, corpus):
    found = extraction(trained.outputs(), prompt=4, length=6)
    assert found.greedy[0][trained.members[0]].mean() > 0.5
    assert found.greedy[1][trained.members[0]].mean() < 0.2
    model = trained.load(0)
    for document in np.flatnonzero(found.judged)[:12]:
        tokens = corpus.tokens[corpus.offsets[document] :][:10].tolist()
        assert (generate(model, tokens[:4], 6) == tokens) == found.greedy[0, document]


def test_the_chance_of_a_sample_is_the_share_of_samples(tmp_path):
    corpus = Corpus.of(["ab ab", "ab ba"], vocabulary=256)
    copies = np.ones((1, 2), bool)
    config = TextConfig(epochs=30, lr=1e-2, **SMALL)
    models = train_text(corpus, copies, config, store=tmp_path, device="cpu", progress=False)
    found = extraction(models.outputs(), prompt=2, length=2)
    model, own = models.load(), corpus.tokens[:4].tolist()
    share = np.mean([generate(model, own[:2], 2, temperature=1, seed=s) == own for s in range(300)])
    assert share == pytest.approx(float(np.exp(found.log_probability[0, 0])), abs=0.1)
    with pytest.raises(InputError, match="no document has 30 tokens"):
        extraction(models.outputs(), prompt=20, length=10)


def test_a_planted_secret_is_exposed_by_repetition_and_others_are_not(corpus, half, tmp_path):
    planted = canaries(4, digits=2, seed=1)
    extended = corpus.with_texts([canary.text for canary in planted])
    copies = np.concatenate([half.astype(np.uint8), [16, 16, 0, 0]])
    config = TextConfig(epochs=25, lr=1e-2, **SMALL)
    models = train_text(extended, copies, config, store=tmp_path, device="cpu", progress=False)
    found = exposure(models, planted)[0]
    assert found[:2].min() > np.log2(50) and found.max() <= np.log2(100) + 1e-9
    assert found[2:].mean() < 4


def test_exposure_is_the_rank_among_all_secrets(trained):
    canary = Canary("abcd ef {}", "7")
    logs = []
    for digit in range(10):
        told, _ = trained.ask([canary.form.format(digit)])
        logs.append(told[0].sum(axis=1))
    rank = (np.array(logs) > np.array(logs)[7]).sum(axis=0) + 1
    np.testing.assert_allclose(exposure(trained, [canary])[:, 0], np.log2(10 / rank))


# ---- documents as the unit of privacy ----


def test_one_documents_gradient_is_clipped_whatever_the_batch(corpus):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from mia_utils.text.model import PrivateForm
    from mia_utils.text.pieces import Pieces
    from mia_utils.text.training import build
    from mia_utils.training.clipping import clipped_sum
    from mia_utils.training.generators import Generators

    config = TextConfig(**SMALL)
    model = build(300, config, Generators.of_seed(0, "cpu"))
    pieces = Pieces.of(corpus.tokens, corpus.offsets, 32, model.opening)
    inputs, targets = pieces.rows(torch.arange(3), "cpu")
    with sdpa_kernel(SDPBackend.MATH):
        total = clipped_sum(PrivateForm(model), inputs[:, None], targets, 0.1)
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for row in range(3):
        model.zero_grad()
        logits = model(inputs[row : row + 1])[0]
        torch.nn.functional.cross_entropy(logits, targets[row]).backward()
        norm = torch.sqrt(sum(p.grad.square().sum() for p in model.parameters()))
        for name, p in model.named_parameters():
            expected[name] += p.grad * min(1, 0.1 / float(norm))
    for name, value in expected.items():
        torch.testing.assert_close(total[f"model.{name}"], value, atol=1e-6, rtol=1e-3)


def test_a_private_model_says_what_it_promises_and_of_what(corpus, half, tmp_path):
    dp = DPConfig(epsilon=4, delta=1e-3)
    config = TextConfig(epochs=2, dp=dp, **SMALL)
    models = train_text(corpus, half, config, store=tmp_path, device="cpu", progress=False)
    privacy = models.records()[0]["privacy"]
    assert privacy["unit"] == "one document" and 3.5 < privacy["epsilon"] <= 4
    assert "one document" in privacy["adjacency"] and "not the tokenizer" in privacy["covers"]
    assert "why_no_epsilon" not in privacy and models.records()[0]["losses"] == []
    clipped = TextConfig(epochs=1, dp=DPConfig(noise_multiplier=0.0, delta=1e-3), **SMALL)
    models = train_text(corpus, half, clipped, store=tmp_path, device="cpu", progress=False)
    privacy = models.records()[0]["privacy"]
    assert privacy["epsilon"] is None and "promises nothing" in privacy["why_no_epsilon"]


def test_the_standard_library_gives_the_same_corpus_in_another_process(tmp_path):
    code = (
        "import json; from mia_utils.text.corpus import read_corpus;"
        "print(json.dumps(read_corpus(documents=20, length=80, vocabulary=280).fingerprint))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        json.loads(run.stdout) == read_corpus(documents=20, length=80, vocabulary=280).fingerprint
    )


def test_store_lists_language_models(trained, capsys):
    from mia_utils.__main__ import main

    assert main(["store", "list", "--store", str(trained.store.root)]) in (0, None)
    assert capsys.readouterr().out.count("gpt") == 2
    assert Store(trained.store.root).damage(trained.names[0]) is None
