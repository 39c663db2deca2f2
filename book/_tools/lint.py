"""Does each chapter keep to the template? Print every fault and exit 1 if there is one.

    python book/_tools/lint.py [CHAPTER.md ...]
    python book/_tools/lint.py --table [CHAPTER.md ...]     words, minutes and visible lines of code instead

How words and minutes are counted is said in reading.py.
"""

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import reading
import yaml
from reading import Piece

BOOK = Path(__file__).resolve().parents[1]
HEADER = {
    "jupytext": {"text_representation": {"extension": ".md", "format_name": "myst"}},
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
}
# In this order; sections with other titles stand between them as the chapter's idea asks, but none among the last five.
SECTIONS = ["Explore", "Experiment"]
LAST_SECTIONS = ["What can go wrong", "Check your understanding", "Exercises", "Summary", "Further reading"]
CARD = ("You will be able to", "Before this", "{reading}`this chapter`", "Running")
PRESETS = ("`smoke`", "`course`", "`paper`")  # the card gives the time of each, or says "every preset"
MAX_WORDS, MAX_MINUTES, MAX_WORDS_BEFORE_DOING = 3000, 25, 250
MAX_LINES, MAX_HIDDEN_LINES, MAX_COLUMNS, MAX_EXPERIMENT_CELLS = 15, 40, 79, 6
MIN_TASKS, KINDS = 2, ["Derive", "Break", "Repair"]
HIDDEN = {"remove-cell", "remove-input", "hide-input", "hide-cell"}
TAGS = HIDDEN | {"ci-check", "checks", "starter", "parameters", "hide-output", "raises-exception"}
CONTROL = re.compile(r"\b(?:explore|play)\(")
SHOWS = re.compile(r"\b(?:plt\.show|notebook\.table|explore|play|display|pictures)\(")
RULES = ["--select", "E,F,W,I,B,UP", "--ignore", "B905", "--line-length", str(MAX_COLUMNS)]
# Terms of the glossary that are everyday words as well: a program cannot tell which one is meant.
EVERYDAY = {"cell", "course", "evaluated", "gain", "known", "level", "paper", "precision", "preset", "smoke"}


def faults(text: str) -> list[str]:
    """Everything in the chapter's text that breaks the template; an empty list if nothing does."""
    if problem := header_faults(text):
        return problem  # without a right header the rest cannot be read
    notebook = jupytext.reads(text, fmt="md:myst")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    pieces = reading.pieces(text)
    parts = sections(notebook)
    return [
        *opening_faults(text),
        *reading_faults(text, pieces),
        *section_faults(parts),
        *parameter_faults(cells),
        *cell_faults(cells),
        *sentence_faults(cells),
        *color_faults(cells),
        *term_faults(pieces, terms()),
        *task_faults(text),
        *exercise_faults(text, cells),
        *published_faults(cells),
        *last_cell_faults(notebook),
        *figure_faults(text, cells),
        *ruff_faults(cells),
    ]


def header_faults(text: str) -> list[str]:
    """The front matter must be exactly HEADER: Jupyter Book crashes without it, and a pairing would be written back."""
    front = re.match(r"---\n(.*?)\n---\n", text, flags=re.S)
    header = yaml.safe_load(front[1]) if front else None
    return [] if header == HEADER else [f"header: the front matter must be {HEADER}, not {header}"]


def opening_faults(text: str) -> list[str]:
    opening = text.split("\n## ")[0]
    found = []
    if not re.search(r"^\(ch-[\w-]+\)=\n# \S", opening, flags=re.M):
        found.append("opening: a label (ch-...)= and directly below it the title are missing")
    if not re.search(r"^\*\*[^*]+\?\*\*$", opening, flags=re.M):
        found.append("opening: the chapter's one question, bold and in a paragraph of its own, is missing")
    wanted = CARD if "every preset" in opening else CARD + PRESETS
    missing = [word for word in wanted if word not in opening]
    return found + [f"card: {word!r} is missing" for word in missing]


