"""The report's experiments: one run of its protocol, its records, and what is made of them.

Begin with `experiment.run`. `records` is what a run leaves behind, `table1` compares it with the
report's Table 1 (`causes` tries what may have moved its numbers, `costs` says what the missing
rows would take), `claims` is what its sentences need, `transfer` is figures 7 and 8, `figure9`
its defenses, `outdated` tells
which rows are older than a mend, `verify` repeats a choice of published runs.
"""

from .causes import Cause, cause_table, causes, explained
from .claims import lost_by_transfer, metric_leads, reported
from .costs import cost_table, costs
from .epoch_curve import epoch_curve
from .experiment import Experiment, run
from .figure9 import as_texts, by_defense, defended, elsewhere, privacy_and_utility
from .outdated import outdated, outdated_note
from .records import SCHEMA, load_signals, published, read, read_run, results_place
from .table1 import LARGE, METRICS, TABLE_1, VERDICTS, WIDE, beside, compare, plain, title
from .tables import read_table
from .transfer import crossed, transfer

__all__ = [
    "LARGE",
    "METRICS",
    "SCHEMA",
    "TABLE_1",
    "VERDICTS",
    "WIDE",
    "Cause",
    "Experiment",
    "as_texts",
    "beside",
    "by_defense",
    "cause_table",
    "causes",
    "compare",
    "cost_table",
    "costs",
    "crossed",
    "defended",
    "elsewhere",
    "epoch_curve",
    "explained",
    "load_signals",
    "lost_by_transfer",
    "metric_leads",
    "outdated",
    "outdated_note",
    "plain",
    "privacy_and_utility",
    "published",
    "read",
    "read_run",
    "read_table",
    "reported",
    "results_place",
    "run",
    "title",
    "transfer",
]
