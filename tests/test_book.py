"""The chapters keep to the template, the built book is whole, and its machinery does what it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from chapter_cases import HEADER

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book" / "_tools"), str(ROOT / "book" / "_ext")]

import built  # noqa: E402
import lint  # noqa: E402
import mialab_book  # noqa: E402

HTML = Path(os.environ.get("MIALAB_HTML", ROOT / "_build" / "html"))
CHAPTERS = sorted((ROOT / "book").glob("[0-9][0-9]_*.md"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())


# The template


def exercise(label):
    return (
        f"```{{exercise-start}} Title\n:label: {label}\n```\nText\n```{{exercise-end}}\n```\n\n"
        f"```{{solution-start}} {label}\n:class: dropdown\n```\nText\n```{{solution-end}}\n```\n\n"
    )


GOOD = f"""{HEADER}
(ch-good)=
# Title

**Is this a question?**

```{{admonition}} This chapter at a glance
**You will be able to** x. **Before this:** y. **Reading:** z.
**Running:** `smoke` a, `course` b, `paper` c.
```

```{{code-cell}} python3
:tags: [remove-cell]

from mialab.chapters import notebook

notebook.setup()
```

```{{code-cell}} python3
:tags: [parameters]

preset = "smoke"
seed = 0
```

## Intuition and threat model

## Explore

```{{code-cell}} python3
from mialab.chapters.widgets import explore

explore(print, x=[1, 2])
```

## Experiment

```{{code-cell}} python3
notebook.table([{{"a": 1}}])
```

## At full scale

## What can go wrong

## Check your understanding

```{{code-cell}} python3
from jupyterquiz import display_quiz

display_quiz("quizzes/01.json")
```

## Exercises

{exercise("ex-a")}{exercise("ex-b")}{exercise("ex-c")}
## Summary

## Further reading

```{{code-cell}} python3
:tags: [remove-cell, ci-check]

notebook.publish(answer=42)
assert preset == "smoke"
```
"""
SHOWN = "```{{code-cell}} python3\nimport matplotlib.pyplot as plt\n\nplt.plot([1])\nplt.show()\n```\n\n{}"
FAULTS = {
    "header: the front": ("  language: python\n---", "---"),
    "header: the front matter": ("jupytext:\n", "jupytext:\n  formats: ipynb,md\n"),
    "opening: a label": ("(ch-good)=\n", ""),
    "opening: the chapter's one question": ("**Is this a question?**", "A statement."),
    "card: '`course`'": ("`course` b, ", ""),
    "card: 'Before this'": ("**Before this:** y. ", ""),
    "sections": ("## What can go wrong\n\n", ""),
    "sections: must be": ("## Explore", "## Play"),
    "Explore: no cell": ("explore(print, x=[1, 2])", "explore.__name__"),
    "Experiment: more": ("notebook.table(", "0\n" + "```\n\n```{code-cell} python3\n0\n" * 6 + "notebook.table("),
    "Experiment: must show exactly one table": ('notebook.table([{"a": 1}])', "0"),
    "Check your understanding: no quiz": ('display_quiz("quizzes/01.json")', "display_quiz.__name__"),
    "parameters: one cell": ("[parameters]", "[hide-input]"),
    "parameters: the cell must hold": ("seed = 0", "seed = 0\nepochs = 3"),
    "parameters: the cell": ('preset = "smoke"', 'preset = "paper"'),
    "set-up": ("[remove-cell]", "[hide-cell]"),
    "code cell 3: 30 lines": ("explore(print", "x = [\n" + "    1,\n" * 25 + "]\nexplore(print"),
    "code cell 3: over 79 columns": ("explore(print", f"explore({'x' * 80}"),
    "code cell 1: unknown tags": ("[remove-cell]\n\nfrom", "[remove-cell, hidden]\n\nfrom"),
    "exercises: 2, at least 3": (exercise("ex-c"), ""),
    "exercises: ['ex-a', 'ex-b', 'ex-c'] need": ("{solution-start} ex-b", "{solution-start} ex-a"),
    "numbers: no cell": ("publish(answer=42)", "publish()"),
    "numbers: the last cell": ("notebook.publish", "assert seed == 0\nnotebook.publish"),
    "last cell": ("assert preset", "preset"),
    "last cell: must hold": ("[remove-cell, ci-check]", "[hide-cell]"),
    "figure without alternative text: ![](a.png)": ("## Explore", "![](a.png)\n\n## Explore"),
    "figure without alternative text: a.png": ("## Explore", "```{figure} a.png\nCaption\n```\n\n## Explore"),
    "shows a figure without": ("## At full scale", SHOWN.format("## At full scale")),
    "code cell 3:1:8: F401": ("from mialab.chapters.widgets", "import os\n\nfrom mialab.chapters.widgets"),
}  # fmt: skip


def test_a_chapter_by_the_template_has_no_faults():
    assert lint.faults(GOOD) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_rule_notices_its_planted_fault(fault):
    old, new = FAULTS[fault]
    assert GOOD.count(old) >= 1
    found = lint.faults(GOOD.replace(old, new, 1))
    assert any(fault in line for line in found), found


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.name)
def test_the_chapter_keeps_to_the_template(chapter):
    assert lint.faults(chapter.read_text(encoding="utf-8")) == []


def test_there_are_chapters_and_the_table_of_contents_lists_each():
    listed = [
        chapter["file"]
        for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
        for chapter in part["chapters"]
    ]
    assert CHAPTERS and [f"book/{path.name}" for path in CHAPTERS] == [f for f in listed if re.match(r"book/\d\d_", f)]
    assert all((ROOT / f"{file.removesuffix('.md')}.md").is_file() for file in listed)


# The built pages


@pytest.fixture(scope="module")
def html():
    if not HTML.is_dir():
        pytest.skip(f"no built book in {HTML}: make book")
    return HTML


def test_the_built_book_is_whole(html):
    assert built.faults(html) == []


def test_the_colab_button_opens_the_notebook_beside_the_chapter(html):
    repository = CONFIG["repository"]
    for chapter in CHAPTERS:
        page = (html / "book" / f"{chapter.stem}.html").read_text()
        wanted = (
            f"{repository['url'].removeprefix('https://github.com')}/blob/{repository['branch']}/book/{chapter.stem}"
        )
        assert f"https://colab.research.google.com/github{wanted}.ipynb" in page
        assert chapter.with_suffix(".ipynb").is_file()


def test_the_download_button_gives_the_exported_notebook(html):
    for chapter in CHAPTERS:
        offered = html / "_sources" / "book" / f"{chapter.stem}.ipynb"
        assert f"{chapter.stem}.ipynb" in (html / "book" / f"{chapter.stem}.html").read_text()
        assert offered.read_bytes() == chapter.with_suffix(".ipynb").read_bytes()


def test_the_hidden_cells_stay_hidden(html):
    for chapter in CHAPTERS:
        assert "notebook.setup()" not in (html / "book" / f"{chapter.stem}.html").read_text()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="gone.html">x</a>', "no such file"),
        ('<a href="other.html#gone">x</a>', "no such place"),
        ('<a href="#gone">x</a>', "no such place"),
        ('<img src="gone.png" alt="A line.">', "no such file"),
        ('<img src="a.png" alt="">', "without alternative text"),
        ('<img src="a.png">', "without alternative text"),
        ('<img src="a.png" alt="_images/a.png">', "without alternative text"),
        ('<script src="https://cdn.example/x.js"></script>', "loads from outside"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "loads from outside"),
        ('<script type="application/vnd.jupyter.widget-view+json">{}</script>', "needs a kernel"),
    ],
)
def test_each_check_of_the_pages_notices_its_planted_fault(tmp_path, body, fault):
    good = '<p id="here"><a href="other.html#there">x</a><a href="#here">y</a><img src="a.png" alt="A line."></p>'
    (tmp_path / "a.png").touch()
    (tmp_path / "other.html").write_text('<p id="there"><a href="https://elsewhere.example/">fine</a></p>')
    (tmp_path / "page.html").write_text(good)
    assert built.faults(tmp_path) == []
    (tmp_path / "page.html").write_text(good + body)
    (found,) = built.faults(tmp_path)
    assert found.startswith("page.html: ") and fault in found


# The extension


def test_scripts_listed_twice_are_kept_once():
    script = [
        SimpleNamespace(attributes={"body": text}) for text in ("const a = 1", "const a = 1", "let b", None, None)
    ]
    context = {"script_files": [*script, "file.js", "file.js"]}
    mialab_book.drop_repeated_scripts(None, "page", "page.html", context, None)
    assert context["script_files"] == [script[0], *script[2:], "file.js", "file.js"]


CHAPTER = (
    GOOD.split("\n(ch-good)=")[0]
    + """
