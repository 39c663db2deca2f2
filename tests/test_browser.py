"""Sliders moved and the game played in a real browser with the network off.

In the built book, in pages of their own, and where scripts are caged or forbidden.
"""

import functools
import http.server
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from play_cases import ANSWERS, ATTACK, HEAD, MEMBERS, QUESTION, SAYS_MEMBER, ten_cards
from scipy.stats import binom

from mialab.chapters import play, widgets

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


def test_a_printed_page_is_light_and_unfolds_its_answers_until_it_is_back_on_the_screen(browser, chapter):
    with Visit(browser, HTML, chapter, color_scheme="dark") as visit:
        page = visit.page
        answers = page.locator("details.sd-dropdown")
        assert answers.count() and not page.locator("details.sd-dropdown[open]").count()
        page.emulate_media(media="print")
        page.wait_for_function("document.documentElement.dataset.theme === 'light'")
        assert page.locator("details.sd-dropdown[open]").count() == answers.count()
        assert not page.locator("input[type=range]:visible").count()
        assert not page.locator("details.hide > summary:visible").count()
        page.emulate_media(media="screen")
        page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
        assert not page.locator("details.sd-dropdown[open]").count()


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


def test_a_printed_explorer_shows_its_figure_and_settings_and_says_that_there_are_sliders(browser, explorer):
    with Visit(browser, explorer, "page.html") as visit:
        page = visit.page
        page.emulate_media(media="print")
        assert page.locator(".mialab-explore img").is_visible() and not page.locator("input:visible").count()
        assert page.locator("output:visible").all_inner_texts() == ["3", "blue"]
        said = page.locator("fieldset").evaluate("e => getComputedStyle(e, '::after').content")
        assert "On screen" in said


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


# The game of cards


@pytest.fixture(scope="module")
def game(tmp_path_factory):
    """A folder with a page that holds one game of ten cards, and another that cages it as Colab does."""
    folder = tmp_path_factory.mktemp("play")
    content = play.page(ten_cards(), question=QUESTION, answers=ANSWERS, attack=ATTACK)
    (folder / "play.html").write_text(f"{HEAD}<main>{content}</main>")
    caged = '<iframe sandbox="allow-scripts" src="play.html" width="700" height="900" title="output"></iframe>'
    (folder / "caged.html").write_text(HEAD + caged)
    return folder


def record(scope):
    """The number of the one record that is on the table."""
    [heading] = scope.locator(".cards > li:visible .heading").all_inner_texts()
    return int(heading.removeprefix("Record "))


def play_through(scope, answer, says):
    """Answer all ten cards: `says(record)` is whether to call it a member, `answer(first)` does it; returns records."""
    played = []
    for turn in range(1, 11):
        assert scope.locator(".turn").inner_text() == f"Card {turn} of 10"
        played.append(record(scope))
        answer(says(played[-1]))
    assert sorted(played) == list(range(10))
    return played


def assert_scored(scope, said):
    """The table, the sentence, what is read aloud and each card's verdict are those of the records `said` members."""
    right = sum((k in said) == (k in MEMBERS) for k in range(10))
    rows = scope.locator("tbody tr").all()
    texts = [[cell.inner_text() for cell in row.locator("th, td").all()] for row in rows]
    assert texts == [
        ["You", f"{right} of 10", f"{len(said - MEMBERS)} of 5"],
        ["A coin, on average", "5 of 10", "2.5 of 5"],
        ["The threshold attack", "8 of 10", "1 of 5"],
    ]
    sentence = scope.locator(".score").inner_text()
    shares = re.search(rf"You got {right} of 10 right. A coin gets {right} or more in ([\d.]+)\s% of games.", sentence)
    assert float(shares[1]) == pytest.approx(100 * binom.sf(right - 1, 10, 0.5), abs=0.51)
    heard = scope.locator("[aria-live]").text_content()
    assert f"You: {right} of 10 right, {len(said - MEMBERS)} of 5 falsely accused" in heard
    for card in scope.locator(".cards > li").all():
        k = int(card.locator(".heading").text_content().removeprefix("Record "))
        truth, mine, attacks = card.locator(".verdict span").all_inner_texts()
        assert truth == ANSWERS[k not in MEMBERS]
        assert mine == f"you: {'right' if (k in said) == (k in MEMBERS) else 'wrong'}"
        assert attacks == f"attack: {'right' if (k in SAYS_MEMBER) == (k in MEMBERS) else 'wrong'}"


KEYS = {"letters": ("m", "n"), "capitals": ("M", "N"), "arrows": ("ArrowLeft", "ArrowRight")}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
def test_play_by_the_keyboard_alone_gives_the_score_and_another_game(browser, game, keys):
    said = {0, 1, 3, 5, 9}
    with Visit(browser, game, "play.html") as visit:
        keyboard = visit.page.keyboard
        keyboard.press("Tab")
        order = play_through(visit.page, lambda first: keyboard.press(keys[not first]), lambda k: k in said)
        assert_scored(visit.page, said)
        keyboard.press("Tab")
        assert visit.page.locator(".again").evaluate("e => e === document.activeElement")
        keyboard.press("Enter")
        assert not visit.page.locator(".result").is_visible() and not visit.page.locator(".verdict:visible").count()
        again = play_through(visit.page, lambda first: keyboard.press(keys[not first]), lambda k: k in MEMBERS)
        assert again != order
        assert_scored(visit.page, MEMBERS)
        assert visit.errors == [] and visit.outside == []


