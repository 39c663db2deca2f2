"""Write a notebook for Colab beside each chapter: book/NN_slug.md -> book/NN_slug.ipynb.

The notebooks are generated, without outputs and the same to the last byte each time; only the text is edited.

    python book/_tools/export.py            write them
    python book/_tools/export.py --check    exit 1 if one is not what its chapter says
    python book/_tools/export.py --ref v1   let them install and show release v1 instead of the branch in _config.yml
    python book/_tools/export.py --edition student   write them without solutions, into _build/student
"""

import argparse
import hashlib
import json
import pprint
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import reading
import yaml
from plain import Book, ExportError, convert, read_book

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ("smoke", "course", "paper")
EDITIONS = ("full", "student")
KEPT_TAGS = {"parameters", "raises-exception"}
# What the page hides is folded in a notebook: it must run, and nobody needs to read it.
FOLDED = {"checks": "Checks of the exercises", "remove-input": "Sentence", "hide-input": "Figure or table"}


@dataclass(frozen=True)
class Site:
    """The addresses of _config.yml, the one place where they stand."""

    title: str
    pages: str  # ends with a slash
    repository: str
    ref: str

    @property
    def files(self) -> str:
        return f"{self.repository}/raw/{self.ref}/"


def read_site(root: Path = ROOT, ref: str | None = None) -> Site:
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    repository = config["repository"]
    pages = config["html"]["baseurl"].rstrip("/") + "/"
    return Site(config["title"], pages, repository["url"].rstrip("/"), ref or repository["branch"])


def export(chapter: Path, site: Site, book: Book, *, edition: str = "full") -> str:
    """The notebook of one chapter, as JSON text; edition "student" leaves solutions out. Raises ExportError."""
    docname = chapter.relative_to(book.root).with_suffix("").as_posix()
    text = chapter.read_text(encoding="utf-8")
    source = jupytext.reads(without_solutions(text) if edition == "student" else text, fmt="md:myst")
    cells = _opening(docname, site, book, needed(text, book.root))
    seen_parameters = solving = False
    for cell in source.cells:
        tags = set(cell.metadata.get("tags", []))
        seen_parameters |= "parameters" in tags
        for gate in re.findall(r"\{solution-(start|end)\}", cell.source):
            solving = gate == "start"
        # The hidden set-up stands before the parameters and is needed, and so are the exercises' checks; what else is
        # hidden only serves the book.
        book_only = "ci-check" in tags or ("remove-cell" in tags and seen_parameters and "checks" not in tags)
        if cell.cell_type == "raw" or book_only:
            continue
        if cell.cell_type == "markdown":
            cells += _markdown(cell, docname, book)
        else:
            title = next((title for tag, title in FOLDED.items() if tag in tags), "")
            cells.append(_code(cell, tags, book, folded="Solution" if solving else title))
    return _write(docname, cells)


def without_solutions(text: str) -> str:
    """A chapter's MyST text without what stands in a solution, gates included."""
    gate = r"^(`{3,}|:{3,})\{solution-%s\}[^\n]*\n(?:.*?\n)??\%d *$\n?"
    between = re.compile(gate % ("start", 1) + r".*?" + gate % ("end", 2), flags=re.M | re.S)
    return re.sub(r"^(`{3,})\{solution\}.*?^\1 *$\n?", "", between.sub("", text), flags=re.M | re.S)


def needed(text: str, root: Path = ROOT) -> list[str]:
    """What the extras hold that a chapter names, as in `mialab[dp]`; ExportError for one that there is not."""
    named = dict.fromkeys(re.findall(r"mialab\[(\w+)\]", text))
    if not named:
        return []
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    if unknown := [name for name in named if name not in extras]:
        raise ExportError(f"the extra {unknown[0]!r} does not stand in pyproject.toml")
    return [package for name in named for package in extras[name]]


