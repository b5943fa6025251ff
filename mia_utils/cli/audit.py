"""`mia audit`: from answers, or from a model and its data, to a privacy report."""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, InputWarning
from .options import a_path, at_least

FAILED = 3
"""Exit code where a limit of --fail-above is exceeded for certain."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target",
        nargs="?",
        type=a_path,
        help="answers, or a language model's log-probabilities: .npz, .npy, .csv or .parquet",
    )
    parser.add_argument(
        "-o", "--out", type=a_path, default=Path("report"), metavar="FOLDER", help="for the report"
    )
    parser.add_argument(
        "--shadows", metavar="FILE|K", help="answers of reference models, or how many to train"
    )
    models = parser.add_argument_group("a model, in place of answers")
    models.add_argument(
        "--model", help="module:function (a PyTorch factory, or a classifier), or a folder"
    )
    models.add_argument("--weights", type=a_path, metavar="FILE", help=".safetensors, .pt or .pth")
    models.add_argument(
        "--data",
        type=a_path,
        metavar="PATH",
        help="image folder, archive, table, or of a language model a table or folder of texts",
    )
    models.add_argument("--size", type=at_least(1), help="side to which images are resized")
    models.add_argument("--epochs", type=at_least(1), default=30, help="of reference models")
    models.add_argument("--batch-size", type=at_least(1), default=128, help="of reference models")
    models.add_argument("--lr", type=float, default=1e-3, help="of reference models")
    models.add_argument("--store", type=a_path, metavar="DIR", help="of them, else MIA_STORE")
    models.add_argument("--jobs", type=at_least(1), help="reference models trained at a time")
    answers = parser.add_argument_group("answers")
    for name in ("labels", "members", "ids"):
        answers.add_argument(
            f"--{name}", type=a_path, metavar="FILE", help="where not in the target"
        )
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
    output.add_argument("--junit", type=a_path, metavar="FILE", help="the limits as JUnit XML")
    output.add_argument(
        "--book", metavar="ADDRESS", help="of the book that advice links to, else MIA_BOOK"
    )
    output.add_argument("--quiet", action="store_true", help="print the verdict alone")
    parser.set_defaults(call=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    from ..audit import Limit, audit
    from ..audit.advice import book_address
    from ..audit.gate import write_junit
    from ..audit.measure import RATES

    limits = [Limit.parse(text) for text in arguments.fail_above]
    rates = tuple(arguments.rates or RATES)
    rates += tuple(sorted({x.rate for x in limits if x.rate is not None} - set(rates)))
    book = book_address(arguments.book)
    if arguments.out.exists() and not arguments.out.is_dir():
        raise InputError(f"--out {arguments.out}: a file; expected a folder")
    if arguments.junit is not None and arguments.junit.is_dir():
        raise InputError(f"--junit {arguments.junit}: a folder; expected a file")
    tell = _silent if arguments.quiet else _tell
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: tell(f"warning: {message}")
        data, shadows, pictures = (_of_model if arguments.model else _of_answers)(arguments, tell)
        report = audit(
            data,
            shadows,
            which=arguments.which,
            attacks=arguments.attacks,
            accept=tuple(arguments.accept),
            rates=rates,
            delta=arguments.delta,
            records=not arguments.no_records,
            pictures=pictures,
            seed=arguments.seed,
            command=shlex.join(["mia", *sys.argv[1:]]),
            progress=tell,
        )
    outcomes = report.against(limits)
    report = report.with_gate(outcomes)
    for path in report.save(arguments.out, book=book):
        tell(f"wrote {path}")
    if arguments.junit is not None:
        name = arguments.target or arguments.model
        write_junit(arguments.junit, f"mia audit {name}", outcomes, report.content)
    print(report.verdict)
    for outcome in outcomes:
        print(outcome.text)
    return FAILED if any(outcome.failed for outcome in outcomes) else 0


def _of_answers(arguments: argparse.Namespace, tell):
    """What files of answers hold."""
    from ..audit import read_answers
    from ..text.read import holds_tokens

    if arguments.target is None:
        raise InputError(
            "mia audit needs a file of answers, or --model with --data and --members; see: mia "
            "audit --help"
        )
    given = [
        name for name in ("weights", "data", "size", "store", "jobs") if getattr(arguments, name)
    ]
    if given:
        raise InputError(f"--{given[0]} goes with --model")
    if holds_tokens(arguments.target):
        return _of_tokens(arguments, tell)
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
    tell(repr(data))
    shadows = None
    if arguments.shadows is not None:
        shadows = read_answers(arguments.shadows, classes=_names(data.classes), **options)
        tell(f"reference: {shadows!r}")
    return data, shadows, None


def _names(classes: Sequence[str]) -> Sequence[str] | None:
    """Names of classes that the reference models' answers must follow; None if these are numbers."""
    return None if all(name.isdecimal() for name in classes) else classes


