"""Training in bfloat16 against float32 on a GPU: `python benchmarks/precision.py [repetitions]` prints one table.

Both train the same networks from the same seeds on the same members. A line gives accuracy on members and on others,
and the AUC of the confidence attack, each as mean and largest difference over the repetitions, and seconds. On a CPU
there is no bfloat16: then both columns are the same training, and the table only proves that this runs.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from mialab import data, fusion, metrics, models, seeds, training

CASES = (("small_cnn", "textures", (1000, 4000), 24), ("resnet20", "textures", (1000, 4000), 12))
SMALLEST = (("small_cnn", "textures", (200, 400), 2),)


class FullPrecision(training.Hooks):
    """Switches autocast off."""

    observes = True
    autocast = False


def measured(
    build: Callable[[], nn.Module], pool: data.Dataset, recipe: training.Recipe, seed: int, hooks: list
) -> tuple:
    """Accuracy on members and on others, AUC of the confidence, seconds."""
    members = torch.arange(len(pool)) < pool.train
    start = time.perf_counter()
    model = training.fit(
        build, (pool.x[members], pool.y[members]), recipe, seed=seed, hooks=hooks, progress=False
    ).model
    seconds = time.perf_counter() - start
    logits = training.logits(model, pool.x).numpy()
    right = torch.from_numpy(logits.argmax(1)) == pool.y
    scores = fusion.log_odds(fusion.log_confidence(logits), pool.y.numpy())
    accuracy = [right[side].double().mean().item() for side in (members, ~members)]
    return *accuracy, metrics.auc(scores, members.numpy()), seconds


def main(repetitions: int, cases: tuple = CASES) -> None:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"torch {torch.__version__}, {device}, {repetitions} repetitions: bfloat16 / float32 (largest difference)\n")
    print("| model | members right | others right | AUC | seconds |\n|---|---|---|---|---|")
    for name, source, samples, epochs in cases:
        recipe = training.Recipe(epochs=epochs, batch=50, optimizer="adam", lr=2e-3)
        found: dict[str, list] = {"half": [], "full": []}
        for seed in range(repetitions):
            pool = data.load(source, samples=samples, seed=seeds.derive(seed, "data"))
            build = partial(models.build, name, pool.shape, pool.classes)
            for kind, hooks in (("half", []), ("full", [FullPrecision()])):
                found[kind].append(measured(build, pool, recipe, seed, hooks))
        half, full = (torch.tensor(found[kind], dtype=torch.float64) for kind in ("half", "full"))
        cells = zip(half.mean(0), full.mean(0), (half - full).abs().max(0).values, strict=True)
        print(f"| {name} | " + " | ".join(f"{a:.3f} / {b:.3f} ({d:.3f})" for a, b, d in cells) + " |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--toy"]:
        main(1, SMALLEST)
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
