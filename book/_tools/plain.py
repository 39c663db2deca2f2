"""MyST text into the plain Markdown that Colab and JupyterLab show: boxes become quotes, roles become words and links.

A construct without a rule here is an error, never a leak: add a rule, or write the chapter without it.
"""

import base64
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pybtex.database import parse_file

FENCE = re.compile(r"^ {0,3}(`{3,}|:{3,}|~{3,})(?:\{([\w:-]+)\})?[ \t]*(.*)$")
TARGET = re.compile(r"^\(([\w-]+)\)=\s*$")
EQUATION = re.compile(r"^\$\$\s*\(([\w-]+)\)\s*$")
LABEL = re.compile(r"^:(?:label|name):\s*([\w-]+)")
BOXES = {"note", "tip", "hint", "important", "warning", "caution", "attention", "danger", "error", "seealso"}
TITLED = {"admonition", "card", "grid-item-card", "tab-item", "topic", "sidebar", "margin"}
TRANSPARENT = {"tab-set", "grid", "grid-item", "glossary", "div", "container", "table"}
DROPPED = {"bibliography", "nb-exec-table", "contents", "tableofcontents", "toctree"}
TYPESET = {"sub": "sub", "sup": "sup", "kbd": "kbd"}


class ExportError(Exception):
    """A chapter that cannot be turned into a notebook; the message says where and why."""


@dataclass
class Book:
    """What references need: addresses, titles, labels and the bibliography."""

    root: Path
    pages: str  # address of the rendered book
    files: str  # address of the repository's raw files
    titles: dict[str, str] = field(default_factory=dict)  # docname -> title
    labels: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # label -> (docname, anchor, text)
    citations: dict[str, str] = field(default_factory=dict)  # key -> "Author and Author, year"
    bibliography: str = ""  # docname of the page of references
    counted: Counter = field(default_factory=Counter)  # (kind, chapter) -> how many, to number as the pages do
    reading: Callable[[str], object] = str  # docname -> how long it takes to read, for the card

    def page(self, docname: str, anchor: str = "") -> str:
        return f"{self.pages}{docname}.html" + (f"#{anchor}" if anchor else "")

    def number(self, kind: str, docname: str) -> str:
        """The next number of its kind: 2.1, 2.2, ... in chapter 2; 1, 2, ... through what has no chapter's number."""
        chapter = re.match(r"book/0*([1-9]\d*)_", docname)
        place = chapter[1] if chapter else ""
        self.counted[kind, place] += 1
        return f"{place}.{self.counted[kind, place]}".lstrip(".")


def read_book(root: Path, pages: str, files: str) -> Book:
    """Collect titles, labels and citations from the sources below `root`/book."""
    book = Book(root, pages, files)
    index = root / "book" / "index.md"  # is read first, like on the pages
    for path in sorted((root / "book").rglob("*.md"), key=lambda path: (path != index, path)):
        docname = path.relative_to(root).with_suffix("").as_posix()
        _collect(book, docname, path.read_text(encoding="utf-8").splitlines())
    for bib in (root / "book").glob("*.bib"):
        for key, entry in parse_file(bib).entries.items():
            book.citations[key] = f"{_names(entry)}, {entry.fields.get('year', 'undated')}"
    return book


def _names(entry) -> str:
    last = [" ".join(map(str, person.rich_last_names)) for person in entry.persons.get("author", [])]
    if len(last) > 2:
        return f"{last[0]} et al."
    return " and ".join(last)


