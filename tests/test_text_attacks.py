"""Attacks on log-probabilities of tokens: formulas against loops, windows, members against twins."""

import warnings
import zlib

import numpy as np
import pytest
from factories import TOKEN_FACTORIES
from sklearn.base import clone
from tokens import token_outputs, token_scene

from mia_utils import BASE, RMIA, CalibratedAttack, InputError, LiRA, LossAttack, evaluate
from mia_utils.errors import DesignWarning
from mia_utils.text.attacks import (
    LowercaseAttack,
    MinKAttack,
    MinKPlusPlusAttack,
    NeighbourhoodAttack,
    PerplexityAttack,
    ZlibAttack,
)
from mia_utils.text.outputs import TokenOutputs
from mia_utils.text.shadow import DocumentAttack, LossRatioAttack, as_records

ALONE = [n for n in TOKEN_FACTORIES if not n.startswith(("document", "blind"))]
COMPARED = [n for n in TOKEN_FACTORIES if n.startswith("document")]


@pytest.fixture(scope="module")
def leaky():
    return token_scene(8, seed=1, shadow_leak=2.0, target_leak=2.0)


@pytest.fixture(scope="module")
def some():
    return token_outputs(2, 40, seed=3, leak=0.3)


def by_document(outputs: TokenOutputs, name: str, model: int) -> list[np.ndarray]:
    values = getattr(outputs, name)[model].astype(np.float64)
    return [values[a:b] for a, b in zip(outputs.offsets, outputs.offsets[1:], strict=False)]


# ---- formulas, each as its paper writes it ----


