"""What makes a page stand alone: scripts, styles and pictures that travel inside it."""

import base64
import hashlib
from importlib import resources


def static(name: str) -> str:
    """The text of a file in `static/`."""
    return resources.files("mialab.chapters").joinpath("static", name).read_text(encoding="utf-8")


def data_uri(png: bytes) -> str:
    """A PNG file as an address, so that the page asks nobody for it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def element_id(content: str) -> str:
    """A name for an element that follows from its content: the same call gives the same page."""
    return "mialab-" + hashlib.sha256(content.encode()).hexdigest()[:12]
