"""Published results of private models that are older than a mend of how such models are trained."""

from __future__ import annotations

import json

from ..defenses import names, preset
from ..training.accounting import RECIPE, faults
from .records import check_frame


def outdated(frame):
    """Which records are of a noised target whose noise was not yet what it is today.

    Parameters
    ----------
    frame : pandas.DataFrame
        Columns `defense`, `settings` and `recipe` of `records.SCHEMA`.

    Returns
    -------
    pandas.Series of bool
    """
    check_frame(frame)
    settings = {name: preset(name).changes.get("dp") for name in names()}
    noised = [name for name, dp in settings.items() if dp and dp.noise_multiplier != 0]
    private = frame["defense"].isin(noised)
    private |= frame["settings"].map(lambda text: "dp" in json.loads(text)).astype(bool)
    return private & (frame["recipe"] < RECIPE)


def outdated_note(frame) -> str:
    """Which defenses of these records are `outdated` and why, for a reader; "" if there are none."""
    old = frame[outdated(frame)]
    if old.empty:
        return ""
    shown = [preset(name).title for name in names() if name in set(old["defense"])]
    return (
        f"Older than a mend, until they are trained again ({faults(old['recipe'].min())}): "
        f"{'; '.join(shown)}."
    )
