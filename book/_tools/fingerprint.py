"""Print a fingerprint of what decides, besides its text, what a chapter shows: package, versions, quizzes, records."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def fingerprint(root: Path = ROOT) -> str:
    """Hash of the package's files, the locked versions and the book's JSON files (12 hexadecimal digits)."""
    code = [p for p in (root / "mialab").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    records = list((root / "book").rglob("*.json"))
    digest = hashlib.sha256()
    for path in sorted([*code, *records, root / "constraints.txt"]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    print(fingerprint())
