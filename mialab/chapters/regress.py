"""Chapters executed by papermill, and the numbers that they publish compared with their baselines."""

import hashlib
import importlib.util
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mialab
from mialab.chapters import baselines
from mialab.chapters.baselines import Moved, Number, compare
from mialab.engine.files import write_whole
from mialab.engine.schedule import cores
from mialab.names import unknown

if TYPE_CHECKING:
    from nbformat import NotebookNode

EXTRA = ("ipykernel", "jupytext", "nbformat", "papermill")
REPETITIONS = 5  # seeds of a baseline
STRIDE = 100  # a chapter may repeat itself at seed, seed + 1, ...: repetitions this far apart share no training


class RegressError(ValueError):
    """Nothing was executed: the call or the folder is wrong; the message says what to do."""


class ChapterFailed(RuntimeError):
    """A chapter stopped; the message names the cell and the reason."""


@dataclass(frozen=True)
class ChapterRun:
    """One chapter to execute at one preset and seed; the notebook is kept in the folder `out`."""

    chapter: Path
    out: Path
    preset: str
    seed: int
    store: Path | None

    @property
    def notebook(self) -> Path:
        return self.out / f"{self.chapter.stem}.ipynb"


@dataclass(frozen=True)
class Executed:
    """What came of a run: the numbers that it published, and why it stopped if it did."""

    run: ChapterRun
    numbers: dict[str, Number]
    failure: str | None
    seconds: float


@dataclass(frozen=True)
class Checked:
    """What there is to say of one chapter, and the numbers that moved."""

    runs: tuple[Executed, ...]
    told: str
    failed: bool
    moved: tuple[Moved, ...] = ()

    def __str__(self) -> str:
        run = self.runs[0].run
        where = f" ({run.notebook})" if self.failed else ""
        return "\n    ".join([f"{run.chapter.stem}: {self.told}{where}", *map(str, self.moved)])


@dataclass(frozen=True)
class Report:
    """What came of `regress`; `failed` if a chapter stopped or its numbers are not those of its baseline."""

    chapters: tuple[Checked, ...]

    @property
    def failed(self) -> bool:
        return any(chapter.failed for chapter in self.chapters)

    def text(self) -> str:
        """A line for each chapter, one for each number that moved, and what to do if that is meant."""
        lines = [str(chapter) for chapter in self.chapters]
        if any(chapter.moved for chapter in self.chapters):
            lines.append("If this is meant, write the baselines anew: mialab regress --update")
        return "\n".join(lines)

    def to_dict(self) -> dict:
        """The report in plain JSON types."""
        return json.loads(json.dumps({**asdict(self), "failed": self.failed}, default=str))


def regress(
    chapters: Sequence[str] = (),
    *,
    out: Path,
    preset: str = baselines.PRESET,
    jobs: int | None = None,
    seed: int | None = None,
    update: bool = False,
    book: Path | None = None,
    store: Path | None = None,
) -> Report:
    """Execute chapters, keep the notebooks in the folder `out`, and compare what they publish with their baselines.

    chapters: numbers, slugs or paths; none means all
    jobs: how many at once (default: one for each core); kernels share the cores out
    seed: of the chapters (default 0)
    update: run at five seeds and write the baselines, instead of comparing
    book: the folder of the chapters (default: that of the checkout which the package runs from)
    store: where trained models are kept (default: as for the chapters)

    Raises RegressError. A chapter that stops is told in the report, and the others go on.
    """
    _require_extra()
    if update and preset != baselines.PRESET:
        raise RegressError(f"baselines hold the numbers of preset {baselines.PRESET!r}, not {preset!r}: update with it")
    sources = find(chapters, book)
    seeds = [(seed or 0) + STRIDE * k for k in range(REPETITIONS if update else 1)]
    runs = [
        ChapterRun(source, _folder(out / f"seed-{each}" if update else out), preset, each, store)
        for each in seeds
        for source in sources
    ]
    done = _execute_all(runs, jobs or cores())
    judge = _update if update else _check
    return Report(tuple(judge(tuple(each for each in done if each.run.chapter == source)) for source in sources))


