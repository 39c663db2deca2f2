"""Does each chapter keep to the template? Print every fault and exit 1 if there is one.

python book/_tools/lint.py [CHAPTER.md ...]
"""

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import yaml

BOOK = Path(__file__).resolve().parents[1]
HEADER = {
    "jupytext": {"text_representation": {"extension": ".md", "format_name": "myst"}},
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
}
SECTIONS = [
    "Intuition and threat model",
    "Explore",
    "Experiment",
    "At full scale",
    "What can go wrong",
    "Check your understanding",
    "Exercises",
    "Summary",
    "Further reading",
]
CARD = ("You will be able to", "Before this", "Reading", "Running")
PRESETS = ("`smoke`", "`course`", "`paper`")  # the card gives the time of each, or says "every preset"
MAX_LINES, MAX_COLUMNS, MAX_EXPERIMENT_CELLS, MIN_EXERCISES = 22, 79, 6, 3
TAGS = {"remove-cell", "ci-check", "parameters", "hide-input", "hide-output", "hide-cell", "raises-exception"}
RULES = ["--select", "E,F,W,I,B,UP", "--ignore", "B905", "--line-length", str(MAX_COLUMNS)]


def faults(text: str) -> list[str]:
    """Everything in the chapter's text that breaks the template; an empty list if nothing does."""
    if problem := header_faults(text):
        return problem  # without a right header the rest cannot be read
    notebook = jupytext.reads(text, fmt="md:myst")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    parts = sections(notebook)
    return [
        *opening_faults(text),
        *section_faults(text, parts),
        *parameter_faults(cells),
        *cell_faults(cells),
        *exercise_faults(text),
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


def section_faults(text: str, parts: dict[str, list]) -> list[str]:
    found = []
    if (names := [name for name in parts if name]) != SECTIONS:
        found.append(f"sections: must be {SECTIONS}, not {names}")
    code = {name: [c.source for c in cells if c.cell_type == "code"] for name, cells in parts.items()}
    if not any("explore(" in source for source in code.get("Explore", [])):
        found.append("Explore: no cell calls explore()")
    if len(code.get("Experiment", [])) > MAX_EXPERIMENT_CELLS:
        found.append(f"Experiment: more than {MAX_EXPERIMENT_CELLS} cells")
    if sum("notebook.table(" in source for source in code.get("Experiment", [])) != 1:
        found.append("Experiment: must show exactly one table with notebook.table()")
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
        lines = cell.source.split("\n")
        if len(lines) > MAX_LINES:
            found.append(f"code cell {number}: {len(lines)} lines, at most {MAX_LINES}: {lines[0]}")
        found += [f"code cell {number}: over {MAX_COLUMNS} columns: {x}" for x in lines if len(x) > MAX_COLUMNS]
        if unknown := set(cell.metadata.get("tags", [])) - TAGS:
            found.append(f"code cell {number}: unknown tags {sorted(unknown)}; known are {sorted(TAGS)}")
    return found


def exercise_faults(text: str) -> list[str]:
    exercises = re.findall(r"^`{3,}\{exercise(?:-start)?\}[^\n]*\n:label: ([\w-]+)", text, flags=re.M)
    solutions = re.findall(r"^`{3,}\{solution(?:-start)?\} ([\w-]+)", text, flags=re.M)
    found = [] if len(exercises) >= MIN_EXERCISES else [f"exercises: {len(exercises)}, at least {MIN_EXERCISES}"]
    if exercises != solutions:
        found.append(f"exercises: {exercises} need solutions in the same order, not {solutions}")
    return found


def published_faults(cells: list) -> list[str]:
    """`mialab regress` watches what a chapter publishes, also where an assert fails: so numbers come before asserts."""
    if not any(re.search(r"^notebook\.publish\(\s*[\w*]", cell.source, flags=re.M) for cell in cells):
        return ["numbers: no cell calls notebook.publish() with at least one"]
    if re.search(r"^assert .*^notebook\.publish\(", cells[-1].source, flags=re.M | re.S):
        return ["numbers: the last cell must publish them above its asserts"]
    return []


def last_cell_faults(notebook) -> list[str]:
    last = notebook.cells[-1]
    checks = last.cell_type == "code" and re.search(r"^assert ", last.source, flags=re.M)
    if checks and {"remove-cell", "ci-check"} <= set(last.metadata.get("tags", [])):
        return []
    return ["last cell: must hold asserts and have the tags remove-cell and ci-check"]


def figure_faults(text: str, cells: list) -> list[str]:
    found = [f"figure without alternative text: {line}" for line in re.findall(r"!\[\s*\]\([^)]*\)", text)]
    for block in re.findall(r"^(`{3,})\{(?:figure|image)\}(.*?)^\1", text, flags=re.M | re.S):
        if not re.search(r"^:alt:\s*\S", block[1], flags=re.M):
            found.append(f"figure without alternative text: {block[1].splitlines()[0].strip()}")
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


def main(paths: list[str]) -> int:
    chapters = [Path(path) for path in paths] or sorted(BOOK.glob("[0-9][0-9]_*.md"))
    found = [f"{path.name}: {fault}" for path in chapters for fault in faults(path.read_text(encoding="utf-8"))]
    print("\n".join(found) or f"{len(chapters)} chapters keep to the template")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
