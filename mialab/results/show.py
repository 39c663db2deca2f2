"""Results of an experiment side by side: this store's, those recorded elsewhere, and the numbers that the paper prints.

What is shown depends on results only: no seconds, dates or paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mialab.engine.grid import PRESETS, Experiment, Where, where_options
from mialab.engine.store import Store
from mialab.metrics import Estimate
from mialab.names import unknown
from mialab.results import records, reported
from mialab.results.columns import Printed, also_printed, measured, plain, printed_numbers, words
from mialab.results.curves import mean_curves
from mialab.results.lines import Result, local
from mialab.results.means import summary
from mialab.results.tables import table

HEADLINE = ("gap", "confidence", "neural-published")  # the baseline, the simplest score, the ensemble paper's own
EVERY = "all"
MOST_NAMED = 6  # groups of missing lines, before the others are counted
SECTIONS = ("attack", "data", "part")  # each has a table of its own
LEGEND = "mean [95 % interval over seeds; of one seed, or equal ones, their own if they have any]; -: too few samples"


def gather(
    experiment: Experiment,
    store: Store,
    *,
    preset: str | None = None,
    seeds: Sequence[int] | None = None,
    where: Where | None = None,
    recorded: Sequence[records.Record] | None = None,
) -> list[Result]:
    """What there is of an experiment: what this store holds, then what is recorded. Computes nothing.

    where: of this store's cells, those alone. Without a preset: of every preset, but local ones only where they have
    rows that no smaller preset has, too, as presets share cells. recorded: all records, where they are read already.
    """
    presets = PRESETS if preset is None else (preset,)
    here: list[Result] = []
    for each in presets:
        result = local(experiment, each, store, seeds=seeds, where=where)
        seen = [row for other in here for row in other.rows]
        if preset or any(row not in seen for row in result.rows):
            here.append(result)
    known = records.load() if recorded is None else recorded
    kept = [each for each in known if each.experiment == experiment.name and each.preset in presets]
    return here + [result for each in kept for result in each.results()]


def text(experiment: Experiment, results: Sequence[Result], *, attacks: Sequence[str] | None = None) -> str:
    """The results as tables, one per preset, ending in a newline; accuracies in per cent.

    attacks: the ones to show, or "all"; by default those of `HEADLINE`, if there are any. Raises ValueError for an
    attack that has no results, with close names.
    """
    chosen, others = _attacks(results, attacks)
    printed = printed_numbers(experiment)
    blocks = [[f"{experiment.name}: {experiment.title} ({experiment.source})"]]
    for preset in PRESETS:
        if own := [result for result in results if result.preset == preset]:
            blocks += [_sources(experiment, own), *_tables(experiment, own, chosen, printed)]
    blocks += [[f"no results yet: mialab run {experiment.name}"]] * (not results)
    blocks.append(also_printed(experiment, results, printed))
    blocks.append(_notes(others, results) if any(result.rows for result in results) else [])
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def to_dict(experiment: Experiment, results: Sequence[Result], *, attacks: Sequence[str] | None = None) -> dict:
    """The results as JSON types: shares, not per cent, except for the printed numbers; every attack unless told.

    {"version": 1, "experiment", "title", "source", "by": [column], "values": [column], "printed": [a row of
    `results.reported`], "results": [RESULT]}. RESULT: {"origin", "preset", "device" (None for this one), "missing"
    (cells), "incomplete": [{column: value} of a line that lacks some], "lines": [{column: value, "seeds": n, value:
    {"value", "low", "high"}}], "curves": [{column: value, "curve": name, "seeds": n, "points": {column: [number, or
    {"value", "low", "high"}]}}]}. Raises ValueError as `text` and `mean_curves` do.
    """
    chosen, _ = _attacks(results, attacks or [EVERY])
    return {
        "version": 1,
        "experiment": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "by": list(experiment.by),
        "values": list(experiment.values),
        "printed": reported.rows(*experiment.reported) if experiment.reported else [],
        "results": [
            {
                "origin": result.origin,
                "preset": result.preset,
                "device": None if result.origin == "local" else result.device,
                "missing": result.missing,
                "incomplete": result.missing_lines(),
                "lines": [_plain(line, experiment) for line in _summary(experiment, result, chosen)],
                "curves": [_plain_curve(curve) for curve in mean_curves(result.curves)],
            }
            for result in results
        ],
    }


def _plain(line: dict, experiment: Experiment) -> dict:
    return {**line, **{name: line[name] and line[name]._asdict() for name in experiment.values}}


def _plain_curve(curve: dict) -> dict:
    points = {
        column: [value._asdict() if isinstance(value, Estimate) else value for value in values]
        for column, values in curve["points"].items()
    }
    return {**curve, "points": points}


def _attacks(results: Sequence[Result], asked: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The attacks to show, and the others that there are."""
    there = list(dict.fromkeys(row["attack"] for result in results for row in result.rows if "attack" in row))
    wanted = asked or [name for name in HEADLINE if name in there] or there
    for name in wanted:
        if name != EVERY and name not in there:
            raise ValueError(unknown("attack", name, there) if there else f"no results of attack {name!r} yet")
    chosen = there if EVERY in wanted else list(dict.fromkeys(wanted))
    return chosen, [name for name in there if name not in chosen]


