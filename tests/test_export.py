"""Chapters as notebooks: the same to the last byte, plain Markdown, nothing lost."""

import base64
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from chapter_cases import HEADER

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_tools"))

import export  # noqa: E402
import plain  # noqa: E402

OTHER = HEADER + "\n(ch-other)=\n# The other chapter\n\n(sec-far)=\n## Far away\n"
REFERENCES = "# References\n\n```{bibliography}\n```\n"
BIB = """
@article{one, author = {Ada Lovelace}, title = {Notes}, year = {1843}}
@article{two, author = {Erd{\\H o}s, Paul and R{\\'e}nyi, Alfr{\\'e}d}, title = {Graphs}, year = {1959}}
@article{many, author = {A B and C D and E F}, title = {Many}, year = {2000}}
"""
CONFIG = """title: A book
repository: {url: "https://github.com/someone/else", branch: trunk}
html: {baseurl: "https://someone.example/book"}
"""
PAGE = "https://someone.example/book/book"


@pytest.fixture
def book(tmp_path):
    """A small book; the returned function writes its chapter 01 and exports it."""
    (tmp_path / "book" / "appendix").mkdir(parents=True)
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "book" / "02_other.md").write_text(OTHER)
    (tmp_path / "book" / "appendix" / "references.md").write_text(REFERENCES)
    (tmp_path / "book" / "references.bib").write_text(BIB, encoding="utf-8")

    def exported(body):
        (tmp_path / "book" / "01_one.md").write_text(HEADER + "\n# One\n\n" + body, encoding="utf-8")
        return nbformat.reads(export.export_all(tmp_path)[tmp_path / "book" / "01_one.ipynb"], as_version=4)

    exported.root = tmp_path
    return exported


def words(notebook):
    """The Markdown of the chapter itself."""
    cells = [cell.source for cell in notebook.cells[1:] if cell.cell_type == "markdown"]
    return "\n\n".join(cells).removeprefix("# One").strip()


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("See {cite}`one`.", f"See ([Lovelace, 1843]({PAGE}/appendix/references.html))."),
        ("{cite:t}`many` say", f"[B et al. (2000)]({PAGE}/appendix/references.html) say"),
        ("{cite}`one,many`", f"([Lovelace, 1843; B et al., 2000]({PAGE}/appendix/references.html))"),
        ("{cite}`two`", f"([Erdős and Rényi, 1959]({PAGE}/appendix/references.html))"),
        ("{doc}`02_other`", f"[The other chapter]({PAGE}/02_other.html)"),
        ("{doc}`that one <02_other>`", f"[that one]({PAGE}/02_other.html)"),
        ("{ref}`sec-far`", f"[Far away]({PAGE}/02_other.html#sec-far)"),
        ("[](#sec-far)", f"[Far away]({PAGE}/02_other.html#sec-far)"),
        ("[there](02_other.md#sec-far)", f"[there]({PAGE}/02_other.html#sec-far)"),
        ("{term}`shadow models\n<shadow model>`", "shadow models"),
        ("{term}`AUC`", "AUC"),
        ("H{sub}`2`O", "H<sub>2</sub>O"),
        ("(sec-here)=\n## Here\n\nsee {ref}`sec-here`", "## Here\n\nsee Here"),
        ("% a remark\nText", "Text"),
        ("$$\na\n$$ (eq-a)\n\nBy {eq}`eq-a`.", "$$\na \\tag{1.1}\n$$\n\nBy (1.1)."),
        ("```{note}\nText\n```", "> **Note**\n>\n> Text"),
        (":::{admonition} A *title*\n:class: tip\n\n- item\n:::", "> **A *title***\n>\n> - item"),
        ("```{dropdown} More\nText\n```", "<details>\n<summary>More</summary>\n\nText\n\n</details>"),
        ("```{prf:theorem} Name\n:label: thm\n\n$x$\n```", "> **Theorem (Name)**\n>\n> $x$"),
        ("```{prf:proof}\nClear.\n```", "> **Proof**\n>\n> Clear."),
        ("````{tab-set}\n```{tab-item} Laptop\nText\n```\n````", "> **Laptop**\n>\n> Text"),
        ("```{math}\n:label: eq-b\nx\n```", "$$\nx\n$$"),
        (
            "```{figure} img/a.png\n:alt: Two lines.\n\nA caption.\n```",
            "![Two lines.](https://github.com/someone/else/raw/trunk/book/img/a.png)\n\nA caption.",
        ),
        ("```{code-block} python\n:caption: x\na = '{ref}`b`'\n```", "```python\na = '{ref}`b`'\n```"),
        ("```python\n{ref}`untouched`\n```", "```python\n{ref}`untouched`\n```"),
        ("`{ref}` and ``{cite}`x` ``", "`{ref}` and ``{cite}`x` ``"),
        ("${{a}}_{b}$", "${{a}}_{b}$"),
        ("costs $5 and `$x$`", "costs $5 and `$x$`"),
    ],
)
def test_myst_becomes_plain_markdown(book, source, wanted):
    assert words(book(source)) == wanted


