"""`--fail-above`: limits that fail a build where leakage is proven to exceed them; JUnit for CI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..errors import InputError
from ..files import one_line_disk_errors, remove_pieces, whole_file

_FORM = re.compile(
    r"\s*(?P<figure>tpr|auc|epsilon|precision)\s*(?:@\s*(?P<rate>[0-9.eE+-]+))?\s*>\s*"
    r"(?P<limit>[0-9.eE+-]+)\s*"
)
_NEEDS_RATE = ("tpr", "precision")


@dataclass(frozen=True)
class Limit:
    """One figure that no attack may exceed for certain.

    Parameters
    ----------
    figure : "auc", "tpr", "epsilon" or "precision"
    limit : float
    rate : float, optional
        The false-positive rate of a TPR or of a precision (which is taken at a prior of 1 in 2).

    >>> Limit.parse("tpr@0.001>0.01")
    Limit(figure='tpr', limit=0.01, rate=0.001)
    """

    figure: str
    limit: float
    rate: float | None = None

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read "tpr@0.001>0.01", "auc>0.6", "epsilon>1" or "precision@0.01>0.9".

        Raises
        ------
        InputError
            If the text has another form.
        """
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        try:
            if match is None:
                raise ValueError
            rate = None if match["rate"] is None else float(match["rate"])
            limit = float(match["limit"])
            inside = limit >= 0 and (match["figure"] == "epsilon" or limit < 1)
            if not inside or (rate is not None) != (match["figure"] in _NEEDS_RATE):
                raise ValueError
            if rate is not None and not 0 < rate < 1:
                raise ValueError
        except ValueError:
            raise InputError(
                f"--fail-above {text!r}; expected a figure and its limit, such as "
                '"tpr@0.001>0.01" (at a false-positive rate of 0.001), "auc>0.6", "epsilon>1" or '
                '"precision@0.01>0.9"'
            ) from None
        return cls(match["figure"], limit, rate)

    def __str__(self) -> str:
        at = "" if self.rate is None else f"@{self.rate:g}"
        return f"{self.figure}{at}>{self.limit:g}"


@dataclass(frozen=True)
class Outcome:
    """A limit held against a report: `lower` is the largest proven value, None if not measurable."""

    limit: Limit
    lower: float | None
    attack: str | None

    @property
    def failed(self) -> bool:
        return self.lower is not None and self.lower > self.limit.limit

    @property
    def text(self) -> str:
        if self.lower is None:
            return f"{self.limit}: not measurable with these records"
        return (
            f"{self.limit}: at least {self.lower:.4g} ({self.attack}), "
            f"{'above' if self.failed else 'not above'} the limit"
        )


def write_junit(path: str | Path, suite: str, outcomes: list[Outcome], content: dict) -> None:
    """JUnit XML: one test case a limit, and one for the verdict of a report's `content`."""
    root = ElementTree.Element(
        "testsuite",
        name=_printable(suite),
        tests=str(len(outcomes) + 1),
        failures=str(sum(outcome.failed for outcome in outcomes)),
        skipped=str(sum(outcome.lower is None for outcome in outcomes)),
        errors="0",
    )
    for outcome in outcomes:
        case = ElementTree.SubElement(root, "testcase", classname="audit", name=str(outcome.limit))
        if outcome.failed:
            ElementTree.SubElement(case, "failure", message=outcome.text).text = outcome.text
        elif outcome.lower is None:
            ElementTree.SubElement(case, "skipped", message=outcome.text)
    case = ElementTree.SubElement(root, "testcase", classname="audit", name="verdict")
    ElementTree.SubElement(case, "system-out").text = _printable(
        " ".join(content["verdict"]["sentences"])
    )
    ElementTree.indent(root)
    path = Path(path)
    with one_line_disk_errors(path, "--junit FILE"):
        remove_pieces(path.parent, path.name)
        with whole_file(path) as partial:
            ElementTree.ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)


def _printable(text: str) -> str:
    """`text` without the control characters that XML cannot hold."""
    return re.sub(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
