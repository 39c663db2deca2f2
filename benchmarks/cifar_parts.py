"""CIFAR-10's official files as three parts of 35 MiB or less, and back, byte for byte.

    python benchmarks/cifar_parts.py pack DATA PARTS      # DATA holds cifar-10-batches-py
    python benchmarks/cifar_parts.py unpack PARTS DATA    # as many parts as are there; loading checks every file's MD5

A file's images are kept as one lossless WebP mosaic per ten rows of a hundred, what stands before and after them as it
is. For machines without a network to which only small files can be carried.
"""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = "cifar-10-batches-py"
PARTS = (
    ("data_batch_1", "data_batch_2"),
    ("data_batch_3", "data_batch_4"),
    ("data_batch_5", "test_batch", "batches.meta"),
)
SHAPE = (3, 32, 32)
ACROSS = 32  # images in a mosaic's row, and rows in a mosaic
BYTES = int(np.prod(SHAPE))


def pack(data: Path, parts: Path) -> None:
    """Write the parts."""
    parts.mkdir(parents=True, exist_ok=True)
    for number, names in enumerate(PARTS, 1):
        with tarfile.open(parts / f"cifar10-{number}.tar", "w") as archive:
            for name in names:
                for inner, content in _packed(name, (data / FOLDER / name).read_bytes()):
                    member = tarfile.TarInfo(inner)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def unpack(parts: Path, data: Path) -> list[str]:
    """Write the official files that the parts hold; their names."""
    (data / FOLDER).mkdir(parents=True, exist_ok=True)
    pieces: dict[str, list[tuple[str, bytes]]] = {}
    for path in sorted(parts.glob("cifar10-*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                name, _, place = member.name.partition("/")
                pieces.setdefault(name, []).append((place, archive.extractfile(member).read()))
    for name, found in pieces.items():
        content = b"".join(_images(part) if place.endswith(".webp") else part for place, part in sorted(found))
        (data / FOLDER / name).write_bytes(content)
    return list(pieces)


def _packed(name: str, content: bytes):
    """Names and contents of the pieces of one file, in the order in which they make it."""
    start, count = _place(content)
    yield f"{name}/000.head", content[:start]
    images = np.frombuffer(content, np.uint8, count * BYTES, start).reshape(count, *SHAPE)
    for number, some in enumerate(np.split(images, range(ACROSS**2, count, ACROSS**2)) if count else [], 1):
        yield f"{name}/{number:03d}.webp", _mosaic(some)
    yield f"{name}/999.tail", content[start + count * BYTES :]


def _place(content: bytes) -> tuple[int, int]:
    """Where the images stand in a pickled batch, and how many: the one string of a multiple of 3,072 bytes."""
    at = content.find(b"T")  # pickle's opcode of a long string, its length in the next four bytes
    while at >= 0:
        length = int.from_bytes(content[at + 1 : at + 5], "little")
        if length and length % BYTES == 0 and at + 5 + length <= len(content):
            return at + 5, length // BYTES
        at = content.find(b"T", at + 1)
    return len(content), 0


def _mosaic(images: np.ndarray) -> bytes:
    """Images uint8 [n, 3, 32, 32] as one picture, the last row filled up; its height tells how many rows there are."""
    rows = -(-len(images) // ACROSS)
    padded = np.zeros((rows * ACROSS, *SHAPE), np.uint8)
    padded[: len(images)] = images
    tiles = padded.reshape(rows, ACROSS, *SHAPE).transpose(0, 3, 1, 4, 2).reshape(rows * 32, ACROSS * 32, 3)
    file = io.BytesIO()
    count = len(images).to_bytes(4, "little")
    Image.fromarray(tiles).save(file, "WEBP", lossless=True, quality=100, method=4, exif=count)
    return file.getvalue()


def _images(mosaic: bytes) -> bytes:
    with Image.open(io.BytesIO(mosaic)) as picture:
        count = int.from_bytes(picture.info["exif"], "little")
        tiles = np.asarray(picture.convert("RGB"))
    rows = len(tiles) // 32
    images = tiles.reshape(rows, 32, ACROSS, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, BYTES)
    return images[:count].tobytes()


if __name__ == "__main__":
    {"pack": pack, "unpack": unpack}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
