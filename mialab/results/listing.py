"""Every experiment that exists: what it runs on, what it would cost here, and what is recorded of it."""

from collections.abc import Iterator

from mialab import experiments
from mialab.cells import cost
from mialab.engine.grid import PRESETS, Experiment
from mialab.engine.store import Store, surroundings
from mialab.progress import duration
from mialab.results import records
from mialab.results.tables import table


def blocks() -> Iterator[str]:
    """All experiments by name, and for each preset the data, cells, cost on this device, and recorded devices.

    A block for each experiment as soon as its networks have been timed, which takes seconds for large ones.
    """
    recorded = [result for record in records.load() for result in record.results()]
    yield f"cost here ({surroundings()['device']}): an estimate, one cell after another, nothing done yet\n"
    for experiment in experiments.ALL.values():
        kept = {
            preset: dict.fromkeys(
                result.device + " (superseded)" * (result.origin == records.SUPERSEDED)
                for result in recorded
                if (result.experiment, result.preset) == (experiment.name, preset)
            )
            for preset in PRESETS
        }
        columns = [
            ["  preset", *(f"  {preset}" for preset in PRESETS)],
            ["data", *(", ".join(experiment.data(preset)) for preset in PRESETS)],
            ["cells", *(str(len(experiment.grid(preset))) for preset in PRESETS)],
            ["cost here", *costs(experiment)],
            ["recorded on", *(", ".join(devices) or "-" for devices in kept.values())],
        ]
        lines = [f"{experiment.name}: {experiment.title} ({experiment.source})", *table(columns)]
        yield "\n" + "\n".join(lines) + "\n"


def costs(experiment: Experiment, *, store: Store | None = None) -> list[str]:
    """What each preset would cost on this device, in words; with a store: what is missing there."""
    return [duration(cost.seconds(experiment.grid(preset), store=store)) for preset in PRESETS]
