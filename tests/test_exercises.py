"""Checks of exercises: right answers are told so, wrong ones what is wrong, and a chapter proves its own."""

import numpy as np
import pytest
import torch

from mialab.chapters import exercises
from mialab.chapters.exercises import call, check, exercise, number, numbers, prove, verdict


@pytest.fixture(autouse=True)
def half(monkeypatch):
    """A chapter with one exercise."""
    monkeypatch.setattr(exercises, "_exercises", {})

    @exercise("ex-half", wrong=[(2, "smaller than one"), (0.4, "equal pieces"), ("0.5", "a number")])
    def check_half(answer):
        value = number(answer)
        assert value < 1, "A half is smaller than one."
        assert value == 0.5, "Not this share: cut the cake in two equal pieces."

    return check_half


def test_a_right_answer_is_told_so(capsys):
    check("ex-half", 0.5)
    assert capsys.readouterr().out == "Right.\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (2, "A half is smaller than one."),
        (0.4, "two equal pieces"),
        (float("nan"), "yours is nan"),
        ("0.5", "The answer is a number; yours is '0.5'."),
        ([0.5], "yours is [0.5]"),
        (True, "yours is True"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong_with_it(answer, words):
    said = verdict("ex-half", answer)
    assert said.startswith("Not yet. ") and words in said


@pytest.mark.parametrize("untouched", [..., None])
def test_the_starter_as_it_was_is_neither_right_nor_wrong(untouched):
    assert verdict("ex-half", untouched) == exercises.NOTHING


def test_an_answer_that_breaks_the_check_raises_nothing_for_the_reader():
    @exercise("ex-length", wrong=[("", "empty")])
    def check_length(answer):
        assert len(answer), "It is empty."

    assert "cannot be checked (TypeError: object of type 'int' has no len())" in verdict("ex-length", 3)


def test_an_unknown_exercise_names_those_that_there_are():
    assert verdict("ex-hlaf", 0.5) == "There is no exercise 'ex-hlaf' here. There are: ex-half."


@pytest.mark.parametrize("value", [0.25, np.float32(0.25), np.array(0.25), torch.tensor(0.25)])
def test_a_number_may_be_of_python_numpy_or_torch(value):
    assert number(value, low=0, high=1) == 0.25


@pytest.mark.parametrize(("limits", "words"), [({"low": 1}, "at least 1"), ({"high": 0}, "at most 0")])
def test_a_number_outside_its_limits_is_told_them(limits, words):
    with pytest.raises(AssertionError, match=f"{words}; yours is 0.25"):
        number(0.25, **limits)


@pytest.mark.parametrize(
    ("answer", "words"),
    [("ab", "an array of numbers"), ([1, 2], r"shape \(3,\); yours has \(2,\)"), ([1, 2, np.inf], "not finite")],
)
def test_an_array_of_another_kind_or_shape_is_told_so(answer, words):
    with pytest.raises(AssertionError, match=words):
        numbers(answer, shape=(3,))
    assert np.array_equal(numbers([1, 2, 3], shape=(3,)), [1, 2, 3])


def test_a_readers_function_is_called_and_its_failures_are_put_in_words():
    assert call(max, 1, 2) == 2
    with pytest.raises(AssertionError, match="a function; yours is 3"):
        call(3)
    with pytest.raises(AssertionError, match="stops with ZeroDivisionError"):
        call(lambda: 1 / 0)


def test_a_function_that_returns_nothing_is_no_answer_yet():
    @exercise("ex-double", wrong=[(lambda x: x, "twice")])
    def check_double(answer):
        assert call(answer, 2) == 4, "Give back twice the number."

    assert verdict("ex-double", lambda x: None) == exercises.NOTHING
    assert verdict("ex-double", lambda x: 2 * x) == exercises.RIGHT


def test_a_chapter_whose_solutions_are_right_and_whose_wrong_answers_are_refused_is_proved():
    verdict("ex-half", 0.5)
    prove()
    prove()  # it is no answer itself


def test_a_solution_that_its_own_check_refuses_is_a_fault():
    verdict("ex-half", 0.4)
    with pytest.raises(AssertionError, match="ex-half: the solution's check said 'Not yet. Not this share"):
        prove()


def test_a_solution_that_was_never_checked_is_a_fault():
    with pytest.raises(AssertionError, match="ex-half: the solution's check said 'nothing'"):
        prove()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([], "no wrong answer is planted"),
        ([(0.5, "smaller")], "the wrong answer 0.5 was told 'Right.'"),
        ([(2, "equal pieces")], "the wrong answer 2 was told 'Not yet. A half is smaller than one."),
    ],
)
def test_a_planted_wrong_answer_that_is_missing_accepted_or_refused_in_other_words_is_a_fault(half, wrong, words):
    exercise("ex-half", wrong=wrong)(half)
    verdict("ex-half", 0.5)
    with pytest.raises(AssertionError, match=words.replace("(", r"\(")):
        prove()


def test_no_exercises_prove_nothing(monkeypatch):
    monkeypatch.setattr(exercises, "_exercises", {})
    with pytest.raises(AssertionError, match="no exercise has a check"):
        prove()
