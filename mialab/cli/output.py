"""What every command shares: printing, refusing in one line, and writing files whole or not at all."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from mialab.engine.files import write_whole

FAILED = 1  # something that was asked for went wrong: a cell, a chapter
REFUSED = 2  # what was asked for cannot be
BROKEN = 3  # a limit that was set
STDOUT = Path("-")
STREAMS = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")  # names of standard output


class Refused(Exception):
    """What was asked for cannot be; one line that says why and what to do."""


@contextlib.contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Turn these errors, each of them one line for whoever typed the command, into `Refused`."""
    try:
        yield
    except errors as error:
        raise Refused(error) from error


def target(out: str, *taken: str | Path | None, option: str = "--json") -> Path:
    """Where `option out` will be written; STDOUT, once, for standard output.

    Refused before the work where that cannot be, or is a place `taken`.
    """
    if out in STREAMS:
        if STDOUT in taken[1:]:
            raise Refused(f"{option} {out}: another option writes to standard output; choose another")
        return STDOUT
    place = Path(os.path.realpath(out))  # what a link points to is written, the link stays
    try:
        found = _obstacle(place, [os.path.realpath(each) for each in taken if each is not None])
    except OSError as error:
        found = error.strerror
    if found:
        raise Refused(f"{option} {out}: found {found}; expected a file that can be written; choose another")
    return place


def _obstacle(place: Path, taken: list[str]) -> str | None:
    if place.is_dir():
        return "a directory"
    if place.exists() and not place.is_file():
        return "no regular file"
    if place.exists() and _is_stdout(place):
        return "the file that the report is printed to"
    if any(str(place) == each or place.exists() and os.path.exists(each) and place.samefile(each) for each in taken):
        return "a file that is read, or is written by another option"
    if not place.parent.is_dir():
        return f"no folder {place.parent}"
    places = [place.parent] + [place] * place.exists()
    return None if all(os.access(each, os.W_OK) for each in places) else "no permission to write"


def _is_stdout(place: Path) -> bool:
    try:
        return os.path.samestat(place.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError, AttributeError):  # not a file of the system's, as under a test
        return False


def write(place: Path, content: object) -> int:
    """Write the JSON whole or not at all; the exit code."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    return keep(place, lambda file: file.write(text.encode()))


def keep(place: Path, save: Callable[[BinaryIO], object], *, option: str = "--json") -> int:
    """Write what `save` writes whole or not at all; the exit code."""
    try:
        if place == STDOUT:
            return _to_stdout(save)
        write_whole(place, save)
    except OSError as error:
        return fail(f"{option} {place}: cannot be written ({error.strerror or error}); choose another")
    return 0


def _to_stdout(save: Callable[[BinaryIO], object]) -> int:
    whole = io.BytesIO()
    save(whole)
    sys.stdout.flush()
    sys.stdout.buffer.write(whole.getvalue())
    sys.stdout.buffer.flush()
    return 0


def tell(text: str) -> int:
    """Print beside what goes to standard output: on stderr; the exit code."""
    print(text, end="", file=sys.stderr, flush=True)
    return 0


def fail(message: object, code: int = REFUSED) -> int:
    """Tell an error in one line on stderr; the exit code."""
    print("mialab: error: " + " ".join(str(message).split()), file=sys.stderr)
    return code


def warn(message, category, filename, lineno, file=None, line=None) -> None:
    """Tell a warning in one line on stderr; stands in for `warnings.showwarning`."""
    print("mialab: warning: " + " ".join(str(message).split()), file=sys.stderr)


def show(text: str) -> int:
    """Print; the exit code."""
    return stream([text])


def stream(texts: Iterable[str]) -> int:
    """Print one after another, as each is made, until nobody reads any more; the exit code."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    for text in texts:
        seen = text.encode(encoding, "replace").decode(encoding)  # a sign that the terminal lacks is no reason to fail
        try:
            print(seen, end="", flush=True)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to be said there
            if not isinstance(error, BrokenPipeError):  # that is only a reader, such as `head`, that has seen enough
                return fail(f"the report cannot be printed ({error.strerror})")
            return 0
    return 0