def _collect(book: Book, docname: str, lines: list[str]) -> None:
    waiting, box, code = "", "", ""
    for line in lines:
        fence = FENCE.match(line)
        if code:  # inside a code fence nothing is a heading or a label
            code = "" if fence and line.strip() == code else code
        elif fence and (fence[2] == "code-cell" or (not fence[2] and fence[3])):
            code = fence[1]
        elif fence and fence[2]:
            kind = fence[2].removesuffix("-start").removeprefix("prf:")
            box = (fence[3] or kind).strip()
            if kind == "exercise":
                box = f"Exercise {book.number(kind, docname)}"
            elif kind in ("figure", "diagram"):
                box = f"Fig. {book.number('figure', docname)}"
            book.bibliography = docname if kind == "bibliography" else book.bibliography
        elif target := TARGET.match(line):
            waiting = target[1]
        elif heading := re.match(r"^#+ (.*)", line):
            book.titles.setdefault(docname, heading[1])
            if waiting:
                book.labels[waiting] = (docname, waiting, heading[1])
            waiting = ""
        elif (label := LABEL.match(line)) and box:
            book.labels[label[1]] = (docname, label[1], box)
        elif equation := EQUATION.match(line):
            book.labels[equation[1]] = (docname, f"equation-{equation[1]}", f"({book.number('equation', docname)})")


def convert(text: str, docname: str, book: Book) -> str:
    """The Markdown cell `text` of page `docname`, without MyST. Raises ExportError on what has no rule."""
    plain = "\n".join(_blocks(text.split("\n"), docname, book))
    plain = re.sub(r"\n{3,}", "\n\n", plain).strip()
    if found := leaks(plain):
        raise ExportError(
            f"{docname}: {found[0]!r} is left of the MyST source: book/_tools/plain.py has no rule for it"
        )
    return plain


def leaks(markdown: str) -> list[str]:
    """Lines and words of MyST that would show raw in a notebook."""
    prose = re.sub(r"^( *)(`{3,}|~{3,})[^{\n]*\n.*?^\1\2 *$", "", markdown, flags=re.M | re.S)
    prose = re.sub(r"(?<![`}])(`+)(?!`).+?(?<!`)\1(?!`)", "", prose, flags=re.S)
    prose = re.sub(r"\$\$.*?\$\$", "$$", prose, flags=re.S)
    prose = re.sub(r"(?<![\\\w$])\$[^$\n]+\$", "", prose)
    lines = re.findall(
        r"^[> ]*(?:\([\w-]+\)=|(?:`{3,}|:{3,}|~{3,})\{.*|:{3,}.*|:[\w-]+:(?: .*)?|\+\+\+.*|% .*)$", prose, flags=re.M
    )
    words = re.findall(r"\{[\w:+.-]+\}`[^`]*`|\$\$ *\([\w-]+\)|\{\{.*?\}\}|\]\(#[^)]*\)|\]\([^):]*\.md[^)]*\)", prose)
    return lines + words


def _blocks(lines: list[str], docname: str, book: Book) -> list[str]:
    out, prose, at = [], [], 0

    def flush():
        if prose:
            out.append(_inline("\n".join(prose), docname, book))
            prose.clear()

    while at < len(lines):
        line = lines[at]
        fence = FENCE.match(line)
        if fence:
            flush()
            end = closing(lines, at, fence[1])
            if fence[2] and fence[2].endswith("-start"):
                body, end = _gated(lines, end, fence[2].removesuffix("-start"))
            else:
                body = lines[at + 1 : end]
            options = lines[at + 1 : closing(lines, at, fence[1])]
            out += _directive(fence, options, body, docname, book) if fence[2] else lines[at : end + 1]
            at = end
        elif not (TARGET.match(line) or line.startswith("% ") or line.startswith("+++")):
            prose.append(line)
        at += 1
    flush()
    return out


def closing(lines: list[str], start: int, fence: str) -> int:
    """The index of the line that closes the fence opened at `start` (the last line if none does)."""
    for index in range(start + 1, len(lines)):
        text = lines[index].strip()
        if len(text) >= len(fence) and set(text) == {fence[0]}:
            return index
    return len(lines) - 1


def _gated(lines: list[str], end: int, kind: str) -> tuple[list[str], int]:
    """The text between a start gate, closed at `end`, and its end gate.

    If code cells lie between them: nothing of an exercise, which then stands below its title, and of a solution the
    text before the first of these cells.
    """
    for index in range(end + 1, len(lines)):
        fence = FENCE.match(lines[index])
        if fence and fence[2] == f"{kind}-end":
            return lines[end + 1 : index], closing(lines, index, fence[1])
    return (lines[end + 1 :], len(lines) - 1) if kind == "solution" else ([], end)


