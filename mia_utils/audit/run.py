"""`audit`: checks, attacks, figures and verdict, in that order."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import scipy
import sklearn

from .. import arguments
from ..errors import InputError
from ..evaluation import group_metrics, holm
from ..evaluation.intervals import check_level
from ..outputs import Outputs, check_outputs
from ..text.outputs import TokenOutputs
from . import checks, drawn, traces
from .answers import AuditData
from .checks import halves
from .language import TOKEN_RECIPES, perplexity, token_data
from .measure import RATES, measure, ranked
from .report import SCHEMA, AuditReport
from .scores import LEAD, RECIPES, Scored, check_names, score
from .verdict import ALPHA, design, verdict


def audit(
    target: Outputs | TokenOutputs | AuditData,
    shadows: Outputs | TokenOutputs | AuditData | None = None,
    *,
    which: int | None = None,
    attacks: Sequence[str] | None = None,
    accept: Sequence[str] = (),
    rates: Sequence[float] = RATES,
    delta: float = 0.0,
    level: float = 0.95,
    records: bool = True,
    pictures: np.ndarray | None = None,
    seed: int = 0,
    command: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> AuditReport:
    """Find out how much a model gives away about the records it was trained on.

    Parameters
    ----------
    target : Outputs, TokenOutputs of a language model, or AuditData
        Answers of the audited model, for members and non-members.
    shadows : Outputs, TokenOutputs or AuditData, optional
        Answers of reference models for the same records, found by id.
    which : int, optional
        The audited model, where `target` holds several.
    attacks : sequence of str, optional
        Names of `scores.RECIPES`, or of `language.TOKEN_RECIPES`; by default all that apply.
    accept : sequence of str
        Names of checks that may not stop the audit.
    rates : sequence of float
        False-positive rates, decided beforehand.
    delta : float
        Of the bound on epsilon.
    level : float
        Confidence level of intervals.
    records : bool
        Whether single records are named. If not, the report holds no personal data.
    pictures : uint8 (N, H, W) or (N, H, W, 3), optional
        Shown beside the most exposed records.
    seed : int
        Of the halves and of all draws.
    command : str, optional
        What to run to repeat this.
    progress : callable
        Told the name of each step.

    Raises
    ------
    InputError
        If a check found that the audit would be worthless, or nothing can be measured.
    """
    data, shadows = _as_data(target), None if shadows is None else _as_data(shadows)
    if shadows is not None and (data.tokens is None) != (shadows.tokens is None):
        raise InputError(
            "one of target and reference models is a language model's answers, the other a "
            "classifier's; expected two of a kind"
        )
    data = _one_model(data, which)
    arguments.seed(seed)
    rates = arguments.several("rates", rates, "false-positive rates between 0 and 1")
    if not rates:
        raise InputError("rates are empty; expected false-positive rates between 0 and 1")
    for rate in rates:
        arguments.number("rates", rate, "false-positive rates between 0 and 1", 0, 1)
    arguments.number("delta", delta, "a probability in [0, 1), such as 1e-5", 0, 1, closed="low")
    check_level(level)
    accept = arguments.several("accept", accept, "names of checks")
    if attacks is not None:
        attacks = arguments.several("attacks", attacks, "names of attacks, such as ['loss']")
    recipes = RECIPES if data.tokens is None else TOKEN_RECIPES
    check_names(attacks, recipes)
    notes: list[str] = []
    if shadows is not None:
        asked, shadows = _align(data, shadows, notes)
        if asked.size < data.names.size:
            data = data.records(asked)
            pictures = None if pictures is None else pictures[asked]
    progress("checks")
    findings, made = checks.check(data, shadows, accept=accept, seed=seed)
    blind = halves.blind(data, seed) if any(f.name == "difference" for f in findings) else None
    outputs = data.outputs
    scored, missing, online = score(
        outputs,
        shadows,
        recipes=recipes,
        tokens=data.tokens,
        attacks=attacks,
        seed=seed,
        progress=progress,
    )
    members, labels = outputs.members[0], outputs.labels
    progress("figures")
    rows, tests = measure(scored, members, labels, rates=rates, level=level, delta=delta, seed=seed)
    lead = next((s for name in LEAD for s in scored if s.name == name), scored[0])
    groups = _groups(data, lead, level)
    models = 0 if shadows is None else len(shadows)
    judgement = verdict(
        rows, tests, findings, blind, groups, references=models, texts=data.tokens is not None
    )
    content = {
        "schema": SCHEMA,
        "made": _made(command, seed, data, level),
        "subject": _subject(data, repr(data)),
        "references": None if shadows is None else {"models": models, "online": online},
        "notes": notes,
        "checks": {"made": made, "findings": [finding.as_dict() for finding in findings]},
        "verdict": judgement,
        "attacks": rows,
        "not_run": [{"title": title, "why": why} for title, why in missing],
        "design": design(rows, tests, ALPHA),
        "lead": lead.name,
        "groups": groups,
        "traces": traces.ranking(data, records) if data.traces is not None else None,
        "curves": [drawn.curve(s, members, level) for s in scored if s.name in _shown(rows)],
        "distribution": drawn.histogram(lead, members),
        "exposure": drawn.exposure(lead, members),
        "exposed": None,
        "gate": [],
    }
    report = AuditReport(_strict(content), data if records else None, tuple(scored), pictures)
    return report.with_exposed() if records else report


def _as_data(answers) -> AuditData:
    if isinstance(answers, TokenOutputs):
        return token_data(answers)
    if isinstance(answers, AuditData):
        return answers
    return AuditData.of(check_outputs(answers, "audit(target, shadows)"))


def _one_model(data: AuditData, which: int | None) -> AuditData:
    models = len(data.outputs)
    if models == 1 and which in (None, 0):
        return data
    if which is not None:
        arguments.count("which", which, least=0)
    if which is None or which >= models:
        raise InputError(
            f"the answers are of {models} models; say which one is audited, 0 to {models - 1}"
        )
    return data.model(which)


def _align(data: AuditData, shadows: AuditData, notes: list[str]) -> tuple[np.ndarray, Outputs]:
    """Positions of the target's records that the reference models were asked about, and their
    answers for these in this order.
    """
    answers, outputs = shadows.outputs, data.outputs
    if answers.classes != outputs.classes:
        raise InputError(
            f"the target has {outputs.classes} classes, the reference models {answers.classes}"
        )
    if isinstance(shadows, AuditData) and shadows.classes != data.classes:
        if sorted(shadows.classes) == sorted(data.classes):
            raise InputError(
                "target and reference models list the classes in another order; read both with the "
                f"same classes=[{', '.join(map(repr, data.classes[:10]))}]"
            )
    _, mine, theirs = np.intersect1d(outputs.ids, answers.ids, return_indices=True)
    if not mine.size:
        raise InputError(
            "the reference models were asked about none of the target's records: give both files "
            "ids, the same for the same record"
        )
    order = np.argsort(mine, kind="stable")
    mine, theirs = mine[order], theirs[order]
    if mine.size < outputs.ids.size:
        notes.append(
            f"{outputs.ids.size - mine.size} of {outputs.ids.size} records are left out: the "
            "reference models were not asked about them"
        )
    answers, labels = answers.select(records=theirs), outputs.labels[mine]
    differing = np.flatnonzero(answers.labels != labels)
    if differing.size:
        first = differing[0]
        raise InputError(
            f"record {str(data.names[mine[first]])!r} has the label {data.classes[labels[first]]!r} in "
            f"the target's answers and {data.classes[answers.labels[first]]!r} in the reference "
            f"models' ({differing.size} such records): are the ids of one list?"
        )
    return mine, answers.replace(ids=outputs.ids[mine], fingerprint=outputs.fingerprint)


def _groups(data: AuditData, lead: Scored, level: float) -> list[dict]:
    """The lead attack's AUC by class and by each column of groups, corrected for all of them."""
    used = ~np.isnan(lead.scores)
    members = data.outputs.members[0][used]
    scores = ranked(lead, data.outputs.members[0])[0]
    columns = {"class": np.array(data.classes)[data.outputs.labels], **data.groups}
    rows = []
    for column, values in columns.items():
        values = values[used]
        if np.unique(values).size < 2:
            continue
        for group, found in group_metrics(scores, members, values, level=level).items():
            inside = values == group
            rows.append(
                {
                    "column": column,
                    "group": str(group),
                    "members": int((members & inside).sum()),
                    "nonmembers": int((~members & inside).sum()),
                    "auc": found and found.auc,
                    "low": found and found.low,
                    "high": found and found.high,
                    "p": found and found.p_value,
                }
            )
    tested = [row for row in rows if row["p"] is not None]
    adjusted = iter(holm([row["p"] for row in tested]) if tested else ())
    for row in rows:
        row["p_adjusted"] = None if row["p"] is None else float(next(adjusted))
    return rows


