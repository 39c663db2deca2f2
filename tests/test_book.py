"""The chapters keep to the template, the built book is whole, and its machinery does what it says."""

import contextlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import yaml
from chapter_cases import HEADER

from mialab.chapters import exercises, plots

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book" / "_tools"), str(ROOT / "book" / "_ext")]

import built  # noqa: E402
import diagrams  # noqa: E402
import export  # noqa: E402
import lint  # noqa: E402
import mialab_book  # noqa: E402
import moved  # noqa: E402
import reading  # noqa: E402

HTML = Path(os.environ.get("MIALAB_HTML", ROOT / "_build" / "html"))
CHAPTERS = sorted((ROOT / "book").glob("[0-9][0-9]_*.md"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())


# The template


def exercise(label, kind, difficulty):
    return (
        f"```{{exercise-start}} {kind}: title\n:label: {label}\n```\n\n"
        f"*5 minutes, difficulty {difficulty} of 3.* What?\n\n"
        f"```{{dropdown}} Hint\nWhy not?\n```\n\n```{{exercise-end}}\n```\n\n"
        f'```{{code-cell}} python3\n:tags: [starter]\n\nanswer = ...\ncheck("{label}", answer)\n```\n\n'
        f"```{{solution-start}} {label}\n:class: dropdown\n```\nText\n\n"
        f'```{{code-cell}} python3\nanswer = 1\ncheck("{label}", answer)\n```\n\n```{{solution-end}}\n```\n\n'
    )


def task(title):
    answer = "```{dropdown} Answer\nDone.\n```"
    return f"````{{admonition}} Two minutes: {title}\n:class: task\n\nDo it.\n\n{answer}\n````\n\n"


GOOD = f"""{HEADER}
(ch-good)=
# Title

**Is this a question?**

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

```{{diagram}} game
:name: fig-game

The game.
```

```{{admonition}} This chapter at a glance
**You will be able to** x. **Before this:** y. **Reading:** {{reading}}`this chapter`.
**Running:** `smoke` a, `course` b, `paper` c.
```

## The idea in plain words

A {{term}}`target` has **members** and {{term}}`non-members <non-member>`.

{task("one")}## Explore

```{{code-cell}} python3
from mialab.chapters import plots
from mialab.chapters.widgets import explore

explore(print, x=[1, 2], color=[plots.MEMBER])
```

{task("two")}## Experiment

```{{code-cell}} python3
notebook.table([{{"a": 1}}])
```

```{{code-cell}} python3
:tags: [remove-input]

notebook.say("So it is.")
```

## At full scale

## What can go wrong

## Check your understanding

```{{code-cell}} python3
:tags: [remove-input]

from jupyterquiz import display_quiz

display_quiz("quizzes/01.json", colors="fdsp")
```

## Exercises

```{{code-cell}} python3
:tags: [remove-cell, checks]

from mialab.chapters.exercises import check, exercise, prove


@exercise("ex-a", wrong=[(0, "no")])
@exercise("ex-b", wrong=[(0, "no")])
@exercise("ex-c", wrong=[(0, "no")])
def check_answer(answer):
    assert answer, "No."
```

{exercise("ex-a", "Derive", 1)}{exercise("ex-b", "Break", 2)}{exercise("ex-c", "Repair", 2)}
## Summary

## Further reading

```{{code-cell}} python3
:tags: [remove-cell, ci-check]

notebook.publish(answer=42)
prove()
assert preset == "smoke"
```
"""
SHOWN = "```{{code-cell}} python3\nimport matplotlib.pyplot as plt\n\nplt.plot([1])\nplt.show()\n```\n\n{}"
FAULTS = {
    "header: the front": ("  language: python\n---", "---"),
    "header: the front matter": ("jupytext:\n", "jupytext:\n  formats: ipynb,md\n"),
    "opening: a label": ("(ch-good)=\n", ""),
    "opening: the chapter's one question": ("**Is this a question?**", "A statement."),
    "opening: 255 words before the first control": ("```{diagram}", "word " * 250 + "\n\n```{diagram}"),
    "card: '`course`'": ("`course` b, ", ""),
    "card: 'Before this'": ("**Before this:** y. ", ""),
    "card: '{reading}`this chapter`'": ("{reading}`this chapter`", "z"),
    "card: the minutes are typed": ("{reading}`this chapter`", "{reading}`this chapter`, 20 minutes"),
    "reading: 3,097 words, at most 3,000": ("## What can", "word " * 3000 + "\n\n## What can"),
    "reading: 26 minutes, at most 25": ("## What can", "$$\nx\n$$\n\n" * 25 + "## What can"),
    "sections: the last must be": ("## What can go wrong\n\n", ""),
    "sections: the last": ("## Exercises", "## Exercises\n\n## Another"),
    "sections: there must be ['Explore', 'Experiment'] in this order, not ['Experiment']": ("## Explore", "## Play"),
    "Explore: no cell": ("explore(print, x=[1, 2]", "print(print, [1, 2]"),
    "Experiment: more": ("notebook.table(", "0\n" + "```\n\n```{code-cell} python3\n0\n" * 6 + "notebook.table("),
    "Experiment: must show one notebook.table() or a plots.dots(), not 0": ('notebook.table([{"a": 1}])', "0"),
    "Experiment: must show one notebook.table() or a plots.dots(), not 2": (
        'notebook.table([{"a": 1}])', "notebook.table([])\n```\n\n```{code-cell} python3\nnotebook.table([])"),
    "Check your understanding: no quiz": ('display_quiz("quizzes/01.json", colors="fdsp")', "display_quiz.__name__"),
    "parameters: one cell": ("[parameters]", "[hide-cell]"),
    "parameters: the cell must hold": ("seed = 0", "seed = 0\nepochs = 3"),
    "parameters: the cell": ('preset = "smoke"', 'preset = "paper"'),
    "set-up": ("[remove-cell]", "[hide-cell]"),
    "code cell 3: 18 lines, at most 15": ("explore(print", "x = [\n" + "    1,\n" * 12 + "]\nexplore(print"),
    "code cell 7: 45 lines, at most 40": ("    assert answer", "    x = 1\n" * 37 + "    assert answer"),
    "code cell 3: over 79 columns": ("explore(print", f"explore({'x' * 80}"),
    "code cell 1: unknown tags": ("[remove-cell]\n\nfrom", "[remove-cell, hidden]\n\nfrom"),
    "code cell 5: prints a sentence or a quiz below a bar": ("[remove-input]\n\nnotebook", "[hide-input]\n\nnotebook"),
    "code cell 6: prints a sentence or a quiz": ("[remove-input]\n\nfrom", "[hide-input]\n\nfrom"),
    "code cell 3: literal colour red: take": ("color=[plots.MEMBER]", 'color="red"'),
    "code cell 3: literal colour #0072b2": ("color=[plots.MEMBER]", 'ink=["#0072b2"]'),
    "code cell 3: literal colour C0": ("color=[plots.MEMBER]", 'ink="C0"'),
    "code cell 3: literal colour r--": ("explore(print, x", 'ax.plot(1, "r--")\nexplore(print, x'),
    "code cell 3: panels side by side": ("explore(print, x", "figure.subplots(1, 2)\nexplore(print, x"),
    "term 'member' stands undefined": ("**members**", "members"),
    "term 'target' stands undefined where it is first used: link it, {term}`target`: ...A target": (
        "A {term}`target`", "A target of a {term}`target`"),
    "term 'shadow model' stands undefined": ("So it is.", "A shadow-model."),
    "tasks: 1 boxes of class task, at least 2": ("class: task", "class: tip"),
    "task 'Two minutes: one': no {dropdown}": ("```{dropdown} Answer", "```{note} Answer"),
    "task 'At once': must begin": ("Two minutes: one", "At once"),
    "exercises: must be ['Derive', 'Break', 'Repair'] in this order": (exercise("ex-c", "Repair", 2), ""),
    "exercises: must be ['Derive'": ("Derive: title", "Prove: title"),
    "exercises: must stand difficulty by difficulty, not [3, 2, 2]": ("difficulty 1", "difficulty 3"),
    "exercises: ['ex-a', 'ex-b', 'ex-c'] need": ("{solution-start} ex-b", "{solution-start} ex-a"),
    "ex-a: no '*N minutes, difficulty N of 3.*'": ("*5 minutes, ", "*"),
    "ex-a: no {dropdown} Hint": ("{dropdown} Hint", "{note} Hint"),
    "ex-a: more than one question": ("What?", "What? When?"),
    "ex-a: no cell with tag starter calls check('ex-a', ...)": ("[starter]", "[hide-cell]"),
    "ex-b: no cell with tag starter": ('answer = ...\ncheck("ex-b"', 'answer = ...\ncheck("ex-a"'),
    "ex-b: its solution does not call": ('answer = 1\ncheck("ex-b"', 'answer = 1\ncheck("ex-a"'),
    "ex-c: no cell with tag checks": ('@exercise("ex-c", wrong', '@exercise("ex-d", wrong'),
    "numbers: no cell": ("publish(answer=42)", "publish()"),
    "numbers: the last cell": ("notebook.publish", "assert seed == 0\nnotebook.publish"),
    "last cell": ("assert preset", "preset"),
    "last cell: must call exercises.prove()": ("prove()\n", ""),
    "last cell: must": ("[remove-cell, ci-check]", "[hide-cell]"),
    "figure without alternative text: ![](a.png)": ("## Explore", "![](a.png)\n\n## Explore"),
    "figure without alternative text: a.png": ("## Explore", "```{figure} a.png\nCaption\n```\n\n## Explore"),
    "diagram 'none': no book/diagrams/none.svg with a <desc>": ("{diagram} game", "{diagram} none"),
    "shows a figure without": ("## At full scale", SHOWN.format("## At full scale")),
    "code cell 3:1:8: F401": ("from mialab.chapters import plots", "import os\n\nfrom mialab.chapters import plots"),
}  # fmt: skip


def test_a_chapter_by_the_template_has_no_faults():
    assert lint.faults(GOOD) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_rule_notices_its_planted_fault(fault):
    old, new = FAULTS[fault]
    assert GOOD.count(old) >= 1
    found = lint.faults(GOOD.replace(old, new, 1))
    assert any(fault in line for line in found), found


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.name)
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
        ('<svg role="img"></svg>', "drawing without alternative text"),
        ('<svg role="img" aria-labelledby="here gone"></svg>', "drawing without alternative text"),
        ('<script src="https://cdn.example/x.js"></script>', "loads from outside"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "loads from outside"),
        ('<script type="application/vnd.jupyter.widget-view+json">{}</script>', "needs a kernel"),
    ],
)
def test_each_check_of_the_pages_notices_its_planted_fault(tmp_path, body, fault):
    good = '<p id="here"><a href="other.html#there">x</a><a href="#here">y</a><img src="a.png" alt="A line."></p>'
    (tmp_path / "a.png").touch()
    (tmp_path / "other.html").write_text('<p id="there"><a href="https://elsewhere.example/">fine</a></p>')
    good += '<svg role="img" aria-labelledby="here"></svg><svg role="img" aria-label="A line."></svg><svg></svg>'
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


