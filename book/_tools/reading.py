"""How long a chapter takes to read, counted from its text.

200 words a minute, and one minute for each displayed formula, however long. Words are what a reader of the page sees
as text with nothing unfolded: paragraphs, lists, tables, headings, captions, the card, tasks, statements of exercises,
and the text of `notebook.say(...)`, which stands in the code but is prose. A formula within a line, a citation and a
name in code font count as one word each.

Not counted: code and front matter, options and alternative texts, outputs of cells, quizzes, and what is folded: hints
and answers (`dropdown`), folded cells, and solutions. Whoever unfolds them reads longer than the card says.
"""

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from plain import FENCE, closing, content

BOOK = Path(__file__).resolve().parents[1]
WORDS_A_MINUTE, MINUTES_A_FORMULA = 200, 1
FOLDED = {"dropdown", "solution"}
SILENT = {"exercise-end", "solution-end", "bibliography", "nb-exec-table", "toctree", "code", "code-block"}
CAPTIONED = {"figure", "image", "diagram"}
FORMULA = re.compile(r"\$\$.+?\$\$|\\begin\{(align|equation|gather)\*?\}.+?\\end\{\1\*?\}", flags=re.S)


@dataclass(frozen=True)
class Piece:
    """A stretch of a chapter: its kind and its source.

    Kinds: heading, text, card, title (of a box), caption, say, formula, code (with its tags); picture and task, which
    are empty, stand before what belongs to them.
    """

    kind: str
    source: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reading:
    """What there is to read in a chapter."""

    words: int
    formulas: int

    @property
    def minutes(self) -> int:
        return math.ceil(self.words / WORDS_A_MINUTE + self.formulas * MINUTES_A_FORMULA)

    def __str__(self) -> str:
        return f"about {self.minutes} minute{'s' * (self.minutes != 1)}"


def reading(text: str) -> Reading:
    """Words and displayed formulas of a chapter's MyST text."""
    found = pieces(text)
    return Reading(
        words=sum(len(words(piece.source)) for piece in found if piece.kind not in ("formula", "code")),
        formulas=sum(piece.kind == "formula" for piece in found),
    )


def of(name: str, book: Path = BOOK) -> Reading:
    """The reading of chapter `name`, such as 01_game. Raises OSError where there is none."""
    return reading((book / f"{name}.md").read_text(encoding="utf-8"))


def words(source: str) -> list[str]:
    """The words of Markdown with MyST roles."""
    text = re.sub(r"\{(?:cite|eq|numref|reading)[\w:]*\}`[^`]*`", " word ", source)
    text = re.sub(r"\{[\w:]+\}`([^`<]*?)(?:\s*<[^`>]*>)?`", r" \1 ", text)
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1", " word ", text, flags=re.S)
    text = re.sub(r"(?<![\\\w$])\$[^$\n]+(?:\n[^$\n]+)?\$", " word ", text)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", " ", text)
    text = re.sub(r"\]\([^)\s]*\)", "] ", text)
    return [word for word in re.split(r"[\s|]+|(?<=\w)[–—/](?=\w)", text) if re.search(r"\w", word)]


def pieces(text: str) -> list[Piece]:
    """The parts of a chapter that a reader sees unfolded, in order, and its code cells."""
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    return list(_pieces(body.split("\n"), "text"))


def _pieces(lines: list[str], kind: str) -> Iterator[Piece]:
    at, prose = 0, []
    while at < len(lines):
        fence = FENCE.match(lines[at])
        heading = re.match(r"#+ (.*)", lines[at])
        if not fence and not heading:
            prose.append("" if re.match(r"\([\w-]+\)=\s*$|% |\+\+\+", lines[at]) else lines[at])
            at += 1
            continue
        yield from _text(prose, kind)
        prose = []
        if heading:
            yield Piece("heading", heading[1])
        else:
            end = closing(lines, at, fence[1])
            if fence[2] == "solution-start":
                end = next((i for i in range(end, len(lines)) if "{solution-end}" in lines[i]), len(lines) - 1)
                end = closing(lines, end, FENCE.match(lines[end])[1]) if "{solution-end}" in lines[end] else end
            else:
                yield from _directive(fence, lines[at + 1 : end], kind)
            at = end
        at += 1
    yield from _text(prose, kind)


def _text(lines: list[str], kind: str) -> Iterator[Piece]:
    source = "\n".join(lines)
    start = 0
    for formula in FORMULA.finditer(source):
        yield from _some(source[start : formula.start()], kind)
        yield Piece("formula", formula[0])
        start = formula.end() + len(re.match(r"\s*\([\w-]+\)|", source[formula.end() :])[0])
    yield from _some(source[start:], kind)


def _some(source: str, kind: str) -> Iterator[Piece]:
    if source.strip():
        yield Piece(kind, source.strip("\n"))


def _directive(fence: re.Match, body: list[str], kind: str) -> Iterator[Piece]:
    name, argument = fence[2] or "code", fence[3].strip()
    options = "\n".join(body[: len(body) - len(content(body))])
    if name == "code-cell":
        yield from _cell("\n".join(body))
    elif name == "math":
        yield Piece("formula", "\n".join(content(body)))
    elif name in SILENT or name.split("-")[0] in FOLDED or re.search(r"^:class:.*dropdown", options, flags=re.M):
        return
    elif name in CAPTIONED:
        yield Piece("picture", "")
        yield from _pieces(content(body), "caption")
    else:
        if re.search(r"^:class:.*\btask\b", options, flags=re.M):
            yield Piece("task", "")
        yield from _some(argument, "title")
        card = name == "admonition" and "You will be able to" in "\n".join(body)
        yield from _pieces(content(body), "card" if card else kind)


def _cell(source: str) -> Iterator[Piece]:
    """The code of a cell, and the text of its notebook.say(...) unless it is folded or removed."""
    tags, code = tags_of(source)
    yield Piece("code", code, frozenset(tags))
    if {"remove-cell", "hide-cell", "remove-output", "hide-output"} & tags:
        return
    for said in _said(code):
        yield Piece("say", said)


def tags_of(source: str) -> tuple[set[str], str]:
    """The tags of a code cell's body in MyST, and its code."""
    if block := re.match(r"---\n(.*?)\n---\n", source, flags=re.S):
        return set((yaml.safe_load(block[1]) or {}).get("tags", [])), source[block.end() :]
    lines = source.split("\n")
    start = next((i for i, line in enumerate(lines) if not re.match(r":[\w-]+:", line)), len(lines))
    found = re.search(r"^:tags: *\[(.*)\]", "\n".join(lines[:start]), flags=re.M)
    return {tag.strip() for tag in found[1].split(",")} if found else set(), "\n".join(lines[start:]).lstrip("\n")


def _said(code: str) -> Iterator[str]:
    """The text of each say(...) in a cell."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # a cell with %magic
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "say":
            yield " ".join(map(_spoken, node.args))


def _spoken(node: ast.AST) -> str:
    """The constant text below a node of code; a computed value stands as one word."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.FormattedValue):
        return "1"
    between = "" if isinstance(node, ast.JoinedStr) else " "
    return between.join(map(_spoken, ast.iter_child_nodes(node)))