def _opening(docname: str, site: Site, book: Book, extra: list[str]) -> list:
    link = (
        f"*A chapter of [{site.title}]({book.page(docname)}), where it can be read with all its figures. "
        f"This notebook is generated: changes belong in `{docname}.md`.*"
    )
    install = (
        'import sys\n\nif "google.colab" in sys.modules:\n'
        f'    %pip install -q --no-deps "mialab @ git+{site.repository}@{site.ref}" jupyterquiz'
    )
    if extra:  # with what they need themselves, of which Colab has most
        install += "\n    %pip install -q " + " ".join(f'"{package}"' for package in extra)
    return [nbformat.v4.new_markdown_cell(link), nbformat.v4.new_code_cell(install)]


def _markdown(cell, docname: str, book: Book) -> list:
    text = convert(cell.source, docname, book)
    return [nbformat.v4.new_markdown_cell(text)] if text else []


def _code(cell, tags: set[str], book: Book, *, folded: str):
    """A code cell; with a title in `folded`, its source is hidden until somebody opens it."""
    source = cell.source
    if "parameters" in tags:  # Colab shows these lines as a form
        choices = ", ".join(f'"{preset}"' for preset in PRESETS)
        source = re.sub(r"^(preset = .*)$", rf"\1  # @param [{choices}]", source, flags=re.M)
        source = re.sub(r"^(seed = .*)$", r'\1  # @param {"type":"integer"}', source, flags=re.M)
    embedded = _with_quiz(source, book)
    metadata = {"tags": kept} if (kept := sorted(tags & KEPT_TAGS)) else {}
    if embedded != source:
        folded = "Quiz"
    if folded:
        metadata |= {"cellView": "form", "jupyter": {"source_hidden": True}}
        embedded = f"# @title {folded}\n{embedded}"
    return nbformat.v4.new_code_cell(embedded, metadata=metadata)


def _with_quiz(source: str, book: Book) -> str:
    """The code with the questions in place of their file's name: a notebook travels without the book's files."""

    def questions(match: re.Match) -> str:
        path = book.root / "book" / match[1]
        if not path.is_file():
            raise ExportError(f"display_quiz names {match[1]}, which is not below book/")
        return "display_quiz(" + pprint.pformat(json.loads(path.read_text(encoding="utf-8")), sort_dicts=False)

    return re.sub(r"""display_quiz\(["']([\w./-]+)["']""", questions, source)


def _write(docname: str, cells: list) -> str:
    name = docname.rsplit("/", 1)[-1]
    for index, cell in enumerate(cells):
        cell.id = hashlib.sha256(f"{name}\0{index}\0{cell.source}".encode()).hexdigest()[:12]
    metadata = {
        "accelerator": "GPU",
        "colab": {"provenance": [], "toc_visible": True},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def export_all(root: Path = ROOT, ref: str | None = None, *, edition: str = "full") -> dict[Path, str]:
    """Path and text of every notebook: beside the chapters, or in _build/student for that edition."""
    site = read_site(root, ref)
    book = read_book(root, site.pages, site.files)
    book.reading = lambda docname: reading.of(docname.removeprefix("book/"), root / "book")
    chapters = sorted((root / "book").glob("[0-9][0-9]_*.md"))
    folder = root / "_build" / "student" if edition == "student" else root / "book"
    return {folder / f"{chapter.stem}.ipynb": export(chapter, site, book, edition=edition) for chapter in chapters}


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if a notebook is out of step")
    parser.add_argument("--ref", help="branch or tag that the notebooks install (default: the branch in _config.yml)")
    parser.add_argument("--edition", choices=EDITIONS, default="full", help="student: no solutions, in _build/student")
    arguments = parser.parse_args(argv)
    try:
        wanted = export_all(root, arguments.ref, edition=arguments.edition)
    except ExportError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    folder = next(iter(wanted)).parent
    orphans = [path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")) if path not in wanted]
    for path in orphans:
        print(f"{path.relative_to(root)} belongs to no chapter: remove it", file=sys.stderr)
    for path in stale:
        if arguments.check:
            print(f"{path.relative_to(root)} is out of step with its chapter: run `make notebooks`", file=sys.stderr)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
            print(f"wrote {path.relative_to(root)}")
    return int(bool(orphans or (arguments.check and stale)))


if __name__ == "__main__":
    sys.exit(main())
