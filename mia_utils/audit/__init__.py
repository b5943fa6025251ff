"""Audits of somebody else's model: from its answers to a privacy report."""

from .answers import AuditData, read_answers
from .gate import Limit
from .language import read_token_data
from .report import AuditReport
from .run import audit
from .traces import LossLog

__all__ = [
    "AuditData",
    "AuditReport",
    "Limit",
    "LossLog",
    "audit",
    "read_answers",
    "read_token_data",
]
