"""The report as a page: whole by itself, true to the report, readable without eyes, in the dark and on paper."""

import functools
import html.parser
import re
import shlex
import shutil

import numpy as np
import pytest

from mialab.audit import Outputs, Report, Scores, audit
from mialab.audit.page import page
from mialab.audit.page.drawings import INK
from mialab.audit.page.markup import Markup, tag
from mialab.chapters import plots
from mialab.cli import main

VOID = {"br", "circle", "line", "link", "meta", "path", "rect"}


class Page(html.parser.HTMLParser):
    """Elements in order, with their attributes and text; whether each was closed in turn."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)
            self.texts.setdefault(name, []).append("")

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        for name in set(self.open):
            self.texts[name][-1] += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for one, attributes in self.elements if one == name]


def outputs(n: int = 1500, classes: int = 4, *, seed: int = 0, gain: float = 2.0) -> Outputs:
    rng = np.random.default_rng(seed)
    member, labels = np.arange(n) % 2 == 1, rng.integers(0, classes, n)
    logits = rng.normal(0, 1.5, (n, classes))
    logits[np.arange(n), labels] += 1 + gain * member
    return Outputs(logits, labels, member)


@functools.cache
def report() -> Report:
    return audit(outputs(), attacks=["gap", "loss", "entropy", "loss-per-class"], prior=0.2, claimed=(0.5, 1e-5))


@functools.cache
def shown() -> str:
    return page(report(), command="mialab audit mine.npz")


def pages() -> dict[str, str]:
    """Pages of every kind of report."""
    rng = np.random.default_rng(0)
    member = np.arange(500) % 2 == 1
    losses = Scores(rng.gamma(2, 1, 500) / (1 + member), member, kind="losses")
    few = outputs(12)
    perfect = outputs(400, gain=500.0)
    wrong = outputs()
    wrong = Outputs(wrong.logits, wrong.labels, ~wrong.member)
    unlabelled = Outputs(outputs().logits, None, outputs().member)
    return {
        "usual": shown(),
        "losses": page(audit(losses)),
        "few": page(audit(few, attacks=["gap", "loss"], known=0.5)),
        "perfect": page(audit(perfect, attacks=["gap", "loss"])),
        "inverted": page(audit(wrong, attacks=["gap", "loss"])),
        "nothing run": page(audit(few, attacks="lira-online")),
        "no labels": page(audit(unlabelled)),
        "all evaluated": page(audit(outputs(), attacks=["gap", "loss"], known=0)),
    }


PAGES = pages()


@pytest.mark.parametrize("kind", PAGES)
def test_the_page_is_whole_by_itself_and_well_formed(kind):
    text = PAGES[kind]
    found = Page(text)
    assert not found.open and text.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "img", "iframe"} & {name for name, _ in found.elements}
    assert not re.search(r"https?:|url\(|@import|src=", text)
    links = [one["href"] for one in found.all("a")]
    idents = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(idents) == len(set(idents)) and all(link[0] == "#" and link[1:] in idents for link in links)


@pytest.mark.parametrize("kind", PAGES)
def test_headings_come_in_order_and_figures_are_told_in_words_and_tables(kind):
    found = Page(PAGES[kind])
    levels = [int(name[1]) for name, _ in found.elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    idents = {attributes.get("id") for _, attributes in found.elements}
    for svg in found.all("svg"):
        named = set((svg.get("aria-labelledby") or "").split())
        assert svg.get("aria-hidden") == "true" or svg["role"] == "img" and named and named <= idents
    assert all(attributes["scope"] in ("row", "col") for attributes in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))
    for name, attributes in found.elements:
        if name == "section":
            assert attributes["aria-labelledby"] in idents
    assert found.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize("kind", PAGES)
def test_no_page_shows_a_number_that_is_none(kind):
    assert not re.search(r"\b(nan|inf|None)\b", re.sub("<style>.*?</style>", "", PAGES[kind], flags=re.S))


def test_the_page_has_all_its_parts_and_the_report_s_figures():
    words = " ".join(Page(shown()).texts["html"][0].split())
    for heading in (
        "Is it bad?",
        "What was audited",
        "How well each attack does",
        "How many members are found, at what price",
        "Members and non-members side by side",
        "What that means for people",
        "The most exposed samples",
        "What the outputs allow, and what is proven",
        "What the figures mean, and what not",
        "To get this page again",
    ):
        assert heading in words
    for one in report().attacks.values():
        assert f"{one.everyone.auc.value:.3f} [{one.everyone.auc.low:.3f}, {one.everyone.auc.high:.3f}]" in words
    assert "mialab audit mine.npz" in words and "if 20 % of all people" in words
    assert "REFUTED" in words and "That refutes the promise" in words


def test_the_most_exposed_members_are_those_whom_the_best_attack_is_surest_of():
    scores, member = report().attacks[report().best].scores, report().member & report().evaluated
    surest = np.flatnonzero(member)[np.argsort(-scores[member], kind="stable")][:20]
    rows = re.findall(r'<th scope="row">([\d,]+)</th>', shown())
    assert [int(row.replace(",", "")) for row in rows] == surest.tolist()


def test_notes_stand_before_the_figures_and_make_the_answer_unclear():
    text = PAGES["inverted"]
    assert text.index('id="notes"') < text.index('id="audited"') and "<strong>membership-inverted<" in text
    assert "Do not rely on these figures yet" in text and "Notes: look at these first" not in shown()


def test_the_same_report_gives_the_same_bytes():
    again = audit(outputs(), attacks=["gap", "loss", "entropy", "loss-per-class"], prior=0.2, claimed=(0.5, 1e-5))
    assert page(again, command="mialab audit mine.npz") == shown()


def test_names_from_the_file_cannot_become_part_of_the_page():
    assert page(report(), command="<script>alert(1)</script>").count("<script") == 0
    assert tag("p", "a < b", Markup("<b>c</b>"), title='"') == '<p title="&quot;">a &lt; b<b>c</b></p>'


def test_millions_of_samples_make_a_small_page():
    rng = np.random.default_rng(0)
    member = np.arange(300_000) % 2 == 1
    text = page(audit(Scores(rng.normal(member), member, kind="scores"), attacks="score"))
    assert len(text) < 60_000


def test_a_curve_of_the_page_is_the_roc():
    only = audit(outputs(), attacks="loss")
    rows = only.evaluated
    path = re.search(r'<path d="M([\d.HV -]+)" class="curve ink-loss"', page(only))[1]
    ends = [float(number) for number in re.findall(r"[\d.]+", path.replace("H", " ").replace("V", " "))]
    assert ends[0] == 58 and ends[-1] == 360  # from the axis to the frame
    heights = [ends[1], *(float(one) for one in re.findall(r"V([\d.]+)", path))]
    assert heights == sorted(heights, reverse=True) and heights[-1] == 12  # never falls, and ends at 100 %
    nonmembers = int((~only.member[rows]).sum())
    first = np.sort(only.attacks["loss"].scores[rows & ~only.member])[-2:]  # one false positive is allowed
    found = (only.attacks["loss"].scores[rows & only.member] > first[0]).mean()
    assert heights[0] == pytest.approx(258 - 246 * (1 - np.log(found) / np.log(1 / nonmembers)), abs=0.11)


def test_light_and_dark_and_paper_are_provided_for():
    assert "@media screen and (prefers-color-scheme: dark)" in shown() and "@media print" in shown()


def luminance(colour: str) -> float:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_words_and_marks_stand_out_in_light_and_dark():
    themes = re.findall(r":root \{(.*?)\}", shown(), flags=re.S)
    assert len(themes) == 2
    for number, theme in enumerate(themes):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for name in ("text", "soft", "link", "good", "mild", "bad", "worst", "odd"):
            assert contrast(colours[name], colours["ground"]) >= 4.5, (name, number)
            assert contrast(colours[name], colours["raised"]) >= 4.5, (name, number)
        for name, inks in INK.items():
            assert contrast(inks[number], colours["ground"]) >= (2.2 if number == 0 else 4.5), name


def test_colours_are_the_book_s():
    for name, (light, _) in INK.items():
        if name != "other":
            assert light == plots.color(name), name


def test_the_page_is_written_from_python_whole_or_not_at_all(tmp_path):
    place = tmp_path / "report.html"
    text = report().to_html(place)
    assert place.read_text("utf-8") == text == report().to_html()
    assert ").to_html('report.html')" in Page(text).texts["code"][-1]
    with pytest.raises(OSError):
        report().to_html(tmp_path)


# the command


@pytest.fixture
def file(tmp_path):
    made = outputs()
    np.savez(tmp_path / "out puts.npz", logits=made.logits, labels=made.labels, member=made.member)
    return tmp_path / "out puts.npz"


def test_the_command_writes_the_page_with_the_exact_command(file, tmp_path, monkeypatch, capsys):
    asked = ["audit", str(file), "--attack", "gap", "--report", str(tmp_path / "report.html")]
    monkeypatch.setattr("sys.argv", ["/usr/bin/mialab", *asked])
    assert main(asked) == 0
    text = (tmp_path / "report.html").read_text("utf-8")
    assert Page(text).texts["code"][-1] == shlex.join(["mialab", *asked])
    assert capsys.readouterr().out.startswith("Is it bad?")


def test_the_page_on_standard_output_leaves_the_tables_to_stderr(file, capfdbinary):
    assert main(["audit", str(file), "--attack", "gap", "--report", "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"<!DOCTYPE html>") and out.endswith(b"</html>\n") and err.startswith(b"Is it bad?")


def test_two_options_on_one_place_are_refused_before_the_audit(file, tmp_path, capsys):
    for both in (("--report", "-", "--json", "-"), ("--report", tmp_path / "x", "--json", tmp_path / "x")):
        assert main(["audit", str(file), *map(str, both)]) == 2
        assert "choose another" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


# in a browser


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup)")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no chromium on PATH")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("kind", ["usual", "losses", "nothing run"])
def test_the_page_fits_its_window_and_asks_for_nothing(browser, tmp_path, width, kind):
    (tmp_path / "page.html").write_text(PAGES[kind], "utf-8")
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    visit, asked = context.new_page(), []
    visit.on("request", lambda request: asked.append(request.url))
    visit.on("console", lambda message: asked.append(message.text))
    visit.goto(f"file://{tmp_path / 'page.html'}")
    assert visit.evaluate("document.documentElement.scrollWidth") <= width
    assert asked == [f"file://{tmp_path / 'page.html'}"]
    cut = "[...document.querySelectorAll('svg.figure text')].filter(t => t.getBoundingClientRect().left < 0 ||"
    assert visit.evaluate(f"{cut} t.getBoundingClientRect().right > innerWidth).map(t => t.textContent)") == []
    wide = visit.evaluate("[...document.querySelectorAll('.dots')].map(t => t.getBoundingClientRect().right)")
    plots = visit.evaluate(
        "[...document.querySelectorAll('.dots tbody svg')].map(s => s.getBoundingClientRect().width)"
    )
    assert all(right <= width for right in wide) and len({round(one) for one in plots}) <= max(1, len(wide))
    context.close()


def test_dark_and_print_change_the_ground(browser, tmp_path):
    (tmp_path / "page.html").write_text(shown(), "utf-8")
    visit = browser.new_page(color_scheme="dark")
    visit.goto(f"file://{tmp_path / 'page.html'}")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert visit.evaluate(ground) == "rgb(20, 23, 27)"
    visit.emulate_media(media="print")
    assert visit.evaluate(ground) == "rgb(255, 255, 255)"
    assert visit.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    visit.close()
