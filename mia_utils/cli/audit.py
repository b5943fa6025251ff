"""`mia audit`: from answers, or from a model and its data, to a privacy report."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

FAILED = 3
"""Exit code where a limit of --fail-above is exceeded for certain."""


def add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", nargs="?", type=Path, help="answers: .npz, .npy, .csv or .parquet"
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("report"), metavar="FOLDER", help="for the report"
    )
    answers = parser.add_argument_group("answers")
    answers.add_argument("--shadows", metavar="FILE", help="answers of reference models")
    for name in ("labels", "members", "ids"):
        answers.add_argument(f"--{name}", type=Path, metavar="FILE", help="where not in the target")
    answers.add_argument(
        "--groups", nargs="+", default=[], metavar="COLUMN", help="columns that group records"
    )
    answers.add_argument("--classes", nargs="+", metavar="NAME", help="in the order of the logits")
    answers.add_argument(
        "--probabilities", action="store_true", help="the .npy file holds probabilities"
    )
    answers.add_argument("--floor", type=float, help="what a probability of 0 counts as")
    answers.add_argument("--which", type=int, metavar="MODEL", help="of several in the target")
    judging = parser.add_argument_group("judging")
    judging.add_argument("--attacks", nargs="+", metavar="NAME", help="default: all that apply")
    judging.add_argument("--rates", nargs="+", type=float, metavar="FPR", help="0.1 0.01 0.001")
    judging.add_argument("--delta", type=float, default=0.0, help="of the bound on epsilon")
    judging.add_argument("--seed", type=int, default=0)
    judging.add_argument(
        "--accept", nargs="+", default=[], metavar="CHECK", help="go on though this check stops"
    )
    output = parser.add_argument_group("report")
    output.add_argument("--no-records", action="store_true", help="name no single record")
    output.add_argument(
        "--fail-above",
        action="append",
        default=[],
        metavar="LIMIT",
        help=f'such as "tpr@0.001>0.01": exit code {FAILED} if that is proven',
    )
    output.add_argument("--junit", type=Path, metavar="FILE", help="the limits as JUnit XML")
    output.add_argument("--quiet", action="store_true", help="print the verdict alone")
    parser.set_defaults(call=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    from ..audit import Limit, audit, read_answers
    from ..audit.gate import write_junit
    from ..audit.measure import RATES
    from ..errors import InputError

    limits = [Limit.parse(text) for text in arguments.fail_above]
    rates = tuple(arguments.rates or RATES)
    rates += tuple(sorted({x.rate for x in limits if x.rate is not None} - set(rates)))
    if arguments.target is None:
        raise InputError("mia audit needs a file of answers; mia audit --help shows the ways")
    options = {"probabilities": arguments.probabilities, "floor": arguments.floor}
    data = read_answers(
        arguments.target,
        labels=arguments.labels,
        members=arguments.members,
        ids=arguments.ids,
        groups=arguments.groups,
        classes=arguments.classes,
        **options,
    )
    shadows = None
    if arguments.shadows is not None:
        shadows = read_answers(arguments.shadows, classes=arguments.classes, **options)
    tell = _silent if arguments.quiet else _tell
    tell(repr(data))
    if shadows is not None:
        tell(f"reference: {shadows!r}")
    report = audit(
        data,
        shadows,
        which=arguments.which,
        attacks=arguments.attacks,
        accept=tuple(arguments.accept),
        rates=rates,
        delta=arguments.delta,
        records=not arguments.no_records,
        seed=arguments.seed,
        command=shlex.join(["mia", *sys.argv[1:]]),
        progress=tell,
    )
    outcomes = report.against(limits)
    report = report.with_gate(outcomes)
    for path in report.save(arguments.out):
        tell(f"wrote {path}")
    if arguments.junit is not None:
        write_junit(arguments.junit, f"mia audit {arguments.target}", outcomes, report.content)
    print(report.verdict)
    for outcome in outcomes:
        print(outcome.text)
    return FAILED if any(outcome.failed for outcome in outcomes) else 0


def _tell(text: str) -> None:
    print(f"mia audit: {text}", file=sys.stderr)


def _silent(text: str) -> None:
    """Nothing."""
