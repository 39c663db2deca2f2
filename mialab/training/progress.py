"""A progress bar where somebody is watching, and silence elsewhere: in logs, in papermill, in the book's build."""

import os
import sys
from collections.abc import Iterable


def bar(steps: Iterable[int], *, show: bool, unit: str) -> Iterable[int]:
    """Return the steps, with a bar around them if wanted and watched."""
    if not (show and _watched()):
        return steps
    from tqdm.auto import tqdm  # here, as it warns about missing widgets when imported in a kernel

    return tqdm(steps, unit=unit, leave=False)


def _watched() -> bool:
    """Say whether output goes to a terminal or to a live notebook (Jupyter, Colab, VS Code)."""
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
