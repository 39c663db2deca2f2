"""A small game whose every number is known: ten cards by hand, for tests of the page and of the browser."""

import numpy as np

from mialab.chapters.widgets import Card, Picture

HEAD = '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>x</title>'
HEAD += '<meta name="color-scheme" content="light dark">'
QUESTION, ANSWERS, ATTACK = "Was it in the training set?", ("member", "non-member"), "the threshold attack"
MEMBERS = {1, 3, 4, 8, 9}  # by the number in the card's title
SAYS_MEMBER = {1, 2, 3, 4, 9}  # the attack: right on 8 of 10, with one of five non-members accused


def picture(number):
    image = np.zeros((28, 28), dtype=np.uint8)
    image[number, :] = 255
    return Picture(image, f"A white line in row {number}")


def ten_cards():
    return [
        Card(
            picture(number),
            f"Record {number}",
            truth=number in MEMBERS,
            attack_says=number in SAYS_MEMBER,
            bars={"Sandal": 0.9 + number / 1000, "Ankle boot": 0.1 - number / 1000},
            marked="Sandal",
        )
        for number in range(10)
    ]
