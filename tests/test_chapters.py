"""The notebooks exported for Colab run from end to end; the chapters themselves do under `mialab regress`."""

import sys
from pathlib import Path

import pytest

from mialab.chapters import exercises, regress

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
sys.path.insert(0, str(BOOK / "_tools"))

import export  # noqa: E402

NOTEBOOKS = sorted(BOOK.glob("[0-9][0-9]_*.ipynb"))


# All run as student editions below, and with their solutions as chapters; three show that the notebooks are no other.
@pytest.mark.parametrize("notebook", NOTEBOOKS[::6], ids=lambda path: path.name)
def test_the_exported_notebook_runs(notebook, tmp_path):
    regress.execute(notebook, tmp_path)


def test_there_is_a_notebook_for_each_chapter():
    assert NOTEBOOKS and [path.with_suffix(".md") for path in NOTEBOOKS] == regress.find()


@pytest.mark.parametrize("chapter", regress.find(), ids=lambda p: p.name)
def test_the_student_edition_runs_without_the_solutions(chapter, tmp_path):
    site = export.read_site()
    book = export.read_book(ROOT, site.pages, site.files)
    text = export.export(chapter, site, book, edition="student")
    notebook = tmp_path / f"{chapter.stem}.student.ipynb"
    notebook.write_text(text, encoding="utf-8")
    (tmp_path / "out").mkdir()
    executed = regress.execute(notebook, tmp_path / "out").read_text(encoding="utf-8")
    assert exercises.RIGHT not in executed and executed.count(exercises.NOTHING) >= 3
