"""A long table with a choice over some of its columns: in a notebook and in a static page alike."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from IPython.display import display

from mialab.chapters.inline import element_id, static
from mialab.chapters.notebook import spaced


def filtered(rows: Sequence[dict[str, Any]], by: Sequence[str], *, caption: str = "") -> None:
    """Show rows (one dict each, same keys) as a table under one choice for each of the columns `by`.

    A choice lists the column's values in the order in which they come, and "all", with which it starts. Without scripts
    the whole table is shown, and no choice. Values are shown as text. Raises ValueError without rows, and for a column
    that they lack.
    """
    if not rows:
        raise ValueError("filtered: found no row; give at least one")
    if missing := [column for column in by if column not in rows[0]]:
        raise ValueError(f"filtered: rows have no column {missing[0]!r}; choose among {', '.join(rows[0])}")
    text = f"{len(rows)} rows: " + "; ".join(_counted(rows, column) for column in by)
    display({"text/html": _page(rows, by, caption), "text/plain": text}, raw=True)


def _counted(rows: Sequence[dict[str, Any]], column: str) -> str:
    values = [row[column] for row in rows]
    return f"{column} " + ", ".join(f"{value} ({values.count(value)})" for value in dict.fromkeys(values))


def _page(rows: Sequence[dict[str, Any]], by: Sequence[str], caption: str) -> str:
    columns = list(rows[0])
    name = element_id(json.dumps([list(map(str, row.values())) for row in rows]) + caption)
    choices = "".join(_choice(rows, column, columns.index(column)) for column in by)
    head = "".join(f"<th scope='col'>{_written(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{_written(value)}</td>" for value in row.values()) + "</tr>" for row in rows)
    title = f"<caption>{_written(caption)}</caption>" if caption else ""
    return (
        f'<div class="mialab-filter" id="{name}"><style>{static("filter.css")}</style>'
        f'<fieldset hidden>{choices}</fieldset><p aria-live="polite"></p><div class="mialab-scroll" tabindex="0">'
        f"<table class='table'>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"<script>{static('filter.js').rstrip()}({json.dumps(name)});</script></div>"
    )


def _choice(rows: Sequence[dict[str, Any]], column: str, number: int) -> str:
    values = dict.fromkeys(_written(row[column]) for row in rows)
    options = "".join(f'<option value="{value}">{value}</option>' for value in values)
    label = _written(column)
    return f'<label>{label}<select data-column="{number}"><option value="">all</option>{options}</select></label>'


def _written(value: Any) -> str:
    return html.escape(spaced(str(value)))
