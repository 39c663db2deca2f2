"""Sliders over figures: live where a kernel answers, and still moving in a static page without kernel or network.

`explore` decides by one question, whether the front end could answer `input()`. Notebooks in JupyterLab, Colab and VS
Code can: there the sliders are ipywidgets (7 or 8) and each figure is drawn by the kernel when it is asked for. The
book's build, papermill and nbconvert cannot: there all figures are drawn at once and published as plain HTML with an
inline script, a picture and a sentence as fallbacks. A wrong guess costs nothing but that choice.
"""

import base64
import html
import io
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mialab.chapters.inline import data_uri, element_id, static
from mialab.chapters.notebook import spaced
from mialab.chapters.play import Card, Picture, cards, play

__all__ = ["Card", "Picture", "cards", "explore", "frame", "play"]

MAX_GRIDS, MAX_FRAMES = 2, 60  # a page carries every frame, about 15 kB each
COLORS = 64  # in the palette of a frame: curves and text stay smooth, and the file a third of its size

Grid = list[tuple[str, object]]  # (label, value) in order


def explore(draw: Callable[..., str], *, live: bool | None = None, **grids) -> None:
    """Show a figure under one or two sliders.

    `draw(figure, **values)` draws on an empty matplotlib Figure and returns one sentence with the numbers that the
    figure shows: its alternative text, what a screen reader announces after each move, and the plain-text fallback.

    Each grid names an argument of `draw` and lists its values (a list, or a dict label -> value); at most two grids and
    60 combinations, else ValueError. Sliders start in the middle. `live` overrules the choice described above.
    """
    labelled = {name: _labelled(name, grid) for name, grid in grids.items()}
    _check_size(labelled)
    live = _front_end_listens() if live is None else live
    display((_live if live else _static)(draw, labelled), raw=True)


def frame(draw: Callable[..., str], **values) -> tuple[bytes, str]:
    """The figure for these values as PNG bytes, and its sentence."""
    figure = Figure()
    canvas = FigureCanvasAgg(figure)
    sentence = draw(figure, **values)
    if not isinstance(sentence, str) or not sentence.strip():
        raise TypeError(f"draw() must return a sentence with the figure's numbers, not {sentence!r}")
    sentence = spaced(sentence)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(COLORS)
    png = io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    return png.getvalue(), sentence


def _labelled(name: str, grid) -> Grid:
    if isinstance(grid, Mapping):
        pairs = [(spaced(str(label)), value) for label, value in grid.items()]
    else:
        pairs = [(spaced(value) if isinstance(value, str) else f"{value:.4g}", value) for value in grid]
    if not pairs:
        raise ValueError(f"grid {name!r} is empty: give it at least one value")
    return pairs


def _check_size(grids: dict[str, Grid]) -> None:
    frames = 1
    for grid in grids.values():
        frames *= len(grid)
    if not 1 <= len(grids) <= MAX_GRIDS or frames > MAX_FRAMES:
        raise ValueError(
            f"explore() takes 1 to {MAX_GRIDS} grids with at most {MAX_FRAMES} combinations, "
            f"not {len(grids)} with {frames}: list fewer values"
        )


def _front_end_listens() -> bool:
    # The kernel notes for each request whether its sender can answer input(); programs that run notebooks cannot.
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False))


def _fallbacks(png: bytes, sentence: str) -> dict[str, str]:
    return {"image/png": base64.b64encode(png).decode(), "text/plain": sentence}


def _static(draw: Callable[..., str], grids: dict[str, Grid]) -> dict:
    """The display bundle of the form without a kernel."""
    frames: list[dict[str, Any]] = []
    pictures: list[bytes] = []
    for combination in itertools.product(*grids.values()):
        values = dict(zip(grids, (value for _, value in combination), strict=True))
        png, sentence = frame(draw, **values)
        pictures.append(png)
        frames.append({"src": data_uri(png), "text": sentence, "labels": [label for label, _ in combination]})
    counts = [len(grid) for grid in grids.values()]
    middle = 0
    for count in counts:
        middle = middle * count + count // 2
    return {"text/html": _page(frames, grids, middle), **_fallbacks(pictures[middle], frames[middle]["text"])}


def _page(frames: list[dict], grids: dict[str, Grid], middle: int) -> str:
    # "<" is escaped so that no sentence can end the script; the id only matters where scripts do not know their place.
    data = json.dumps(frames).replace("<", "\\u003c")
    name = element_id(data)
    shown = frames[middle]
    sliders = "".join(
        f'<label><span>{_title(grid)}</span><input type="range" min="0" max="{len(values) - 1}" step="1" '
        f'value="{len(values) // 2}" aria-label="{_title(grid)}" aria-valuetext="{html.escape(label)}">'
        f"<output>{html.escape(label)}</output></label>"
        for (grid, values), label in zip(grids.items(), shown["labels"], strict=True)
    )
    sentence = html.escape(shown["text"])
    return (
        f'<div class="mialab-explore" id="{name}"><style>{static("explore.css")}</style>'
        f'<img src="{shown["src"]}" alt="{sentence}">'
        f'<fieldset hidden>{sliders}</fieldset><p aria-live="polite">{sentence}</p>'
        f"<script>{static('explore.js').rstrip()}"
        f"({data}, {json.dumps([len(grid) for grid in grids.values()])}, {json.dumps(name)});</script></div>"
    )


def _title(name: str) -> str:
    return html.escape(name.replace("_", " "))


def _live(draw: Callable[..., str], grids: dict[str, Grid]) -> dict:
    """The display bundle of the form with a kernel: only what ipywidgets 7.7 and 8 share is used."""
    import ipywidgets

    sliders = {
        name: ipywidgets.SelectionSlider(
            options=[(label, index) for index, (label, _) in enumerate(grid)],
            index=len(grid) // 2,
            description=_title(name),
            continuous_update=False,
            style={"description_width": "initial"},
            layout={"width": "auto", "max_width": "40rem"},
        )
        for name, grid in grids.items()
    }
    picture = ipywidgets.HTML()

    def redraw(change=None) -> tuple[bytes, str]:
        png, sentence = frame(draw, **{name: grids[name][slider.index][1] for name, slider in sliders.items()})
        text = html.escape(sentence)
        picture.value = (
            f'<img src="{data_uri(png)}" alt="{text}" style="max-width: 100%; background: #fff">'
            f'<p aria-live="polite">{text}</p>'
        )
        return png, sentence

    for slider in sliders.values():
        slider.observe(redraw, names="index")
    _, sentence = redraw()
    box = ipywidgets.VBox([picture, *sliders.values()])
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    return {"application/vnd.jupyter.widget-view+json": view, "text/plain": sentence}  # what ipywidgets itself shows
