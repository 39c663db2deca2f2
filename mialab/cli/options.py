"""The options that several commands take, and how their values are checked."""

import argparse

from mialab.names import unknown

PRESETS = ("smoke", "course", "paper")


def command(commands, name: str, text: str, below: str) -> argparse.ArgumentParser:
    """Add a sub-command: `text` says what it does, `below` how, with examples."""
    return commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=below,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def experiment(parser) -> None:
    """Add the name of an experiment."""
    parser.add_argument(
        "name", metavar="NAME", help="an experiment, such as ensemble/figure1; see `mialab experiments`"
    )


def preset(parser, *, default: str | None = None, every: str = "") -> None:
    """Add `--preset`; without a default, `every` says what happens where none is given."""
    text = "smoke: embedded data, two CPU cores; course: a free GPU; paper: the papers' own settings"
    parser.add_argument(
        "--preset", metavar="PRESET", type=_preset, default=default, help=f"{text} (default: {default or every})"
    )


def store(parser) -> None:
    """Add `--store`."""
    text = "where computed cells are kept (default: $MIALAB_STORE, else a user cache folder, on Colab a mounted Drive)"
    parser.add_argument("--store", metavar="DIR", help=text)


def where(parser) -> None:
    """Add `--where`."""
    text = "only lines with this value; repeatable: values of one column are alternatives"
    parser.add_argument("--where", metavar="COLUMN=VALUE", type=_pair, action="append", default=[], help=text)


def seeds(parser) -> None:
    """Add `--seeds`."""
    text = "repetitions: how many, counted from 0, or which, such as 2-4 (default: the preset's)"
    parser.add_argument("--seeds", metavar="N", type=_repetitions, help=text)


def chosen(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    """The values of `--where` by column."""
    values: dict[str, list[str]] = {}
    for column, value in pairs:
        values.setdefault(column, []).append(value)
    return values


def _pair(text: str) -> tuple[str, str]:
    column, equals, value = text.partition("=")
    if not (column and equals and value):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected COLUMN=VALUE, such as data=mnist")
    return column, value


def _repetitions(text: str) -> range:
    """The seeds that `3` or `2-4` means."""
    first, dash, last = text.partition("-")
    if not dash:
        return range(count(text))
    if not all(number.isascii() and number.isdigit() for number in (first, last)) or int(first) > int(last):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected how many, such as 3, or which, such as 2-4")
    return range(int(first), int(last) + 1)


def _preset(text: str) -> str:
    if text not in PRESETS:
        raise argparse.ArgumentTypeError(unknown("preset", text, PRESETS))
    return text


def count(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a whole number from 1 up")
    return int(text)


def part(text: str) -> tuple[int, int]:
    """`i/n` as (i, n), with i from 1 to n."""
    numbers = text.split("/")
    if len(numbers) != 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a part such as 3/8: the third of eight")
    mine, parts = map(int, numbers)
    if not 1 <= mine <= parts:
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a part from 1/{parts} to {parts}/{parts}")
    return mine, parts