# Counting

```{code-cell} python3
from pathlib import Path

import mialab

with Path("runs.txt").open("a") as runs:
    runs.write("run ")
print("The answer is", mialab.ANSWER)
```
"""
)


@pytest.fixture
def small_book(tmp_path):
    """A book of one chapter with this one's settings and machinery, and a package of one number."""
    for folder in ("_ext", "_tools", "_static"):
        ignored = shutil.ignore_patterns("vendor", "__pycache__")
        shutil.copytree(ROOT / "book" / folder, tmp_path / "book" / folder, ignore=ignored)
    for name in ("_config.yml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/01_one.md\n")
    (tmp_path / "book" / "references.bib").touch()
    (tmp_path / "book" / "01_one.md").write_text(CHAPTER)
    (tmp_path / "mialab").mkdir()
    (tmp_path / "mialab" / "__init__.py").write_text("ANSWER = 1\n")
    return tmp_path


def build(root):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MIALAB_")}
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "--keep-going", "--quiet"]
    done = subprocess.run(
        command, cwd=root, env={**environment, "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    page = root / "_build" / "html" / "book" / "01_one.html"
    return done, re.sub(r"<[^>]+>", "", page.read_text()) if page.exists() else ""


def runs(root):
    return len((root / "book" / "runs.txt").read_text().split())


def test_a_change_in_the_package_executes_the_chapters_again_and_a_change_in_the_prose_does_not(small_book):
    done, page = build(small_book)
    assert done.returncode == 0, done.stderr
    assert "The answer is 1" in page and runs(small_book) == 1
    (small_book / "book" / "01_one.md").write_text(CHAPTER + "\nA new sentence.\n")
    _, page = build(small_book)
    assert "A new sentence" in page and runs(small_book) == 1
    (small_book / "mialab" / "__init__.py").write_text("ANSWER = 2\n")
    _, page = build(small_book)
    assert "The answer is 2" in page and runs(small_book) == 2


def test_a_chapter_that_fails_fails_the_build(small_book):
    chapter = small_book / "book" / "01_one.md"
    chapter.write_text(chapter.read_text().replace("mialab.ANSWER", "mialab.NOTHING"))
    done, _ = build(small_book)
    assert done.returncode != 0 and "NOTHING" in done.stderr + done.stdout
