"""Files written whole or not at all: the one function for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write what `save` writes into a binary file at `path`; what lay there before stays until all of it is written.

    The draft lies beside it under a name of its own and is gone afterwards, whatever happens. Raises what `save` does,
    and OSError where nothing can be written.
    """
    draft = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.draft")
    try:
        with draft.open("xb") as file:
            save(file)
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink()
