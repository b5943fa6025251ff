"""`AuditReport`: one audit as HTML, JSON, tables and files."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import numpy as np

from ..errors import InputError
from ..files import one_line_disk_errors, remove_pieces, whole_file
from ..naming import is_number
from .answers import AuditData
from .gate import Limit, Outcome
from .measure import precision, recognised_at
from .scores import Scored

SCHEMA = "mia-utils/audit-report/1"
_MOST = 20  # records that the report names
_CHOICE = "-o FOLDER"


@dataclass(frozen=True)
class AuditReport:
    """The outcome of `audit`.

    Attributes
    ----------
    content : dict
        Everything that the report says, as strict JSON (no NaN, no infinity): `schema()` describes
        it.
    """

    content: dict
    _data: AuditData | None
    _scored: tuple[Scored, ...]
    _pictures: np.ndarray | None = None

    @property
    def verdict(self) -> str:
        """The two sentences."""
        return " ".join(self.content["verdict"]["sentences"])

    @property
    def leaks(self) -> bool:
        """Was a leak proven?"""
        return self.content["verdict"]["outcome"] == "leaks"

    def __repr__(self) -> str:
        return f"AuditReport({self.content['verdict']['outcome']}: {self.verdict})"

    def _repr_html_(self) -> str:
        from html import escape

        lines = [escape(line) for line in self.content["verdict"]["sentences"]]
        return f"<p><strong>{lines[0]}</strong> {lines[1]}</p>{self.frame().to_html()}"

    # ---- as tables -------------------------------------------------------------------------------

    def frame(self):
        """A pandas.DataFrame with one row an attack: AUC, TPRs and epsilon with their limits."""
        import pandas as pd

        rows = []
        for each in self.content["attacks"]:
            row = {"attack": each["name"]}
            for name, figure in (
                ("auc", each["auc"]),
                *((f"tpr@{point['fpr']:g}", point) for point in each["tpr"]),
            ):
                row |= {name: figure["value"]}
                row |= {f"{name} {end}": figure[end] for end in ("low", "high", "p_adjusted")}
            row["epsilon low"] = each["epsilon"] and each["epsilon"]["low_all"]
            rows.append(row)
        return pd.DataFrame(rows).set_index("attack").astype(float)

    def records(self):
        """A pandas.DataFrame with one row a record: scores, ranks and risk; None with no records.

        `recognised_at` is the false-positive rate at which the lead attack calls the record a
        member: small means exposed. `half` (1 or 2, 0 where not judged) is where a cross-fitted
        attack judged a record after it was fitted on the other half: scores compare within a half,
        and a rank is that of a score's place within its half.
        """
        import pandas as pd

        data = self._need_records()
        outputs = data.outputs
        members, used = outputs.members[0], outputs.evaluated[0]
        columns: dict = {
            "id": data.names,
            "class": np.array(data.classes)[outputs.labels],
            "member": members,
            "judged": used,
            **{f"group_{name}": values for name, values in data.groups.items()},
        }
        lead = next(s for s in self._scored if s.name == self.content["lead"])
        columns["recognised_at"] = recognised_at(lead.ranking, members)
        fold = next((each.fold for each in self._scored if each.fold is not None), None)
        if fold is not None:
            columns["half"] = fold + 1
        for each in self._scored:
            columns[f"score_{each.name}"] = each.scores
            columns[f"rank_{each.name}"] = pd.Series(-each.ranking).rank(method="min").to_numpy()
        return pd.DataFrame(columns)

    def with_exposed(self) -> AuditReport:
        """The same with the most exposed members named."""
        data = self._need_records()
        outputs = data.outputs
        lead = next(s for s in self._scored if s.name == self.content["lead"])
        members = outputs.members[0]
        ranking = lead.ranking
        rate = recognised_at(ranking, members)
        inside = np.flatnonzero(members & ~np.isnan(rate))
        order = inside[np.lexsort((-ranking[inside], rate[inside]))][:_MOST]
        exposed = [
            {
                "id": str(data.names[row]),
                "row": int(row),
                "class": data.classes[outputs.labels[row]],
                "recognised_at": float(rate[row]),
                "groups": {name: str(values[row]) for name, values in data.groups.items()},
            }
            for row in order
        ]
        return replace(self, content={**self.content, "exposed": exposed})

    def _need_records(self) -> AuditData:
        if self._data is None:
            raise InputError("this report was made without records (records=False, --no-records)")
        return self._data

    # ---- limits ----------------------------------------------------------------------------------

    def against(self, limits: list[Limit]) -> list[Outcome]:
        """Hold limits against what is proven for the best attack, corrected for all of them."""
        return [self._against(limit) for limit in limits]

    def _against(self, limit: Limit) -> Outcome:
        found: list[tuple[float, str]] = []
        for row in self.content["attacks"]:
            figure = self._figure(row, limit)
            if figure is not None:
                found.append((figure, row["name"]))
        lower, attack = max(found, default=(None, None))
        return Outcome(limit, lower, attack)

    def _figure(self, row: dict, limit: Limit) -> float | None:
        if limit.figure == "auc":
            return row["auc"]["low_all"]
        if limit.figure == "epsilon":
            return row["epsilon"] and row["epsilon"]["low_all"]
        point = next((p for p in row["tpr"] if abs(p["fpr"] - limit.rate) < 1e-12), None)
        if point is None:
            rates = ", ".join(f"{p['fpr']:g}" for p in row["tpr"])
            raise InputError(f"--fail-above {limit}: the rates looked at are {rates}; add --rates")
        if point["value"] is None or limit.figure == "tpr":
            return point["low_all"]
        assert limit.rate is not None, "a limit on precision names its rate"
        return precision(point["low_all"], limit.rate, 0.5)

    def with_gate(self, outcomes: list[Outcome]) -> AuditReport:
        """The same with the outcome of limits in it."""
        rows = [
            {"limit": str(o.limit), "lower": o.lower, "failed": o.failed, "text": o.text}
            for o in outcomes
        ]
        return replace(self, content={**self.content, "gate": rows})

    # ---- as files --------------------------------------------------------------------------------

    def html(self, *, book: str | None = None) -> str:
        """The report as one HTML page that loads nothing.

        Parameters
        ----------
        book : str, optional
            Where its links into the book lead: a web address, or the path from the report to the
            folder of the built book; by default $MIA_BOOK. Where nobody says, chapters are named.
        """
        from .page import render

        return render(self.content, self._pictures, book)

    def json(self) -> str:
        """Strict JSON; `schema()` is its JSON schema."""
        return json.dumps(self.content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    def csv(self) -> str:
        """`records()` as CSV; texts that a spreadsheet would run as a formula get a quote first."""
        buffer = io.StringIO()
        self._write_csv(buffer)
        return buffer.getvalue()

    def _write_csv(self, file: TextIO) -> None:
        """Row by row: of a million records the text alone is half a gigabyte."""
        frame = self.records()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([_cell(name) for name in frame.columns])
        for row in frame.itertuples(index=False):
            writer.writerow([_cell(value) for value in row])

    def save(self, folder: str | os.PathLike, *, book: str | None = None) -> list[Path]:
        """Write report.html, report.json and, unless made without, records.csv; their paths.

        `book` is that of `html`.

        Raises
        ------
        InputError
            If the folder is a file, or cannot be written.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: a file; expected a folder for the report")
        files: dict[str, Callable[[TextIO], object]] = {
            "report.json": lambda file: file.write(self.json()),
            "report.html": lambda file: file.write(self.html(book=book)),
        }
        if self._data is not None:
            files["records.csv"] = self._write_csv
        with one_line_disk_errors(folder, _CHOICE):
            folder.mkdir(parents=True, exist_ok=True)
            # Each is written beside and renamed when all are there: what a full disk leaves is the
            # earlier report or this one. A link of that name is replaced, not followed.
            for name in files:
                remove_pieces(folder, name)
            with ExitStack() as together:
                for name, write in files.items():
                    partial = together.enter_context(whole_file(folder / name))
                    with open(partial, "w", encoding="utf-8", newline="\n") as file:
                        write(file)
            if self._data is None:  # of an earlier report: it would not belong to this one
                (folder / "records.csv").unlink(missing_ok=True)
        return [folder / name for name in files]


def schema() -> dict:
    """The JSON schema (draft 2020-12) of report.json."""
    from importlib.resources import files

    return json.loads((files("mia_utils.audit") / "schema.json").read_text(encoding="utf-8"))


def _cell(value) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else repr(float(value))
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    text = str(value)
    if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not is_number(text):
        text = "'" + text
    return text
