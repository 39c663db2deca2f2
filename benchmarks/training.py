"""What the training loop costs: `python benchmarks/training.py [repetitions [word]]` prints one table from one run.

A word chooses the blocks that have it in their title, such as "tabular".

Rows of one block do the same training (same data, model, batch size, optimizer, epochs), in turn, repetition after
repetition. "bare loop" is `fit`'s own work written out by hand; "DataLoader loop" is what most released code has.
A ratio is the speed over that of the block's first row, in the same repetition: above 1 is faster. Seconds are
processor time of one thread on a CPU, so that other load on the machine counts less, and elapsed time on a GPU.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mialab.models import build
from mialab.training import Recipe, fit, fit_many

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def optimizer_of(model: nn.Module, recipe: Recipe, *, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=recipe.lr, fused=fused)


def dataloader_loop(make: Callable[[], nn.Module], data: tuple, recipe: Recipe) -> None:
    model = make().to(DEVICE)
    optimizer = optimizer_of(model, recipe, fused=False)
    loader = DataLoader(TensorDataset(*data), batch_size=recipe.batch, shuffle=True)
    for _ in range(recipe.epochs):
        total = correct = 0
        for x, y in loader:
            x, y = x.to(DEVICE), y.to(DEVICE)
            outputs = model(x)
            loss = F.cross_entropy(outputs, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
            correct += (outputs.argmax(1) == y).sum().item()


def bare_loop(make: Callable[[], nn.Module], data: tuple, recipe: Recipe) -> None:
    model = make().to(DEVICE)
    x, y = (part.to(DEVICE) for part in data)
    if x.ndim == 4:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = optimizer_of(model, recipe, fused=True)
    for _ in range(recipe.epochs):
        total, correct = torch.zeros((), device=DEVICE), torch.zeros((), device=DEVICE)
        for rows in torch.randperm(len(y), device=DEVICE).split(recipe.batch):
            some_x, some_y = x[rows], y[rows]
            with torch.autocast("cuda", torch.bfloat16, enabled=DEVICE.type == "cuda"):
                outputs = model(some_x)
                loss = F.cross_entropy(outputs, some_y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            correct += (outputs.argmax(1) == some_y).sum()
        total.item(), correct.item()


def our_fit(make: Callable[[], nn.Module], data: tuple, recipe: Recipe) -> None:
    fit(make, data, recipe, progress=False)


def members(make: Callable[[], nn.Module], data: tuple, recipe: Recipe, *, count: int, joint: bool) -> None:
    fit_many(make, data, recipe, seeds=range(count), progress=False, joint=joint)


def measure(rows: dict[str, Callable[[], None]], repetitions: int) -> dict[str, list[float]]:
    """Return seconds per row and repetition; a first round, not counted, warms everything up."""
    clock = time.perf_counter if DEVICE.type == "cuda" else time.process_time
    seconds = {name: [] for name in rows}
    for repetition in range(repetitions + 1):
        for name, work in rows.items():
            start = clock()
            work()
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()
            if repetition:
                seconds[name].append(clock() - start)
    return seconds


def show(title: str, samples: int, seconds: dict[str, list[float]]) -> None:
    base = next(iter(seconds.values()))
    for name, own in seconds.items():
        ratios = sorted(first / second for first, second in zip(base, own, strict=True))
        low, middle, high = ratios[0], median(ratios), ratios[-1]
        speed = samples / median(own)
        print(f"| {title} | {name} | {median(own):.3f} | {speed:,.0f} | {low:.2f} | {middle:.2f} | {high:.2f} |")


def case(name: str, shape: tuple[int, ...], classes: int, samples: int) -> tuple[Callable[[], nn.Module], tuple]:
    draw = torch.Generator().manual_seed(0)
    data = torch.randn(samples, *shape, generator=draw), torch.randint(classes, (samples,), generator=draw)
    return partial(build, name, shape, classes), data


def main(repetitions: int, word: str = "") -> None:
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, {DEVICE}, one thread, {repetitions} repetitions"
    print(
        f"{versions}\n\n| work | how | seconds | samples/s | ratio min | median | max |\n|---|---|---|---|---|---|---|"
    )
    tabular = *case("tabular", (200,), 50, 4000), Recipe(5, batch=64, optimizer="adam", lr=1e-3)
    small = *case("small_cnn", (3, 12, 12), 10, 1000), Recipe(5, batch=50, optimizer="adam", lr=2e-3)
    digits = *case("tabular", (64,), 10, 850), Recipe(2, batch=32, optimizer="adam", lr=1e-3)
    for title, work in (("tabular 200-128-50, batch 64", tabular), ("small_cnn 3x12x12, batch 50", small)):
        if word not in title:
            continue
        loops = {"bare loop": bare_loop, "fit": our_fit, "DataLoader loop": dataloader_loop}
        rows = {name: partial(loop, *work) for name, loop in loops.items()}
        show(title, len(work[1][1]) * work[2].epochs, measure(rows, repetitions))
    for title, work, count in (
        ("tabular 64-128-10, batch 32, 32 members", digits, 32),
        ("tabular 200-128-50, batch 64, 8 members", tabular, 8),
        ("small_cnn 3x12x12, batch 50, 8 members", small, 8),
    ):
        if word not in title:
            continue
        rows = {
            "one by one": partial(members, *work, count=count, joint=False),
            "side by side": partial(members, *work, count=count, joint=True),
        }
        show(title, len(work[1][1]) * work[2].epochs * count, measure(rows, repetitions))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7, *sys.argv[2:])
