"""`mialab doctor`: what there is to work with, and what each experiment would cost here."""

from mialab.cli import options, output

BELOW = """\
Changes nothing and downloads nothing. Costs are estimates from a measurement that takes a few seconds: right to a
factor of about two on a machine that is not busy otherwise.

example:
  mialab doctor --store /content/drive/MyDrive/mialab/store
"""


def add(commands) -> None:
    """Add the command to the command line."""
    parser = options.command(commands, "doctor", "what is here: device, versions, data, store; what runs cost", BELOW)
    options.store(parser)
    parser.set_defaults(run=_doctor)


def _doctor(arguments):
    from mialab import doctor
    from mialab.engine.store import open_store

    return output.stream(doctor.blocks(open_store(arguments.store)))
