"""Files on disk: where they are, whether they are whole, and how missing ones land there atomically."""

import hashlib
import os
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30


class DataError(RuntimeError):
    """A data file is missing, damaged or unreadable; one line that names the file, the cause and the remedy."""


def root_folder(root: str | os.PathLike | None = None) -> Path:
    """The folder that holds all data sets: the argument, else $MIALAB_DATA, else ~/.cache/mialab-data."""
    return Path(root or os.environ.get("MIALAB_DATA") or Path.home() / ".cache" / "mialab-data").expanduser()


def damaged(path: Path, cause: object) -> DataError:
    """The error for a file that is there but cannot be used."""
    return DataError(f"{path}: {cause}; move it away and load again with a network, or put an intact copy there")


@contextmanager
def landing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write that becomes `path` only when the block ends without an error."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(part, "wb")  # noqa: SIM115 (closed below; only its opening may blame the folder)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}); allow it or set MIALAB_DATA to a folder of yours"
        ) from error
    try:
        with file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def fetch(path: Path, urls: list[str], *, checksum: str | None = None, download: bool = True) -> Path:
    """Return `path`, whole: checked against `checksum` ("md5:..." or "sha256:..."), downloaded first if missing.

    Where no checksum is published (None), that of the first download is recorded beside the file, in
    `<name>.sha256`, and holds from then on; a copy put there by hand has no record and is read as it is.
    Raises DataError.
    """
    if not present(path):
        if not download:
            raise _missing(path, urls, "and downloading is off")
        _download(path, urls, checksum)
    expected = checksum or _recorded(path)
    if expected:
        verify(path, expected)
    return path


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
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
    except OSError as error:
        raise damaged(path, error.strerror or error) from error
    if found != expected:
        size = path.stat().st_size
        raise damaged(path, f"truncated or altered ({size:,} bytes with {kind} {found}, expected {expected})")


def unpack(archive: Path, members: dict[str, Path]) -> None:
    """Copy files out of a verified tar archive, each landing atomically; `members` maps archive names to paths."""
    try:
        with tarfile.open(archive) as tar:
            for name, path in members.items():
                source = tar.extractfile(name)
                if source is None:
                    raise damaged(archive, f"holds no file {name}")
                with landing(path) as file:
                    while chunk := source.read(_CHUNK_BYTES):
                        file.write(chunk)
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
            digest = _stream(path, url, checksum or _recorded(path))
        except (OSError, HTTPException, ValueError) as error:
            causes.append(f"{url}: {error}")
            continue
        if checksum is None and _recorded(path) is None:
            with landing(_record(path)) as file:
                file.write(f"{digest}  {path.name}\n".encode())
        return
    raise _missing(path, urls, f"and could not be downloaded ({'; '.join(causes)})")


def _stream(path: Path, url: str, checksum: str | None) -> str:
    """Download one address to `path` under a progress bar and return its sha256; ValueError if it is not whole."""
    from tqdm.auto import tqdm

    kind, expected = checksum.split(":") if checksum else ("sha256", None)
    digest, received = hashlib.new(kind), 0
    request = urllib.request.Request(url, headers={"User-Agent": "mialab"})  # some hosts refuse urllib's own name
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer, landing(path) as file:
        total = int(answer.headers.get("Content-Length") or 0)
        with tqdm(total=total or None, unit="B", unit_scale=True, desc=path.name) as bar:
            while chunk := answer.read(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                bar.update(len(chunk))
        if total and received != total:
            raise ValueError(f"broke off after {received:,} of {total:,} bytes")
        if expected and digest.hexdigest() != expected:
            raise ValueError(f"wrong checksum ({kind} {digest.hexdigest()}, expected {expected})")
    return digest.hexdigest()


def _record(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _recorded(path: Path) -> str | None:
    """The checksum recorded at the first download, or None."""
    try:
        return "sha256:" + _record(path).read_text().split()[0]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise damaged(_record(path), f"is no checksum record ({error})") from error
