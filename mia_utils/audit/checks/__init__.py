"""Mistakes that make an audit worthless, looked for before any attack is run.

A finding of severity "stop" ends an audit, unless it is accepted by name; "caution" stands in the
report and limits what the verdict may say; "note" is only told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import InputError
from ...outputs import Outputs
from ..answers import AuditData
from . import given, halves, references
from .finding import CAUTION, STOP, Finding, Found

CHECKS: dict[str, Callable[[AuditData, Any, int], Found]] = {
    "answers": given.answers,
    "numbers": given.numbers,
    "classes": given.classes,
    "one-sided": halves.one_sided,
    "difference": halves.difference,
    "duplicates": halves.duplicates,
    "copies": references.copies,
    "design": references.design,
    "references": references.likeness,
}
_OF_SHADOWS = ("copies", "design", "references")
_OF_CLASSIFIERS = ("classes", "references")


def check(
    data: AuditData, shadows: Outputs | None = None, *, accept: tuple[str, ...] = (), seed: int = 0
) -> tuple[list[Finding], list[str]]:
    """Every finding, and the names of all checks that were made.

    Parameters
    ----------
    data : AuditData of one target model
    shadows : Outputs of reference models for the same records in the same order
    accept : names of checks whose "stop" becomes "caution"

    Raises
    ------
    InputError
        If there is a finding of severity "stop" that is not accepted: all of them, a line each.
    """
    unknown = set(accept) - set(CHECKS)
    if unknown:
        raise InputError(f"no check is called {min(unknown)!r}; expected {', '.join(CHECKS)}")
    found: list[Finding] = []
    made = []
    for name, function in CHECKS.items():
        if shadows is None and name in _OF_SHADOWS:
            continue
        if data.tokens is not None and name in _OF_CLASSIFIERS:
            continue
        made.append(name)
        for severity, text, advice in function(data, shadows, seed):
            if severity == STOP and name in accept:
                severity = CAUTION
            found.append(Finding(name, severity, text, advice))
    stops = [finding for finding in found if finding.severity == STOP]
    if stops:
        lines = [f"{_sentence(each.found)} {each.advice} (check {each.name!r})" for each in stops]
        names = " ".join(f"--accept {name}" for name in dict.fromkeys(f.name for f in stops))
        raise InputError(
            "this audit would be worthless: " + "; ".join(lines) + f". If it is meant so: {names}"
        )
    return found, made


def _sentence(text: str) -> str:
    return text if text.endswith(("?", ".")) else f"{text}."
