"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Let `save` write a file that takes its name only once it is whole; a failure leaves what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        with part.open("wb") as file:
            save(file)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