def reading_faults(text: str, pieces: list[Piece]) -> list[str]:
    """A teaching hour at most, and something to do, or a picture to look at, within the first screen."""
    found, whole = [], reading.reading(text)
    if whole.words > MAX_WORDS:
        found.append(f"reading: {whole.words:,} words, at most {MAX_WORDS:,}")
    if whole.minutes > MAX_MINUTES:
        found.append(f"reading: {whole.minutes} minutes, at most {MAX_MINUTES}")
    if re.search(r"\*\*Reading:\*\*[^\n]*\d", text):
        found.append("card: the minutes are typed; write {reading}`this chapter`, which computes them")
    before = 0
    for piece in pieces:
        if piece.kind in ("picture", "task") or piece.kind == "code" and SHOWS.search(piece.source):
            break
        before += len(reading.words(piece.source)) if piece.kind not in ("code", "formula") else 0
    if before > MAX_WORDS_BEFORE_DOING:
        found.append(f"opening: {before} words before the first control, task or picture, at most 250")
    return found


def sections(notebook) -> dict[str, list]:
    """Cells by the level-two heading that they stand under ("" before the first)."""
    parts, current = {"": []}, ""
    for cell in notebook.cells:
        headings = re.findall(r"^## (.+)$", cell.source, flags=re.M) if cell.cell_type == "markdown" else []
        for heading in headings:
            current = heading.strip()
            parts[current] = []
        parts[current].append(cell)
    return parts


def section_faults(parts: dict[str, list]) -> list[str]:
    found = []
    names = [name for name in parts if name]
    if names[-len(LAST_SECTIONS) :] != LAST_SECTIONS:
        found.append(f"sections: the last must be {LAST_SECTIONS}, not {names[-len(LAST_SECTIONS) :]}")
    if (core := [name for name in names if name in SECTIONS]) != SECTIONS:
        found.append(f"sections: there must be {SECTIONS} in this order, not {core}")
    code = {name: [c.source for c in cells if c.cell_type == "code"] for name, cells in parts.items()}
    if not any(CONTROL.search(source) for source in code.get("Explore", [])):
        found.append("Explore: no cell calls explore() or play()")
    if len(code.get("Experiment", [])) > MAX_EXPERIMENT_CELLS:
        found.append(f"Experiment: more than {MAX_EXPERIMENT_CELLS} cells")
    tables, dots = (sum(call in x for x in code.get("Experiment", [])) for call in ("notebook.table(", "plots.dots("))
    if tables > 1 or tables + dots == 0:
        found.append(f"Experiment: must show one notebook.table() or a plots.dots(), not {tables} and {dots}")
    if not any("display_quiz(" in source for source in code.get("Check your understanding", [])):
        found.append("Check your understanding: no quiz")
    return found