def _of_tokens(arguments: argparse.Namespace, tell):
    """What files of a language model's log-probabilities hold."""
    from ..audit import read_token_data

    given = [
        n for n in ("labels", "ids", "classes", "probabilities", "floor") if getattr(arguments, n)
    ]
    if given:
        raise InputError(
            f"--{given[0]} goes with a classifier's answers; {arguments.target} holds "
            "log-probabilities of tokens"
        )
    data = read_token_data(arguments.target, members=arguments.members, groups=arguments.groups)
    tell(repr(data))
    shadows = None
    if arguments.shadows is not None:
        shadows = read_token_data(arguments.shadows)
        tell(f"reference: {shadows!r}")
    return data, shadows, None


def _of_language_model(arguments: argparse.Namespace, tell):
    """What a Hugging Face causal language model says of documents."""
    from ..audit.language import asked_token_data, read_token_data

    if (arguments.shadows or "").isdecimal():
        raise InputError(
            f"--shadows {arguments.shadows}: reference models of a language model are not trained "
            "here; ask some elsewhere, and give their log-probabilities: --shadows FILE"
        )
    given = [n for n in ("weights", "size", "classes") if getattr(arguments, n)]
    if given:
        raise InputError(
            f"--{given[0]} goes with a classifier; {arguments.model} is a language model"
        )
    tell("asking the model")
    data = asked_token_data(
        arguments.model, arguments.data, members=arguments.members, groups=arguments.groups
    )
    tell(repr(data))
    shadows = None if arguments.shadows is None else read_token_data(arguments.shadows)
    return data, shadows, None


def _of_model(arguments: argparse.Namespace, tell):
    """What a model answers about its data, and reference models of its kind."""
    from ..audit.answers import read_answers
    from ..audit.asked import answers_of
    from ..audit.language import is_language_model
    from ..audit.material import read_material, read_members
    from ..training.config import TrainConfig

    if arguments.target is not None:
        raise InputError(f"{arguments.target} and --model: give answers or a model, not both")
    if not (arguments.weights or ":" in arguments.model or Path(arguments.model).is_dir()):
        raise InputError(
            f"--model {arguments.model}: no such folder; expected that of a Hugging Face model, or "
            "module:function"
        )
    if arguments.data is not None and is_language_model(arguments.model):
        return _of_language_model(arguments, tell)
    if arguments.data is None:
        raise InputError("--model needs --data PATH and --members FILE")
    material = read_material(
        arguments.data, classes=arguments.classes, groups=arguments.groups, size=arguments.size
    )
    tell(repr(material.pool))
    if arguments.weights and not (arguments.classes or _names(material.pool.classes) is None):
        names = ", ".join(material.pool.classes[:5])
        warnings.warn(
            f"the model's outputs are taken in the order of the classes' names (first {names}); if "
            "they stand in another, write --classes in the order of the outputs",
            InputWarning,
            stacklevel=1,
        )
    members = material.members
    if arguments.members is not None:
        if members is not None:
            raise InputError(
                f"--members {arguments.members}: {arguments.data} says itself who is a member; "
                "leave one of the two out"
            )
        members = read_members(arguments.members)
    if members is None:
        raise InputError("--model needs --members FILE, or a table with a column member")
    count = arguments.shadows if (arguments.shadows or "").isdecimal() else None
    config = TrainConfig(epochs=arguments.epochs, batch_size=arguments.batch_size, lr=arguments.lr)
    if count and arguments.weights:
        _tell_cost(arguments, material.pool, config, int(count), tell)
    shadows: Any
    data, shadows = answers_of(
        arguments.model,
        material,
        members,
        weights=arguments.weights,
        shadows=int(count or 0),
        config=config,
        store=arguments.store,
        jobs=arguments.jobs,
        seed=arguments.seed,
        progress=tell,
    )
    tell(repr(data))
    if arguments.shadows is not None and count is None:
        shadows = read_answers(arguments.shadows, classes=_names(material.pool.classes))
    pictures = material.pool.records if material.pool.is_image else None
    return data, shadows, pictures


def _tell_cost(arguments: argparse.Namespace, pool, config, models: int, tell) -> None:
    """What the reference models will cost, before the first is trained."""
    from ..engine.plan import calibrate, plan

    shape, classes = pool.shape, len(pool.classes)
    speed = calibrate(arguments.model, shape, classes, config)
    cost = plan(
        arguments.model,
        shape,
        classes,
        records=len(pool),
        members=max(1, len(pool) // 2),
        models=models,
        config=config,
        flops_per_second=speed,
    )
    tell(
        f"{models} reference models: about {cost.hours:.2g} core-hours on this machine's "
        f"processor, {cost.disk / 2**20:.0f} MB in the store (those that are there cost nothing)"
    )


def _tell(text: str) -> None:
    print(f"mia audit: {text}", file=sys.stderr)


def _silent(text: str) -> None:
    """Nothing."""
