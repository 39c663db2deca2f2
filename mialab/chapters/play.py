"""A game of cards, such as "was this record in the training set?", against a coin and an attack.

The cards stand in the page as a list whose answers are folded away; an inline script turns the list into the game. So
it is played without kernel or network, in the built book as in JupyterLab and Colab, and where scripts are forbidden
the list remains. Chapter 01 plays it with pictures and probabilities, chapter 05 with two histograms for each record.
"""

import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from IPython.display import display
from PIL import Image

from mialab import fusion
from mialab.chapters import plots
from mialab.chapters.inline import data_uri, element_id, static

if TYPE_CHECKING:
    from mialab.data import Dataset

SIDE_PIXELS = 252  # to which small arrays are enlarged, at least


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture on a card.

    image: a PNG file's bytes, or an array uint8 [h, w] (grey) or [h, w, 3]; small arrays are enlarged pixel by pixel.
    alt: what it shows, in words, without giving the answer away. caption: stands below it.
    """

    image: bytes | np.ndarray
    alt: str
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Card:
    """One question of the game: what is shown, the right answer, and what the attack answers.

    truth, attack_says: True for the first of the two answers. bars: probabilities in [0, 1] by label, in the order
    shown; `marked` is the label that stands out. second: another picture beside the first.
    """

    picture: Picture
    title: str
    truth: bool
    attack_says: bool
    bars: Mapping[str, float] = field(default_factory=dict)
    marked: str = ""
    second: Picture | None = None


def cards(
    dataset: "Dataset",
    row_ids: Sequence[int],
    logits: np.ndarray,
    labels: Sequence[int],
    member: Sequence[bool],
    threshold: float,
    *,
    top: int = 5,
) -> list[Card]:
    """Make a card of each record: its picture, its true label and the `top` largest probabilities, the label's always.

    row_ids: rows [k] of `dataset`, whose images are uint8. logits [k, classes] of one model, labels [k] and member [k]
    belong to these rows. The attack says "member" where the confidence is `threshold` or more. Raises ValueError.
    """
    from mialab import data  # here, so that sliders and games alone do not load torch

    if not dataset.mean or dataset.x.ndim != 4:
        raise ValueError(f"cards() shows uint8 images, which {dataset.name} does not hold: make each Card by hand")
    if not len(row_ids) == len(logits) == len(labels) == len(member):
        raise ValueError("cards() needs as many rows of logits, labels and member as row_ids: index all with the same")
    images, names = dataset.x[list(row_ids)].permute(0, 2, 3, 1).numpy(), data.class_names(dataset.name)
    if not np.array_equal(dataset.y[list(row_ids)], labels):
        raise ValueError(f"labels differ from those of the rows of {dataset.name}: give the row_ids of these logits")
    made = []
    for image, p, label, truth in zip(images, fusion.softmax(logits), labels, member, strict=True):
        made.append(
            Card(
                Picture(image[..., 0] if image.shape[-1] == 1 else image, f"Picture: {names[label]}"),
                f"True label: {names[label]}",
                truth=bool(truth),
                attack_says=bool(p[label] >= threshold),
                bars={names[k]: float(p[k]) for k in _largest(p, label, top)},
                marked=names[label],
            )
        )
    return made


def play(
    cards: Sequence[Card],
    *,
    question: str = "Was this record in the training set?",
    answers: tuple[str, str] = ("member", "non-member"),
    attack: str = "the threshold attack",
    seed: int = 0,
) -> None:
    """Show the game: one card at a time, then the score beside that of a coin and of the attack on the same cards.

    The reader answers by two buttons, by the initials of the answers or by the arrows. The first answer, given where
    the second is right, is a false accusation. `seed` mixes the cards of the first game; playing again mixes them anew.
    Raises ValueError unless either answer is right for some card.
    """
    content = page(cards, question=question, answers=answers, attack=attack, seed=seed)
    display({"text/html": content, "text/plain": f"{question} A game of {len(cards)} cards, for a browser."}, raw=True)


def page(cards: Sequence[Card], *, question: str, answers: tuple[str, str], attack: str, seed: int = 0) -> str:
    """The HTML of the game that `play` shows, which needs nothing else."""
    truths = [card.truth for card in cards]
    if all(truths) or not any(truths):
        raise ValueError(f"play() needs cards of both kinds, {' and '.join(answers)}: add some of the missing kind")
    mixed = [cards[k] for k in np.random.default_rng(seed).permutation(len(cards))]
    words = (html.escape(answers[0]), html.escape(answers[1]))
    body = (
        f'<p class="question">{html.escape(question)}</p><p class="turn" hidden></p>'
        f"{_result(mixed, html.escape(attack))}"
        f'<ol class="cards">{"".join(_card(card, words, html.escape(attack)) for card in mixed)}</ol>'
        f'<div class="answers" hidden>{_buttons(words)}</div>'
        '<p class="heard" aria-live="polite"></p>'
    )
    name = element_id(body)
    return (
        f'<section class="mialab-play" id="{name}" tabindex="-1" aria-label="A game of {len(cards)} cards" '
        f'data-lm-suppress-shortcuts="true" style="--first: {plots.MEMBER}; --second: {plots.NONMEMBER}">'
        f"<style>{static('play.css')}</style>{body}"
        f"<script>{static('play.js').rstrip()}({json.dumps(name)});</script></section>"
    )


def _largest(p: np.ndarray, label: int, top: int) -> list[int]:
    """The `top` likeliest classes, likeliest first; the label takes the last place if it is none of them."""
    order = np.argsort(-p, kind="stable")[:top].tolist()
    return order if label in order else [*order[:-1], label]


def _card(card: Card, words: tuple[str, str], attack: str) -> str:
    truth, guess = (words[0] if first else words[1] for first in (card.truth, card.attack_says))
    pictures = "".join(_figure(picture) for picture in (card.picture, card.second) if picture is not None)
    rows = "".join(_bar(label, p, label == card.marked) for label, p in card.bars.items())
    bars = f'<ul class="bars" aria-label="The model&#x27;s probabilities">{rows}</ul>' if rows else ""
    return (
        f'<li data-truth="{int(card.truth)}" data-attack="{int(card.attack_says)}">'
        f'<p class="heading">{html.escape(card.title)}</p><div class="shown">{pictures}{bars}</div>'
        f"<details><summary>Answer</summary><p>{truth}; {attack} says {guess}.</p></details>"
        '<p class="verdict" hidden></p></li>'
    )


def _bar(label: str, p: float, marked: bool) -> str:
    kind = ' class="marked"' if marked else ""
    return (
        f"<li{kind}><span>{html.escape(label)}</span> "
        f'<i><i style="width: {100 * p:.4g}%"></i></i> <b>{_percent(p)}</b></li>'
    )


def _figure(picture: Picture) -> str:
    png, small = (picture.image, False) if isinstance(picture.image, bytes) else _enlarged(picture.image)
    width, height = Image.open(io.BytesIO(png)).size
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>" if picture.caption else ""
    kind = ' class="pixels"' if small else ""
    return (
        f"<figure{kind}>"
        f'<img src="{data_uri(png)}" width="{width}" height="{height}" alt="{html.escape(picture.alt)}">'
        f"{caption}</figure>"
    )


def _enlarged(image: np.ndarray) -> tuple[bytes, bool]:
    """The array as PNG, each pixel a square where it is small, and whether it is."""
    times = max(1, -(-SIDE_PIXELS // max(image.shape[:2])))
    squares = np.asarray(image, dtype=np.uint8).repeat(times, axis=0).repeat(times, axis=1)
    png = io.BytesIO()
    Image.fromarray(squares).save(png, "PNG", optimize=True)
    return png.getvalue(), times > 1


def _percent(p: float) -> str:
    """A probability to a hundredth of a per cent, never rounded to certainty; the sign does not break off."""
    if p < 0.0001:
        return "&lt; 0.01\u00a0%"
    return "&gt; 99.99\u00a0%" if p > 0.9999 else f"{100 * p:.2f}\u00a0%"


def _buttons(words: tuple[str, str]) -> str:
    initials = [word[0] for word in words]
    if initials[0].lower() == initials[1].lower() or not "".join(initials).isalnum():
        initials = ["1", "2"]
    return "".join(
        f'<button type="button" data-key="{key.lower()}" data-word="{word}" aria-keyshortcuts="{key.upper()} {arrow}">'
        f'<span>{word}</span><kbd aria-hidden="true">{key.upper()} {sign}</kbd></button>'
        for word, key, arrow, sign in zip(words, initials, ("ArrowLeft", "ArrowRight"), "←→", strict=True)
    )


def _result(cards: Sequence[Card], attack: str) -> str:
    """The table after the last card: only the reader's own row is left to the script."""
    second = sum(not card.truth for card in cards)
    right = sum(card.truth == card.attack_says for card in cards)
    accused = sum(card.attack_says and not card.truth for card in cards)
    rows = [
        ("You", "", ""),
        ("A coin, on average", f"{len(cards) / 2:g} of {len(cards)}", f"{second / 2:g} of {second}"),
        (attack[:1].upper() + attack[1:], f"{right} of {len(cards)}", f"{accused} of {second}"),
    ]
    body = "".join(
        f'<tr><th scope="row">{who}</th><td>{hits}</td><td>{falsely}</td></tr>' for who, hits, falsely in rows
    )
    return (
        '<div class="result" tabindex="-1" role="group" aria-label="Result" hidden><p class="score"></p>'
        '<table><thead><tr><td></td><th scope="col">right</th><th scope="col">falsely accused</th></tr></thead>'
        f'<tbody>{body}</tbody></table><button type="button" class="again">Play again</button></div>'
    )