def _directive(fence: re.Match, options: list[str], body: list[str], docname: str, book: Book) -> list[str]:
    name, argument = fence[2], fence[3].strip()
    kind = name.removesuffix("-start").removeprefix("prf:")
    if name in DROPPED or name.endswith("-end"):
        return []
    if name in TRANSPARENT:
        return _blocks(content(body), docname, book)
    if name in ("figure", "image"):
        return _figure(argument, options, body, docname, book)
    if name == "diagram":
        return _diagram(argument, options, body, docname, book)
    if name == "dropdown":
        return _folded(_inline(argument or "More", docname, book), _blocks(content(body), docname, book))
    if name == "math":
        return ["$$", *content(body), "$$"]
    if name in ("code", "code-block"):
        return [f"```{argument}", *content(body), "```"]
    if name in BOXES:
        title = f"{kind.capitalize()}{f': {argument}' if argument else ''}"
    elif name in TITLED:
        title = argument or kind.capitalize()
    elif kind == "solution":
        return _folded(f"Solution of {_text(argument, book)}", _blocks(content(body), docname, book))
    elif kind == "exercise" or name.startswith("prf:"):
        label = next((match[1] for line in options if (match := LABEL.match(line))), "")
        number = _text(label, book) if kind == "exercise" and label in book.labels else kind.capitalize()
        title = f"{number}{f' ({argument})' if argument else ''}"
    else:
        raise ExportError(f"{docname}: directive {{{name}}} has no plain form: add a rule to book/_tools/plain.py")
    return _quote(_inline(f"**{title}**", docname, book), _blocks(content(body), docname, book))


def content(body: list[str]) -> list[str]:
    """A directive's body without its options."""
    start = 0
    if body and body[0].strip() == "---":
        start = next((i for i, line in enumerate(body[1:], 1) if line.strip() == "---"), 0) + 1
    while start < len(body) and re.match(r"^\s*:[\w-]+:(?:\s|$)", body[start]):
        start += 1
    return body[start:]


def _quote(title: str, body: list[str]) -> list[str]:
    text = "\n".join(body).strip("\n")
    lines = [title, "", *text.split("\n")] if text else [title]
    return ["", *(f"> {line}".rstrip() for line in lines), ""]


def _folded(title: str, body: list[str]) -> list[str]:
    return ["", "<details>", f"<summary>{title}</summary>", "", *body, "", "</details>", ""]


def _figure(source: str, options: list[str], body: list[str], docname: str, book: Book) -> list[str]:
    alt = next((line.split(":", 2)[2].strip() for line in options if line.strip().startswith(":alt:")), "")
    caption = _blocks(content(body), docname, book)
    return ["", f"![{alt}]({_address(source, docname, book)})", "", *caption, ""]


def _diagram(name: str, options: list[str], body: list[str], docname: str, book: Book) -> list[str]:
    """The drawing inside the notebook, on white, since a picture knows nothing of the page's colours."""
    path = book.root / "book" / "diagrams" / f"{name}.svg"
    if not path.is_file():
        raise ExportError(f"{docname}: there is no diagram book/diagrams/{name}.svg")
    drawing = path.read_text(encoding="utf-8")
    alt = " ".join(re.search(r"<desc[^>]*>(.*?)</desc>", drawing, flags=re.S)[1].split()).replace('"', "&quot;")
    drawing = drawing.replace("<svg ", '<svg style="color: #222; background: #fff" ', 1)
    data = base64.b64encode(drawing.encode()).decode()
    label = next((match[1] for line in options if (match := LABEL.match(line))), "")
    caption = "\n".join(_blocks(content(body), docname, book)).strip()
    title = f"**{_text(label, book)}** " if label in book.labels else ""
    return ["", f'<img alt="{alt}" width="480" src="data:image/svg+xml;base64,{data}">', "", f"{title}{caption}", ""]