def _summary(experiment: Experiment, result: Result, attacks: Sequence[str]) -> list[dict]:
    rows = [row for row in result.rows if row.get("attack") in (None, *attacks)]
    return summary(rows, experiment.by, experiment.values)


def _sources(experiment: Experiment, results: Sequence[Result]) -> list[str]:
    """What stands in the following table: one line per source."""
    preset = results[0].preset
    lines = [f"preset {preset}"]
    for label, result in zip(_labels(results), results, strict=True):
        seeds = len({row["seed"] for row in result.rows})
        what = [f"{seeds} seed{'s' * (seeds != 1)}"] if seeds else []
        if result.origin != "local":
            what.insert(0, f"on {result.device}")
        if result.origin == "superseded":
            what.append("made by cells that the code has replaced since")
        elif result.missing:
            command = f"mialab run {experiment.name} --preset {preset}{where_options(result.missing_where())}"
            what.append(f"{result.missing} cells missing: {command}")
        lines.append(f"  {label}: {', '.join(what)}")
        if result.origin != "superseded" and result.missing and result.rows:
            lines.append(f"    lines not complete: {_missing(result)}")
    return lines


def _missing(result: Result) -> str:
    """The lines that lack cells, by the columns in which lines differ: all values of the last one together."""
    lines = result.missing_lines()
    if told := result.missing_where():
        return "; ".join(_named(name, values) for name, values in told.items())
    varying = [name for name in lines[0] if len({line.get(name) for line in (*lines, *result.rows)}) > 1]
    if not (varying := varying or list(lines[0])):
        return "all"
    groups: dict[str, list] = {}
    for line in lines:
        key = ", ".join(_named(name, [line.get(name)]) for name in varying[:-1])
        groups.setdefault(key, []).append(line.get(varying[-1]))
    named = [f"{key}: {_named(varying[-1], values)}".removeprefix(": ") for key, values in groups.items()]
    more = sum(map(len, groups.values())) - sum(map(len, list(groups.values())[:MOST_NAMED]))
    return "; ".join(named[:MOST_NAMED]) + f" and {more} more" * (more > 0)


def _named(name: str, values: Sequence) -> str:
    numbers = all(isinstance(value, int | float) for value in values)
    return f"{words(name)} {', '.join(map(plain, sorted(values) if numbers else values))}"


def _labels(results: Sequence[Result]) -> list[str]:
    """local, recorded, superseded; with a number where there are several."""
    counts, labels = Counter(result.origin for result in results), []
    seen: Counter[str] = Counter()
    for result in results:
        seen[result.origin] += 1
        labels.append(result.origin + (f" {seen[result.origin]}" if counts[result.origin] > 1 else ""))
    return labels


def _tables(
    experiment: Experiment, results: Sequence[Result], attacks: Sequence[str], printed: Printed
) -> list[list[str]]:
    """The tables of one preset, one per attack and data set: the sources of one setting stand below each other."""
    sections: dict[tuple, list[tuple[str, dict]]] = {}
    for label, result in zip(_labels(results), results, strict=True):
        for line in _summary(experiment, result, attacks):
            sections.setdefault(tuple(line.get(name) for name in SECTIONS), []).append((label, line))
    ordered = sorted(sections, key=lambda key: attacks.index(key[0]) if key[0] in attacks else -1)
    return [_table(experiment, sections[key], printed, several=len(results) > 1) for key in ordered]


def _table(experiment: Experiment, found: Sequence[tuple[str, dict]], printed: Printed, *, several: bool) -> list[str]:
    places = {_identity(experiment, line): number for number, (_, line) in reversed([*enumerate(found)])}
    labels, lines = zip(*sorted(found, key=lambda entry: places[_identity(experiment, entry[1])]), strict=True)
    varying = [name for name in experiment.by if len({line[name] for line in lines}) > 1]
    constant = [name for name in (*SECTIONS, *experiment.by) if name in experiment.by and name not in varying]
    heading = ", ".join(f"{words(name)} {plain(lines[0][name])}" for name in dict.fromkeys(constant))
    left = [["from", *labels]] * several
    left += [[words(name), *(plain(line[name]) for line in lines)] for name in varying]
    left += [["seeds", *(str(line["seeds"]) for line in lines)]]
    there = [name for name in experiment.values if any(line[name] is not None for line in lines)]
    values = there if "part" in experiment.by else experiment.values  # each part has columns of its own
    return [heading, *table(left, [measured(name, lines, printed) for name in values])]


def _identity(experiment: Experiment, line: dict) -> tuple:
    return tuple(line.get(name) for name in experiment.by)


def _notes(others: Sequence[str], results: Sequence[Result]) -> list[str]:
    curves = dict.fromkeys(curve["curve"] for result in results for curve in result.curves)
    told = [f"also attacked by {', '.join(others)}: see --attack NAME, or --attack {EVERY}"] * bool(others)
    told += [f"curves: {', '.join(curves)}: see --json OUT"] * bool(curves)
    return [LEGEND, *told]
