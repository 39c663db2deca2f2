"""Exercises that answer: a chapter registers a check for each, and a reader's answer is right or told what is wrong.

    @exercise("ex-half", wrong=[(2, "smaller than one")])
    def check_half(answer):
        assert number(answer) < 1, "A half is smaller than one."
        assert answer == 0.5, "Not this share: cut the cake in two equal pieces."

    check("ex-half", 0.5)  # prints "Right."

A check is a plain function of the answer: it returns where the answer is right, else an assert says in a sentence what
is wrong with it. `prove`, called at the chapter's end, holds each check to the solution and to its planted wrong
answers. Chapter 00 shows all of it at work.
"""

from __future__ import annotations

import math
import numbers as kinds
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["call", "check", "exercise", "number", "numbers", "prove", "verdict"]

RIGHT = "Right."
NOTHING = "Nothing here yet: put your answer in place of the dots."


class _Nothing(AssertionError):
    """The starter cell as it was."""


@dataclass
class _Exercise:
    check: Callable[[object], None]
    wrong: Sequence[tuple[object, str]]
    said: str = ""  # of the last answer


_exercises: dict[str, _Exercise] = {}


def exercise(name: str, *, wrong: Sequence[tuple[object, str]]) -> Callable:
    """Register the decorated function as the check of exercise `name`, its label in the chapter.

    wrong: planted wrong answers, each with words that its refusal must hold (see `prove`).
    """

    def register(function: Callable[[object], None]) -> Callable[[object], None]:
        _exercises[name] = _Exercise(function, tuple(wrong))
        return function

    return register


def check(name: str, answer: object) -> None:
    """Print "Right." or what is wrong with a reader's answer; raises nothing, whatever the answer is."""
    print(verdict(name, answer))


def verdict(name: str, answer: object) -> str:
    """What `check` prints."""
    if name not in _exercises:
        known = ", ".join(_exercises) or "none: run the cells above first"
        return f"There is no exercise {name!r} here. There are: {known}."
    found = _exercises[name]
    found.said = _judge(found.check, answer)
    return found.said


def _judge(function: Callable[[object], None], answer: object) -> str:
    try:
        if answer is ... or answer is None:
            raise _Nothing
        function(answer)
    except _Nothing:
        return NOTHING
    except AssertionError as refusal:
        return f"Not yet. {refusal}".strip()
    except Exception as problem:  # of a reader's object: no reader has earned a traceback through the check
        return f"Not yet. The answer is of a kind that cannot be checked ({type(problem).__name__}: {problem})."
    return RIGHT


def prove() -> None:
    """Hold the chapter to its word, once its solutions have run.

    Raises AssertionError, listing each fault, unless the last answer to each exercise was right, and each planted wrong
    answer is refused with its words (their case is ignored). Counts as no answer itself.
    """
    faults = [] if _exercises else ["no exercise has a check"]
    for name, found in _exercises.items():
        if found.said != RIGHT:
            faults.append(f"{name}: the solution's check said {found.said or 'nothing'!r}")
        if not found.wrong:
            faults.append(f"{name}: no wrong answer is planted")
        for answer, words in found.wrong:
            said = _judge(found.check, answer)
            if said == RIGHT or words.lower() not in said.lower():
                faults.append(f"{name}: the wrong answer {answer!r} was told {said!r}, without {words!r}")
    assert not faults, "\n".join(faults)


def number(answer: Any, *, low: float = -math.inf, high: float = math.inf) -> float:
    """The answer as a float; refuses, in words, what is no finite number or lies outside [low, high]."""
    if getattr(answer, "shape", None) == ():  # of NumPy or PyTorch
        answer = answer.item()
    real = isinstance(answer, kinds.Real) and not isinstance(answer, bool) and math.isfinite(answer)
    assert real, f"The answer is a number; yours is {_short(repr(answer))}."
    assert answer >= low, f"The answer is at least {low:g}; yours is {float(answer):.4g}."
    assert answer <= high, f"The answer is at most {high:g}; yours is {float(answer):.4g}."
    return float(answer)


def numbers(answer: object, *, shape: tuple[int, ...]) -> np.ndarray:
    """The answer as float64 [*shape]; refuses, in words, what is not numbers of this shape."""
    try:
        found = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        raise AssertionError(f"The answer is an array of numbers; yours is {_short(repr(answer))}.") from None
    assert found.shape == shape, f"The answer has shape {shape}; yours has {found.shape}."
    assert np.isfinite(found).all(), "Some numbers of the answer are not finite: look for log(0) and 0/0."
    return found


def call(function: object, *arguments: object) -> object:
    """What a reader's function returns; refuses, in words, what is no function, stops, or returns nothing."""
    assert callable(function), f"The answer is a function; yours is {_short(repr(function))}."
    try:
        found = function(*arguments)
    except Exception as problem:
        raise AssertionError(f"Your function stops with {type(problem).__name__}: {problem}.") from problem
    if found is None or found is ...:
        raise _Nothing
    return found


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