SPAN = re.compile(
    r"\{(?P<role>[\w:+.-]+)\}(?P<tick>`+)(?P<text>.+?)(?P=tick)"
    r"|(?P<code>`+)(?!`).+?(?<!`)(?P=code)(?!`)"
    r"|(?P<display>\$\$.*?\$\$(?:\s*\((?P<equation>[\w-]+)\))?)"
    r"|(?P<math>(?<![\\\w])\$[^$\n]+\$)"
    r"|(?P<link>\[(?P<words>[^\[\]]*)\]\((?P<to>[^()\s]+)\))",
    flags=re.S,
)


def _inline(text: str, docname: str, book: Book) -> str:
    def plain(match: re.Match) -> str:
        if match["role"]:
            return _role(match["role"], match["text"], docname, book)
        if match["equation"]:
            body = match["display"].split("$$")[1].rstrip()
            return f"$${body} \\tag{{{_text(match['equation'], book).strip('()')}}}\n$$"
        if match["link"]:
            return _link(match["words"], match["to"], docname, book)
        return match[0]

    return SPAN.sub(plain, text)


def _role(role: str, text: str, docname: str, book: Book) -> str:
    explicit = re.fullmatch(r"(.*?)\s*<([^<>]+)>", text, flags=re.S)
    words, target = (explicit[1], explicit[2]) if explicit else ("", text)
    if role.startswith("cite"):
        return _cite(role, text, docname, book)
    if role in ("ref", "numref", "eq", "prf:ref"):
        return _link(words, f"#{target}", docname, book)
    if role == "reading":
        return str(book.reading(docname if text == "this chapter" else f"book/{text}"))
    if role == "doc":
        return _link(words, f"{target.lstrip('/') if target.startswith('/') else target}.md", docname, book)
    if role in ("term", "abbr", "any"):
        return words or target
    if role in ("code", "file", "command") or role.startswith("py:"):
        return f"`{words or target.lstrip('~.')}`"
    if role == "math":
        return f"${text}$"
    if role in TYPESET:
        return f"<{TYPESET[role]}>{text}</{TYPESET[role]}>"
    raise ExportError(f"{docname}: role {{{role}}} has no plain form: add a rule to book/_tools/plain.py")


def _cite(role: str, keys: str, docname: str, book: Book) -> str:
    names = []
    for key in re.split(r"\s*,\s*", keys.strip()):
        if key not in book.citations:
            raise ExportError(f"{docname}: {key!r} is cited but stands in no .bib file below book/")
        names.append(book.citations[key])
    page = book.page(book.bibliography)
    if role == "cite:t":  # part of the sentence
        return " and ".join(f"[{' ('.join(name.rsplit(', ', 1))})]({page})" for name in names)
    return f"([{'; '.join(names)}]({page}))"


def _text(label: str, book: Book) -> str:
    return book.labels[label][2] if label in book.labels else label


def _link(words: str, to: str, docname: str, book: Book) -> str:
    if re.match(r"[a-z]+:", to):
        return f"[{words}]({to})"
    if to.startswith("#"):
        if to[1:] not in book.labels:
            raise ExportError(f"{docname}: there is no label {to[1:]!r} to refer to")
        where, anchor, text = book.labels[to[1:]]
        inside = where == docname and not words
        return text if inside else f"[{words or text}]({book.page(where, anchor)})"
    if ".md" in to:
        path, _, anchor = to.partition("#")
        where = _resolve(path, docname).removesuffix(".md")
        if where not in book.titles:
            raise ExportError(f"{docname}: there is no page {path!r} to refer to")
        return f"[{words or book.titles[where]}]({book.page(where, anchor)})"
    return f"[{words}]({_address(to, docname, book)})"


def _resolve(path: str, docname: str) -> str:
    parts = [] if path.startswith("/") else docname.split("/")[:-1]
    for part in path.strip("/").split("/"):
        parts = parts[:-1] if part == ".." else parts + [part] * (part != ".")
    return "/".join(parts)


def _address(path: str, docname: str, book: Book) -> str:
    return path if re.match(r"[a-z]+:", path) else book.files + _resolve(path, docname)
