"""The audit: outputs of a model or an ensemble in, a report of what attacks learn from them out."""

from mialab.attacks import References, ReferenceScores
from mialab.audit.figures import Figures, Result
from mialab.audit.findings import Findings
from mialab.audit.leakage import Leakage, Proof
from mialab.audit.notes import Note
from mialab.audit.report import Report
from mialab.audit.run import audit
from mialab.audit.settings import SPLITS, Settings
from mialab.outputs import AuditError, Outputs
from mialab.per_sample import Scores
from mialab.reading import read

__all__ = [
    "SPLITS",
    "AuditError",
    "Figures",
    "Findings",
    "Leakage",
    "Note",
    "Outputs",
    "Proof",
    "ReferenceScores",
    "References",
    "Report",
    "Result",
    "Scores",
    "Settings",
    "audit",
    "read",
]
