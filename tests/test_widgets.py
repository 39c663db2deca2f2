"""Explorers: the same call moves with a kernel and without one."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from PIL import Image

from mialab.chapters import widgets


def squares(figure, side, color="red"):
    ax = figure.subplots()
    ax.bar([0], [side**2], color=color)
    return f"A {color} square of side {side} has the area {side**2}."


@pytest.fixture
def shown(monkeypatch):
    """What explore() displays."""
    bundles = []
    monkeypatch.setattr(widgets, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def frames(page):
    return json.loads(re.search(r"\}\)\((\[.*\]), \[[\d, ]+\], \"mialab-\w+\"\);</script>", page, flags=re.S)[1])


def test_without_a_front_end_every_frame_is_in_the_page_with_its_own_numbers(shown):
    widgets.explore(squares, side=[1, 2, 3], color={"warm": "red", "cold": "blue"})
    found = frames(shown[0]["text/html"])
    assert [frame["labels"] for frame in found] == [[str(s), c] for s in (1, 2, 3) for c in ("warm", "cold")]
    assert found[5]["text"] == "A blue square of side 3 has the area 9."
    assert len({frame["src"] for frame in found}) == 6


def test_values_in_per_cent_are_written_as_in_the_text(shown):
    widgets.explore(squares, side={"5%": 1, "10 %": 2}, color=["red"])
    assert [frame["labels"][0] for frame in frames(shown[0]["text/html"])] == ["5\u00a0%", "10\u00a0%"]


def test_a_frame_is_what_draw_has_drawn(shown):
    widgets.explore(squares, side=[2], color=["red", "blue"])
    for frame, (more, less) in zip(frames(shown[0]["text/html"]), [(0, 2), (2, 0)], strict=True):
        png = base64.b64decode(frame["src"].removeprefix("data:image/png;base64,"))
        center = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        height, width, _ = center.shape
        pixel = center[height // 2, width // 2]
        assert pixel[more] > 200 > pixel[less]


def test_the_picture_and_the_sentence_of_the_middle_are_the_fallbacks(shown):
    widgets.explore(squares, side=[1, 2, 3])
    bundle = shown[0]
    assert bundle["text/plain"] == "A red square of side 2 has the area 4."
    assert bundle["image/png"] in bundle["text/html"]
    assert 'alt="A red square of side 2 has the area 4."' in bundle["text/html"].split("<fieldset")[0]
    assert set(bundle) == {"text/html", "image/png", "text/plain"}


def test_without_scripts_the_page_shows_the_picture_and_hides_the_dead_sliders(shown):
    widgets.explore(squares, side=[1, 2])
    assert "<fieldset hidden>" in shown[0]["text/html"]


def test_the_page_asks_for_nothing_from_outside(shown):
    widgets.explore(squares, side=[1, 2])
    assert not re.search(r"https?:|src=\"(?!data:)|@import|url\(", shown[0]["text/html"])


def test_frames_are_small(shown):
    widgets.explore(squares, side=list(range(1, 11)))
    assert len(shown[0]["text/html"]) < 10 * 20_000


def test_a_sentence_cannot_break_out_of_the_page(shown):
    def draw(figure, x):
        return f'{x} </script><img src=x onerror="alert(1)"> & "quotes"'

    widgets.explore(draw, x=["<b>a", "c"])
    page = shown[0]["text/html"]

    class Tags(HTMLParser):
        seen: list = []

        def handle_starttag(self, tag, attrs):
            self.seen.append(tag)

    Tags().feed(page)
    assert Tags.seen.count("img") == 1 and Tags.seen.count("script") == 1 and "b" not in Tags.seen
    assert frames(page)[0]["text"] == '<b>a </script><img src=x onerror="alert(1)"> & "quotes"'


def test_the_same_call_gives_the_same_page(shown):
    widgets.explore(squares, side=[1, 2])
    widgets.explore(squares, side=[1, 2])
    assert shown[0] == shown[1]


def test_drawing_leaves_no_figure_behind_in_pyplot(shown):
    widgets.explore(squares, side=[1, 2])
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("grids", "remedy"),
    [
        ({}, "1 to 2 grids"),
        ({"a": [1], "b": [1], "c": [1]}, "1 to 2 grids"),
        ({"side": list(range(61))}, "at most 60"),
        ({"side": []}, "at least one value"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused_with_the_remedy(grids, remedy):
    with pytest.raises(ValueError, match=remedy):
        widgets.explore(squares, **grids)


def test_a_draw_without_a_sentence_is_refused():
    with pytest.raises(TypeError, match="must return a sentence"):
        widgets.explore(lambda figure, x: None, x=[1])


def controls(bundle):
    import ipywidgets

    everything = getattr(ipywidgets.widgets.widget, "_instances", None) or ipywidgets.Widget.widgets  # 8, or 7
    view = bundle["application/vnd.jupyter.widget-view+json"]
    picture, *sliders = everything[view["model_id"]].children
    return picture, sliders


def test_with_a_kernel_moving_a_slider_draws_anew(shown):
    calls = []

    def draw(figure, **values):
        calls.append(values)
        return squares(figure, **values)

    widgets.explore(draw, live=True, side={"one": 1, "two": 2, "three": 3}, color=["red", "blue"])
    picture, (side, color) = controls(shown[0])
    assert calls == [{"side": 2, "color": "blue"}]  # the middle, and no frame that nobody asked for
    side.index = 0
    color.index = 0
    assert calls[-1] == {"side": 1, "color": "red"}
    assert "A red square of side 1 has the area 1." in picture.value
    assert shown[0]["text/plain"] == "A blue square of side 2 has the area 4."


CALL = """
from mialab.chapters.widgets import explore

def draw(figure, x):
    figure.subplots().plot([0, x])
    return f"x is {x}"

explore(draw, x=[1, 2])
"""


def test_a_front_end_that_can_answer_questions_gets_live_sliders():
    manager, client = start_new_kernel(kernel_name="python3")
    outputs = []
    try:
        client.execute_interactive(CALL, allow_stdin=True, output_hook=outputs.append, timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    data = next(message["content"]["data"] for message in outputs if message["msg_type"] == "display_data")
    assert "application/vnd.jupyter.widget-view+json" in data and "text/html" not in data


def test_programs_that_run_notebooks_keep_the_form_for_the_page(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CALL)])
    NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    data = notebook.cells[0].outputs[0]["data"]
    assert "mialab-explore" in data["text/html"] and data["text/plain"] == "x is 2"
