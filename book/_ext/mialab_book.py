"""The book's own Sphinx extension: what stock Jupyter Book lacks."""

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "book" / "_tools"), str(ROOT / "book" / "_ext")]

import diagram  # noqa: E402
import moved  # noqa: E402
import reading  # noqa: E402
from docutils import nodes  # noqa: E402
from fingerprint import fingerprint  # noqa: E402
from sphinx.util.docutils import SphinxRole  # noqa: E402


def keep_cache_by_code(app, config) -> None:
    """Let a change in the package, the versions or the records execute every chapter again.

    jupyter-cache knows the chapters' cells only. The path of the cache is a setting that Sphinx watches, so a new path
    also makes it read pages again whose text has not changed.
    """
    state = os.environ.get("MIALAB_STATE", ROOT / "_build" / "state" / fingerprint())
    config.nb_execution_cache_path = str(Path(state).resolve() / "jupyter_cache")


def drop_repeated_scripts(app, pagename, templatename, context, doctree) -> None:
    """List each inline script once: Sphinx lists some twice, which is an error in every reader's console."""
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body")
        if body is None or body not in seen:
            kept.append(script)
        seen.add(body)
    context["script_files"] = kept


def offer_exported_notebooks(app, exception) -> None:
    """Let the download button give the exported notebook: Sphinx would give the page's raw MyST cells."""
    for notebook in Path(app.srcdir, "book").glob("*.ipynb"):
        offered = Path(app.outdir, "_sources", "book", notebook.name)
        if offered.exists():
            shutil.copyfile(notebook, offered)


def docstring_as_text(lines: list[str]) -> list[str]:
    """A docstring in the package's plain style as reStructuredText.

    Paragraphs stay paragraphs, `names` become code, lines "name: what it is" become a list (also below "Args:"), what
    is indented after a blank line is shown as it stands, and no other character has a meaning.
    """
    out, base, mode, before = [], 0, "prose", ""  # the first paragraph is a sentence, whatever stands before its colon
    for line in lines:
        text, indent = line.strip(), len(line) - len(line.lstrip())
        item = re.match(r"([\w*`., -]{1,40}): (\S.*)", text)
        if not text:
            mode = "literal" if mode == "literal" else ""
            out.append("")
        elif indent > base and mode in ("", "literal"):
            out += [] if mode == "literal" else ["::", ""]
            out.append("    " + line)
            mode = "literal"
        elif re.fullmatch(r"[A-Z]\w+:", text):
            out += ["", f"**{text}**", ""]
            base, mode = indent + 4, "item"
        elif item and indent == base and mode in ("", "item"):
            out.append(f"- **{_escaped(item[1])}**: {_escaped(item[2])}")
            mode = "item"
        elif indent > base or mode == "item" and before[-1:] not in (".", ":"):
            out[-1] += " " + _escaped(text)
        else:
            out += ["", _escaped(text)] if mode in ("item", "literal") else [_escaped(text)]
            base, mode = indent, "prose"
        before = text
    return out


def _escaped(text: str) -> str:
    parts = re.split(r"`+([^`]+)`+", text)
    return "".join(
        f"``{part}``" if index % 2 else re.sub(r"([\\*|_`])", r"\\\1", part) for index, part in enumerate(parts)
    )


AS_TYPED = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.math_block, nodes.raw)


def keep_per_cent_together(app, doctree) -> None:
    """Let no line end between a number and its per cent sign, as in "1 %"; code stays as it was typed."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, AS_TYPED) and (kept := re.sub(r"(?<=\d) %", "\u00a0%", text)) != text:
            text.parent.replace(text, nodes.Text(kept))


def read_docstring(app, what, name, obj, options, lines) -> None:
    lines[:] = docstring_as_text(lines)


class Minutes(SphinxRole):
    """Role {reading}: how long "this chapter", or one such as 01_game, takes to read, computed from its text."""

    def run(self) -> tuple[list[nodes.Node], list]:
        own = self.text == "this chapter"
        docname = self.env.docname if own else f"book/{self.text}"
        path = Path(self.env.doc2path(docname))
        self.env.note_dependency(str(path))
        try:
            found = reading.reading(path.read_text(encoding="utf-8"))
        except OSError:
            problem = self.inliner.reporter.error(f"reading: there is no chapter {self.text!r}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, problem)], [problem]
        return [nodes.Text(str(found))], []


def setup(app) -> dict:
    diagram.setup(app)
    moved.setup(app)
    app.add_role("reading", Minutes())
    app.connect("config-inited", keep_cache_by_code)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("doctree-read", keep_per_cent_together)
    app.connect("build-finished", offer_exported_notebooks)
    app.connect("html-page-context", drop_repeated_scripts, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