def find(chapters: Sequence[str] = (), book: Path | None = None) -> list[Path]:
    """Paths of chapters given by number, slug or path; none means all of the book. Raises RegressError."""
    book = book or Path(mialab.__file__).resolve().parents[1] / "book"
    known = {path.stem: path.resolve() for path in sorted(book.glob("[0-9][0-9]_*.md"))}
    if not known:
        raise RegressError(f"no chapters in {book}: run this in a clone of the repository, installed with --editable")
    found = list(dict.fromkeys(_find(name, known) for name in chapters or known))
    if len({path.stem for path in found}) < len(found):
        raise RegressError("two of these chapters have the same name, and so would their notebooks; run them in turn")
    return found


def _find(name: str, known: Mapping[str, Path]) -> Path:
    for stem, path in known.items():
        number, _, slug = stem.partition("_")
        if name in (stem, slug) or (name.isdigit() and int(name) == int(number)):
            return path
    path = Path(name).resolve()
    if not path.is_file():
        raise RegressError(unknown("chapter", name, known))
    if not (tests := path.parent.parent / "tests").is_dir():
        raise RegressError(f"{name} lies in no checkout: its baseline would be in {tests}, which does not exist")
    return path


def execute(
    chapter: Path, out: Path, *, preset: str = baselines.PRESET, seed: int = 0, store: Path | None = None
) -> Path:
    """Execute a chapter (text or notebook) in its folder; return the notebook, kept in the folder `out` in any case.

    Where $MIALAB_STATE names a folder, a chapter that ran before with the same text, preset and seed is taken from
    there: a folder for one state of the package, as the Makefile gives it. Raises ChapterFailed.
    """
    target = out / f"{chapter.stem}.ipynb"
    target.unlink(missing_ok=True)
    kept = _kept(chapter, preset, seed)
    if kept is not None and kept.exists():
        shutil.copyfile(kept, target)
        return target
    try:
        _papermill(chapter, target, {"preset": preset, "seed": seed}, store)
    except Exception as problem:
        raise ChapterFailed(f"{_place(target, problem)}: {_reason(problem)}") from problem
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, lambda file: file.write(target.read_bytes()))
    return target


def _kept(chapter: Path, preset: str, seed: int) -> Path | None:
    if not (state := os.environ.get("MIALAB_STATE")):
        return None
    digest = hashlib.sha256(chapter.read_bytes()).hexdigest()[:12]
    return Path(state) / "executed" / f"{chapter.name}-{preset}-{seed}-{digest}.ipynb"


def _papermill(chapter: Path, target: Path, parameters: dict, store: Path | None) -> None:
    import jupytext
    import papermill

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / target.name
        jupytext.write(jupytext.read(chapter), source)
        papermill.execute_notebook(
            source,
            target,
            parameters,
            cwd=chapter.parent,
            progress_bar=False,
            kernel_name="python3",
            kernel_manager_class=_this_interpreter(store),
        )


def _this_interpreter(store: Path | None) -> type:
    """A manager that starts kernels of this interpreter, whatever kernel specifications the machine has."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    quiet = "--IPKernelApp.log_level=CRITICAL"  # else each warns that it talks unencrypted, and of its own shutdown
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", quiet]
    environment = {} if store is None else {"MIALAB_STORE": str(store.resolve())}

    class ThisInterpreter(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=argv, language="python", env=environment)

    return ThisInterpreter


def _place(target: Path, problem: Exception) -> str:
    """The code cell that was begun last, by number (as in the text) and by the line that failed."""
    import nbformat

    if not target.exists():
        return "before its first cell"
    cells = [cell for cell in nbformat.read(target, as_version=4).cells if cell.cell_type == "code"]
    written = [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    begun = [index for index, cell in enumerate(written) if cell.metadata.get("papermill", {}).get("start_time")]
    if not begun:
        return "before its first cell"
    traceback = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(getattr(problem, "traceback", [])))
    arrow = re.search(r"^-+> *\d+ (.*)$", traceback, flags=re.M)
    line = arrow[1] if arrow else written[begun[-1]].source.split("\n")[0]
    return f"code cell {begun[-1] + 1}, `{line.strip()}`"


def _reason(problem: Exception) -> str:
    kind = getattr(problem, "ename", type(problem).__name__)
    words = " ".join(str(getattr(problem, "evalue", problem)).split())
    return f"{kind}: {words[:300]}" if words else kind


def published(notebook: "NotebookNode") -> dict[str, Number]:
    """The numbers that an executed notebook published. Raises ValueError if two cells publish one name."""
    from mialab.chapters.notebook import PUBLISHED

    numbers: dict[str, Number] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            new = output.get("metadata", {}).get(PUBLISHED, {})
            if twice := sorted(set(new) & set(numbers)):
                raise ValueError(f"{', '.join(twice)} published twice; each number has a name of its own")
            numbers |= new
    return numbers


def _execute_all(runs: Sequence[ChapterRun], jobs: int) -> list[Executed]:
    """Execute in processes of their own (papermill changes the working folder); in the order of `runs`."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(jobs, len(runs)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(max(1, cores() // min(jobs, len(runs))),),
    )
    done = {}
    try:
        futures = {pool.submit(_attempt, run): run for run in runs}
        for future in as_completed(futures):
            run = futures[future]
            done[run] = executed = _result(future, run)
            _progress(executed, len(done), len(runs))
    except BaseException:
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()  # a kernel ends with the process that started it
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return [done[run] for run in runs]


