"""`mialab regress`: execute chapters, and compare the numbers that they publish with the committed baseline."""

from pathlib import Path

from mialab.cli import options, output

BELOW = """\
Chapters run side by side; the executed notebooks stay in the output folder. What moved is printed, with the
interval that another seed would stay in. Needs a checkout and the extra `book`.

examples:
  mialab regress                                every chapter at preset smoke
  mialab regress 01 --out /tmp/notebooks        one chapter, by number, slug or path
  mialab regress --update                       write the baselines anew, from five seeds
"""


def add(commands) -> None:
    """Add the command to the command line."""
    parser = options.command(commands, "regress", "execute chapters and say which of their numbers moved", BELOW)
    parser.add_argument("chapters", metavar="CHAPTER", nargs="*", help="number, slug or path (default: all)")
    options.preset(parser, default="smoke")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("_build/regress"), help="for the notebooks (_build/regress)"
    )
    parser.add_argument("--jobs", metavar="N", type=options.count, help="chapters at once (default: one per core)")
    parser.add_argument("--update", action="store_true", help="write the baselines anew instead of comparing")
    options.store(parser)
    parser.set_defaults(run=_regress)


def _regress(arguments):
    from mialab.chapters import regress

    with output.refusing(regress.RegressError):
        report = regress.regress(
            arguments.chapters,
            out=arguments.out,
            preset=arguments.preset,
            jobs=arguments.jobs,
            update=arguments.update,
            store=None if arguments.store is None else Path(arguments.store),
        )
    return output.show(f"{report.text()}\n") or (output.FAILED if report.failed else 0)
