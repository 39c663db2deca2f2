"""The notebooks exported for Colab run from end to end; the chapters themselves do under `mialab regress`."""

from pathlib import Path

import pytest

from mialab.chapters import regress

BOOK = Path(__file__).resolve().parents[1] / "book"
NOTEBOOKS = sorted(BOOK.glob("[0-9][0-9]_*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_the_exported_notebook_runs(notebook, tmp_path):
    regress.execute(notebook, tmp_path)


def test_there_is_a_notebook_for_each_chapter():
    assert NOTEBOOKS and [path.with_suffix(".md") for path in NOTEBOOKS] == regress.find()