@pytest.mark.parametrize("share", [0.1, 0.2, 0.6, 1.0])
def test_min_k_is_the_loop_of_its_paper(some, share):
    """Shi et al. (2024): the mean of log p over the k % of tokens that are least likely."""
    scores = MinKAttack(share=share).score(some)
    for model in range(2):
        for document, log_p in enumerate(by_document(some, "log_probs", model)):
            chosen, left = [], list(log_p)
            for _ in range(max(1, int(len(log_p) * share))):
                chosen.append(min(left))
                left.remove(min(left))
            expected = sum(chosen) / len(chosen)
            assert scores[model, document] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_min_k_plus_plus_is_the_loop_of_its_paper_on_whole_distributions(share):
    """Zhang et al. (2024), from probabilities of a whole vocabulary."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3, 15, 7))  # documents, positions, vocabulary
    tokens = rng.integers(0, 7, (3, 15))
    log_p = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    p = np.exp(log_p)
    mean = (p * log_p).sum(axis=2)
    std = np.sqrt((p * log_p**2).sum(axis=2) - mean**2)
    own = np.take_along_axis(log_p, tokens[..., None], axis=2)[..., 0]
    outputs = TokenOutputs.from_documents(own, [1, 0, 1], mean=mean, std=std)
    for document, found in enumerate(MinKPlusPlusAttack(share=share).score(outputs)[0]):
        values = []
        for position, token in enumerate(tokens[document]):
            here = log_p[document, position]
            mu = sum(np.exp(z) * z for z in here)
            sigma = np.sqrt(sum(np.exp(z) * (z - mu) ** 2 for z in here))
            values.append((here[token] - mu) / sigma)
        lowest = sorted(values)[: int(share * len(values))]
        assert found == pytest.approx(np.mean(lowest), rel=1e-5)


def test_where_every_token_is_equally_likely_min_k_plus_plus_is_zero():
    flat = np.full((1, 4), -np.log(10), np.float32)
    outputs = TokenOutputs(flat, [0, 2, 4], [1, 0], mean=flat, std=np.zeros((1, 4)))
    np.testing.assert_array_equal(MinKPlusPlusAttack().score(outputs), 0)


def test_the_others_are_what_their_papers_say(some):
    rows = by_document(some, "log_probs", 1)
    loss = np.array([-row.mean() for row in rows])
    sizes = np.array([len(zlib.compress(text.encode())) for text in some.texts])
    lower = -some.lowercase_log_probs[1].astype(float)
    near = -some.neighbour_log_probs[1].astype(float)
    for attack, expected in (
        (PerplexityAttack(), -loss),
        (ZlibAttack(total=False), -loss / sizes),
        (ZlibAttack(), -loss * some.lengths / sizes),
        (LowercaseAttack(), lower / loss),
        (NeighbourhoodAttack(), near.mean(axis=1) - loss),
    ):
        np.testing.assert_allclose(attack.score(some)[1], expected, rtol=1e-6)


def test_a_perplexity_is_a_threshold(some):
    cut = 4.0
    perplexities = [np.exp(-row.mean()) for row in by_document(some, "log_probs", 0)]
    called = PerplexityAttack(threshold=cut).predict(some)[0]
    np.testing.assert_array_equal(called, np.array(perplexities) <= cut)


def test_a_document_known_by_heart_has_finite_ratios():
    sure = TokenOutputs(
        np.zeros((1, 4)), [0, 2, 4], [1, 0], texts=["a", "b"], lowercase_log_probs=[[0.0, -1.0]]
    )
    assert np.isfinite(LowercaseAttack().score(sure)).all()
    assert LowercaseAttack().score(sure)[0, 0] == 1
    records = as_records(sure)
    assert np.isfinite(records.logits).all()


# ---- windows ----


@pytest.mark.parametrize("aggregate", ["max", "mean"])
@pytest.mark.parametrize("window", [1, 3, 8, 100])
def test_windows_cover_every_token_and_are_aggregated(some, window, aggregate):
    scores = PerplexityAttack(window=window, aggregate=aggregate).score(some)
    for document, row in enumerate(by_document(some, "log_probs", 0)):
        length = min(window, len(row))
        starts = sorted({min(i, len(row) - length) for i in range(0, len(row), window)})
        found = [row[i : i + length].mean() for i in starts]
        expected = max(found) if aggregate == "max" else np.mean(found)
        assert scores[0, document] == pytest.approx(expected, rel=1e-9)


def test_a_window_as_long_as_every_document_changes_nothing(leaky):
    for name in ("perplexity", "zlib", "min_k", "min_k_plus_plus", "document_lira"):
        whole = TOKEN_FACTORIES[name]()
        cut = clone(whole).set_params(window=1000)
        expected = whole.fit(leaky.shadow, leaky.population).score(leaky.target)
        found = cut.fit(leaky.shadow, leaky.population).score(leaky.target)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        assert cut.threshold_ == pytest.approx(whole.threshold_)


def test_blocks_of_tokens_change_nothing(some, monkeypatch):
    used = np.random.default_rng(0).random(some.members.shape) < 0.6
    part = some.judged_on(used)
    attacks = (PerplexityAttack(window=5), MinKPlusPlusAttack(), ZlibAttack())
    before = [attack.score(part) for attack in attacks]
    records = as_records(some).logits
    monkeypatch.setattr("mia_utils.text.windows.AT_ONCE", 50)
    for attack, expected in zip(attacks, before, strict=True):
        np.testing.assert_array_equal(attack.score(part), expected)
    np.testing.assert_array_equal(as_records(some).logits, records)


# ---- reference models ----


def test_documents_are_records_with_the_geometric_mean_of_their_tokens_probabilities(some):
    records = as_records(some)
    expected = PerplexityAttack().score(some)
    np.testing.assert_allclose(LossAttack().score(records), expected, rtol=1e-6)


def test_differences_and_ratios_to_reference_models_are_loops(leaky):
    shadow, _, target = leaky
    difference = DocumentAttack(CalibratedAttack()).fit(shadow).score(target)
    ratio = DocumentAttack(LossRatioAttack()).fit(shadow).score(target)
    own = [-row.mean() for row in by_document(target, "log_probs", 0)]
    losses = np.array(
        [[-row.mean() for row in by_document(shadow, "log_probs", model)] for model in range(8)]
    )
    place = {int(id_): row for row, id_ in enumerate(shadow.ids)}
    for document, loss in enumerate(own):
        row = place[int(target.ids[document])]
        reference = losses[~shadow.members[:, row], row].mean()
        assert difference[0, document] == pytest.approx(reference - loss, abs=1e-5)
        assert ratio[0, document] == pytest.approx(reference / loss, rel=1e-5)


@pytest.mark.parametrize("attack", [LiRA(), RMIA(), BASE()], ids=lambda a: type(a).__name__)
def test_documents_and_records_give_the_same_scores_and_threshold(attack, leaky):
    shadow, population, target = leaky
    plain = clone(attack).fit(as_records(shadow), as_records(population))
    found = DocumentAttack(attack).fit(shadow, population)
    np.testing.assert_array_equal(found.score(target), plain.score(as_records(target)))
    assert found.threshold_ == plain.threshold_
    assert not hasattr(attack, "threshold_")


@pytest.mark.parametrize("window", [None, 8])
def test_a_threshold_is_set_by_hand_in_either_of_the_two(leaky, window):
    shadow, _, target = leaky
    for attack in (
        DocumentAttack(LiRA(), window=window, threshold=0.5),
        DocumentAttack(LiRA(threshold=0.5), window=window),
    ):
        scores = attack.fit(shadow).score(target)
        assert attack.threshold_ == attack.score_threshold == 0.5
        np.testing.assert_array_equal(attack.predict(target), scores >= 0.5)


def test_windows_are_compared_each_with_itself(leaky):
    shadow, _, target = leaky
    scores = DocumentAttack(LiRA(), window=8).fit(shadow).score(target)
    order = np.random.default_rng(0).permutation(target.documents)
    mixed = target.select(documents=order)
    again = DocumentAttack(LiRA(), window=8).fit(shadow).score(mixed)
    np.testing.assert_allclose(again, scores[:, order], rtol=1e-6)


def test_windows_of_a_document_are_no_witnesses_of_their_own_against_the_design():
    """Many windows a document, and memberships that are independent of the shadow models'."""
    warned = 0
    for seed in range(20):
        shape = {"leak": 0.0, "masks": "independent", "pool": seed}
        shadow = token_outputs(8, 80, seed=40 + seed, **shape)
        target = token_outputs(1, 80, seed=90 + seed, **shape)
        known = ~shadow.members.all(axis=0)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", DesignWarning)
            attack = DocumentAttack(CalibratedAttack(), window=1).fit(shadow)
            attack.score(target.judged_on(known[None]))
        warned += len(told)
    assert warned == 0
    shadow, _, target = token_scene(4, seed=3, shadow_leak=1.0, target_leak=1.0)
    held = (shadow.members[:2].sum(axis=0) > 0) & (shadow.members.sum(axis=0) > 1)
    same = target.replace(members=np.tile(held[130:], (2, 1)))
    counts = shadow.members.copy()
    counts[2:, ~held] = False
    with pytest.warns(DesignWarning, match="held a record tells whether target 0"):
        DocumentAttack(LiRA(online=False), window=8).fit(shadow.replace(members=counts)).score(same)


