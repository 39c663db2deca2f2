"""The package's rooms: imports run one way, no circle, and each room knows only what lies below it."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mialab

ROOT = Path(mialab.__file__).parent
# From the top down; a room may import itself and what stands further down.
ROOMS = (
    ("cli",),
    ("chapters", "doctor"),
    ("claims",),
    ("results",),
    ("experiments",),
    ("cells",),
    ("ensembles",),
    ("defenses",),
    ("own_model", "references"),
    ("audit", "masking"),
    ("attacks",),
    ("training",),
    ("models", "data", "splits"),
    ("engine",),
    (
        "outputs",
        "per_sample",
        "reading",
        "table",
        "remedies",
        "fusion",
        "metrics",
        "divergence",
        "agreement",
        "lottery",
        "seeds",
        "progress",
        "names",
        "two_branch",
        "catalogue",
        "share",
    ),
)
FLOOR = {name: floor for floor, names in enumerate(ROOMS) for name in names}
PLAIN = {"engine", "seeds", "progress", "names"}  # what has nothing to do with membership inference


@cache
def modules() -> dict[str, Path]:
    """All modules of the package by name."""
    named = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in it, also for type checking alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "mialab"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mialab":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules() else node.module)
    return found


def room(module: str) -> str:
    """The room that a module stands in; the package itself is no room."""
    return module.split(".")[1] if "." in module else ""


def test_every_module_stands_in_a_room():
    assert {room(module) for module in modules()} - {"", "__main__"} <= FLOOR.keys()


@pytest.mark.parametrize("module", [name for name in modules() if room(name) not in ("", "__main__")])
def test_imports_run_from_the_upper_rooms_down(module):
    own = room(module)
    upwards = {
        other
        for other in imported(modules()[module])
        if room(other) and room(other) != own and FLOOR[room(other)] < FLOOR[own]
    }
    assert not upwards, f"{module} imports from above: {sorted(upwards)}"


def test_no_module_imports_itself_by_way_of_others():
    # A package's own file stands for no import here: who imports a module gets its package first, whatever is in it.
    graph = {module: {other for other in imported(path) if other != module} for module, path in modules().items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_rooms_on_one_floor_form_no_circle():
    graph: dict[str, set[str]] = {}
    for module, path in modules().items():
        if own := room(module):
            graph.setdefault(own, set()).update({room(other) for other in imported(path)} - {own, ""})
    tuple(TopologicalSorter(graph).static_order())


def test_the_engine_knows_nothing_of_membership_inference():
    for module, path in modules().items():
        if room(module) == "engine":
            assert {room(other) for other in imported(path)} <= PLAIN | {""}, module


def test_a_planted_circle_and_an_import_from_above_are_found(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("from mialab import cells\n\n\ndef late():\n    from mialab.results import records\n")
    assert imported(planted) == {"mialab.cells", "mialab.results.records"}
