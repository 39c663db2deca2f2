"""The game of cards: what its page holds, and the cards that are made of data."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from play_cases import MEMBERS, SAYS_MEMBER, picture, ten_cards

from mialab import data
from mialab.chapters import play as game
from mialab.chapters import plots, widgets


@pytest.fixture
def shown(monkeypatch):
    """What play() displays."""
    bundles = []
    monkeypatch.setattr(game, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def page(shown, cards=None, **settings):
    widgets.play(ten_cards() if cards is None else cards, **settings)
    return shown[-1]["text/html"]


def items(page):
    return re.findall(r'<li data-truth="(\d)" data-attack="(\d)"><p class="heading">Record (\d)</p>', page)


def test_every_card_is_in_the_page_with_its_answer_and_the_attacks(shown):
    found = items(page(shown))
    assert sorted(int(number) for _, _, number in found) == list(range(10))
    for truth, says, number in found:
        assert bool(int(truth)) == (int(number) in MEMBERS) and bool(int(says)) == (int(number) in SAYS_MEMBER)


def test_the_cards_are_mixed_by_the_seed_and_the_same_call_gives_the_same_page(shown):
    pages = [page(shown, seed=seed) for seed in (0, 0, 1)]
    assert pages[0] == pages[1] and items(pages[0]) != items(pages[2])
    assert [int(number) for *_, number in items(pages[0])] != list(range(10))


def test_the_table_holds_what_a_coin_and_the_attack_get_on_these_cards(shown):
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', page(shown))
    assert rows == [
        ("You", "", ""),
        ("A coin, on average", "5 of 10", "2.5 of 5"),
        ("The threshold attack", "8 of 10", "1 of 5"),
    ]


def test_without_scripts_the_cards_are_a_list_with_folded_answers_and_no_dead_buttons(shown):
    found = page(shown)
    assert found.count("<details><summary>Answer</summary>") == 10 and "<details open" not in found
    assert "<p>member; the threshold attack says non-member.</p>" in found  # record 8
    assert '<div class="answers" hidden>' in found and re.search(r'<div class="result"[^>]* hidden>', found)


def test_bars_are_text_as_well_and_never_rounded_to_certainty(shown):
    bars = {"sure": 0.99999, "half": 0.5, "none": 0.0, "small": 0.00012}
    cards = [game.Card(picture(k), f"Record {k}", bool(k), True, bars=bars, marked="half") for k in (0, 1)]
    found = re.findall(
        r"<span>(\w+)</span> <i><i style=\"width: ([\d.e-]+)%\"></i></i> <b>(.*?)</b>", page(shown, cards)
    )
    assert found[:4] == [
        ("sure", "100", "&gt; 99.99\u00a0%"),
        ("half", "50", "50.00\u00a0%"),
        ("none", "0", "&lt; 0.01\u00a0%"),
        ("small", "0.012", "0.01\u00a0%"),
    ]


def pictures(page):
    return [base64.b64decode(png) for png in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]


def test_small_arrays_are_enlarged_pixel_by_pixel(shown):
    for png in pictures(page(shown)):
        enlarged = np.asarray(Image.open(io.BytesIO(png)))
        assert enlarged.shape == (252, 252)
        small = enlarged[::9, ::9]
        assert np.array_equal(small.repeat(9, 0).repeat(9, 1), enlarged) and (small == 255).all(axis=1).sum() == 1


def test_png_files_and_second_pictures_with_captions_travel_as_they_are(shown):
    def draw(figure):
        figure.subplots().plot([0, 1])
        return "A rising line"

    png, sentence = widgets.frame(draw)
    cards = [
        game.Card(game.Picture(png, sentence, "Without it"), "Record", truth, True, second=picture(3))
        for truth in (True, False)
    ]
    found = page(shown, cards, answers=("IN", "OUT"))
    assert pictures(found)[0] == png and len(pictures(found)) == 4
    assert 'alt="A rising line"><figcaption>Without it</figcaption>' in found
    assert 'data-key="i" data-word="IN"' in found and 'data-key="o" data-word="OUT"' in found


def test_answers_with_one_initial_are_given_by_numbers(shown):
    found = page(shown, answers=("known", "kept away"))
    assert 'data-key="1" data-word="known"' in found and 'data-key="2" data-word="kept away"' in found


def test_the_page_asks_for_nothing_from_outside_and_is_small(shown):
    found = page(shown)
    assert not re.search(r"https?:|src=\"(?!data:)|@import|url\(", found)
    assert len(found) < 40_000


def test_the_answers_have_the_colours_of_members_and_non_members(shown):
    assert f"--first: {plots.MEMBER}; --second: {plots.NONMEMBER}" in page(shown)


def test_no_text_can_break_out_of_the_page(shown):
    bad = '</script><img src=x onerror="alert(1)"> & <b>'
    cards = [
        game.Card(game.Picture(picture(0).image, bad, bad), bad, truth, True, bars={bad: 0.5})
        for truth in (True, False)
    ]
    found = page(shown, cards, question=bad, answers=("m" + bad, "n" + bad), attack=bad)

    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.seen = []

        def handle_starttag(self, tag, attrs):
            self.seen.append(tag)

    tags = Tags()
    tags.feed(found)
    assert tags.seen.count("img") == 2 and tags.seen.count("script") == 1 and tags.seen.count("b") == 2


def test_a_game_that_one_answer_always_wins_is_refused(shown):
    for cards in ([], [card for card in ten_cards() if card.truth]):
        with pytest.raises(ValueError, match="both kinds, member and non-member"):
            widgets.play(cards)


# Cards of data


@pytest.fixture(scope="module")
def fashion():
    return data.load("fashion", samples=(20, 20))


def logits(labels, confidences, classes=10):
    """Logits whose softmax gives the label this confidence and the rest to all others alike."""
    p = np.repeat((1 - np.array(confidences))[:, None] / (classes - 1), classes, axis=1)
    p[np.arange(len(labels)), labels] = confidences
    return np.log(p)


def test_cards_show_the_records_picture_label_and_probabilities(fashion):
    rows = [3, 15, 25]
    labels = fashion.y[rows].numpy()
    made = widgets.cards(fashion, rows, logits(labels, [0.9, 0.6, 0.02]), labels, [1, 0, 0], 0.6)
    assert [card.title for card in made] == ["True label: Dress", "True label: Sandal", "True label: Sandal"]
    for card, row in zip(made, rows, strict=True):
        assert np.array_equal(card.picture.image, fashion.x[row, 0].numpy())
        assert len(card.bars) == 5 and card.marked in card.bars and card.marked in card.picture.alt
    assert made[0].bars["Dress"] == pytest.approx(0.9) and next(iter(made[0].bars)) == "Dress"
    assert list(made[2].bars)[-1] == "Sandal" and made[2].bars["Sandal"] == pytest.approx(0.02)


def test_the_attack_says_member_from_the_threshold_on(fashion):
    rows, confidences = [3, 13, 23], [0.9, 0.5, 0.25]
    labels = fashion.y[rows].numpy()
    z = logits(labels, confidences)
    exactly = np.exp(z[1]) / np.exp(z[1] - z[1].max()).sum() * np.exp(-z[1].max())
    made = widgets.cards(fashion, rows, z, labels, [True, True, False], float(exactly[labels[1]]) - 1e-12)
    assert [card.attack_says for card in made] == [True, True, False]
    assert [card.truth for card in made] == [True, True, False]


def test_colour_images_make_cards_too():
    x = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)
    colours = data.Dataset("cifar10", x, torch.tensor([0, 1]), 10, 1, (0.5,) * 3, (0.2,) * 3)
    made = widgets.cards(colours, [1], np.zeros((1, 10)), [1], [True], 0.5)
    assert (
        np.array_equal(made[0].picture.image, x[1].permute(1, 2, 0).numpy()) and made[0].title == "True label: class 1"
    )


def test_cards_of_other_rows_or_of_no_images_are_refused_with_the_remedy(fashion):
    z = np.zeros((2, 10))
    with pytest.raises(ValueError, match="labels differ.*give the row_ids of these logits"):
        widgets.cards(fashion, [0, 1], z, [1, 2], [True, False], 0.5)
    with pytest.raises(ValueError, match="index all with the same"):
        widgets.cards(fashion, [0, 1], z, [0, 1], [True], 0.5)
    textures = data.load("textures", samples=(2, 0))
    with pytest.raises(ValueError, match="textures does not hold"):
        widgets.cards(textures, [0, 1], z, textures.y, [True, False], 0.5)
