"""Privacy against utility: what the records say, and what was not run with its cost."""

import numpy as np
import pytest

from mia_utils import Store
from mia_utils.defenses import names, preset
from mia_utils.evaluation.epsilon import split_epsilon
from mia_utils.experiments import records as results
from mia_utils.experiments.experiment import Experiment, run
from mia_utils.experiments.figure9 import DELTA, Row, as_texts, privacy_and_utility


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Undefended, top-1 and transfers of both, two seeds, as records in a folder."""
    folder = tmp_path_factory.mktemp("results")
    store = Store(tmp_path_factory.mktemp("store"))
    for seed in (0, 1):
        for defense, shadow in (("none", ""), ("top1", ""), ("top1", "none")):
            e = Experiment(
                dataset="digits",
                architecture="mlp",
                epochs=3,
                seed=seed,
                defense=defense,
                shadow_defense=shadow,
            )
            run(e, store=store, progress=False).save(folder)
    return folder, results.read(folder)


def test_each_defense_has_one_row_from_adaptive_runs(published):
    folder, frame = published
    rows = privacy_and_utility(frame, "digits", "mlp", folder)
    assert [row.defense for row in rows] == list(names())
    there = {row.defense: row for row in rows if row.seeds}
    assert set(there) == {"none", "top1"}
    mine = frame[(frame.attack == "loss") & (frame.shadow_defense == frame.defense)]
    for name, row in there.items():
        own = mine[mine.defense == name].sort_values("seed")
        assert (row.seeds, row.epochs, row.precision) == (2, 3, "fp32")
        assert row.auc == pytest.approx(own.auc.mean())
        said = results.load_signals(own.run.iloc[0], folder)
        used = said["evaluated"][0]
        bound = split_epsilon(
            np.exp(-said["loss"][0][used].astype(float)),
            said["members"][0][used],
            said["labels"][used],
            delta=DELTA,
        )
        assert row.epsilon_low == bound.epsilon and row.epsilon_promised is None


def test_what_was_not_run_stands_at_the_end_with_its_cost(published):
    folder, frame = published
    texts = as_texts(privacy_and_utility(frame, "digits", "mlp", folder))
    assert list(texts["defense"][:2]) == ["none", "top-1"] and len(texts) == len(names())
    assert texts["test accuracy"][2:].str.fullmatch(r"not run: .* core-hours a seed").all()
    promised = texts.set_index("defense")["epsilon promised"]
    assert promised[preset("dp_eps4").title] == "4" and promised["mixup"] == ""


def test_a_lower_bound_on_epsilon_is_not_rounded_up():
    row = Row("none", 1, 1, "fp32", 0.5, 0.5, 0.01, epsilon_low=0.1299)
    assert as_texts([row])["epsilon at least"].tolist() == ["0.12"]
