"""Results of an experiment side by side: this store's, those recorded elsewhere, and the numbers that the paper prints.

What is shown depends on results only: no seconds, dates or paths.
"""

from collections import Counter
from collections.abc import Sequence

from mialab.engine.grid import PRESETS, Experiment, Where
from mialab.engine.store import Store
from mialab.metrics import Estimate
from mialab.names import unknown
from mialab.results import records, reported
from mialab.results.lines import Result, local, mean_curves, summary
from mialab.results.tables import table

HEADLINE = ("gap", "confidence", "neural-published")  # the baseline, the simplest score, the ensemble paper's own
EVERY = "all"
SECTIONS = ("attack", "data")  # each has a table of its own
SETTING = {"dataset": "data", "model": "model", "method": "method"}  # a printed number's columns, and those of the rows
LEGEND = "mean [95 % interval over seeds; of one seed, or equal ones, their own if they have any]; -: too few samples"


def gather(
    experiment: Experiment,
    store: Store,
    *,
    preset: str | None = None,
    seeds: Sequence[int] | None = None,
    where: Where | None = None,
) -> list[Result]:
    """What there is of an experiment: what this store holds, then what is recorded. Computes nothing.

    where: of this store's cells, those alone. Without a preset: of every preset, but local ones only where they have
    rows that no smaller preset has, too, as presets share cells.
    """
    presets = PRESETS if preset is None else (preset,)
    here: list[Result] = []
    for each in presets:
        result = local(experiment, each, store, seeds=seeds, where=where)
        seen = [row for other in here for row in other.rows]
        if preset or any(row not in seen for row in result.rows):
            here.append(result)
    kept = [each for each in records.load() if each.experiment == experiment.name and each.preset in presets]
    return here + [result for each in kept for result in each.results()]


def text(experiment: Experiment, results: Sequence[Result], *, attacks: Sequence[str] | None = None) -> str:
    """The results as tables, one per preset, ending in a newline; accuracies in per cent.

    attacks: the ones to show, or "all"; by default those of `HEADLINE`, if there are any. Raises ValueError for an
    attack that has no results, with close names.
    """
    chosen, others = _attacks(results, attacks)
    printed = _printed(experiment)
    blocks = [[f"{experiment.name}: {experiment.title} ({experiment.source})"]]
    for preset in PRESETS:
        if own := [result for result in results if result.preset == preset]:
            blocks += [_sources(experiment, own), *_tables(experiment, own, chosen, printed)]
    blocks += [[f"no results yet: mialab run {experiment.name}"]] * (not results)
    blocks.append(_rest(experiment, results, printed))
    blocks.append(_notes(others) if any(result.rows for result in results) else [])
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def to_dict(experiment: Experiment, results: Sequence[Result], *, attacks: Sequence[str] | None = None) -> dict:
    """The results as JSON types: shares, not per cent, except for the printed numbers; every attack unless told.

    {"version": 1, "experiment", "title", "source", "by": [column], "values": [column], "printed": [a row of
    `results.reported`], "results": [{"origin", "preset", "device" (None for this one), "missing" (cells), "lines":
    [{column: value, "seeds": n, value: {"value", "low", "high"}}], "curves": [{column: value, "curve": name, "seeds":
    n, "points": {column: [number, or {"value", "low", "high"}]}}]}]}. Raises ValueError as `text` does.
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
                "lines": [_plain(line, experiment) for line in _summary(experiment, result, chosen)],
                "curves": [_plain_curve(curve) for curve in mean_curves(result.curves)],
            }
            for result in results
        ],
    }


def _plain(line: dict, experiment: Experiment) -> dict:
    measured = {name: line[name] and line[name]._asdict() for name in experiment.values}
    return {**line, **measured}


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
        if result.missing:
            what.append(f"{result.missing} cells missing: mialab run {experiment.name} --preset {preset}")
        lines.append(f"  {label}: {', '.join(what)}")
    return lines


def _labels(results: Sequence[Result]) -> list[str]:
    """local, recorded, superseded; with a number where there are several."""
    counts, labels = Counter(result.origin for result in results), []
    seen: Counter[str] = Counter()
    for result in results:
        seen[result.origin] += 1
        labels.append(result.origin + (f" {seen[result.origin]}" if counts[result.origin] > 1 else ""))
    return labels


def _tables(
    experiment: Experiment, results: Sequence[Result], attacks: Sequence[str], printed: dict
) -> list[list[str]]:
    """The tables of one preset, one per attack and data set: the sources of one setting stand below each other."""
    sections: dict[tuple, list[tuple[str, dict]]] = {}
    for label, result in zip(_labels(results), results, strict=True):
        for line in _summary(experiment, result, attacks):
            sections.setdefault(tuple(line.get(name) for name in SECTIONS), []).append((label, line))
    ordered = sorted(sections, key=lambda key: attacks.index(key[0]) if key[0] in attacks else -1)
    return [_table(experiment, sections[key], printed, several=len(results) > 1) for key in ordered]


def _table(experiment: Experiment, found: Sequence[tuple[str, dict]], printed: dict, *, several: bool) -> list[str]:
    places = {_identity(experiment, line): number for number, (_, line) in reversed([*enumerate(found)])}
    labels, lines = zip(*sorted(found, key=lambda entry: places[_identity(experiment, entry[1])]), strict=True)
    varying = [name for name in experiment.by if len({line[name] for line in lines}) > 1]
    constant = [name for name in (*SECTIONS, *experiment.by) if name in experiment.by and name not in varying]
    heading = ", ".join(f"{_words(name)} {_cell(lines[0][name])}" for name in dict.fromkeys(constant))
    left = [["from", *labels]] * several
    left += [[_words(name), *(_cell(line[name]) for line in lines)] for name in varying]
    left += [["seeds", *(str(line["seeds"]) for line in lines)]]
    return [heading, *table(left, [_columns(name, lines, printed) for name in experiment.values])]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _identity(experiment: Experiment, line: dict) -> tuple:
    return tuple(line.get(name) for name in experiment.by)


def _columns(name: str, lines: Sequence[dict], printed: dict) -> list[list[str]]:
    """A measured column, and beside it the paper's where it prints something for one of the lines."""
    theirs = [printed.get((*_setting(line), name)) for line in lines]
    column = [[_heading(name), *(_shown(name, line[name]) for line in lines)]]
    if any(value is not None for value in theirs):
        column.append(["paper", *("" if value is None else f"{value:g}" for value in theirs)])
    return column