def test_boxes_within_boxes_are_quoted_twice(book):
    source = "`````{note}\nOuter\n\n````{exercise} Name\n:label: ex-a\n\n```{tip}\nInner\n```\n````\n`````"
    found = words(book(source))
    assert "> Outer" in found
    assert "> > **Exercise 1.1 (Name)**" in found
    assert "> > > Inner" in found


def test_exercises_and_equations_are_numbered_by_chapter_and_those_of_chapter_00_have_no_chapters_number(book):
    body = "\n```{exercise} Name\n:label: ex-%d\nx\n```\n\n$$\na\n$$ (eq-%d)\n"
    (book.root / "book" / "00_zero.md").write_text(HEADER + "\n# Zero\n" + body % (0, 0))
    (book.root / "book" / "12_twelve.md").write_text(HEADER + "\n# Twelve\n" + body % (12, 12))
    found = words(book(body % (1, 1) + body % (2, 2) + "\n{ref}`ex-0`, {eq}`eq-0`, {ref}`ex-12`, {eq}`eq-12`"))
    assert "**Exercise 1.1 (Name)**" in found and "**Exercise 1.2 (Name)**" in found
    assert "\\tag{1.1}" in found and "\\tag{1.2}" in found
    assert re.sub(r"\]\([^)]*\)", "]", found.splitlines()[-1]) == "[Exercise 1], [(1)], [Exercise 12.1], [(12.1)]"


def test_a_diagram_travels_inside_the_notebook_with_its_text_number_and_caption(book):
    (book.root / "book" / "diagrams").mkdir()
    drawing = '<svg xmlns="http://www.w3.org/2000/svg"><desc id="d">Two "dots".</desc></svg>'
    (book.root / "book" / "diagrams" / "dots.svg").write_text(drawing)
    found = words(book("```{diagram} dots\n:name: fig-dots\n\nThe *dots*.\n```\n\nSee {numref}`fig-dots`."))
    picture, caption, reference = found.split("\n\n")
    assert picture.startswith('<img alt="Two &quot;dots&quot;." width="480" src="data:image/svg+xml;base64,')
    inside = base64.b64decode(picture.split("base64,")[1].removesuffix('">')).decode()
    assert "background: #fff" in inside and inside.endswith(drawing.removeprefix("<svg "))
    assert (caption, reference) == ("**Fig. 1.1** The *dots*.", "See Fig. 1.1.")
    with pytest.raises(plain.ExportError, match="no diagram book/diagrams/none.svg"):
        book("```{diagram} none\nCaption\n```")


def test_the_card_says_the_computed_minutes(book):
    assert words(book("word " * 700 + "\n\n{reading}`this chapter`")).endswith("about 4 minutes")
    (book.root / "book" / "03_long.md").write_text(HEADER + "\n# Long\n\n" + "word " * 1999)
    assert words(book("{reading}`03_long`")) == "about 10 minutes"


def test_what_the_page_hides_is_folded_in_the_notebook(book):
    found = book(cell("parameters", "seed = 0") + cell("remove-input", "say(1)") + cell("remove-cell, checks", "x = 1"))
    assert code(found)[-2:] == ["# @title Sentence\nsay(1)", "# @title Checks of the exercises\nx = 1"]
    assert all(c.metadata["jupyter"]["source_hidden"] for c in found.cells[-2:])


SOLVED = (
    "Before\n\n````{solution-start} ex-a\n:class: dropdown\n````\n\n"
    "Secret\n\n```{code-cell} python3\nsecret = 1\n```\n\n"
    "More\n\n````{solution-end}\n````\n\nBetween\n\n```{solution} ex-b\nSecret\n```\n\nAfter\n"
)


