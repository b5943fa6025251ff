"""What the parameters of a chapter may be, read alike wherever they come from.

A command line gives texts, a grid TOML values, Papermill YAML values or guesses (`-p epochs 1e1` is
10.0 there), a reader edits the cell. `check` reads them before anything starts; `check_parameters`
does it inside a chapter, for those who execute it by other means than `mia run`.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from numbers import Integral, Real

from .errors import InputError, shown
from .naming import is_number

_PRECISIONS = ("fp32", "bf16", "auto")


@dataclass(frozen=True)
class Kind:
    """How one kind of parameter is read.

    Parameters
    ----------
    expected : str
        What a message says was expected.
    read : function of the value given
        Returns the value meant; raises ValueError for what cannot be meant, with a text only if
        there is more to say than `expected`.
    """

    expected: str
    read: Callable[[object], object]


def _literal(value):
    """What a text stands for in Python or JSON; anything else, and any other text, as it is."""
    if not isinstance(value, str):
        return value
    for parse in (ast.literal_eval, json.loads):
        try:
            return parse(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value


def _number(value) -> int | float:
    value = _literal(value)
    if isinstance(value, str):
        value = float(value)  # "1e1", " 5": what literal_eval does not read
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError
    return int(value) if isinstance(value, Integral) else float(value)


def _whole(least: float = -math.inf, below: float = math.inf, bounds: str = "") -> Kind:
    def read(value) -> int:
        number = _number(value)
        if number != int(number) or not least <= number < below:
            raise ValueError
        return int(number)

    return Kind(f"an integer{bounds}", read)


def _at_least(least: int) -> Kind:
    return _whole(least, bounds=f" of at least {least}")


def _real(low: float, high: float, expected: str) -> Kind:
    def read(value) -> float:
        number = float(_number(value))
        if not low < number < high:
            raise ValueError
        return number

    return Kind(expected, read)


def _text(choices: tuple[str, ...] = (), *, name: bool = False) -> Kind:
    def read(value) -> str:
        if isinstance(value, (bool, Real)):
            raise ValueError(
                f"{value!r} is no text, and may have been written otherwise (001, 1e3); quote it "
                f'("{value}"), with Papermill use -r instead of -p'
            )
        if not isinstance(value, str) or (choices and value not in choices):
            raise ValueError
        if name and (value != value.strip() or not value or not value.isprintable()):
            raise ValueError
        return value

    expected = "a name" if name else "a text"
    return Kind(f"one of {', '.join(choices)}" if choices else expected, read)


def _truth(value) -> bool:
    named = {"true": True, "false": False}
    value = named.get(value.strip().lower(), value) if isinstance(value, str) else value
    if not isinstance(value, bool):
        raise ValueError
    return value


def _several(one: Kind, example: str) -> Kind:
    def read(value) -> tuple:
        value = _literal(value)
        if not isinstance(value, (list, tuple)):
            raise ValueError
        return tuple(one.read(part) for part in value)

    return Kind(f"several, such as {example}", read)


def _anything(value):
    named = {"true": True, "false": False, "none": None, "null": None}
    if isinstance(value, str) and value.strip().lower() in named:
        return named[value.strip().lower()]
    value = _literal(value)
    _plain(value)
    return value


def _plain(value) -> None:
    """Refuse what neither JSON nor a notebook's cell can hold, such as TOML's dates."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is no text")
            _plain(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _plain(part)
    elif not (value is None or isinstance(value, (str, bool, Real))):
        raise ValueError(f"{value} is a {type(value).__name__}; expected numbers and texts")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no finite number")


def _mapping(value) -> dict:
    value = _literal(value)
    if not isinstance(value, Mapping):
        raise ValueError
    _plain(value)
    return dict(value)


def _settings(value) -> dict:
    """Fields of `TrainConfig` other than the epochs, as it stores them."""
    from .training import TrainConfig

    settings = _mapping(value)
    known = sorted(set(TrainConfig.__dataclass_fields__) - {"epochs"})
    for name, given in settings.items():
        if name not in known:
            why = ", which is a parameter of its own" if name == "epochs" else ""
            raise ValueError(f"{name!r}{why}; expected fields of TrainConfig: {', '.join(known)}")
        default = TrainConfig.__dataclass_fields__[name].default
        if isinstance(given, str) and not isinstance(default, str) and is_number(given):
            raise ValueError(
                f"{name} = {given!r} is a text; expected a number (YAML reads 1e-3 as a text and "
                "1.0e-3 as a number)"
            )
    config = TrainConfig(**settings)
    return {name: getattr(config, name) for name in settings}


_NAME = _text(name=True)
_TEXTS, _COUNTS = _several(_NAME, "('top1', 'top3')"), _several(_at_least(1), "(1, 2, 5)")
_LEAST = {
    "pool_records": 0,
    **dict.fromkeys(("epochs", "exact_epochs", "dp_epochs", "iterations"), 1),
    **dict.fromkeys(("shadow_models", "targets", "exact_records", "k"), 1),
    **dict.fromkeys(("asked", "walked", "probes", "audits", "characters", "documents", "width"), 1),
    **dict.fromkeys(
        ("pool_documents", "fresh_documents", "length", "copied", "digits", "private_epochs"), 1
    ),
    "vocabulary": 256,
}
KINDS: dict[str, Kind] = {
    **dict.fromkeys(("dataset", "architecture", "defense"), _NAME),
    **dict.fromkeys(("shadow_dataset", "shadow_architecture", "shadow_defense", "text"), _text()),
    **{name: _at_least(least) for name, least in _LEAST.items()},
    **dict.fromkeys(("masks", "trainings", "tables"), _TEXTS),
    **dict.fromkeys(("units", "shorter", "text_epochs", "widths"), _COUNTS),
    "seed": _whole(0, 2**32, " of at least 0, below 2**32"),
    "precision": _text(_PRECISIONS),
    "records": _text(),
    "settings": Kind("a mapping, such as {'lr_drop': 40}", _settings),
    "epsilon": _real(0, math.inf, "a number above 0"),
    "mislabelled": _real(0, 1, "a share between 0 and 1"),
}
"""The parameters of the book's chapters. Those of other notebooks are read by their defaults."""


def _by_default(default) -> Kind:
    if isinstance(default, bool):
        return Kind("True or False", _truth)
    if isinstance(default, int):
        return _whole()
    if isinstance(default, float):
        return Kind("a number", lambda value: float(_number(value)))
    if isinstance(default, str):
        return _text()
    if isinstance(default, (list, tuple)):
        kinds = {type(part) for part in default}
        one = _by_default(default[0]) if len(kinds) == 1 else Kind("", _anything)
        return _several(one, repr(default))
    if isinstance(default, dict):
        return Kind(f"a mapping, such as {default!r}", _mapping)
    return Kind("a number, a text, or several", _anything)


def _read(name: str, value, kind: Kind):
    try:
        return kind.read(value)
    except InputError as error:  # of what the value is given to
        raise InputError(f"parameter {name}: {error}") from None
    except (ValueError, OverflowError) as error:
        more = (
            str(error)
            if type(error) is ValueError and "could not convert" not in str(error)
            else ""
        )
        told = more or f"expected {kind.expected}"
        raise InputError(f"parameter {name} = {shown(value)}: {told}") from None


def _kind(name: str, default) -> Kind:
    """The chapters' kind of that name, if the default is one of it, else by the default."""
    try:
        KINDS[name].read(default)
        return KINDS[name]
    except (KeyError, ValueError):
        return _by_default(default)


def check(known: Mapping, given: Mapping) -> dict:
    """All parameters of a run as they are meant: the defaults, and over them what was given.

    Parameters
    ----------
    known : mapping
        Names and defaults of a notebook.
    given : mapping
        Values or texts.

    Raises
    ------
    InputError
        If a name is unknown, or a value cannot be read as what the parameter is.

    >>> check({"epochs": 30, "masks": ("top3",)}, {"epochs": 5.0, "masks": "('top1',)"})
    {'epochs': 5, 'masks': ('top1',)}
    """
    for name in given:
        if name not in known:
            raise InputError(
                f"unknown parameter {name!r}; this notebook knows {', '.join(known) or 'none'}"
            )
    read = {name: _read(name, value, _kind(name, known[name])) for name, value in given.items()}
    return {**known, **read}


def check_parameters(namespace: MutableMapping) -> None:
    """Read a chapter's parameters in place: `check_parameters(globals())` in its first cell.

    Only names in `KINDS` are looked at. Papermill and readers then get the same values, and the
    same one line, as `mia run` gives.

    Raises
    ------
    InputError
        If a value cannot be read as what the parameter is.

    >>> cell = {"epochs": 5.0, "seed": 0, "other": None}
    >>> check_parameters(cell)
    >>> cell
    {'epochs': 5, 'seed': 0, 'other': None}
    """
    read = {n: _read(n, namespace[n], kind) for n, kind in KINDS.items() if n in namespace}
    namespace.update(read)
