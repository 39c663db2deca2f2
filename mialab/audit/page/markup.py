"""HTML from Python: what is no markup is escaped, so that no name in a file can become part of the page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

VOID = ("br", "circle", "line", "link", "meta", "path", "rect")


class Markup(str):
    """Text that is HTML or SVG already."""


def tag(name: str, /, *inside: object, **attributes: object) -> Markup:
    """An element. Attributes: `class_` is class, `stroke_width` is stroke-width; None leaves one out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID and not inside:
        return Markup(f"<{name}{given}/>" if name not in ("br", "link", "meta") else f"<{name}{given}>")
    return Markup(f"<{name}{given}>{joined(inside)}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Markup:
    """Parts one after another; those that are no markup are escaped."""
    return Markup(between.join(one if isinstance(one, Markup) else html.escape(str(one)) for one in parts))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: object, class_: str = "") -> Markup:
    """A table whose first column names the rows; it scrolls by itself where the page is too narrow."""
    top = tag("tr", *(tag("th", one, scope="col") for one in head))
    body = (tag("tr", tag("th", row[0], scope="row"), *(tag("td", one) for one in row[1:])) for row in rows)
    name = tag("caption", tag("span", caption))
    whole = tag("table", name, tag("thead", top), tag("tbody", *body), class_=class_ or None)
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=f"Table: {caption}")


def listed(items: Iterable[object], **attributes: object) -> Markup:
    """A list of items."""
    return tag("ul", *(tag("li", one) for one in items), **attributes)


def described(pairs: Iterable[tuple[object, object]]) -> Markup:
    """Terms and what they are."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", what)) for name, what in pairs))
