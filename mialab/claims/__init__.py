"""What both papers say, as data, and what our results say of it.

`ALL` holds every sentence that a number can test. `verdicts` holds results against them place by place, and `overall`
says what that makes of each sentence; `text` and `to_dict` show it. `printed.audit` holds the papers' own numbers
against each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mialab.claims import ensemble, printed, pruning, verdict
from mialab.claims.claim import Claim, Criterion, Effect, First, Last, Lowest, Middle, Trend
from mialab.claims.show import text, to_dict
from mialab.claims.verdict import VERDICTS, Verdict, overall

if TYPE_CHECKING:
    from mialab.results.lines import Result

__all__ = ["ALL", "VERDICTS", "Claim", "Criterion", "Effect", "First", "Last", "Lowest", "Middle", "Trend"]
__all__ += ["Verdict", "overall", "printed", "text", "to_dict", "verdicts"]

ALL: tuple[Claim, ...] = (*ensemble.CLAIMS, *pruning.CLAIMS)


def verdicts(results: Iterable[Result], claims: Sequence[Claim] = ALL) -> list[Verdict]:
    """A verdict for every claim on each of its paper's settings, and on each stand-in that has a result.

    results: of any experiments, presets, origins and devices. See `verdict.verdicts` for who speaks.
    """
    return verdict.verdicts(results, claims)
