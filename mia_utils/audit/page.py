"""The HTML report: one page, escaped throughout, that asks nobody for anything."""

from __future__ import annotations

import base64
import io

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from . import svg
from .advice import ADVICE, TEXT_ADVICE, book_address
from .verdict import percent

_SIDE = 96  # pixels of a picture
_MOST_GROUPS = 40


def render(content: dict, pictures: np.ndarray | None = None, book: str | None = None) -> str:
    """The page of one report.

    Parameters
    ----------
    content : dict
        What report.json holds.
    pictures : uint8 (N, H, W) or (N, H, W, 3), optional
        Of the records; those of the most exposed ones are shown.
    book : str, optional
        Where links into the book lead: see `book_address`. Without one its chapters are named.
    """
    address = book_address(book)
    advice = TEXT_ADVICE if content["subject"]["scale"] == "log-probabilities" else ADVICE
    environment = Environment(
        loader=PackageLoader("mia_utils.audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda share: "–" if share is None else percent(share),
        "three": lambda value: "–" if value is None else f"{value:.3f}",
        "p": lambda value: "–" if value is None else f"{value:.2g}" if value else "under 1e-300",
        "number": lambda value: f"{value:,}",
    }
    curves = sorted(content["curves"], key=lambda curve: -_auc(content, curve["name"]))
    thumbs = {}
    if pictures is not None and content["exposed"]:
        thumbs = {each["row"]: _data_uri(pictures[each["row"]]) for each in content["exposed"]}
    return environment.get_template("report.html").render(
        **content,
        roc=svg.roc(curves, content["design"]["nonmembers"]),
        shown=curves,
        histogram=svg.distribution(content["distribution"]),
        exposure_figure=svg.exposure(content["exposure"]),
        thumbs=thumbs,
        delta=next((f"{r['epsilon']['delta']:g}" for r in content["attacks"] if r["epsilon"]), "0"),
        advice=[(each, each.link(address)) for each in advice],
        ranked_groups=sorted(content["groups"], key=_by_p)[:_MOST_GROUPS],
    )


def _by_p(row: dict) -> float:
    return 2.0 if row["p"] is None else row["p"]


def _auc(content: dict, name: str) -> float:
    return next(row["auc"]["value"] for row in content["attacks"] if row["name"] == name)


def _data_uri(picture: np.ndarray) -> str:
    from PIL import Image

    picture = np.asarray(picture)
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    image = Image.fromarray(picture.astype(np.uint8))
    image = image.resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