def _setting(line: dict) -> tuple:
    return line.get("data"), line.get("model"), line.get("method", "none")


def _printed(experiment: Experiment) -> dict[tuple, float]:
    """The paper's numbers by data, model, method (in the names of our rows) and metric."""
    rows = reported.rows(*experiment.reported) if experiment.reported else []
    return {
        (
            *(row["dataset"], row["model"], reported.METHODS.get(row["method"], row["method"])),
            reported.METRICS.get(row["metric"], row["metric"]),
        ): row["value"]
        for row in rows
    }


def _rest(experiment: Experiment, results: Sequence[Result], printed: dict) -> list[str]:
    """What the paper prints and no line above stands beside."""
    if not printed:
        return ["paper: prints no numbers for this"]
    shown = {_setting(row) for result in results for row in result.rows}
    left = {key: value for key, value in printed.items() if key[:3] not in shown or key[3] not in experiment.values}
    settings = list(dict.fromkeys(key[:3] for key in left))
    metrics = [metric for metric in dict.fromkeys(key[3] for key in printed) if any(key[3] == metric for key in left)]
    names = [[name, *(setting[k] for setting in settings)] for k, name in enumerate(SETTING.values())]
    cells = [
        [[_heading(metric), *(f"{left[key]:g}" if (key := (*each, metric)) in left else "" for each in settings)]]
        for metric in metrics
    ]
    return ["paper: also prints", *table(names, cells)] if left else []


def _notes(others: Sequence[str]) -> list[str]:
    told = f"also attacked by {', '.join(others)}: see --attack NAME, or --attack {EVERY}"
    return [LEGEND] + [told] * bool(others)


def _heading(name: str) -> str:
    if name.startswith("tpr_"):
        return f"TPR % at {100 * float(name.removeprefix('tpr_')):g} % FPR"
    return "AUC" if name == "auc" else _words(name).replace("accuracy", "acc.") + " %" * _in_per_cent(name)


def _in_per_cent(name: str) -> bool:
    return name.endswith("accuracy") or name.startswith("tpr_")


def _shown(name: str, estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    value, *ends = ("" if number is None else _number(name, number) for number in estimate)
    return f"{value} [{', '.join(ends)}]" if all(ends) else value


def _number(name: str, value: float) -> str:
    if _in_per_cent(name):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if name.startswith("auc") else f"{value:.4g}"