def test_reference_models_may_have_another_vocabulary_but_not_with_windows(leaky):
    shadow, _, target = leaky
    # The same documents in other, fewer tokens.
    halves = [
        [row[: max(2, len(row) // 2)] for row in by_document(shadow, "log_probs", model)]
        for model in range(8)
    ]
    other = TokenOutputs.from_documents(
        halves, shadow.members, ids=shadow.ids, fingerprint=shadow.fingerprint
    )
    assert np.isfinite(DocumentAttack(LiRA()).fit(other).score(target)).all()
    with pytest.raises(InputError, match=r"document \d+ has \d+ tokens in the target and"):
        DocumentAttack(LiRA(), window=8).fit(other).score(target)


@pytest.mark.parametrize("name", COMPARED)
def test_other_documents_and_models_are_refused(name, leaky):
    shadow, population, target = leaky
    attack = TOKEN_FACTORIES[name]().fit(shadow, population)
    with pytest.raises(InputError, match="pool"):
        attack.score(target.replace(fingerprint="another"))
    with pytest.raises(InputError, match=r"record 13\d\d"):
        attack.score(target.replace(ids=target.ids + 1000 + 170))
    with pytest.raises(InputError, match="the very logits of shadow model 0"):
        own = shadow.select(models=[0, 1], documents=slice(130, None))
        attack.score(own)


# ---- what holds for every attack ----


@pytest.mark.parametrize("name", [*ALONE, *COMPARED])
def test_members_are_found_where_they_leak_and_only_there(name, leaky):
    attack = TOKEN_FACTORIES[name]().fit(leaky.shadow, leaky.population)
    for target in evaluate(attack, leaky.target).targets:
        assert target.auc.value > 0.6 and target.auc.low > target.null_high
    fair = token_scene(8, seed=5, shadow_leak=0.0, target_leak=0.0, documents=400)
    attack = TOKEN_FACTORIES[name]().fit(fair.shadow, fair.population)
    found = [t.auc.value for t in evaluate(attack, fair.target).targets]
    assert abs(np.mean(found) - 0.5) < 0.08


@pytest.mark.parametrize("name", [*ALONE, *COMPARED])
def test_only_evaluated_pairs_are_scored_and_called(name, leaky):
    shadow, population, target = leaky
    attack = TOKEN_FACTORIES[name]().fit(shadow, population)
    everywhere = attack.score(target)
    assert everywhere.dtype == np.float64 and np.isfinite(everywhere).all()
    np.testing.assert_array_equal(attack.predict(target), everywhere >= attack.threshold_)
    used = np.random.default_rng(0).random(target.members.shape) < 0.5
    some = target.judged_on(used)
    np.testing.assert_allclose(attack.score(some), np.where(used, everywhere, np.nan), rtol=1e-9)
    nowhere = target.judged_on(np.zeros_like(used))
    assert np.isnan(attack.score(nowhere)).all() and not attack.predict(nowhere).any()


@pytest.mark.parametrize("name", [*ALONE, *COMPARED])
def test_no_fit_changes_when_what_is_audited_does(name, leaky):
    shadow, population, target = leaky
    attack = TOKEN_FACTORIES[name]().fit(shadow, population)
    before = attack.score(target)
    log_probs = target.log_probs.copy()
    log_probs[:, target.offsets[1] :] *= 1.5
    changed = target.replace(log_probs=log_probs, members=~target.members)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DesignWarning)
        after = attack.score(changed)
    np.testing.assert_array_equal(after[:, 0], before[:, 0])
    np.testing.assert_array_equal(attack.score(target), before)
    again = TOKEN_FACTORIES[name]().fit(shadow, population)
    assert again.threshold_ == attack.threshold_


@pytest.mark.parametrize("name", [*ALONE, *COMPARED])
def test_where_all_tokens_tie_all_documents_do(name, leaky):
    def same(outputs: TokenOutputs) -> TokenOutputs:
        return outputs.replace(
            log_probs=np.full_like(outputs.log_probs, -1.3),
            mean=np.full_like(outputs.mean, -2.0),
            std=np.full_like(outputs.std, 0.7),
            lowercase_log_probs=np.full_like(outputs.lowercase_log_probs, -1.7),
            neighbour_log_probs=np.full_like(outputs.neighbour_log_probs, -1.9),
            texts=["one text"] * outputs.documents,
        )

    shadow, population, target = map(same, leaky)
    attack = TOKEN_FACTORIES[name]()
    if name == "zlib":  # the size of a text against the loss of its length
        attack = ZlibAttack(total=False)
    scores = attack.fit(shadow, population).score(target)
    np.testing.assert_allclose(scores, scores[0, 0], rtol=1e-9)


def test_mapped_outputs_give_the_same_scores(leaky, tmp_path):
    target = TokenOutputs.load(leaky.target.save(tmp_path / "target.npz"))
    shadow = TokenOutputs.load(leaky.shadow.save(tmp_path / "shadow.npz"))
    for name in ("perplexity", "zlib", "min_k_plus_plus", "document_lira_windows"):
        plain = TOKEN_FACTORIES[name]().fit(leaky.shadow).score(leaky.target)
        np.testing.assert_array_equal(TOKEN_FACTORIES[name]().fit(shadow).score(target), plain)
