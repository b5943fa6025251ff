"""The verdict: two sentences that are true, for somebody who answers for people's data."""

from __future__ import annotations

from collections.abc import Sequence

from .checks import CAUTION, Finding
from .measure import detectable_auc, detectable_tpr, measurable

LEAKS, NONE_FOUND, CANNOT_TELL = "leaks", "none found", "cannot tell"
ALPHA = 0.01


def design(rows: Sequence[dict], tests: int, alpha: float = ALPHA) -> dict:
    """What this audit would have found with 80 % probability, after its own correction."""
    m = max(row["members"] for row in rows)
    n = max(row["nonmembers"] for row in rows)
    level = alpha / tests
    rates = measurable(n, [point["fpr"] for point in rows[0]["tpr"]])
    epsilons = [row["epsilon"]["largest"] for row in rows if row["epsilon"]]
    return {
        "members": m,
        "nonmembers": n,
        "tests": tests,
        "auc": detectable_auc(m, n, level),
        "tpr": [{"fpr": rate, "value": detectable_tpr(m, n, rate, level)} for rate in rates],
        "epsilon_largest": max(epsilons, default=None),
    }


def strongest(rows: Sequence[dict]) -> tuple[dict, dict, str]:
    """Attack, figure and name ("auc" or "tpr") of the smallest adjusted p-value.

    Of several that are sure, the TPR at the lowest rate counts: it harms most.
    """
    found = []
    for row in rows:
        for name, figures in (("auc", [row["auc"]]), ("tpr", row["tpr"])):
            for figure in figures:
                if figure["p_adjusted"] is not None:
                    found.append((figure["p_adjusted"], figure.get("fpr", 1.0), row, figure, name))
    # A limit below what chance gives would prove nothing to a reader, whatever the test says.
    sure = [e for e in found if e[0] <= ALPHA and e[3]["low_all"] > e[3].get("fpr", 0.5)]
    if sure:
        lowest = min(each[1] for each in sure)
        best = max((e for e in sure if e[1] == lowest), key=lambda e: e[3]["low_all"])
    else:
        best = min(found, key=lambda each: each[0])
    return best[2], best[3], best[4]


def verdict(
    rows: Sequence[dict],
    tests: int,
    findings: Sequence[Finding],
    blind: tuple[float, float, float, float] | None,
    groups: Sequence[dict],
    *,
    references: int,
    texts: bool = False,
    alpha: float = ALPHA,
) -> dict:
    """Outcome ("leaks", "none found" or "cannot tell"), two sentences, and what they rest on.

    Parameters
    ----------
    rows : figures of every attack, from `measure`
    tests : how many tests they hold
    blind : AUC without the model and its p-value, from `checks.halves.blind`
    groups : figures by group, with p-values adjusted for all of them
    references : number of reference models
    texts : whether records are documents, and the model a language model
    """
    row, figure, kind = strongest(rows)
    p = figure["p_adjusted"]
    leaking = [g for g in groups if g["p_adjusted"] is not None and g["p_adjusted"] <= alpha]
    differs = any(f.name == "difference" and f.severity == CAUTION for f in findings)
    broken = [f for f in findings if f.severity == CAUTION and f.name == "design"]
    outcome = LEAKS if p <= alpha or leaking else NONE_FOUND
    if broken:
        outcome = CANNOT_TELL
        sentences = [
            f"This audit cannot tell whether the model leaks: {broken[0].found}.",
            f"{broken[0].advice}, and audit again.",
        ]
    elif (
        blind
        and outcome == LEAKS
        and differs
        and max(r["auc"]["low_all"] for r in rows) <= blind[2]
    ):
        outcome = CANNOT_TELL
        sentences = [
            (
                "This audit cannot tell whether the model leaks: its members and non-members can be "
                f"told apart without the model (AUC {blind[0]:.3f}), and no attack on the model is "
                "proven to do better."
            ),
            "Draw both from one pool at random, and audit again.",
        ]
    elif p <= alpha:
        sentences = [
            _who(row, texts) + _what(figure, kind, texts),
            _how_sure(row, figure, kind),
        ]
    elif leaking:
        first = min(leaking, key=lambda g: g["p_adjusted"])
        sentences = [
            f"Over all records no leak was proven, but in {len(leaking)} of {len(groups)} groups "
            "one was: "
            + _who(row, texts, start=False)
            + f"tell training records of {first['column']} "
            f"{first['group']!r} from others better than chance.",
            (
                f"There a training record looks more like one than an outsider does with probability "
                f"{first['auc']:.3f} ({first['low']:.3f} to {first['high']:.3f}; chance: 0.5; "
                f"{p_value(first['p_adjusted'])}, corrected for all groups)."
            ),
        ]
    else:
        sentences = _nothing(rows, tests, references, alpha, p)
    return {
        "outcome": outcome,
        "sentences": sentences,
        "attack": row["name"],
        "figure": kind,
        "fpr": figure.get("fpr"),
        "p_adjusted": p,
        "tests": tests,
        "alpha": alpha,
    }


