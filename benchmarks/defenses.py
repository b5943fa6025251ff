"""Figure 9 for RMIA: `python -m benchmarks.defenses cifar10/cnn`.

Offline RMIA with the one shadow model of a run, which has the target's defense and none of the
audited records, on every published run of DATASET/ARCHITECTURE with a defense, and on those without
one that they are compared with. Models that the store lacks are trained, on the device of the
published run; a run whose device is not here is named and left. Writes
book/results/defenses_rmia.csv, one line a run, as they come; runs that have one are left alone.
"""

from __future__ import annotations

import pandas as pd

from mia_utils import RMIA, Outputs, evaluate
from mia_utils.errors import InputError
from mia_utils.experiments import records as results
from mia_utils.experiments.experiment import Experiment, models
from mia_utils.experiments.figure9 import defended
from mia_utils.paths import environment

from . import RESULTS, command, save

ORDER = ["dataset", "architecture", "defense", "precision", "epochs", "seed"]


def all_known(outputs: Outputs) -> Outputs:
    """Whoever trained a model knows which records it never saw: those count as non-members."""
    return outputs.replace(evaluated=outputs.evaluated | ~outputs.members)


def judge(experiment: Experiment) -> dict:
    """RMIA against the target of one experiment; the population is nobody's training data."""
    target, shadow = models(experiment, progress=False)
    audited = target.evaluated[0]
    nobodys = ~(audited | shadow.members[0] | target.members[0])
    attack = RMIA(online=False, threshold=0.5)
    attack.fit(all_known(shadow), all_known(target).select(records=nobodys))
    judged = target.select(records=audited)
    row = evaluate(attack, judged, seed=experiment.seed).targets[0].row()
    return {name: row[name] for name in ("auc", "tpr_at_fpr_0.01")} | {"population": nobodys.sum()}


def main(cases: list[str]) -> int:
    groups = {}
    for dataset, architecture, rows in defended(results.read(results.published())):
        groups.setdefault(f"{dataset}/{architecture}", []).append(rows.drop_duplicates("run"))
    unknown = set(cases) - set(groups)
    if not cases or unknown:
        raise InputError(f"cases {sorted(unknown)}; expected some of {sorted(groups)}")
    path = RESULTS / "defenses_rmia.csv"
    # An undefended target has the defense "none", which is not a missing value.
    table = pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame({"run": []})
    left = 0
    for record in pd.concat(part for case in cases for part in groups[case]).to_dict("records"):
        keys = ("run", "dataset", "architecture", "defense", "seed", "epochs", "precision")
        if record["run"] in set(table["run"]):
            continue
        try:
            with environment(MIA_DEVICE=record["device"]):
                row = {key: record[key] for key in keys} | judge(Experiment.of(record))
        except InputError as error:
            left += 1
            print(f"left: {record['run']}: {error}", flush=True)
            continue
        print(row, flush=True)
        table = pd.concat([table, pd.DataFrame([row])]).sort_values(ORDER)
        save(table, path.name)
    return 1 if left else 0


if __name__ == "__main__":
    command(main)
