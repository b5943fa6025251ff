"""Blind attacks: strong where members and non-members differ, nothing where they do not."""

import numpy as np
import pytest
from tokens import WORDS, token_outputs

from mia_utils import InputError, evaluate
from mia_utils.text.attacks import PerplexityAttack
from mia_utils.text.blind import BlindAttack, blind_scores
from mia_utils.text.interface import label_only, top_k
from mia_utils.text.outputs import TokenOutputs


def by_time(outputs: TokenOutputs) -> TokenOutputs:
    """Half of the documents mention a later year, and these are the non-members: another split of
    the same answers."""
    late = np.arange(outputs.documents) % 2 == 1
    texts = [
        f"{text} {'2024' if new and number % 5 else '2019'}"
        for number, (text, new) in enumerate(zip(outputs.texts, late, strict=True))
    ]
    return outputs.replace(texts=texts, members=np.tile(~late, (len(outputs), 1)))


@pytest.mark.parametrize("features", ["words", "characters"])
def test_the_blind_attack_wins_on_a_split_by_time_and_finds_nothing_on_a_random_one(features):
    attack = BlindAttack(features=features)
    random = token_outputs(1, 400, seed=1, leak=0.1, masks="independent")
    found = evaluate(attack, random)
    assert found.null_low <= found.auc.value <= found.null_high
    mismatched = by_time(random)
    blind, asked = evaluate(attack, mismatched), evaluate(PerplexityAttack(), mismatched)
    assert blind.auc.low > 0.85 > asked.auc.high
    assert blind.balanced_accuracy.value > 0.8


def test_a_document_is_judged_by_those_who_have_not_seen_it():
    """Every text is another one: whoever judged what it learned from would know all members."""
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh"), 12)) for _ in range(300)]
    members = rng.random(300) < 0.5
    scores = blind_scores(texts, members)
    found = evaluate(scores, members=members)
    assert found.null_low - 0.03 <= found.auc.value <= found.null_high + 0.03


def test_only_evaluated_documents_are_learned_from_and_judged():
    outputs = by_time(token_outputs(2, 120, seed=2, leak=0.0, masks="independent"))
    used = np.random.default_rng(0).random(outputs.members.shape) < 0.7
    some = outputs.judged_on(used)
    scores = BlindAttack().score(some)
    np.testing.assert_array_equal(np.isnan(scores), ~used)
    wild = [text if keep else "@@" for text, keep in zip(outputs.texts, used[0], strict=True)]
    np.testing.assert_array_equal(BlindAttack().score(some.replace(texts=wild))[0], scores[0])


def test_the_same_seed_gives_the_same_folds():
    outputs = token_outputs(1, 60, seed=3, leak=0.0, masks="independent")
    first, again, other = (BlindAttack(seed=s).score(outputs) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_texts_without_words_tie():
    members = np.arange(20) < 10
    scores = blind_scores(["..."] * 20, members)
    assert np.unique(scores).size == 1


@pytest.mark.parametrize("members", [np.zeros(9, bool), np.arange(9) < 1])
def test_nobody_to_learn_from(members):
    with pytest.raises(InputError, match="at least 2 of each"):
        blind_scores([WORDS[0]] * 9, members)


@pytest.mark.parametrize(
    ("texts", "members", "message"),
    [
        (["a"] * 4, [True, False], r"4 texts and members of shape \(2,\)"),
        ([1, 2, 3, 4], [1, 0, 1, 0], "texts hold 1"),
        (["a"] * 4, [1, 0, 2, 0], "hold 2"),
    ],
)
def test_texts_and_members_that_do_not_fit(texts, members, message):
    with pytest.raises(InputError, match=message):
        blind_scores(texts, members)


# ---- limits of the interface ----


@pytest.fixture(scope="module")
def told():
    return token_outputs(2, 150, seed=4, leak=1.0)


def test_top_k_releases_the_likeliest_tokens_alone(told):
    limited = top_k(told, 2)
    shown = told.ranks < 2
    np.testing.assert_array_equal(limited.log_probs[shown], told.log_probs[shown])
    for model in range(2):
        hidden = limited.log_probs[model, ~shown[model]]
        assert np.unique(hidden) == told.log_probs[model, shown[model]].min()
    assert limited.ranks.max() == 2 and limited.texts == told.texts
    again = top_k(limited, 2)
    np.testing.assert_array_equal(again.log_probs, limited.log_probs)
    np.testing.assert_array_equal(again.ranks, limited.ranks)


def test_what_is_not_released_changes_nothing(told):
    """Another value of a withheld token leaves the limited outputs as they are."""
    changed = told.replace(log_probs=np.where(told.ranks < 3, told.log_probs, told.log_probs * 2))
    for limit in (lambda o: top_k(o, 3), label_only):
        np.testing.assert_array_equal(limit(changed).log_probs, limit(told).log_probs)


def test_labels_tell_how_many_tokens_are_guessed_right(told):
    scores = PerplexityAttack().score(label_only(told))
    hits = [row.mean() for row in np.split(told.ranks[0] == 0, told.offsets[1:-1])]
    assert np.corrcoef(scores[0], hits)[0, 1] == pytest.approx(1)


def test_less_told_is_less_found_and_all_of_the_vocabulary_is_everything(told):
    aucs = [
        evaluate(PerplexityAttack(), outputs).mean()["auc"]
        for outputs in (label_only(told), top_k(told, 3), told)
    ]
    assert aucs[0] < aucs[2] and aucs[1] < aucs[2] + 0.01
    np.testing.assert_array_equal(top_k(told, 10**6).log_probs, told.log_probs)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (lambda o: top_k(o, 0), "k=0; expected an integer of at least 1"),
        (lambda o: top_k(o, 1.5), "k=1.5; expected"),
        (lambda o: top_k(o.replace(ranks=None), 1), "top_k needs the rank of every token"),
        (lambda o: label_only(o.replace(ranks=None)), "label_only needs the rank"),
        (lambda o: top_k(o.replace(ranks=o.ranks + 5), 3), "no token of any document"),
    ],
)
def test_limits_that_cannot_be_made_are_refused(told, limit, message):
    with pytest.raises(InputError, match=message):
        limit(told)