def parameter_faults(cells: list) -> list[str]:
    """One parameters cell with nothing but the preset `smoke` and a whole seed; the hidden set-up stands before it."""
    tags = [set(cell.metadata.get("tags", [])) for cell in cells]
    places = [index for index, found in enumerate(tags) if "parameters" in found]
    if len(places) != 1:
        return [f"parameters: one cell must have the tag, not {len(places)}"]
    values = {}
    for node in ast.parse(cells[places[0]].source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            values[node.targets[0].id] = node.value.value
        else:
            values[ast.unparse(node)] = None
    found = []
    if list(values) != ["preset", "seed"] or values["preset"] != "smoke" or not isinstance(values["seed"], int):
        found.append('parameters: the cell must hold preset = "smoke" and seed = 0, nothing else')
    before = list(zip(cells, tags, strict=True))[: places[0]]
    if not any("notebook.setup()" in cell.source and "remove-cell" in found for cell, found in before):
        found.append("set-up: no cell with tag remove-cell calls notebook.setup() before the parameters")
    return found


def cell_faults(cells: list) -> list[str]:
    found = []
    for number, cell in enumerate(cells, 1):
        lines, tags = cell.source.split("\n"), tags_of(cell)
        most = MAX_HIDDEN_LINES if tags & HIDDEN else MAX_LINES
        if len(lines) > most:
            found.append(f"code cell {number}: {len(lines)} lines, at most {most}: {lines[0]}")
        found += [f"code cell {number}: over {MAX_COLUMNS} columns: {x}" for x in lines if len(x) > MAX_COLUMNS]
        if unknown := tags - TAGS:
            found.append(f"code cell {number}: unknown tags {sorted(unknown)}; known are {sorted(TAGS)}")
    return found


def tags_of(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def sentence_faults(cells: list) -> list[str]:
    """A cell whose code is folded shows a bar: worth it above a figure, not above a sentence or a quiz."""
    return [
        f"code cell {number}: prints a sentence or a quiz below a bar; its tag must be remove-input, not hide-input"
        for number, cell in enumerate(cells, 1)
        if "hide-input" in tags_of(cell)
        and not SHOWS.search(cell.source)
        and re.search(r"\b(?:say|print|display_quiz|banner)\(", cell.source)
    ]


def color_faults(cells: list) -> list[str]:
    """Colours come from mialab.chapters.plots, and panels stack, in which a phone can show them."""
    found = []
    for number, cell in enumerate(cells, 1):
        found += [f"code cell {number}: literal colour {x}: take plots.color(...)" for x in literal_colors(cell.source)]
        if re.search(r"subplots\(\s*1\s*,\s*[2-9]|ncols\s*=\s*[2-9]", cell.source):
            found.append(
                f"code cell {number}: panels side by side are too small on a phone: plots.panels(2) stacks them"
            )
    return found


def literal_colors(source: str) -> list[str]:
    """The colours that stand in the code itself: hexadecimal, of matplotlib's cycle, or by name or format string."""
    tree = ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.M))
    quizzes = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and "quiz" in ast.unparse(node.func)]
    for quiz in quizzes:
        quiz.keywords = []  # its colours are those of jupyterquiz
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found = [text.value for text in texts if re.fullmatch(r"#[0-9a-fA-F]{3,8}|C\d|(?:tab|xkcd):.+", text.value)]
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and re.search(r"(?:^c|color|colors|cmap)$", node.arg or ""):
            named = [x.value for x in ast.walk(node.value) if isinstance(x, ast.Constant) and isinstance(x.value, str)]
            inside_call = any(isinstance(x, ast.Call | ast.Subscript) for x in ast.walk(node.value))
            found += [] if inside_call else [x for x in named if x != "none" and x not in found]
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".plot"):
            formats = [x.value for x in node.args if isinstance(x, ast.Constant) and isinstance(x.value, str)]
            found += [x for x in formats if re.search(r"[bgrcmykw]", x)]
    return found


