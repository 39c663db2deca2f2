"""Cells of a store as a few small archives, and back: for a machine that is lent for minutes and comes back bare.

    python benchmarks/archives.py pack STORE OUT      # once; with --every 20, again and again until it is ended
    python benchmarks/archives.py pack STORE OUT --sent FILE    # those that FILE does not name yet, and name them there
    python benchmarks/archives.py unpack OUT STORE    # cells that the store lacks; what it has stays

At most four archives of at most 15 MiB each, cells-1.tar.xz and so on, each whole at any time. The smallest cells come
first: audits before the trainings that they stand on. A cell that is larger than an archive, or finds no room, is named
and left out.
"""

import argparse
import io
import lzma
import re
import tarfile
import time
from collections.abc import Collection
from pathlib import Path

from mialab.engine.files import write_whole

MOST_BYTES, MOST_ARCHIVES = 15 * 2**20, 4
CONTENT = ("cell.json", "arrays.safetensors")
CELL_NAME = r"[a-z_]+-[0-9a-f]{16}"


def pack(store: Path, out: Path, packed: dict[str, bytes], sent: Collection[str] = ()) -> list[str]:
    """Write the cells of the store into archives, but for those sent before; the names of those left out.

    `packed` keeps what is compressed.
    """
    for folder in sorted(path for path in store.iterdir() if (path / "cell.json").exists()):
        if folder.name not in packed and folder.name not in sent:
            packed[folder.name] = _compressed(folder)
    archives: list[list[bytes]] = [[]]
    left_out = []
    for name in sorted(packed, key=lambda each: len(packed[each])):
        if len(packed[name]) > MOST_BYTES:
            left_out.append(name)
            continue
        if sum(map(len, archives[-1])) + len(packed[name]) > MOST_BYTES:
            if len(archives) == MOST_ARCHIVES:
                left_out.append(name)
                continue
            archives.append([])
        archives[-1].append(packed[name])
    for number, parts in enumerate(archives, 1):
        _keep(out / f"cells-{number}.tar.xz", b"".join(parts))
    return left_out


def unpack(out: Path, store: Path) -> int:
    """Put the cells of all archives into the store, as far as it lacks them; how many there were."""
    found = 0
    for path in sorted(out.glob("cells-*.tar.xz")):
        with tarfile.open(path, ignore_zeros=True) as archive:
            for member in archive:
                name, _, file = member.name.partition("/")
                target = store / name / file
                if file in CONTENT and not target.exists() and re.fullmatch(CELL_NAME, name):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(member).read())
                    found += file == CONTENT[0]
    return found


def _compressed(folder: Path) -> bytes:
    """One cell as a tar of its own, compressed: archives are such parts one after another."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for file in CONTENT:
            archive.add(folder / file, f"{folder.name}/{file}")
    return lzma.compress(plain.getvalue(), preset=1)


def _keep(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--every", type=float, metavar="SECONDS", help="pack again and again")
    parser.add_argument("--sent", type=Path, metavar="FILE", help="names of cells that were packed before")
    asked = parser.parse_args()
    if asked.every and asked.sent:
        parser.error("--sent names what was packed once; leave --every out")
    if asked.what == "unpack":
        print(f"cells unpacked: {unpack(asked.source, asked.target)}")
        return
    packed: dict[str, bytes] = {}
    sent = asked.sent.read_text().split() if asked.sent and asked.sent.exists() else []
    while True:
        left_out = pack(asked.source, asked.target, packed, sent) if asked.source.is_dir() else []
        if asked.sent:
            asked.sent.write_text("\n".join([*sent, *sorted(packed.keys() - set(left_out))]))
        if not asked.every:
            print(f"cells packed: {len(packed) - len(left_out)}; left out: {', '.join(left_out) or 'none'}")
            return
        time.sleep(asked.every)


if __name__ == "__main__":
    main()
