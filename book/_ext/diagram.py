"""Directive {diagram} NAME: book/diagrams/NAME.svg within the page, where it follows light and dark, with a caption.

The drawing's <title> and <desc> are its alternative text. `:name:` makes it a target of {numref}.
"""

import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

DIAGRAMS = "book/diagrams"


class Diagram(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        self.assert_has_content()  # a figure without a caption would have no number either
        path = Path(self.env.srcdir, DIAGRAMS, f"{self.arguments[0]}.svg")
        self.env.note_dependency(str(path))
        if not path.is_file():
            raise self.error(f"there is no {DIAGRAMS}/{path.name}: python book/_tools/diagrams.py draws them")
        figure = nodes.figure("", nodes.raw("", inline(path.read_text(encoding="utf-8")), format="html"))
        figure["classes"].append("mialab-diagram")
        text = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, text)
        figure += nodes.caption("", "", *text[0].children)
        figure += [nodes.legend("", *text[1:])] if len(text) > 1 else []
        self.add_name(figure)
        self.set_source_info(figure)
        return [figure]


def inline(svg: str) -> str:
    """A drawing as part of a page: without the lines that make it a file of its own."""
    return re.sub(r"<\?xml.*?\?>\s*|<!DOCTYPE.*?>\s*", "", svg, flags=re.S).strip()


def setup(app) -> None:
    app.add_directive("diagram", Diagram)