def _who(row: dict, texts: bool, *, start: bool = True) -> str:
    asks = (
        "whoever has a text and can ask the model how likely each of its tokens is"
        if texts
        else "whoever can ask the model about a record of which they know the content and the class"
    )
    if "reference models" in row["needs"]:
        asks += ", and who can train similar models,"
    elif "members" in row["needs"] or "membership" in row["needs"]:
        asks += ", and who knows of some other records whether they were used,"
    return (asks[0].upper() if start else asks[0]) + asks[1:] + " can "


def _what(figure: dict, kind: str, texts: bool) -> str:
    record = "that text" if texts else "that person's record"
    if kind == "auc":
        return (
            f"find out better than by guessing whether {record} was used to train it: a "
            "training record looks more like one than an outsider does with probability "
            f"{figure['value']:.3f} ({_limit(figure['low_all'], 0.5, beyond)}guessing: 0.5)."
        )
    limit = _limit(figure["low_all"], figure["fpr"], lambda low, _: percent(low)).rstrip("; ")
    return (
        f"recognise {percent(figure['value'])} of the {'texts' if texts else 'records'} it was "
        f"trained on{f' ({limit})' if limit else ''}, if they accept to be wrong about "
        f"{_one_in(figure['fpr'])} outsiders."
    )


def _limit(low: float, chance: float, shown) -> str:
    """Where the limit lies above what chance gives; else the test alone has shown something."""
    return f"at least {shown(low, chance)}; " if low > chance else ""


def beyond(value: float, chance: float) -> str:
    """A number above `chance`, with three decimals or so many more that it is seen to be above.

    >>> beyond(0.5183, 0.5), beyond(0.50041, 0.5)
    ('0.518', '0.5004')
    """
    return next(
        (text for n in range(3, 16) if float(text := f"{value:.{n}f}") > chance), repr(value)
    )


def _how_sure(row: dict, figure: dict, kind: str) -> str:
    chance = (
        f"that this is chance is ruled out at the 1 % level ({p_value(figure['p_adjusted'])}, "
        f"corrected for all that was looked at; attack: {row['title']})"
    )
    if kind == "auc":
        return f"It is not shown that single persons are recognised with certainty; {chance}."
    even, rare = figure["precision"][0], figure["precision"][-1]
    return (
        f"Such an accusation is right in {percent(even['value'])} of the cases if one in two of "
        f"the people asked about was in the training data, and in {percent(rare['value'])} if one "
        f"in a hundred was; {chance}."
    )


def _nothing(rows, tests: int, references: int, alpha: float, p: float) -> list[str]:
    plan = design(rows, tests, alpha)
    reach = [f"an AUC of {plan['auc']:.3f}"]
    point = next((each for each in reversed(plan["tpr"]) if each["value"] is not None), None)
    if point:
        reach.insert(0, f"a TPR of {percent(point['value'])} at {percent(point['fpr'])} FPR")
    with_them = (
        f"with {references} reference models"
        if references
        else "without reference models, which often find more"
    )
    count = len(rows)
    return [
        (
            f"No leakage was found: {f'none of {count} attacks' if count > 1 else 'the one attack'} "
            f"({with_them}) {'tells' if count > 1 else 'does not tell'} the training records from "
            f"others at the 1 % level (smallest {p_value(p)}, corrected for {tests} tests)."
        ),
        (
            f"With {plan['members']:,} members and {plan['nonmembers']:,} non-members this design could "
            f"have shown {' or '.join(reach)} (with 80 % probability); smaller leaks, leaks of few "
            "persons, and better attacks are not ruled out."
        ),
    ]


def p_value(p: float) -> str:
    """
    >>> p_value(0.0096), p_value(0.0), p_value(1.0)
    ('p = 0.0096', 'p < 1e-300', 'p = 1')
    """
    return f"p = {p:.2g}" if p > 0 else "p < 1e-300"


def percent(share: float) -> str:
    """A share in per cent with two significant digits, never rounded to 0 or 100.

    >>> percent(0.1), percent(0.0123), percent(0.99999)
    ('10 %', '1.2 %', 'over 99.9 %')
    """
    value = 100 * share
    if 0 < value < 0.01:
        return "under 0.01 %"
    if 99.9 < value < 100:
        return "over 99.9 %"
    text = f"{value:.1f}" if value >= 1 else f"{value:.2g}"
    return f"{text.removesuffix('.0')} %"


def _one_in(rate: float) -> str:
    return f"one in {round(1 / rate):,}"
