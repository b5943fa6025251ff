"""What chapters 8, 11, 12 and 14 say of the published records in words, where no cell computes it."""

import numpy as np
import pytest
from conftest import ROOT

from mia_utils import experiments


@pytest.fixture(scope="module")
def records():
    return experiments.read(ROOT / "book/results")


def by_seed(frame, data: str, kind: str, attack: str = "loss"):
    """AUC, accuracy and low rate under each defense, seed by seed, for an attacker who knows it."""
    for name, architecture, rows in experiments.defended(frame):
        if (name, architecture) == (data, kind):
            rows = rows[rows["attack"] == attack]
            columns = ("auc", "balanced_accuracy", "tpr_at_fpr_0.01")
            return [rows.pivot(index="seed", columns="defense", values=c) for c in columns]
    raise AssertionError(f"no defended {data} {kind}")


def above(table, defense: str):
    """What each seed has more than the same seed without a defense."""
    return (table[defense] - table["none"]).dropna()


def test_strong_l2_lowers_both_measures_on_the_mlp_and_its_seeds_disagree_on_the_cnn(records):
    auc, accuracy, _ = by_seed(records, "cifar10", "mlp")
    assert above(auc, "l2_1e-3").max() < -0.03 and above(accuracy, "l2_1e-3").max() < -0.03
    auc, accuracy, _ = by_seed(records, "cifar10", "cnn")
    assert auc["l2_1e-3"].min() < auc["none"].min() and auc["l2_1e-3"].max() > auc["none"].max()
    assert above(accuracy, "l2_1e-3").max() > -0.03
    assert above(accuracy, "l2_1e-4").max() < -0.03, "weak L2, with every seed"


def test_mixup_raises_the_auc_on_cifar10_and_leaves_it_on_cifar100(records):
    for kind in ("cnn", "mlp"):
        auc, accuracy, _ = by_seed(records, "cifar10", kind)
        assert above(auc, "mixup").min() > 0
        assert kind == "mlp" or above(accuracy, "mixup").max() < 0
    auc, accuracy, _ = by_seed(records, "cifar100", "cnn")
    assert above(auc, "mixup").abs().max() < 0.01


def test_label_smoothing_raises_auc_and_accuracy_and_takes_the_left_edge(records):
    auc, accuracy, low = by_seed(records, "cifar10", "cnn")
    assert above(auc, "label_smoothing").min() > 0
    assert above(accuracy, "label_smoothing").min() > 0
    assert low["label_smoothing"].max() < low["none"].min() / 10


def test_one_label_ranks_better_than_the_baseline_and_is_right_no_more_often(records):
    auc, accuracy, _ = by_seed(records, "cifar10", "cnn", "learned")
    base_auc, base_accuracy, _ = by_seed(records, "cifar10", "cnn", "correctness")
    assert (auc["label_only"] - base_auc["label_only"]).min() > 0.01
    assert np.allclose(accuracy["label_only"], base_accuracy["label_only"])


def test_rounding_costs_the_entropy_accuracy_on_two_networks_with_100_classes_alone(records):
    plain = experiments.reported(records)
    both = plain[plain["attack"].isin(["entropy", "entropy_careless"])]
    keys = ["dataset", "architecture", "run"]
    wide = both.pivot_table("balanced_accuracy", keys, "attack")
    cost = (wide["entropy"] - wide["entropy_careless"]).groupby(level=keys[:2])
    hit = {("cifar100", "cnn"), ("cifar100", "mlp")}
    assert {key for key, least in cost.min().items() if least > 0.03} == hit
    assert cost.max().drop(list(hit)).max() < 0.03


def test_two_resnets_are_wrong_about_most_non_members_and_the_loss_has_no_lead_there(records):
    plain = experiments.reported(records)
    rows = plain[(plain["dataset"] == "cifar100") & (plain["architecture"] == "resnet")]
    settled = rows[rows["train_accuracy"] > 0.99]
    leads = experiments.metric_leads(settled, ROOT / "book/results")
    assert settled["seed"].nunique() == 2 and settled["test_accuracy"].max() < 0.5
    assert leads["lead"].max() < 0.005
