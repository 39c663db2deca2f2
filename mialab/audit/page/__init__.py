"""A report as one page for people: it needs no network and no script, prints, and follows light and dark."""

from __future__ import annotations

from importlib.resources import files

import mialab
from mialab.audit.findings import Findings
from mialab.audit.headline import Headline, headline
from mialab.audit.page import sections
from mialab.audit.page.drawings import INK
from mialab.audit.page.markup import Markup, joined, tag

TITLE = "Membership audit"
SAFE = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is fetched, whatever stands in the page


def page(report: Findings, *, command: str = "") -> str:
    """The whole HTML; command: how to get it again. The same report gives the same bytes."""
    opening = headline(report)
    parts = {
        "answer": sections.answer(report, opening),
        "notes": sections.notes(report),
        "audited": sections.audited(report),
        "attacks": sections.attacks(report),
        "curves": sections.curves(report),
        "scores": sections.scores(report),
        "people": sections.people(report),
        "exposed": sections.exposed(report),
        "bounds": sections.bounds(report),
        "meaning": sections.meaning(),
        "again": sections.again(report, command),
    }
    shown = {ident: one for ident, one in parts.items() if one is not None}
    main = tag("main", *(_section(ident, *one) for ident, one in shown.items()))
    contents = [tag("a", title, href=f"#{ident}") for ident, (title, _) in shown.items()]
    body = tag("body", _top(opening), tag("nav", joined(contents, " "), aria_label="Contents"), main, _foot())
    return f"<!DOCTYPE html>\n{tag('html', _head(opening), body, lang='en')}\n"


def _head(opening: Headline) -> Markup:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=SAFE),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{TITLE}: {opening.answer}"),
        tag("style", Markup(f"{(files(__package__) / 'page.css').read_text('utf-8')}\n{_inks()}")),
    )


def _inks() -> str:
    light = "".join(f".ink-{name}{{color:{inks[0]}}}" for name, inks in INK.items())
    dark = "".join(f".ink-{name}{{color:{inks[1]}}}" for name, inks in INK.items())
    return f"{light}\n@media screen and (prefers-color-scheme:dark){{{dark}}}"


def _top(opening: Headline) -> Markup:
    skip = tag("a", "To the answer", href="#answer", class_="skip")
    question = tag("p", "Can one tell from the model's answers what it was trained on?", class_="soft")
    return tag("header", skip, tag("h1", TITLE), question)


def _section(ident: str, title: str, inside: Markup) -> Markup:
    return tag("section", tag("h2", title, id=f"{ident}-head"), inside, id=ident, aria_labelledby=f"{ident}-head")


def _foot() -> Markup:
    return tag("footer", tag("p", f"Made by mialab {mialab.__version__}. Nothing was sent anywhere.", class_="soft"))
