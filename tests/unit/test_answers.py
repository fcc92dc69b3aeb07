"""Requests and answers of a stream: what is missing, and the longest time without an answer."""

from __future__ import annotations

import pytest

from k8s_ovs_testing.traffic.answers import Answers


def test_without_a_loss_the_gap_is_the_longest_round_trip() -> None:
    answers = Answers()
    for at, back in ((1.0, 1.25), (2.0, 2.5), (3.0, 3.125)):
        answers.answer(answers.ask(at), back)
    assert (answers.sent, answers.missing, answers.longest_gap) == (3, 0, 0.5)


def test_requests_that_are_lost_make_a_gap_from_the_first_of_them() -> None:
    answers = Answers()
    answers.answer(answers.ask(1.0), 1.25)
    for at in (2.0, 3.0, 4.0):
        answers.ask(at)
    answers.answer(answers.ask(5.0), 5.25)
    assert (answers.sent, answers.missing) == (5, 3)
    assert answers.longest_gap == 3.25


def test_a_sender_that_pauses_makes_no_gap() -> None:
    answers = Answers()
    answers.answer(answers.ask(1.0), 1.25)
    answers.answer(answers.ask(60.0), 60.25)
    assert answers.longest_gap == 0.25


def test_while_requests_wait_in_a_row_the_gap_is_between_two_answers() -> None:
    answers = Answers()
    first, second = answers.ask(1.0), answers.ask(2.0)
    answers.answer(first, 9.0)
    answers.answer(second, 9.5)
    assert answers.longest_gap == 8.0


def test_an_answer_heard_late_counts_from_when_it_came() -> None:
    answers = Answers()
    first = answers.ask(1.0)
    second = answers.ask(60.0)
    answers.answer(first, 1.25)
    answers.answer(second, 60.5)
    assert answers.longest_gap == 0.5


@pytest.mark.parametrize("number", [1, 7])
def test_an_answer_that_nobody_waits_for_counts_not(number: int) -> None:
    answers = Answers()
    answers.answer(answers.ask(1.0), 1.25)
    answers.ask(2.0)
    answers.answer(number, 90.0)
    assert (answers.missing, answers.longest_gap) == (1, 0.25)
