"""Plain text tables for a terminal: columns aligned, and broken into panels where a page is too narrow for all."""

from collections.abc import Sequence

WIDTH = 120
GAP = 2

Column = Sequence[str]  # its heading, then its cells


def table(left: Sequence[Column], right: Sequence[Sequence[Column]] = (), *, width: int = WIDTH) -> list[str]:
    """Lines of a table: `left` aligned to the left, and groups of columns aligned to the right of it.

    What does not fit into `width` characters goes into further panels, which repeat `left`; a group stays together.
    """
    lines: list[str] = []
    for panel in _panels(right, width - sum(_wide(column) + GAP for column in left)):
        lines += ([""] if lines else []) + _panel(left, panel)
    return lines


def _panels(groups: Sequence[Sequence[Column]], room: int) -> list[list[Column]]:
    panels: list[list[Column]] = [[]]
    for group in groups:
        if panels[-1] and sum(_wide(column) + GAP for column in [*panels[-1], *group]) > room + GAP:
            panels.append([])
        panels[-1] += group
    return panels


def _panel(left: Sequence[Column], right: Sequence[Column]) -> list[str]:
    columns = [[cell.ljust(_wide(column)) for cell in column] for column in left]
    columns += [[cell.rjust(_wide(column)) for cell in column] for column in right]
    head, *rows = ((" " * GAP).join(cells).rstrip() for cells in zip(*columns, strict=True))
    rule = "-" * (sum(len(column[0]) + GAP for column in columns) - GAP)
    return [head, rule, *rows]


def _wide(column: Column) -> int:
    return max(map(len, column))
