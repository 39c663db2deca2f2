"""Write a notebook for Colab beside each chapter: book/NN_slug.md -> book/NN_slug.ipynb.

The notebooks are generated, without outputs and the same to the last byte each time; only the text is edited.

    python book/_tools/export.py            write them
    python book/_tools/export.py --check    exit 1 if one is not what its chapter says
    python book/_tools/export.py --ref v1   let them install and show release v1 instead of the branch in _config.yml
"""

import argparse
import hashlib
import json
import pprint
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import yaml
from plain import Book, ExportError, convert, read_book

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ("smoke", "course", "paper")
DROPPED = {"remove-cell", "ci-check"}
KEPT_TAGS = {"parameters", "raises-exception"}


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


def export(chapter: Path, site: Site, book: Book) -> str:
    """The notebook of one chapter, as JSON text. Raises ExportError."""
    docname = chapter.relative_to(book.root).with_suffix("").as_posix()
    source = jupytext.read(chapter, fmt="md:myst")
    cells = _opening(docname, site, book)
    seen_parameters = solving = False
    for cell in source.cells:
        tags = set(cell.metadata.get("tags", []))
        seen_parameters |= "parameters" in tags
        for gate in re.findall(r"\{solution-(start|end)\}", cell.source):
            solving = gate == "start"
        # The hidden set-up stands before the parameters and is needed; what is hidden later only serves the book.
        if cell.cell_type == "raw" or (tags & DROPPED and seen_parameters):
            continue
        if cell.cell_type == "markdown":
            cells += _markdown(cell, docname, book)
        else:
            cells.append(_code(cell, tags, book, folded="Solution" if solving else ""))
    return _write(docname, cells)


def _opening(docname: str, site: Site, book: Book) -> list:
    link = (
        f"*A chapter of [{site.title}]({book.page(docname)}), where it can be read with all its figures. "
        f"This notebook is generated: changes belong in `{docname}.md`.*"
    )
    install = (
        'import sys\n\nif "google.colab" in sys.modules:\n'
        f'    %pip install -q --no-deps "mialab @ git+{site.repository}@{site.ref}" jupyterquiz'
    )
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
    if folded or embedded != source:
        metadata |= {"cellView": "form", "jupyter": {"source_hidden": True}}
        embedded = f"# @title {folded or 'Quiz'}\n{embedded}"
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


def export_all(root: Path = ROOT, ref: str | None = None) -> dict[Path, str]:
    """Path and text of every notebook that should lie beside the chapters."""
    site = read_site(root, ref)
    book = read_book(root, site.pages, site.files)
    chapters = sorted((root / "book").glob("[0-9][0-9]_*.md"))
    return {chapter.with_suffix(".ipynb"): export(chapter, site, book) for chapter in chapters}


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if a notebook is out of step")
    parser.add_argument("--ref", help="branch or tag that the notebooks install (default: the branch in _config.yml)")
    arguments = parser.parse_args(argv)
    try:
        wanted = export_all(root, arguments.ref)
    except ExportError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    orphans = [path for path in sorted((root / "book").glob("[0-9][0-9]_*.ipynb")) if path not in wanted]
    for path in orphans:
        print(f"{path.relative_to(root)} belongs to no chapter: remove it", file=sys.stderr)
    for path in stale:
        if arguments.check:
            print(f"{path.relative_to(root)} is out of step with its chapter: run `make notebooks`", file=sys.stderr)
        else:
            path.write_text(wanted[path], encoding="utf-8")
            print(f"wrote {path.relative_to(root)}")
    return int(bool(orphans or (arguments.check and stale)))


if __name__ == "__main__":
    sys.exit(main())
