"""The book's figures: every function draws and returns a matplotlib Figure.

In a notebook write `figure = roc(curves)`: the figure is open, and shown once as the cell ends.
"""

from .bands import bands
from .defense_arrows import defense_arrows
from .diagrams import shadow_training, threat_models
from .distributions import distributions
from .dots import dots, dumbbells
from .epoch_curve import epoch_curve
from .gap import accuracy_against_gap
from .margins import record_margins
from .matrix import matrix
from .networks import networks
from .pools import class_shares, sample_sheet
from .roc import roc
from .samples import samples
from .sentences import at_least, at_most, counted, listed
from .style import MEMBER, NONMEMBER, attack_style, use_style
from .verdicts import Card, cards, styled

__all__ = [
    "MEMBER",
    "NONMEMBER",
    "Card",
    "accuracy_against_gap",
    "at_least",
    "at_most",
    "attack_style",
    "bands",
    "cards",
    "class_shares",
    "counted",
    "defense_arrows",
    "distributions",
    "dots",
    "dumbbells",
    "epoch_curve",
    "listed",
    "matrix",
    "networks",
    "record_margins",
    "roc",
    "sample_sheet",
    "samples",
    "shadow_training",
    "styled",
    "threat_models",
    "use_style",
]