def test_play_again_is_never_in_the_same_order(browser, tmp_path):
    two = play.page(ten_cards()[:2], question=QUESTION, answers=ANSWERS, attack=ATTACK)
    (tmp_path / "two.html").write_text(HEAD + two)
    with Visit(browser, tmp_path, "two.html") as visit:
        firsts = []
        for _ in range(6):
            firsts.append(record(visit.page))
            visit.page.locator(".answers button").first.press("ArrowLeft")
            visit.page.keyboard.press("ArrowLeft")
            visit.page.locator(".again").click()
        assert all(now != then for now, then in zip(firsts[1:], firsts, strict=False))


def test_play_by_tab_and_space_reaches_both_buttons(browser, game):
    with Visit(browser, game, "play.html") as visit:
        page = visit.page
        page.keyboard.press("Tab")
        names = []
        for _ in range(2):
            focused = page.locator(":focus")
            names.append(focused.locator("span").inner_text())
            assert focused.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
            page.keyboard.press("Tab")
        assert names == list(ANSWERS)
        page.keyboard.press("Shift+Tab")
        play_through(page, lambda _: page.keyboard.press("Space"), lambda _: False)
        assert_scored(page, set())


def test_play_by_mouse_gives_the_score(browser, game):
    said = set(range(0, 10, 2))
    with Visit(browser, game, "play.html") as visit:
        yes, no = visit.page.locator(".answers button").all()
        play_through(visit.page, lambda first: (yes if first else no).click(), lambda k: k in said)
        assert_scored(visit.page, said)
        visit.page.locator(".again").click()
        assert visit.page.locator(".turn").inner_text() == "Card 1 of 10"


def test_play_from_a_file_with_the_network_off(browser, game):
    context = browser.new_context(offline=True)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((game / "play.html").as_uri())
    page.keyboard.press("Tab")
    play_through(page, lambda first: page.keyboard.press("m" if first else "n"), lambda k: k in SAYS_MEMBER)
    assert_scored(page, SAYS_MEMBER)
    assert errors == []
    context.close()


def test_play_in_a_sandboxed_frame(browser, game):
    with Visit(browser, game, "caged.html") as visit:
        scope = visit.page.frame_locator("iframe")
        yes, no = scope.locator(".answers button").all()
        play_through(scope, lambda first: (yes if first else no).click(), lambda k: k in MEMBERS)
        assert_scored(scope, MEMBERS)
        assert visit.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_play_fits_a_phone_and_is_legible(browser, game, scheme):
    with Visit(browser, game, "play.html", viewport={"width": 390, "height": 844}, color_scheme=scheme) as visit:
        page = visit.page
        for state in ("playing", "over"):
            assert page.locator(".mialab-play").get_attribute("data-state") == state
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            cut = "e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline'"
            assert [
                e for e in page.locator("button:visible, .bars:visible li, td, .heading").all() if e.evaluate(cut)
            ] == []
            ink = page.locator(".question").evaluate("e => getComputedStyle(e).color")
            assert (luminance(ink) > 0.6) == (scheme == "dark")
            if state == "playing":
                last = page.locator(".answers button").last.bounding_box()
                assert last["y"] + last["height"] <= 844 and last["height"] >= 44
                page.locator(".answers button").first.focus()
                play_through(page, lambda _: page.keyboard.press("m"), lambda _: True)


def test_play_reads_each_card_aloud_and_never_its_answer(browser, game):
    with Visit(browser, game, "play.html") as visit:
        page = visit.page
        assert page.locator("[aria-live]").text_content() == ""  # nothing interrupts who only reads the page
        page.locator(".answers button").first.focus()
        page.keyboard.press("m")
        k = record(page)
        heard = page.locator("[aria-live]").text_content()
        assert heard.startswith(f"Card 2 of 10. Record {k}. A white line in row {k}. Sandal 9")
        assert "member" not in heard and "member" not in page.locator(".cards").inner_text()
        assert not page.locator("details:visible").count()


def test_play_leaves_other_keys_alone_and_keeps_its_own(browser, game):
    with Visit(browser, game, "play.html") as visit:
        page = visit.page
        page.evaluate("window.heard = 0; addEventListener('keydown', () => window.heard++)")
        page.locator(".answers button").first.focus()
        for key in ("x", "Control+m", "ArrowDown"):
            page.keyboard.press(key)
        assert page.locator(".turn").inner_text() == "Card 1 of 10"
        page.keyboard.down("m")
        page.keyboard.down("m")  # a key held down repeats: one answer
        page.keyboard.up("m")
        assert page.locator(".turn").inner_text() == "Card 2 of 10"
        assert page.evaluate("window.heard") == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_play_on_paper_shows_all_cards_and_their_answers_upside_down(browser, game, scripts):
    with Visit(browser, game, "play.html", java_script_enabled=scripts) as visit:
        page = visit.page
        page.emulate_media(media="print")
        assert page.locator(".cards > li:visible").count() == 10
        assert page.locator("details p:visible").count() == 10 and not page.locator("summary:visible").count()
        assert not page.locator("button:visible").count()
        for answer in page.locator("details").all():
            assert answer.evaluate("e => getComputedStyle(e).rotate") == "180deg"


def test_play_without_scripts_is_a_list_whose_answers_unfold(browser, game):
    with Visit(browser, game, "play.html", java_script_enabled=False) as visit:
        page = visit.page
        assert page.locator(".cards > li:visible").count() == 10
        assert not page.locator("button:visible").count() and not page.locator(".result").is_visible()
        first = page.locator(".cards > li").first
        assert not first.locator("details p").is_visible()
        first.locator("summary").click()
        assert re.fullmatch(
            r"(non-)?member; the threshold attack says (non-)?member\.", first.locator("details p").inner_text()
        )
