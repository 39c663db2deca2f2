"""What every chapter starts with, how it shows tables and computed sentences, and how it publishes its numbers."""

import html
import math
import re
from typing import Any

import matplotlib
from IPython.display import HTML, Markdown, display

from mialab import __version__
from mialab.engine.schedule import keep_to_cores

PUBLISHED = "mialab_published"  # the key of the numbers in an output's metadata

STYLE: dict[Any, Any] = {
    "figure.figsize": (4.6, 2.8),  # as wide as a phone, where 9 points are still 9 pixels
    "figure.dpi": 160,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 9,
}


def setup() -> None:
    """Set the figures' style, and keep to the cores that `mialab regress` gives. Nothing is seeded or downloaded."""
    matplotlib.rcParams.update(STYLE)
    keep_to_cores()


def banner(preset: str) -> None:
    """Say in one line on what this chapter runs."""
    import torch  # here, so that `mialab regress` reads numbers without it

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} thread(s)"
    say(f"mialab {__version__} · torch {torch.__version__} · {device} · preset `{preset}`")


def say(text: str) -> None:
    """Show a sentence whose numbers were just computed, as Markdown."""
    display(Markdown(spaced(text)))


def spaced(text: str) -> str:
    """The text with its per cent signs behind a space that does not break, as the book writes them: "1 %"."""
    return re.sub(r"(?<=\d) ?%", "\u00a0%", text)


def table(rows: list[dict], *, formats: dict[str, str] | None = None, caption: str = "", folded: str = "") -> None:
    """Show rows (one dict each, same keys) as a table; `formats` maps a column to a format such as '.3f'.

    A missing value (None) is shown as a dash. folded: a line to click on, behind which the table is folded away.
    """
    formats = formats or {}

    def written(text):
        return html.escape(spaced(text))

    def cell(column, value):
        return "–" if value is None else written(format(value, formats.get(column, "")))

    head = "".join(f"<th scope='col'>{written(column)}</th>" for column in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{cell(c, v)}</td>" for c, v in row.items()) + "</tr>" for row in rows)
    title = f"<caption>{written(caption)}</caption>" if caption else ""
    shown = f"<table class='table'>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    if folded:
        shown = f"<details class='mialab-folded'><summary>{written(folded)}</summary>{shown}</details>"
    display(HTML(shown))


def publish(**numbers: float | int | bool) -> None:
    """Hand numbers to `mialab regress`, which compares them with the committed baseline; a reader sees nothing.

    They travel in the metadata of an output without content. Each is finite and a plain float, int or bool; each name
    is published once in a chapter. Raises TypeError or ValueError, naming the number.
    """
    display({}, raw=True, metadata={PUBLISHED: {name: _plain(name, value) for name, value in numbers.items()}})


def _plain(name: str, value: object) -> float | int | bool:
    if not isinstance(value, float | int):  # a bool is an int
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise TypeError(f"publish: {name} is {kind}; expected a float, int or bool: convert it, as with float()")
    if not math.isfinite(value):
        raise ValueError(f"publish: {name} is {value}; expected a finite number: leave it out where there is none")
    return float(value) if isinstance(value, float) else value  # numpy's float64 is a float, but not a plain one
