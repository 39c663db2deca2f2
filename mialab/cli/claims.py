"""`mialab claims`: each statement of both papers, and what the results say of it."""

from mialab.cli import options, output

BELOW = """\
A verdict (supported, contradicted, no relevant effect, undecided, not run) comes from an interval over seeds, never
from a point. Results are those of this store and the recorded ones, so that a fresh clone has verdicts too. Nothing is
computed. The papers' own printed numbers are audited below the claims.

examples:
  mialab claims
  mialab claims --paper ensemble --verdict contradicted --json claims.json
"""


def add(commands) -> None:
    """Add the command to the command line."""
    parser = options.command(commands, "claims", "what results say of each statement of both papers", BELOW)
    parser.add_argument("--paper", metavar="NAME", help="ensemble or pruning (default: both)")
    kinds = "supported, contradicted, no relevant effect, undecided, not run"
    parser.add_argument("--verdict", metavar="VERDICT", help=f"only these: {kinds}")
    options.preset(parser, every="results of every preset")
    parser.add_argument("--json", metavar="OUT", help="also write the verdicts to this file, as JSON")
    options.store(parser)
    parser.set_defaults(run=_claims)


def _claims(arguments):
    from mialab import claims, experiments
    from mialab.engine.store import open_store
    from mialab.results import records, show

    place = None if arguments.json is None else output.target(arguments.json)
    store, which = open_store(arguments.store), {"paper": arguments.paper, "verdict": arguments.verdict}
    with output.refusing(ValueError):
        recorded = records.load()
        found = [
            result
            for each in experiments.ALL.values()
            for result in show.gather(each, store, preset=arguments.preset, recorded=recorded)
        ]
        verdicts = claims.verdicts(found)
        text = claims.text(verdicts, **which)
    failed = 0 if place is None else output.write(place, claims.to_dict(verdicts, **which))
    return output.show(text) or failed
