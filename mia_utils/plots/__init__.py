"""The book's figures: every function draws and returns a matplotlib Figure."""

from .figures import (
    MEMBER,
    NONMEMBER,
    accuracy_against_gap,
    bands,
    defense_arrows,
    distributions,
    matrix,
    record_margins,
    roc,
    samples,
    shadow_training,
    threat_models,
    use_style,
)

__all__ = [
    "MEMBER",
    "NONMEMBER",
    "accuracy_against_gap",
    "bands",
    "defense_arrows",
    "distributions",
    "matrix",
    "record_margins",
    "roc",
    "samples",
    "shadow_training",
    "threat_models",
    "use_style",
]
