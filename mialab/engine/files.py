"""Files written whole or not at all: the one place for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path` only when the block ends without an error; until then what lay there stays.

    Its folder is made. The draft lies beside it under a name of its own, and is gone afterwards whatever happens.
    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.draft")
    try:
        with draft.open("xb") as file:
            yield file
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink()


def write_whole(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Write what `save` writes into a binary file at `path`, whole or not at all; OSError, and what `save` raises."""
    with whole(path) as file:
        save(file)
