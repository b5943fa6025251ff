"""Every attack, set up small, for the tests that all of them must pass."""

from __future__ import annotations

from sklearn.linear_model import LogisticRegression

from mia_utils import attacks
from mia_utils.text import attacks as text
from mia_utils.text.blind import BlindAttack
from mia_utils.text.shadow import DocumentAttack, LossRatioAttack

FACTORIES = {
    "random": attacks.RandomAttack,
    "correctness": attacks.CorrectnessAttack,
    "loss": attacks.LossAttack,
    "loss_per_class": lambda: attacks.LossAttack(per_class=True, normalize=True),
    "confidence": attacks.ConfidenceAttack,
    "entropy": attacks.EntropyAttack,
    "modified_entropy": lambda: attacks.ModifiedEntropyAttack(per_class=True),
    "margin": attacks.MarginAttack,
    "learned": lambda: attacks.LearnedAttack(hidden=(10,), epochs=6),
    "learned_sorted": lambda: attacks.LearnedAttack(hidden=(10,), epochs=5, features="sorted"),
    "learned_class_free": lambda: attacks.LearnedAttack(
        estimator=LogisticRegression(max_iter=1000), features="class_free"
    ),
    "learned_per_class": lambda: attacks.LearnedAttack(
        estimator=LogisticRegression(max_iter=1000), features="sorted", per_class=True
    ),
    "similarity_kl": attacks.SimilarityAttack,
    "similarity_js": lambda: attacks.SimilarityAttack(distance="js"),
    "similarity_l2": lambda: attacks.SimilarityAttack(distance="l2"),
    "stacked": lambda: attacks.StackedAttack(
        [
            attacks.LossAttack(),
            attacks.SimilarityAttack(),
            attacks.CalibratedAttack(),
            attacks.RMIA(),
        ]
    ),
    "population": attacks.PopulationAttack,
    "reference": attacks.ReferenceAttack,
    "calibrated": attacks.CalibratedAttack,
    "calibrated_margin": lambda: attacks.CalibratedAttack(signal="margin"),
    "lira": attacks.LiRA,
    "lira_per_record": lambda: attacks.LiRA(variance="per_record"),
    "lira_offline": lambda: attacks.LiRA(online=False),
    "lira_two_sided": lambda: attacks.LiRA(online=False, two_sided=True),
    "rmia": attacks.RMIA,
    "rmia_offline": lambda: attacks.RMIA(online=False),
    "base": attacks.BASE,
    "base_offline": lambda: attacks.BASE(online=False),
    "quantile": attacks.QuantileAttack,
}
"""`attack()` makes one. Each is fitted with both shadow models and a population."""

TOKEN_FACTORIES = {
    "perplexity": text.PerplexityAttack,
    "perplexity_windows": lambda: text.PerplexityAttack(window=8),
    "zlib": text.ZlibAttack,
    "lowercase": text.LowercaseAttack,
    "neighbourhood": text.NeighbourhoodAttack,
    "min_k": text.MinKAttack,
    "min_k_windows": lambda: text.MinKAttack(window=8, aggregate="mean"),
    "min_k_plus_plus": text.MinKPlusPlusAttack,
    "document_ratio": lambda: DocumentAttack(LossRatioAttack()),
    "document_difference": lambda: DocumentAttack(attacks.CalibratedAttack()),
    "document_lira": lambda: DocumentAttack(attacks.LiRA()),
    "document_lira_windows": lambda: DocumentAttack(attacks.LiRA(), window=8),
    "document_rmia": lambda: DocumentAttack(attacks.RMIA()),
    "document_rmia_windows": lambda: DocumentAttack(attacks.RMIA(), window=8, aggregate="max"),
    "blind": BlindAttack,
}
"""The same for attacks on the log-probabilities of tokens."""
