"""The command `mialab`: thin, one function call per sub-command; heavy imports wait until they are needed."""

import argparse
import warnings

from mialab import __version__
from mialab.cli import audit, claims, doctor, experiments, output, regress

__all__ = ["main"]

INTERRUPTED = 130  # what a shell reports for Ctrl-C
BELOW = """exit codes: 0; 1 if a cell or a chapter failed or a number moved; 2 for bad input; 130 when interrupted.

to begin with:
  mialab doctor                               what is here, and what each experiment would cost
  mialab experiments                          what there is to run
  mialab run basics/overfitting               run one, on embedded data; interrupt it and run it again as you like
  mialab show basics/overfitting              its results, beside recorded ones and the papers' numbers
  mialab audit outputs.npz                    attack a model of your own
"""


def main(argv=None) -> int:
    """Run the command line; the exit code: 0, 1 if something failed, 2 for bad input, 130 when interrupted."""
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.showwarning = output.warn
            return arguments.run(arguments)
    except output.Refused as error:
        return output.fail(error)
    except OSError as error:
        return _store_failed(error)
    except SystemExit as stop:  # argparse: help and version given, or a wrong argument told
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        output.show("")


def _store_failed(error: OSError) -> int:
    from mialab.engine.store import StoreError  # here, as the store waits for numpy

    if not isinstance(error, StoreError):
        raise error
    return output.fail(error, output.FAILED)


class _Parser(argparse.ArgumentParser):
    """Tells a wrong argument in one line."""

    def error(self, message):
        self.exit(output.fail(f"{message}; see {self.prog} --help"))


def _parser():
    parser = _Parser(
        prog="mialab",
        description="Membership inference one can see, run, question and extend.",
        epilog=BELOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mialab {__version__}")
    parser.set_defaults(run=lambda _: parser.print_help() or 0)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for each in (audit, experiments, claims, regress, doctor):
        each.add(commands)
    return parser
