"""A progress bar where somebody is watching, and silence elsewhere: in logs, in papermill, in the book's build."""

import multiprocessing
import os
import sys
from collections.abc import Iterable
from typing import Any

import tqdm


def bar(steps: Iterable | None = None, *, show: bool = True, **options: Any) -> tqdm.tqdm:
    """Return tqdm's bar around the steps (or one to update by hand), which shows only if wanted and watched."""
    if not (show and _watched()):
        return tqdm.tqdm(steps, disable=True)
    from tqdm.auto import tqdm as shown  # here, as it warns about missing widgets when imported in a kernel

    return shown(steps, leave=False, **options)


def duration(seconds: float) -> str:
    """Seconds in words, to two digits at most: an estimate claims no more."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * size:
            return f"{seconds / size:.{1 if seconds < 9.5 * size and size > 1 else 0}f} {unit}"
    return f"{seconds / 86_400:.{1 if seconds < 9.5 * 86_400 else 0}f} days"


def _watched() -> bool:
    """Say whether output goes to a terminal or to a live notebook (Jupyter, Colab, VS Code)."""
    if multiprocessing.parent_process() is not None:  # a worker: the bar over its work is the parent's
        return False
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return False
    # A kernel alone proves nothing: papermill and the book run one too. These are set by live front ends only.
    return any(name in os.environ for name in ("JPY_SESSION_NAME", "COLAB_RELEASE_TAG")) or (
        "__vsc_ipynb_file__" in shell.user_ns
    )
