"""What an audit found, as JSON types and as text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mialab.audit import text
from mialab.audit.figures import counts, sides
from mialab.audit.findings import Findings
from mialab.audit.headline import headline
from mialab.audit.page import page
from mialab.engine.files import write_whole


@dataclass(frozen=True, eq=False)
class Report(Findings):
    """What an audit found; `str` gives tables. Explained in the chapter "The audit"."""

    def to_dict(self) -> dict:
        """The report as JSON types, the same for every caller; None where there are too few samples.

        {"version": 1, "answer": {"level", "lines"}, "notes": [NOTE], "samples": SIDES, "accuracy": SIDES, "attacks":
        {name: ATTACK}, "skipped": {name: reason}, "divergence": {"confidence": JS, "confidence_per_class": JS,
        "prediction": JS, "js_at_least": PROOF, "epsilon_at_least": PROOF}, "risk": {"prior", "attacks": {name: RISK}},
        "claim": CLAIM}, where NOTE is {"code", "sentence", "figures": {name: number or list}}, SIDES is {"members",
        "nonmembers"}, ATTACK is {"auc", "auc_interval": [low, high], "balanced_accuracy",
        "balanced_accuracy_interval", "tpr": {"0.1", "0.01", "0.001"} by FPR, "tpr_interval" likewise, "evaluated":
        SIDES, and "correct" and "misclassified", each with all of the foregoing on those samples}. Units: shares.

        JS is {"js" in nats, "js_interval": [low, high], "bits", "distance" (root of the nats), "gain", "tv": [least,
        most], "best_balanced_accuracy": [least, most], "null": {"mean", "high", "p_value"} under shuffled membership,
        "lower_bound": whether the JS is at least that, and then nothing is capped, "evaluated": SIDES}. PROOF is
        {"value" in nats of JS or as an epsilon, "attack", "tried": of how many attacks, "caught": [members found, of],
        "accused": [non-members accused, of]}, at 95 % confidence. See `Leakage` and `Proof`.

        RISK is {"advantage", "advantage_interval", "lift" by FPR, "lift_interval", "precision" by FPR, if the share
        "prior" of all are members, "precision_interval", "found": {FPR: [members found, of]}}. CLAIM is null, or
        {"epsilon", "delta", "at_least": PROOF, "refuted"}. "level" is one of `mialab.audit.headline.LEVELS`.
        """
        opening = headline(self)
        return {
            "version": 1,
            "answer": {"level": opening.level, "lines": list(opening.lines)},
            "notes": [note.to_dict() for note in self.notes],
            "samples": sides(counts(self.member)),
            "accuracy": sides(self.accuracy),
            "attacks": {name: result.to_dict() for name, result in self.attacks.items()},
            "skipped": dict(self.skipped),
            "divergence": self.divergence.to_dict(),
            "risk": {"prior": self.prior, "attacks": {name: one.to_dict() for name, one in self.risks.items()}},
            "claim": None if self.claim is None else self.claim.to_dict(),
        }

    def to_html(self, place: str | Path | None = None, *, command: str = "") -> str:
        """The report as one page for people, also written to `place` if that is given; command: how it was made.

        Raises OSError where it cannot be written.
        """
        whole = page(self, command=command)
        if place is not None:
            write_whole(Path(place), lambda file: file.write(whole.encode()))
        return whole

    def __str__(self) -> str:
        return text.tables(self)
