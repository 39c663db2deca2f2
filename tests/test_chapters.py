"""Every chapter, and the notebook exported from it, runs from end to end under papermill at preset smoke."""

import hashlib
import os
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest

BOOK = Path(__file__).resolve().parents[1] / "book"
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]_*.md"))
SOURCES = [*CHAPTERS, *(chapter.with_suffix(".ipynb") for chapter in CHAPTERS)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_chapter_runs(source):
    executed(source)


def executed(source: Path) -> nbformat.NotebookNode:
    """The executed notebook: read back if this text has been executed with this code before."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    kept = Path(os.environ["MIALAB_STATE"]) / "executed" / f"{source.name}-{digest}.ipynb"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(".draft.ipynb")
        papermill.execute_notebook(
            jupytext.read(source), draft, {"preset": "smoke", "seed": 0}, cwd=BOOK, progress_bar=False
        )
        draft.rename(kept)
    return nbformat.read(kept, as_version=4)