def _begin(share: int) -> None:
    """Set up a process that executes chapters: Ctrl-C is for its parent, and kernels share the cores out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["MIALAB_CORES"] = str(share)


def _result(future: Future, run: ChapterRun) -> Executed:
    try:
        return future.result()
    except BrokenProcessPool:
        return Executed(run, {}, "its process was killed, or one beside it; try again with --jobs 1", 0.0)


def _attempt(run: ChapterRun) -> Executed:
    start = time.perf_counter()
    numbers, failure = {}, None
    try:
        execute(run.chapter, run.out, preset=run.preset, seed=run.seed, store=run.store)
    except ChapterFailed as problem:
        failure = str(problem)
    try:
        numbers = _numbers(run)
    except ValueError as problem:
        failure = failure or str(problem)
    return Executed(run, numbers, failure, time.perf_counter() - start)


def _numbers(run: ChapterRun) -> dict[str, Number]:
    """What the kept notebook published, also one that stopped half-way."""
    import nbformat

    return published(nbformat.read(run.notebook, as_version=4)) if run.notebook.exists() else {}


def _progress(executed: Executed, done: int, total: int) -> None:
    run = executed.run
    told = "FAILED" if executed.failure else f"numbers: {len(executed.numbers)}"
    line = f"[{done}/{total}] {run.chapter.stem} (seed {run.seed}): {told}, {executed.seconds:.0f} s"
    print(line, file=sys.stderr, flush=True)


def _check(runs: tuple[Executed, ...]) -> Checked:
    """Compare one run of a chapter with its baseline."""
    (done,) = runs
    total = f"numbers: {len(done.numbers)}"
    if done.run.preset != baselines.PRESET:
        told = done.failure or f"no baseline for preset {done.run.preset} ({total})"
        return Checked(runs, told, failed=bool(done.failure))
    try:
        moved = compare(done.numbers, baselines.read(_baseline(done.run.chapter)))
    except ValueError as problem:
        return Checked(runs, done.failure or str(problem), failed=True)
    if done.failure:  # what it did not come to is not gone
        moved = [each for each in moved if each.now is not None]
    told = f"not as in the baseline: {len(moved)} ({total})" if moved else f"as in the baseline ({total})"
    return Checked(runs, done.failure or told, failed=bool(done.failure or moved), moved=tuple(moved))


def _update(runs: tuple[Executed, ...]) -> Checked:
    """Write the baseline of a chapter from its runs at several seeds.

    At another seed than the first a chapter may stop once it has published: its own checks are of what its text says,
    and that was written for the first.
    """
    path = _baseline(runs[0].run.chapter)
    stopped = [f"seed {each.run.seed}: {each.failure}" for each in runs if each.failure]
    try:
        if runs[0].failure:
            raise ValueError(runs[0].failure)
        expected = baselines.from_runs([each.numbers for each in runs])
    except ValueError as problem:
        return Checked(runs, "; ".join(dict.fromkeys([f"no baseline written: {problem}", *stopped])), failed=True)
    baselines.write(path, expected, seeds=[each.run.seed for each in runs])
    return Checked(runs, "; ".join([f"numbers written to {path}: {len(expected)}", *stopped]), failed=False)


def _baseline(chapter: Path) -> Path:
    return chapter.parent.parent / "tests" / "baselines" / f"{chapter.stem}.json"


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise RegressError(f"cannot keep notebooks in {path}: {problem.strerror}; name another folder") from problem
    return path


def _require_extra() -> None:
    if missing := [name for name in EXTRA if importlib.util.find_spec(name) is None]:
        raise RegressError(f"chapters run through {', '.join(missing)}, not installed: pip install 'mialab[book]'")
