"""What there is to work with: device, versions, extras, data, the store, and what each experiment would cost here."""

import importlib.metadata
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from mialab import data, experiments
from mialab.data.known import known, place
from mialab.engine.grid import PRESETS
from mialab.engine.schedule import cores
from mialab.engine.store import DAMAGED, DRIVE, LOCKS, SCRATCH, Store, on_colab, surroundings
from mialab.results import listing
from mialab.results.tables import table

GIB = 2**30
CELL_FILES = "cell.json", "arrays.safetensors"


def blocks(store: Store) -> Iterator[str]:
    """The report, section by section, as the last one takes a while. Changes nothing, and downloads nothing."""
    yield _section("device", _device())
    versions = [f"{name} {version}" for name, version in surroundings().items() if name != "device"]
    yield "\n" + _section("versions", versions)
    yield "\n" + _section("extras", _extras())
    yield "\n" + _section(f"data ({data.root_folder()})", _data())
    yield "\n" + _section(f"store ({store.root})", _store(store))
    yield "\n" + _section("cost on this device: estimates, one cell after another", _costs(store))


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([title, *(f"  {line}".rstrip() for line in lines)]) + "\n"


def _device() -> list[str]:
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    here = [f"GPU {gpu.name}, {gpu.total_memory / GIB:.0f} GiB" for gpu in gpus]
    threads = f"torch uses {torch.get_num_threads()} threads, runs plan with {cores()} cores"
    return [*here, f"CPU with {os.cpu_count()} cores; {threads}"]


def _extras() -> list[str]:
    """What each optional group of packages lacks, from the metadata that this package was installed with."""
    groups: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("mialab") or []:
        if extra := re.search(r"""extra *== *["'](\w+)""", requirement):
            groups.setdefault(extra[1], []).append(re.split(r"[^\w.-]", requirement)[0])
    lines = []
    for group, packages in groups.items():
        missing = [name for name in packages if not _installed(name)]
        state = f"lacks {', '.join(missing)}: pip install 'mialab[{group}]'" if missing else "complete"
        lines.append(f"{group:<9}{state}")
    return lines


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _data() -> list[str]:
    return [f"{name:<17}{_found(name)}" for name in data.names()]


def _found(name: str) -> str:
    if not known(name).files:
        return "embedded"
    if there := place(name):
        return f"found at {there}"
    try:
        data.load(name, download=False)
    except data.DataError as error:
        if known(name).by_hand:
            return f"missing; {str(error).partition('; ')[2]}"
        published = re.search(r"published at ([^)]+)\)", str(error))
        by_hand = f", or by hand: {published[1]}" if published else ""
        return f"missing; the first load downloads it{by_hand}"
    return "found"


def _store(store: Store) -> list[str]:
    """Cells by kind, disk, and by name what is damaged or not the store's own."""
    inside = set(store.root.iterdir()) if store.root.is_dir() else set()
    foreign, aside = set(store.foreign()), {path for path in inside if path.name.startswith(DAMAGED)}
    cells = inside - foreign - aside - {store.root / LOCKS, store.root / SCRATCH}
    broken = {cell for cell in cells if not all((cell / name).is_file() for name in CELL_FILES)}
    kinds = Counter(cell.name.partition("-")[0] for cell in cells - broken)
    unfinished = sum(".draft-" not in path.name for path in (store.root / SCRATCH).glob("*"))
    told = {
        "damaged, will be set aside and computed again": broken,
        "damaged and set aside, may be removed": aside,
        "not of the store, left alone": foreign,
    }
    return [
        f"{kinds.total()} cells" + f" ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))})" * bool(kinds),
        *[f"{unfinished} unfinished, which go on from their checkpoints"] * bool(unfinished),
        *(f"{what}: {path.name}" for what, paths in told.items() for path in sorted(paths)),
        _disk(store.root),
        *_colab(store),
    ]


def _disk(folder: Path) -> str:
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = f"{shutil.disk_usage(there).free / GIB:.1f} GiB free"
    return free if os.access(there, os.W_OK) else f"{free}, but {there} is not writable: choose another with --store"


def _colab(store: Store) -> list[str]:
    """That the store will not last, where that is so."""
    if not on_colab() or store.root.is_relative_to(DRIVE):
        return []
    mount = "" if DRIVE.is_dir() else "run `from google.colab import drive; drive.mount('/content/drive')`, then "
    return [f"this store is gone when Colab's runtime ends: {mount}take --store {DRIVE / 'mialab' / 'store'}"]


def _costs(store: Store) -> list[str]:
    columns = [["experiment"], *([preset] for preset in PRESETS)]
    for experiment in experiments.ALL.values():
        columns[0].append(experiment.name)
        pairs = zip(listing.costs(experiment), listing.costs(experiment, store=store), strict=True)
        for column, (whole, missing) in zip(columns[1:], pairs, strict=True):
            column.append(whole if missing == whole else f"{whole} ({missing} missing)")
    return table(columns)