def test_the_student_edition_has_no_solutions_and_leaves_the_notebooks_beside_the_chapters_alone(book, capsys):
    book("Text")
    export.main([], book.root)
    exercises = "".join(f"```{{exercise}} {x}\n:label: ex-{x}\nAsked\n```\n\n" for x in "ab")
    (book.root / "book" / "01_one.md").write_text(HEADER + "\n# One\n\n" + exercises + SOLVED)
    before = (book.root / "book" / "01_one.ipynb").read_text()
    assert export.main(["--edition", "student"], book.root) == 0
    text = (book.root / "_build" / "student" / "01_one.ipynb").read_text()
    assert "ecret" not in text and "solution" not in text.lower() and text.count("Asked") == 2
    assert [x in text for x in ("Before", "Between", "After", "More")] == [True, True, True, False]
    assert (book.root / "book" / "01_one.ipynb").read_text() == before
    assert sorted(path.name for path in (book.root / "_build" / "student").iterdir()) == [
        "01_one.ipynb",
        "02_other.ipynb",
    ]


def test_solutions_are_folded_and_keep_their_code(book):
    source = (
        "```{exercise-start} Count\n:label: ex-a\n```\nHow many?\n```{exercise-end}\n```\n\n"
        "```{solution-start} ex-a\n:class: dropdown\n```\nOne.\n\n```{code-cell} python3\n1 + 0\n```\n\n"
        "So it is.\n\n```{solution-end}\n```\n\nSee {ref}`ex-a`."
    )
    notebook = book(source)
    found = words(notebook)
    assert "> **Exercise 1.1 (Count)**\n>\n> How many?\n" in found
    assert "<details>\n<summary>Solution of Exercise 1.1</summary>\n\nOne.\n\n</details>" in found
    assert found.endswith("So it is.\n\nSee Exercise 1.1.")
    assert code(notebook)[-1] == "# @title Solution\n1 + 0"
    assert notebook.cells[-2].metadata == {"cellView": "form", "jupyter": {"source_hidden": True}}


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("```{mystery} x\ny\n```", "mystery"),
        ("{mystery}`x`", "mystery"),
        ("{ref}`nowhere`", "nowhere"),
        ("{doc}`nowhere`", "nowhere"),
        ("{cite}`nobody`", "nobody"),
        ("{{ substitution }}", "substitution"),
    ],
)
def test_what_has_no_plain_form_or_no_target_is_an_error_and_never_a_leak(book, source, complaint):
    with pytest.raises(plain.ExportError, match=complaint):
        book(source)


def cell(tags, source):
    return f"```{{code-cell}} python3\n:tags: [{tags}]\n\n{source}\n```\n\n"


def test_only_the_hidden_set_up_survives_of_the_hidden_cells(book):
    notebook = book(
        cell("remove-cell", "setup = 1")
        + cell("parameters", 'preset = "smoke"\nseed = 0')
        + cell("remove-cell", "hidden = 2")
        + cell("hide-input", "shown = 3")
        + cell("remove-cell, ci-check", "assert False")
    )
    sources = "\n".join(code(notebook))
    assert "setup = 1" in sources and "shown = 3" in sources
    assert "hidden" not in sources and "assert" not in sources


def test_parameters_become_a_form_on_colab_and_stay_parameters_for_papermill(book):
    notebook = book(cell("parameters", 'preset = "smoke"\nseed = 0'))
    found = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    assert found.source.splitlines() == [
        'preset = "smoke"  # @param ["smoke", "course", "paper"]',
        'seed = 0  # @param {"type":"integer"}',
    ]


def test_the_presets_offered_are_those_of_the_experiments():
    from mialab import experiments

    assert set(export.PRESETS) == set(experiments.PRESETS)


def test_the_first_cells_lead_to_the_page_and_install_on_colab_only(book):
    notebook = book("Text")
    assert f"({PAGE}/01_one.html)" in notebook.cells[0].source
    assert notebook.cells[1].source.splitlines() == [
        "import sys",
        "",
        'if "google.colab" in sys.modules:',
        '    %pip install -q --no-deps "mialab @ git+https://github.com/someone/else@trunk" jupyterquiz',
    ]