def test_a_field_of_a_docstring_goes_on_until_its_sentence_ends():
    lines = ["What it is.", "", "low: where it begins, which is", "(in nats) above 0.", "Raises ValueError."]
    assert mialab_book.docstring_as_text(lines) == [
        "What it is.", "", "- **low**: where it begins, which is (in nats) above 0.", "", "Raises ValueError."
    ]  # fmt: skip


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


def lay_out(root, *, toc, moved):
    """This book's settings and machinery in folder `root`, without its chapters."""
    ignored = shutil.ignore_patterns("vendor", "__pycache__")
    for folder in ("_ext", "_tools", "_static", "diagrams"):
        shutil.copytree(ROOT / "book" / folder, root / "book" / folder, ignore=ignored)
    shutil.copy(ROOT / "constraints.txt", root)
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    config["sphinx"]["config"]["moved_pages"] = moved
    (root / "_config.yml").write_text(yaml.safe_dump(config))
    (root / "_toc.yml").write_text(f"format: jb-book\n{toc}")
    (root / "book" / "references.bib").touch()


@pytest.fixture
def small_book(tmp_path):
    """A book of one chapter with this one's settings and machinery, and a package of one number."""
    lay_out(tmp_path, toc="root: book/01_one.md\n", moved={})
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


# The shapes of a chapter, built


