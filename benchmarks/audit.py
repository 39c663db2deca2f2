"""What an audit costs: `python benchmarks/audit.py [size ...]` prints seconds and peak memory of `mialab audit`.

Each size is made up, saved uncompressed, and audited with all default attacks in a process of its own. Seconds are of
the wall and of the processor; memory is the process's largest, Python and the libraries included, and as a multiple of
the file with what a bare `import` takes left out. Times are of the machine that they were measured on.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = {  # models, samples, classes; without classes a loss for each sample
    "60,000 x 10 x 10": (10, 60_000, 10),
    "50,000 x 1,000": (1, 50_000, 1000),
    "5,000,000 losses": (1, 5_000_000, 0),
}
RUN = """
import resource, sys
from mialab.cli import main
main(["audit", sys.argv[1]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
BARE = """
import resource, sys
import scipy.optimize, sklearn.linear_model
import mialab.audit
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def arrays(size: str, *, shrunk: int = 1) -> dict[str, np.ndarray]:
    """Members' answers a little surer than the others'; shrunk: so many times fewer samples."""
    rng = np.random.default_rng(0)
    models, n, classes = SIZES[size]
    n //= shrunk
    member = np.arange(n) % 2
    if not classes:
        return {"losses": rng.gamma(1, 1 - 0.2 * member).astype(np.float32), "member": member}
    labels = rng.integers(0, classes, n)
    logits = rng.normal(0, 2, (models, n, classes)).astype(np.float32)
    logits[:, np.arange(n), labels] += (4 + rng.gamma(1, 3, n) * member).astype(np.float32)
    return {"logits": logits, "labels": labels, "member": member}


def cost(code: str, *arguments: str) -> tuple[float, float, float]:
    """Seconds of the wall and of the processor, and the largest memory in MB, of a process that runs the code."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, processor, int(done.stderr.split()[-1]) * 1024 / 1e6


def main(sizes: list[str], *, shrunk: int = 1) -> None:
    bare = cost(BARE)[2]
    print("| size | file, MB | seconds | processor seconds | peak memory, MB | beyond the libraries, times the file |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "outputs.npz"
            np.savez(place, **arrays(size, shrunk=shrunk))
            file = place.stat().st_size / 1e6
            wall, processor, peak = cost(RUN, str(place))
        figures = f"{file:.0f} | {wall:.1f} | {processor:.1f} | {peak:.0f} | {(peak - bare) / file:.1f}"
        print(f"| {size} | {figures} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(SIZES))
