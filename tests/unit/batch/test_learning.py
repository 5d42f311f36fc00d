from __future__ import annotations

import pytest

from functions.batch.learning import Learned
from functions.batch.rows import Usage, Weight


def taught(rows: int, counting: float, *, answer: int = 0, limit: int = 0) -> Learned:
    """By rows of 150 and 250 tokens."""
    lesson = Learned()
    for number in range(rows):
        tokens = 250 if number % 2 else 150
        lesson.note(
            Weight(rows=1, tokens=tokens, max_output=limit, unbounded=0 if limit else 1),
            Usage(input_tokens=round(tokens * counting), output_tokens=answer),
        )
    return lesson


def test_without_a_lesson_the_estimate_stands() -> None:
    assert Learned().factor() == 1
    assert Learned().output_ratio() == 0.5
    assert Learned().output_of_unbounded() is None


@pytest.mark.parametrize("counting", [0.5, 0.7, 1.0, 1.4, 2.0])
def test_after_a_thousand_rows_any_way_of_counting_is_met_within_ten_percent(
    counting: float,
) -> None:
    factor = taught(1_000, counting).factor()
    assert factor == pytest.approx(counting, rel=0.1)
    assert abs(taught(10_000, counting).factor() - counting) <= abs(factor - counting)


def test_a_few_rows_change_little() -> None:
    assert 1 < taught(3, 2.0).factor() < 1.05


def test_lessons_add_up() -> None:
    sums, parts = taught(30, 1.5, answer=20, limit=100), Learned()
    for _ in range(3):
        parts.add(taught(10, 1.5, answer=20, limit=100))
    assert parts == sums


def test_how_much_of_its_limit_an_answer_takes_is_learned() -> None:
    assert taught(10_000, 1, answer=20, limit=100).output_ratio() == pytest.approx(0.2, abs=0.01)
    assert 0.45 < taught(10, 1, answer=20, limit=100).output_ratio() < 0.5
    assert taught(10_000, 1, answer=150, limit=100).output_ratio() == 1


def test_answers_without_a_limit_are_kept_apart() -> None:
    lesson = taught(5, 1, answer=300)
    lesson.add(taught(5, 1, answer=10, limit=20))
    assert lesson.output_of_unbounded() == 300
    assert (lesson.bounded, lesson.bounded_output, lesson.max_output) == (5, 50, 100)


def test_a_row_that_tells_nothing_teaches_nothing() -> None:
    lesson = Learned()
    lesson.note(Weight(rows=1, tokens=10), Usage())
    lesson.note(Weight(rows=1), Usage(input_tokens=10))
    lesson.note(Weight(rows=2, tokens=10), Usage(input_tokens=10))
    assert lesson == Learned()
    lesson.note(Weight(rows=1, tokens=10), Usage(input_tokens=10))
    assert (lesson.rows, lesson.bounded, lesson.unbounded) == (1, 0, 0)
