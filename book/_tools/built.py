"""Is the built book whole? Broken internal links, pictures without a text, and anything that needs a network or kernel.

python book/_tools/built.py [_build/html]
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
LOADED_LINKS = {"stylesheet", "icon", "shortcut", "preload", "modulepreload", "manifest"}


class Page(HTMLParser):
    """What one page offers (ids), refers to (links), loads, and shows as pictures."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.loads, self.pictures, self.drawings, self.widgets = set(), [], [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        loaded = values.get(LOADS.get(tag, ""), "")
        if tag == "link" and LOADED_LINKS & set(values.get("rel", "").split()):
            loaded = values.get("href", "")
        if loaded:
            self.loads.append(loaded)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag == "img":
            self.pictures.append((values.get("src", ""), values.get("alt", "")))
        if tag == "svg" and values.get("role") == "img":
            self.drawings.append((values.get("aria-label", ""), values.get("aria-labelledby", "").split()))
        self.widgets += values.get("type", "").startswith("application/vnd.jupyter.widget")


def faults(html: Path) -> list[str]:
    """Every fault of the built book in folder `html`."""
    folders = {"_static", "_sources", "_images"}
    paths = [path for path in sorted(html.rglob("*.html")) if path.relative_to(html).parts[0] not in folders]
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in paths}
    found = []
    for path, page in pages.items():
        name = path.relative_to(html.resolve())
        found += [f"{name}: {fault}" for fault in _page_faults(path, page, pages)]
    return found


def _page_faults(path: Path, page: Page, pages: dict[Path, Page]) -> list[str]:
    found = [f"loads from outside: {address}" for address in page.loads if _outside(address)]
    for address in page.links + page.loads:
        if not _outside(address) and (problem := _broken(address, path, pages)):
            found.append(f"broken link {address[:80]!r}: {problem}")
    for source, alt in page.pictures:
        if not alt.strip() or alt.strip().endswith((".png", ".svg", ".jpg", ".jpeg")):  # a file's name says nothing
            found.append(f"picture without alternative text: {source[:80]}")
    for label, named_by in page.drawings:
        if not label.strip() and (not named_by or not set(named_by) <= page.ids):
            found.append("drawing without alternative text")
    if page.widgets:
        found.append("shows a widget that needs a kernel")
    return found


def _outside(address: str) -> bool:
    return address.startswith(("http:", "https:", "//"))


def _broken(address: str, path: Path, pages: dict[Path, Page]) -> str:
    parts = urlsplit(address)
    if parts.scheme:  # data:, mailto:, javascript:
        return ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return "no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
        return "no such place on that page"
    return ""


def main(argv: list[str]) -> int:
    html = Path(argv[0]) if argv else ROOT / "_build" / "html"
    found = faults(html)
    print("\n".join(found) or "the built book is whole")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