def terms(glossary: Path = BOOK / "appendix" / "glossary.md") -> list[str]:
    """The glossary's terms, in lower case."""
    body = re.search(r"^```\{glossary\}\n(.*?)^```", glossary.read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = [line for line in body[1].split("\n") if re.match(r"\S", line)]
    return [term.strip().lower() for line in lines for term in line.split(",")]


def term_faults(pieces: list[Piece], known: list[str]) -> list[str]:
    """Where a term first stands in running text it is linked to the glossary, or defined in bold."""
    prose = "\n\n".join(piece.source for piece in pieces if piece.kind in ("text", "say"))
    prose = re.sub(r"^\*\*[^*]+\?\*\*$", "", prose, flags=re.M)  # the chapter's question is no definition
    silent = r"(`+)(?!`).+?(?<!`)\1|(?<![\\\w$])\$[^$]+?\$|\]\([^)]*\)"
    marked = [(m.start(), m.end()) for m in re.finditer(r"\{term\}`[^`]*`|\*\*.+?\*\*", prose, flags=re.S)]
    plain = re.sub(
        rf"\{{term\}}`[^`]*`|\{{[\w:]+\}}`[^`]*`|{silent}",
        lambda m: m[0] if m[0].startswith("{term}") else " " * len(m[0]),
        prose,
        flags=re.S,
    )
    found = []
    for term in known:
        words = r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", term)))
        first = None if term in EVERYDAY else re.search(rf"(?<![\w-]){words}s?(?![\w-])", plain, flags=re.I)
        if first and not any(start <= first.start() < end for start, end in marked):
            around = " ".join(plain[max(0, first.start() - 25) : first.end() + 15].split())
            found.append(
                f"term {term!r} stands undefined where it is first used: link it, {{term}}`{term}`: ...{around}..."
            )
    return found


def task_faults(text: str) -> list[str]:
    """Things to do in two minutes, each with its answer folded."""
    before = text.split("\n## Exercises")[0]
    tasks = re.findall(r"^(`{3,}|:{3,})\{admonition\} ([^\n]*)\n:class: task\n(.*?)^\1 *$", before, flags=re.M | re.S)
    found = [] if len(tasks) >= MIN_TASKS else [f"tasks: {len(tasks)} boxes of class task, at least {MIN_TASKS}"]
    found += [
        f"task {title!r}: no {{dropdown}} with its answer" for _, title, body in tasks if "{dropdown}" not in body
    ]
    return found + [
        f"task {title!r}: must begin 'Two minutes: '" for _, title, _ in tasks if title[:13] != "Two minutes: "
    ]


def exercise_faults(text: str, cells: list) -> list[str]:
    """Derive, break, repair: each with minutes, difficulty, one question, hint, starter, check and solution."""
    exercises = re.findall(r"^`{3,}\{exercise(?:-start)?\} ?([^\n]*)\n:label: ([\w-]+)", text, flags=re.M)
    labels = [label for _, label in exercises]
    solutions = re.findall(r"^`{3,}\{solution(?:-start)?\} ([\w-]+)", text, flags=re.M)
    found = []
    if labels != solutions:
        found.append(f"exercises: {labels} need solutions in the same order, not {solutions}")
    if [title.split(":")[0] for title, _ in exercises] != KINDS:
        found.append(
            f"exercises: must be {KINDS} in this order, each title beginning so, not {[t for t, _ in exercises]}"
        )
    checks = "\n".join(cell.source for cell in cells if "checks" in tags_of(cell))
    stars = []
    for label in labels:
        found += [f"{label}: {fault}" for fault in one_exercise_faults(label, text, checks)]
        stars += [int(x) for x in re.findall(r"\*\d+ minutes, difficulty ([123]) of 3", statement(label, text))]
    if stars != sorted(stars):
        found.append(f"exercises: must stand difficulty by difficulty, not {stars}")
    return found


def statement(label: str, text: str) -> str:
    """From the exercise's label to its solution: the statement, the hint and the starter cell."""
    gate = rf"^:label: {label}\n(?:(?::[^\n]*\n)*`{{3,}} *\n)?"
    solution = rf"^`{{3,}}\{{solution(?:-start)?\}} {label}\b"
    found = re.search(rf"{gate}(.*?)(?={solution}|\Z)", text, flags=re.M | re.S)
    return found[1] if found else ""


def one_exercise_faults(label: str, text: str, checks: str) -> list[str]:
    asked = statement(label, text)
    solved = re.search(
        rf"^`{{3,}}\{{solution(?:-start)?\}} {label}\b.*?(?=^`{{3,}}\{{(?:exercise|solution-end)|^## )",
        text,
        flags=re.M | re.S,
    )
    call = rf"\bcheck\(\s*[\"']{label}[\"']"
    starters = [body for tags, body in map(reading.tags_of, code_cells(asked)) if "starter" in tags]
    words = " ".join(piece.source for piece in reading.pieces(asked) if piece.kind == "text")
    rules = {
        "no '*N minutes, difficulty N of 3.*' at its start": re.search(
            r"^\*\d+ minutes, difficulty [123] of 3\.\*", asked, flags=re.M
        ),
        "no {dropdown} Hint": re.search(r"^[`:]{3,}\{dropdown\} Hint", asked, flags=re.M),
        "more than one question": words.count("?") <= 1,
        f"no cell with tag starter calls check({label!r}, ...)": any(re.search(call, body) for body in starters),
        f"its solution does not call check({label!r}, ...)": solved
        and re.search(call, "\n".join(code_cells(solved[0]))),
        f"no cell with tag checks holds @exercise({label!r}, wrong=[...])": re.search(
            rf"@exercise\(\s*[\"']{label}[\"'],\s*wrong=", checks
        ),
    }
    return [fault for fault, kept in rules.items() if not kept]


def code_cells(text: str) -> list[str]:
    """The bodies, with options, of the code cells in MyST text."""
    return [body for _, body in re.findall(r"^(`{3,})\{code-cell\}[^\n]*\n(.*?)^\1 *$", text, flags=re.M | re.S)]


def published_faults(cells: list) -> list[str]:
    """`mialab regress` watches what a chapter publishes, also where an assert fails: so numbers come before asserts."""
    if not any(re.search(r"^notebook\.publish\(\s*[\w*]", cell.source, flags=re.M) for cell in cells):
        return ["numbers: no cell calls notebook.publish() with at least one"]
    if re.search(r"^assert .*^notebook\.publish\(", cells[-1].source, flags=re.M | re.S):
        return ["numbers: the last cell must publish them above its asserts"]
    return []


def last_cell_faults(notebook) -> list[str]:
    last = notebook.cells[-1]
    hidden = last.cell_type == "code" and {"remove-cell", "ci-check"} <= tags_of(last)
    if hidden and re.search(r"^assert ", last.source, flags=re.M) and "prove()" in last.source:
        return []
    return ["last cell: must call exercises.prove(), hold asserts, and have the tags remove-cell and ci-check"]


def figure_faults(text: str, cells: list) -> list[str]:
    found = [f"figure without alternative text: {line}" for line in re.findall(r"!\[\s*\]\([^)]*\)", text)]
    for block in re.findall(r"^(`{3,})\{(?:figure|image)\}(.*?)^\1", text, flags=re.M | re.S):
        if not re.search(r"^:alt:\s*\S", block[1], flags=re.M):
            found.append(f"figure without alternative text: {block[1].splitlines()[0].strip()}")
    for name in re.findall(r"^`{3,}\{diagram\} *(\S*)", text, flags=re.M):
        drawn = BOOK / "diagrams" / f"{name}.svg"
        if not drawn.is_file() or not re.search(r"<desc[^>]*>\s*\S", drawn.read_text(encoding="utf-8")):
            found.append(f"diagram {name!r}: no book/diagrams/{name}.svg with a <desc>, its alternative text")
    for number, cell in enumerate(cells, 1):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if "plt.show()" in cell.source and not str(alt).strip():
            found.append(f"code cell {number}: shows a figure without mystnb: image: alt")
    return found


def ruff_faults(cells: list) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chapter.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--quiet", "--output-format", "concise"]
        report = subprocess.run([*command, *RULES, path], capture_output=True, text=True)
    lines = (report.stdout + report.stderr).splitlines()
    return [f"code {line.replace(f'{path}:', '').strip()}" for line in lines if line.strip()]


def table(chapters: list[Path]) -> str:
    """Words, displayed formulas, minutes, and visible lines of code (all, and the longest cell's), per chapter."""
    lines = [f"{'chapter':26}{'words':>7}{'formulas':>10}{'minutes':>9}{'visible lines':>15}{'longest cell':>14}"]
    for path in chapters:
        text = path.read_text(encoding="utf-8")
        whole = reading.reading(text)
        pieces = [piece for piece in reading.pieces(text) if piece.kind == "code"]
        shown = [len(piece.source.strip().split("\n")) for piece in pieces if not piece.tags & HIDDEN]
        numbers = f"{whole.words:>7,}{whole.formulas:>10}{whole.minutes:>9}{sum(shown):>15}{max(shown, default=0):>14}"
        lines.append(f"{path.stem:26}{numbers}")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chapters", nargs="*", type=Path, metavar="CHAPTER.md")
    parser.add_argument("--table", action="store_true", help="print words, minutes and visible lines of code instead")
    arguments = parser.parse_args(argv)
    every = sorted(BOOK.glob("[0-9][0-9]_*.md"))
    if arguments.table:
        print(table(arguments.chapters or every))
        return 0
    chapters = arguments.chapters or every
    found = [f"{path.name}: {fault}" for path in chapters for fault in faults(path.read_text(encoding="utf-8"))]
    print("\n".join(found) or f"{len(chapters)} chapters keep to the template")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
