"""What the training loop costs: `python benchmarks/training.py` prints one table from one run.

Rows of one block do the same training (same data, model, batch size, optimizer, epochs), in turn, repetition after
repetition. "bare loop" is `fit`'s own work written out by hand; "DataLoader loop" is what most released code has.
A ratio is the speed over that of the block's first row, in the same repetition: above 1 is faster. Seconds are
processor time of one thread on a CPU, so that other load on the machine counts less, and elapsed time on a GPU.
"""

import argparse
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

FAMILIES = ("lenet5", "alexnet", "vgg16", "resnet20", "resnet18", "wrn28_2", "mobilenet_v2", "densenet100")
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


def small_nets(repetitions: int, word: str) -> None:
    """What the loop costs where steps are cheap, and whether training side by side pays."""
    tabular = *case("tabular", (200,), 50, 4000), Recipe(5, batch=64, optimizer="adam", lr=1e-3)
    small = *case("small_cnn", (3, 12, 12), 10, 1000), Recipe(5, batch=50, optimizer="adam", lr=2e-3)
    digits = *case("tabular", (64,), 10, 850), Recipe(2, batch=32, optimizer="adam", lr=1e-3)
    for title, work in (("tabular 200-128-50, batch 64", tabular), ("small_cnn 3x12x12, batch 50", small)):
        if word in title:
            against_the_bare_loop(title, work, repetitions, others={"DataLoader loop": dataloader_loop})
    for title, work, count in (
        ("tabular 64-128-10, batch 32, 32 members", digits, 32),
        ("tabular 200-128-50, batch 64, 8 members", tabular, 8),
        ("small_cnn 3x12x12, batch 50, 8 members", small, 8),
    ):
        if word in title:
            rows = {
                "one by one": partial(members, *work, count=count, joint=False),
                "side by side": partial(members, *work, count=count, joint=True),
            }
            show(title, len(work[1][1]) * work[2].epochs * count, measure(rows, repetitions))


def families(repetitions: int, samples: int) -> None:
    """`fit` against the bare loop for a net of each family, on random images of CIFAR's size."""
    for name in FAMILIES:
        shape = (1, 28, 28) if name == "lenet5" else (3, 32, 32)
        work = *case(name, shape, 10, samples), Recipe(2, batch=128, optimizer="adam", lr=1e-3)
        against_the_bare_loop(name, work, repetitions)


def against_the_bare_loop(title: str, work: tuple, repetitions: int, others: dict[str, Callable] | None = None) -> None:
    loops = {"bare loop": bare_loop, "fit": our_fit, **(others or {})}
    rows = {name: partial(loop, *work) for name, loop in loops.items()}
    show(title, len(work[1][1]) * work[2].epochs, measure(rows, repetitions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repetitions", type=int, nargs="?", default=7)
    parser.add_argument("--word", default="", help="only rows with this word in their title")
    parser.add_argument("--families", action="store_true", help="a net of each family instead")
    parser.add_argument("--toy", action="store_true", help="one quick row, which proves that this runs")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {DEVICE}, one thread, {asked.repetitions} repetitions\n")
    print("| work | how | seconds | samples/s | ratio min | median | max |\n|---|---|---|---|---|---|---|")
    if asked.toy:
        small_nets(1, "tabular 200")
    elif asked.families:
        families(min(asked.repetitions, 3), 10_240)
    else:
        small_nets(asked.repetitions, asked.word)


if __name__ == "__main__":
    main()