def test_a_chapter_that_names_an_extra_installs_it_on_colab(book):
    (book.root / "pyproject.toml").write_text('[project.optional-dependencies]\ndp = ["opacus>=1"]\n')
    notebook = book("It needs Opacus: `pip install 'mialab[dp]'`.")
    assert notebook.cells[1].source.splitlines()[-1] == '    %pip install -q "opacus>=1"'
    with pytest.raises(plain.ExportError, match="'none' does not stand"):
        book("`pip install 'mialab[none]'`")


def test_a_quiz_travels_inside_the_notebook(book):
    (book.root / "book" / "quizzes").mkdir()
    (book.root / "book" / "quizzes" / "01.json").write_text('[{"question": "Is it \\"so\\"?", "correct": true}]')
    notebook = book("Text\n\n" + cell("hide-input", 'display_quiz("quizzes/01.json", colors="fdsp")'))
    shown = []
    exec(notebook.cells[-1].source, {"display_quiz": lambda quiz, colors: shown.append((quiz, colors))})
    assert shown == [([{"question": 'Is it "so"?', "correct": True}], "fdsp")]
    with pytest.raises(plain.ExportError, match="none.json"):
        book("Text\n\n" + cell("hide-input", 'display_quiz("quizzes/none.json")'))


def test_a_release_installs_itself(book):
    book("Text")
    text = export.export_all(book.root, ref="v1")[book.root / "book" / "01_one.ipynb"]
    assert "someone/else@v1" in text and "trunk" not in text


def test_the_notebook_is_valid_says_its_language_and_asks_colab_for_a_gpu(book):
    notebook = book("Text\n\n```{code-cell} python3\n1\n```\n")
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec == {"name": "python3", "display_name": "Python 3", "language": "python"}
    assert notebook.metadata.accelerator == "GPU" and "jupytext" not in notebook.metadata
    assert all(not c.get("outputs") for c in notebook.cells)
    assert len({c.id for c in notebook.cells}) == len(notebook.cells)


def test_two_exports_agree_to_the_last_byte(book):
    book("Text")
    assert export.export_all(book.root) == export.export_all(book.root)


def test_check_finds_a_notebook_that_is_stale_missing_or_orphaned(book, capsys):
    book("Text")
    assert export.main(["--check"], book.root) == 1  # missing
    assert export.main([], book.root) == 0 == export.main(["--check"], book.root)
    chapter = book.root / "book" / "01_one.md"
    chapter.write_text(chapter.read_text() + "More.\n")
    assert export.main(["--check"], book.root) == 1  # stale
    assert "run `make notebooks`" in capsys.readouterr().err
    export.main([], book.root)
    shutil.copy(book.root / "book" / "01_one.ipynb", book.root / "book" / "09_gone.ipynb")
    assert export.main(["--check"], book.root) == 1
    assert (book.root / "book" / "09_gone.ipynb").exists()  # somebody's file is reported, not deleted


# The real book

NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
LEAKS = re.compile(
    r"^\([\w-]+\)=$|^[> ]*(?:`{3,}|:{3,})\{|\{[\w:-]+\}`|^:\w+:|\$\$ \([\w-]+\)|\{\{|\]\(#|\]\([^):]*\.md|^% ",
    flags=re.M,
)


def test_every_notebook_is_in_step_with_its_chapter():
    assert NOTEBOOKS
    assert export.main(["--check"]) == 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_no_myst_leaks_into_the_notebook(path):
    for found in nbformat.read(path, as_version=4).cells:
        if found.cell_type == "markdown":
            assert not LEAKS.search(found.source), found.source


@pytest.mark.parametrize("planted", ["(sec-x)=", "see {ref}`x`", "```{note}", "$$ (eq-x)", "[x](a.md)", "{{ x }}"])
def test_the_audit_would_notice(planted):
    assert LEAKS.search(f"Text\n{planted}\n") and plain.leaks(f"Text\n{planted}\n")


def test_links_of_the_notebooks_lead_to_places_that_exist_on_the_built_pages():
    html = Path(os.environ.get("MIALAB_HTML", ROOT / "_build" / "html"))
    if not html.is_dir():
        pytest.skip(f"no built book in {html}: make book")
    pages = export.read_site().pages
    for path in NOTEBOOKS:
        for name, anchor in re.findall(re.escape(pages) + r"([\w/.-]+\.html)(?:#([\w-]+))?", path.read_text()):
            text = (html / name).read_text()
            assert not anchor or f'id="{anchor}"' in text, f"{path.name}: {name}#{anchor}"
