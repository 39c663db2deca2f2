"""Old addresses keep working: a page that was split or renamed becomes a small one that leads to what took its place.

_config.yml says in `moved_pages` which pages have an old one's matter now. A reader who comes for a place on the old
page (a label, an exercise, an equation) is led to the new page that has it, and else to the first.
"""

import html
import json
import os
import re
from pathlib import Path

from sphinx.util import logging

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>This page has moved</title>
<link rel="canonical" href="{first}">
<script>
const places = {places};
const place = decodeURIComponent(location.hash.slice(1));
location.replace((places[place] || "{first}") + location.hash);
</script>
<noscript><meta http-equiv="refresh" content="0; url={first}"></noscript>
</head>
<body><p>This page has moved to {links}.</p></body>
</html>
"""


def write_moved_pages(app, exception) -> None:
    """Write the small pages, unless the old one still exists; warn of one that leads nowhere."""
    if exception is not None or app.builder.format != "html":
        return
    for old, new in app.config.moved_pages.items():
        if old in app.env.found_docs:
            continue
        if lost := [page for page in new if page not in app.env.found_docs]:
            logging.getLogger(__name__).warning("moved_pages: %s leads to %s, which is no page", old, ", ".join(lost))
            continue
        target = Path(app.outdir, f"{old}.html")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(
            moved_page(old, {page: _titled(app, page) for page in new}, Path(app.outdir)), encoding="utf-8"
        )


def moved_page(old: str, new: dict[str, str], outdir: Path) -> str:
    """The page in place of `old`; `new` maps pages to their titles, and their files in `outdir` say what is where."""
    addresses = {page: os.path.relpath(f"{page}.html", Path(old).parent) for page in new}
    places: dict[str, str] = {}
    for page, address in addresses.items():
        text = (outdir / f"{page}.html").read_text(encoding="utf-8")
        for place in re.findall(r'\sid="([\w.:-]+)"', text):
            places.setdefault(place, address)
    first = next(iter(addresses.values()))
    places = {place: address for place, address in places.items() if address != first}  # there the first is right
    links = ", ".join(f'<a href="{addresses[page]}">{html.escape(title)}</a>' for page, title in new.items())
    return PAGE.format(first=first, places=json.dumps(places), links=links)


def _titled(app, page: str) -> str:
    return app.env.titles[page].astext()


def setup(app) -> None:
    app.add_config_value("moved_pages", {}, "html")
    app.connect("build-finished", write_moved_pages)
