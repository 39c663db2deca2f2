"""What every chapter starts with, and how it shows tables and computed sentences."""

import html

import matplotlib
import torch
from IPython.display import HTML, Markdown, display

from mialab import __version__

STYLE = {
    "figure.figsize": (6.2, 3.0),
    "figure.dpi": 160,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 9,
}


def setup() -> None:
    """Set the figures' style. Nothing is seeded and nothing is downloaded here."""
    matplotlib.rcParams.update(STYLE)


def banner(preset: str) -> None:
    """Say in one line on what this chapter runs."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} thread(s)"
    say(f"mialab {__version__} · torch {torch.__version__} · {device} · preset `{preset}`")


def say(text: str) -> None:
    """Show a sentence whose numbers were just computed, as Markdown."""
    display(Markdown(text))


def table(rows: list[dict], *, formats: dict[str, str] | None = None, caption: str = "") -> None:
    """Show rows (one dict each, same keys) as a table; `formats` maps a column to a format such as '.3f'.

    A missing value (None) is shown as a dash.
    """
    formats = formats or {}

    def cell(column, value):
        return "–" if value is None else html.escape(format(value, formats.get(column, "")))

    head = "".join(f"<th scope='col'>{html.escape(column)}</th>" for column in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{cell(c, v)}</td>" for c, v in row.items()) + "</tr>" for row in rows)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    display(HTML(f"<table class='table'>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"))
