"""Sliders moved in a real browser with the network off: in the built book, and where scripts are caged or forbidden."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

from mialab.chapters import widgets

ROOT = Path(__file__).resolve().parents[1]
HTML = Path(os.environ.get("MIALAB_HTML", ROOT / "_build" / "html"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
# jupyterquiz looks for a version of MathJax half a second after its own start, whether or not it has been loaded.
KNOWN = "Cannot read properties of undefined (reading '0')"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup)")
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH: .ci/run installs it")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield started
        started.close()


class Visit:
    """One page in a fresh context that reaches this server only; what else it asks for is refused and noted."""

    def __init__(self, browser, folder, path, **context):
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

        handler = functools.partial(Quiet, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.home, self.path = f"http://127.0.0.1:{self.server.server_port}/", path
        self.context = browser.new_context(**context)
        self.outside, self.errors = [], []

    def __enter__(self):
        page = self.page = self.context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.route("**/*", self._route)
        page.goto(self.home + self.path)
        return self

    def __exit__(self, *_):
        self.context.close()
        self.server.shutdown()
        self.server.server_close()

    def _route(self, route):
        if route.request.url.startswith((self.home, "data:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def state(self, explorer):
        return (
            explorer.locator("img").get_attribute("src"),
            explorer.locator("img").get_attribute("alt"),
            explorer.locator("[aria-live]").inner_text(),
        )


def chapters():
    if not HTML.is_dir():
        return []
    pages = sorted((HTML / "book").glob("[0-9][0-9]_*.html"))
    return [page.relative_to(HTML).as_posix() for page in pages if 'class="mialab-explore"' in page.read_text()]


@pytest.fixture(params=chapters() or [pytest.param("", marks=pytest.mark.skip(f"no built book in {HTML}: make book"))])
def chapter(request):
    return request.param


def assert_every_slider_moves(visit, scope=None):
    explorers = (scope or visit.page).locator(".mialab-explore")
    assert explorers.count() > 0
    for explorer in explorers.all():
        for slider in explorer.locator("input").all():
            before, said = visit.state(explorer), slider.get_attribute("aria-valuetext")
            slider.focus()
            slider.press("ArrowLeft")  # sliders start in the middle, of two values at the second
            after = visit.state(explorer)
            assert all(now != then for now, then in zip(after, before, strict=True))
            assert after[1] == after[2]  # the picture's text is the announced sentence
            assert slider.get_attribute("aria-valuetext") != said
            slider.press("End")
            assert slider.input_value() == slider.get_attribute("max") and slider.get_attribute("aria-label")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_static_page_moves_without_kernel_and_network(browser, chapter, width, scheme):
    with Visit(browser, HTML, chapter, viewport={"width": width, "height": 900}, color_scheme=scheme) as visit:
        assert_every_slider_moves(visit)
        visit.page.wait_for_timeout(700)  # scripts that start late are heard as well
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        assert visit.outside == []
        assert [error for error in visit.errors if KNOWN not in error] == []


def test_maths_is_typeset_without_network(browser, chapter):
    with Visit(browser, HTML, chapter) as visit:
        if visit.page.locator(".math").count():
            visit.page.wait_for_selector("mjx-container", state="attached", timeout=20_000)
            assert visit.outside == []


def luminance(color):
    red, green, blue = (int(part) for part in color[color.index("(") + 1 : -1].split(",")[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def test_the_numbers_are_readable_in_the_dark(browser, chapter):
    with Visit(browser, HTML, chapter, color_scheme="dark") as visit:
        ink = visit.page.locator(".mialab-explore [aria-live]").first.evaluate("e => getComputedStyle(e).color")
        paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        card = visit.page.locator(".text_html:has(.mialab-explore)").first
        assert card.evaluate("e => getComputedStyle(e).backgroundColor") == "rgba(0, 0, 0, 0)"
        assert luminance(ink) - luminance(paper) > 0.5


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    """A folder with a page that holds one explorer with two sliders, and another that cages it as Colab does."""

    def draw(figure, side, color):
        figure.subplots().bar([0], [side], color=color)
        return f"A {color} bar of height {side}."

    bundles, folder = [], tmp_path_factory.mktemp("explorer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(widgets, "display", lambda bundle, raw: bundles.append(bundle))
        widgets.explore(draw, live=False, side=[1, 2, 3, 4], color=["red", "blue", "green"])
    head = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>x</title>'
    (folder / "page.html").write_text(f"{head}<main>{bundles[0]['text/html']}</main>")
    caged = '<iframe sandbox="allow-scripts" src="page.html" width="800" height="600" title="output"></iframe>'
    (folder / "caged.html").write_text(head + caged)
    return folder


def test_two_sliders_reach_the_frame_of_both_values(browser, explorer):
    with Visit(browser, explorer, "page.html") as visit:
        side, color = visit.page.locator("input").all()
        side.press("End")
        color.press("Home")
        assert visit.page.locator("[aria-live]").inner_text() == "A red bar of height 4."
        assert visit.page.locator("output").all_inner_texts() == ["4", "red"]
        assert visit.errors == []


def test_an_explorer_moves_in_a_sandboxed_frame(browser, explorer):
    with Visit(browser, explorer, "caged.html") as visit:
        assert_every_slider_moves(visit, visit.page.frame_locator("iframe"))
        assert visit.errors == []


def test_without_scripts_the_middle_frame_is_shown_and_no_dead_slider(browser, explorer):
    with Visit(browser, explorer, "page.html", java_script_enabled=False) as visit:
        assert visit.page.locator("img").is_visible()
        assert visit.page.locator("[aria-live]").inner_text() == "A blue bar of height 3."
        assert not visit.page.locator("input").first.is_visible()


def test_the_focused_slider_is_outlined_and_keys_stay_inside(browser, explorer):
    with Visit(browser, explorer, "page.html") as visit:
        visit.page.evaluate("window.heard = 0; addEventListener('keydown', () => window.heard++)")
        visit.page.keyboard.press("Tab")
        slider = visit.page.locator("input").first
        assert slider.evaluate("e => e === document.activeElement")
        assert slider.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
        heard = visit.page.evaluate("window.heard")
        slider.press("ArrowRight")
        assert visit.page.evaluate("window.heard") == heard