TOC = """root: book/index
parts:
  - caption: Start
    chapters: [{file: book/00_zero.md}]
  - caption: First
    numbered: 1
    chapters: [{file: book/01_first.md}]
  - caption: Second
    numbered: 1
    chapters: [{file: book/02_second.md}]
"""
SHAPES = """
(ch-%(name)s)=
# The %(name)s

```{admonition} Card
**Reading:** {reading}`this chapter`. The other: {reading}`00_zero`.
```

```{diagram} game
:name: fig-%(name)s

The *game*.
```

$$
x
$$ (eq-%(name)s)

````{admonition} Two minutes: do it
:class: task

Do it.

```{dropdown} Answer
Done.
```
````

## Exercises

```{code-cell} python3
:tags: [remove-cell, checks]

from mialab.chapters.exercises import check, exercise


@exercise("ex-%(name)s", wrong=[(0, "no")])
def check_answer(answer):
    assert answer, "No."
```

```{exercise-start} Derive: it
:label: ex-%(name)s
```

What?

```{dropdown} Hint
Why not?
```

```{exercise-end}
```

```{code-cell} python3
:tags: [starter]

answer = ...
check("ex-%(name)s", answer)
```

````{solution-start} ex-%(name)s
:class: dropdown
````

This.

```{code-cell} python3
check("ex-%(name)s", 1)
```

````{solution-end}
````

```{code-cell} python3
:tags: [remove-input]

print("A sentence", "alone.")
```

Right in 1 %% of cases; in code, `2 %%`.

See {eq}`eq-%(name)s`, {ref}`ex-%(name)s`, {numref}`fig-%(name)s`.
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """The built pages of three chapters with everything that this book adds to Jupyter Book."""
    root = tmp_path_factory.mktemp("shapes")
    moved = {"book/01_old": ["book/01_first", "book/02_second"]}
    lay_out(root, toc=TOC, moved=moved)
    (root / "book" / "index.md").write_text("# A book\n\nIn all {reading}`01_first`.\n")
    for file, name in (("00_zero", "zero"), ("01_first", "first"), ("02_second", "second")):
        (root / "book" / f"{file}.md").write_text(HEADER + SHAPES % {"name": name})
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "-n", "--keep-going", "--quiet"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MIALAB_")}
    done = subprocess.run(
        command, cwd=root, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return root


def page(root, name):
    return (root / "_build" / "html" / "book" / f"{name}.html").read_text()


def shown(root, name):
    """The text of a page's article, blanks evened out."""
    article = re.search(r"<article.*?</article>", page(root, name), flags=re.S)[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", article))


@pytest.mark.parametrize(("name", "number"), [("00_zero", "1"), ("01_first", "1.1"), ("02_second", "2.1")])
def test_equations_exercises_and_figures_number_by_chapter_and_notebooks_agree(shapes, name, number):
    notebooks = export.export_all(shapes)
    notebook = notebooks[shapes / "book" / f"{name}.ipynb"]
    for text in (shown(shapes, name), notebook):
        assert re.search(rf"See \(\s*{number}\s*\)\s*, Exercise {number}\s*, Fig. {number}\s*\.", text), text
    assert re.search(rf"Exercise {number}\s*\( ?Derive: it", shown(shapes, name))
    assert f"**Exercise {number} (Derive: it)**" in notebook
    assert f"Fig. {number} The game ." in shown(shapes, name) and f"**Fig. {number}** The *game*." in notebook


def test_the_card_shows_the_computed_minutes(shapes):
    assert "Reading: about 2 minutes. The other: about 2 minutes." in shown(shapes, "01_first")
    assert "In all about 2 minutes." in shown(shapes, "index")


def test_a_diagram_is_part_of_the_page_with_its_alternative_text(shapes):
    article = page(shapes, "01_first")
    assert '<svg xmlns="http://www.w3.org/2000/svg"' in article and "<?xml" not in article
    labels = re.search(r'aria-labelledby="([^"]+)"', article[article.index("<svg xmlns") :])[1].split()
    assert len(labels) == 2 and all(f'id="{label}"' in article for label in labels)


def test_a_starter_says_that_nothing_is_there_and_a_solution_that_it_is_right(shapes):
    said = shown(shapes, "01_first")
    assert said.index(exercises.NOTHING) < said.index("This.") < said.index(exercises.RIGHT)


def test_a_sentence_stands_without_code_or_bar_and_checks_are_hidden(shapes):
    article = page(shapes, "01_first")
    assert "A sentence alone." in shown(shapes, "01_first") and "Show code cell" not in article
    assert "check_answer" not in article


def test_a_number_and_its_per_cent_sign_stay_together_but_code_is_as_typed(shapes):
    text = page(shapes, "01_first")
    assert "Right in 1\u00a0% of cases" in text and "2\u00a0%" not in text


def test_an_old_address_leads_to_the_page_that_has_the_place_asked_for(shapes):
    old = page(shapes, "01_old")
    places = json.loads(re.search(r"const places = (\{.*?\});", old)[1])
    assert {places[place] for place in ("ex-second", "equation-eq-second", "ch-second")} == {"02_second.html"}
    assert "ex-first" not in places and 'location.replace((places[place] || "01_first.html")' in old
    assert 'content="0; url=01_first.html"' in old
    assert '<a href="01_first.html">The first</a>, <a href="02_second.html">The second</a>' in old
    assert not [fault for fault in built.faults(shapes / "_build" / "html") if "01_old" in fault]


def test_the_machinery_refuses_what_does_not_exist(shapes, tmp_path):
    shutil.copytree(shapes, tmp_path / "book2", ignore=shutil.ignore_patterns("_build"))
    root = tmp_path / "book2"
    config = yaml.safe_load((root / "_config.yml").read_text())
    config["sphinx"]["config"]["moved_pages"] = {"book/gone": ["book/nowhere"]}
    (root / "_config.yml").write_text(yaml.safe_dump(config))
    (root / "book" / "index.md").write_text("# A book\n\n{reading}`09_none`\n\n```{diagram} none\nCaption\n```\n")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "--keep-going", "--quiet"]
    done = subprocess.run(command, cwd=root, env=dict(os.environ, PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    assert done.returncode != 0
    for complaint in ("no chapter '09_none'", "no book/diagrams/none.svg", "book/gone leads to book/nowhere"):
        assert complaint in done.stderr


# What does not need a build


def test_an_old_page_that_still_exists_is_left_alone(tmp_path):
    config = SimpleNamespace(moved_pages={"book/old": ["book/new"]})
    env = SimpleNamespace(found_docs={"book/old"})
    app = SimpleNamespace(config=config, env=env, outdir=tmp_path, builder=SimpleNamespace(format="html"))
    moved.write_moved_pages(app, None)
    assert list(tmp_path.iterdir()) == []


def test_the_diagrams_are_as_drawn():
    assert diagrams.main(["--check"]) == 0
    assert {path.stem for path in (ROOT / "book" / "diagrams").glob("*.svg")} == set(diagrams.DRAWINGS)


@pytest.mark.parametrize("name", diagrams.DRAWINGS)
def test_a_diagram_is_legible_on_a_phone_and_follows_light_and_dark(name):
    svg = diagrams.drawn(name)
    root = ElementTree.fromstring(svg)
    assert root.get("viewBox").split()[2] == "360"
    sizes = [float(each.get("font-size")) for each in root.iter() if each.get("font-size")]
    assert min(sizes) >= 12  # of 360, and a phone is 390 wide
    inks = {each.get(side) for each in root.iter() for side in ("fill", "stroke")}
    assert inks <= {None, "none", "currentColor", plots.MEMBER, plots.NONMEMBER}
    title, description = root[0].text, root[1].text
    assert title and len(description.split()) > 20


@pytest.mark.parametrize(
    ("text", "words", "formulas"),
    [
        ("# A title\n\nThree more words.", 5, 0),
        ("(sec-x)=\n## One\n% a remark\n+++\ntwo", 2, 0),
        ("A {term}`shadow model <shadow model>` is {cite}`a,b` by {doc}`x` $a + b$ and `x = 1`.", 10, 0),
        ("| a | b |\n|---|---|\n| c d | – |", 4, 0),
        ("$$\nx\n$$ (eq-x)\n\nso $$y$$ it\n\n```{math}\nz\n```", 2, 3),
        ("[two words](a/b.md) ![alt text](a.png)", 2, 0),
        ("```{figure} a.png\n:alt: not this\n\nBut this\n```", 2, 0),
        ("```{admonition} A title\n:class: tip\n\nand text\n```", 4, 0),
        ("one\n\n```{dropdown} Hint\nnot this\n```\n\n```{admonition} No\n:class: dropdown\nno\n```", 1, 0),
        ("one\n\n```{solution-start} ex-a\n:class: dropdown\n```\nno\n\n```{code-cell} python3\nsay('no')\n```\n\n"
         "no\n\n```{solution-end}\n```\n\ntwo", 2, 0),
        ("```{code-cell} python3\nx = 'no'\n```\n\n```python\nno no\n```\n\n    no: but indented text is text", 6, 0),
        ('```{code-cell} python3\n:tags: [remove-input]\n\nnotebook.say(f"It is {x:.1%} of {y}.")\n```', 5, 0),
        ("```{code-cell} python3\n---\ntags: [hide-cell]\n---\nnotebook.say('folded words')\n```", 0, 0),
        ("```{code-cell} python3\n:tags: [remove-cell]\n\nnotebook.say('no words')\n```", 0, 0),
    ],
)  # fmt: skip
def test_words_and_formulas_are_counted_as_a_reader_sees_them(text, words, formulas):
    assert reading.reading(text) == reading.Reading(words, formulas)


@pytest.mark.parametrize(
    ("words", "formulas", "minutes"), [(0, 0, 0), (1, 0, 1), (200, 0, 1), (201, 0, 2), (3000, 10, 25), (3001, 10, 26)]
)
def test_minutes_are_200_words_or_one_formula_each_rounded_up(words, formulas, minutes):
    assert reading.Reading(words, formulas).minutes == minutes


def test_the_table_tells_words_minutes_and_visible_lines(tmp_path, capsys):
    (tmp_path / "01_good.md").write_text(GOOD)
    assert lint.main(["--table", str(tmp_path / "01_good.md")]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["chapter", "words", "formulas", "minutes"]
    assert line.split()[:4] == ["01_good", "97", "0", "1"]


def test_the_linter_prints_faults_and_fails(tmp_path, capsys):
    (tmp_path / "01_bad.md").write_text(GOOD.replace("## Summary\n", ""))
    assert lint.main([str(tmp_path / "01_bad.md")]) == 1
    assert "01_bad.md: sections" in capsys.readouterr().out


def test_every_name_on_the_way_of_one_number_can_be_opened():
    text = (ROOT / "book" / "appendix" / "one_number.md").read_text()
    names = set(re.findall(r"`(mialab(?:\.\w+)+)`", text))
    assert len(names) > 25
    for name in names:
        assert opened(name) is not None, name


def opened(name):
    """The module, function, class or method of a dotted name."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            found = importlib.import_module(".".join(parts[:cut]))
            for part in parts[cut:]:
                found = getattr(found, part)
            return found
    return None
