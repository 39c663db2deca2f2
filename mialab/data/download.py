"""Files on disk: where they are, whether they are whole, and how missing ones land there atomically."""

import hashlib
import os
import re
import shutil
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, TypeVar

from mialab.engine.files import whole
from mialab.progress import bar

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30

Content = TypeVar("Content")


class DataError(RuntimeError):
    """A data file is missing, damaged or unreadable; one line that names the file, the cause and the remedy."""


def root_folder(root: str | os.PathLike | None = None) -> Path:
    """The folder that holds all data sets: the argument, else $MIALAB_DATA, else mialab-data in the user's cache.

    The user's cache is $XDG_CACHE_HOME, else ~/.cache.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(root or os.environ.get("MIALAB_DATA") or cache / "mialab-data").expanduser()


def damaged(path: Path, cause: object) -> DataError:
    """The error for a file that is there but cannot be used."""
    return DataError(f"{path}: {cause}; move it away and load again with a network, or put an intact copy there")


@contextmanager
def landing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write that becomes `path` only when the block ends without an error."""
    with ExitStack() as stack:
        try:  # only the opening may blame the folder
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(whole(path))
        except OSError as error:
            raise DataError(
                f"{path} cannot be written ({error.strerror}); allow it or set MIALAB_DATA to a folder of yours"
            ) from error
        yield file


def fetch(path: Path, urls: list[str], *, checksum: str | None = None, download: bool = True) -> Path:
    """Return `path`, downloaded first if missing and checked against `checksum` ("md5:...", "sha256:..." or None).

    Raises DataError.
    """
    if not present(path):
        if not download:
            raise _missing(path, urls, "and downloading is off")
        _download(path, urls, checksum)  # checked on its way
    elif checksum:
        verify(path, checksum)
    return path


def fetch_and_parse(
    path: Path,
    urls: list[str],
    parse: Callable[[Path], Content],
    *,
    checksum: str | None = None,
    download: bool = True,
) -> Content:
    """Return `parse(path)`; parse raises ValueError for what is not its data.

    Where no checksum is published (None), a download must prove itself: one that does not parse is removed, one that
    does has its sha256 recorded beside it, in `<name>.sha256`, which holds from then on. A copy put there by hand
    has no record and only needs to parse. Raises DataError.
    """
    recorded = None if checksum else _recorded(path)
    unproven = not (checksum or recorded or present(path))
    try:
        fetch(path, urls, checksum=checksum or recorded, download=download)
        content = _parsed(path, urls, parse, unproven)
    except DataError as error:
        if not recorded:
            raise
        raise DataError(f"{error}. If its recorded checksum is wrong, move {_record(path)} away too") from error
    if unproven:
        with landing(_record(path)) as file:
            file.write(f"{_digest(path, 'sha256')}  {path.name}\n".encode())
    return content


def _parsed(path: Path, urls: list[str], parse: Callable[[Path], Content], unproven: bool) -> Content:
    try:
        return parse(path)
    except ValueError as error:
        if not unproven:
            raise damaged(path, error) from error
        path.unlink(missing_ok=True)
        raise _missing(path, urls, f"as its download was no such data and is removed ({error})") from error


def present(path: Path) -> bool:
    """Whether a file is there; raises DataError for anything that cannot be read as one."""
    try:
        is_file, exists = path.is_file(), path.exists()
        readable = not exists or os.access(path, os.R_OK)
    except PermissionError:
        readable = False
    if not readable:
        raise DataError(f"{path}: no permission to read it; allow it (chmod u+r) or set MIALAB_DATA to another folder")
    if exists and not is_file:
        raise damaged(path, "is not a file")
    return exists


def verify(path: Path, checksum: str) -> None:
    """Raise DataError unless the file at `path` has that checksum ("md5:..." or "sha256:...")."""
    if not present(path):
        raise damaged(path, "missing")
    kind, expected = checksum.split(":")
    found = _digest(path, kind)
    if found != expected:
        size = path.stat().st_size
        raise damaged(path, f"truncated or altered ({size:,} bytes with {kind} {found}, expected {expected})")


def _digest(path: Path, kind: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, kind).hexdigest()
    except OSError as error:
        raise damaged(path, error.strerror or error) from error


def unpack(archive: Path, members: dict[str, Path]) -> None:
    """Copy files out of a verified tar archive, each landing atomically; `members` maps archive names to paths."""
    try:
        with tarfile.open(archive) as tar:
            for name, path in members.items():
                source = tar.extractfile(name)
                if source is None:
                    raise damaged(archive, f"holds no file {name}")
                with landing(path) as file:
                    shutil.copyfileobj(source, file)
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise damaged(archive, f"cannot be unpacked ({error})") from error


def _missing(path: Path, urls: list[str], cause: str) -> DataError:
    return DataError(
        f"{path} is missing {cause}; load with a network and download=True, or put the file there by hand "
        f"(published at {urls[0]}), or set MIALAB_DATA to the folder that holds it"
    )


def _download(path: Path, urls: list[str], checksum: str | None) -> None:
    """Fetch from the first address that answers; what is incomplete or fails its checksum never becomes `path`."""
    causes = []
    for url in urls:
        try:
            return _stream(path, url, checksum)
        except (OSError, HTTPException, ValueError) as error:
            causes.append(f"{url}: {error}")
    raise _missing(path, urls, f"and could not be downloaded ({'; '.join(causes)})")


def _stream(path: Path, url: str, checksum: str | None) -> None:
    """Download one address to `path` under a progress bar; ValueError if it is not whole."""
    kind, expected = checksum.split(":") if checksum else ("sha256", None)
    digest, received = hashlib.new(kind), 0
    request = urllib.request.Request(url, headers={"User-Agent": "mialab"})  # some hosts refuse urllib's own name
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer, landing(path) as file:
        total = int(answer.headers.get("Content-Length") or 0)
        with bar(total=total or None, unit="B", unit_scale=True, desc=path.name) as shown:
            while chunk := answer.read(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                shown.update(len(chunk))
        if total and received != total:
            raise ValueError(f"broke off after {received:,} of {total:,} bytes")
        if expected and digest.hexdigest() != expected:
            raise ValueError(f"wrong checksum ({kind} {digest.hexdigest()}, expected {expected})")


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _recorded(path: Path) -> str | None:
    """The checksum recorded at the first download, or None."""
    try:
        record = _record(path).read_text("ascii").lower()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{_record(path)}: is no checksum record ({error}); move it away and load again") from error
    if not (found := re.match(r"[0-9a-f]{64}\b", record)):
        raise DataError(f"{_record(path)}: is no checksum record (no sha256); move it away and load again")
    return f"sha256:{found[0]}"
