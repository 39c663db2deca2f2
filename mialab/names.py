"""What to say of a name that does not exist."""

import difflib
from collections.abc import Iterable


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """One line that names close ones, if there are any, and all that exist."""
    known = tuple(known)
    close = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"unknown {kind} {name!r}; {hint}there are {', '.join(known)}"