def _shown(rows: Sequence[dict]) -> list[str]:
    """The five attacks with the largest AUC: more lines cannot be told apart."""
    return [r["name"] for r in sorted(rows, key=lambda r: -r["auc"]["value"])[:5]]


def _subject(data: AuditData, understood: str) -> dict:
    outputs = data.outputs
    used, members = outputs.evaluated[0], outputs.members[0]
    return {
        "understood": understood,
        "records": int(used.size),
        "judged": int(used.sum()),
        "classes": outputs.classes,
        "members": int((members & used).sum()),
        "nonmembers": int((~members & used).sum()),
        **(
            _perplexities(data)
            if data.tokens is not None
            else {
                "accuracy_members": data.accuracy[0],
                "accuracy_nonmembers": data.accuracy[1],
            }
        ),
        "scale": data.scale,
    }


def _perplexities(data: AuditData) -> dict:
    used, members = data.outputs.evaluated[0], data.outputs.members[0]
    return {
        "accuracy_members": None,
        "accuracy_nonmembers": None,
        "perplexity_members": perplexity(data, np.flatnonzero(members & used)),
        "perplexity_nonmembers": perplexity(data, np.flatnonzero(~members & used)),
    }


def _made(command: str | None, seed: int, data: AuditData, level: float) -> dict:
    try:
        own = version("mia-utils")
    except PackageNotFoundError:  # run from a checkout
        own = "unknown"
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "seed": seed,
        "level": level,
        "inputs": [{"file": name, "sha256": digest} for name, digest in data.sources],
        "versions": {
            "mia-utils": own,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _strict(value):
    """`value` as JSON knows it: NumPy's numbers as Python's, NaN and infinities as None."""
    return json.loads(json.dumps(_plain(value), allow_nan=False))


def _plain(value):
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
