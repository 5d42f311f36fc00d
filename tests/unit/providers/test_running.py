"""When a list stands for many status calls, and when it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from functions.batch.errors import Unavailable
from functions.batch.model import BatchState
from functions.providers.running import MANY, MOST_PAGES, Running

NAMES = [f"batch_{number}" for number in range(MANY)]
RUNS = BatchState(status="in_progress", outcome=None)
ENDED = BatchState(status="completed", outcome="ended", complete=True)


class Account:
    """What its list says, how often it was asked for it, and for how many pages."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.states = dict.fromkeys(NAMES, RUNS)
        self.pages: list[int] = []
        self.broken = False
        self.running = Running(self.listed, lambda: self.now)

    def listed(self, pages: int) -> Iterator[tuple[str, BatchState]]:
        self.pages.append(pages)
        for at, (name, state) in enumerate(self.states.items()):
            if self.broken and at:
                raise Unavailable("odd_answer", "no list")
            yield name, state

    def ask(self, names: list[str]) -> list[BatchState | None]:
        return [self.running.state(name) for name in names]


@pytest.fixture
def account() -> Account:
    return Account()


def test_a_list_is_read_once_many_batches_were_asked_for(account: Account) -> None:
    assert account.ask(NAMES[:-1]) == [None] * (MANY - 1)
    assert account.pages == []
    assert account.ask(NAMES[-1:]) == [RUNS]
    assert account.ask(NAMES) == [RUNS] * MANY
    assert account.pages == [1]


def test_one_batch_that_is_asked_for_often_is_asked_itself(account: Account) -> None:
    assert account.ask([NAMES[0]] * 50) == [None] * 50
    assert account.pages == []


def test_batches_that_were_asked_for_long_ago_do_not_count(account: Account) -> None:
    for name in NAMES * 2:
        account.now += 31 / (MANY - 1)
        assert account.ask([name]) == [None]
    assert account.pages == []


def test_a_list_is_read_again_after_a_while(account: Account) -> None:
    account.ask(NAMES)
    account.now += 14
    account.states[NAMES[0]] = ENDED
    assert account.ask(NAMES[:1]) == [RUNS]
    account.now += 2
    assert account.ask(NAMES[:1]) == [None]
    assert account.pages == [1, 1]


def test_only_what_runs_is_told_by_a_list(account: Account) -> None:
    account.states[NAMES[0]] = ENDED
    del account.states[NAMES[1]]
    account.ask(NAMES)
    assert account.ask(NAMES) == [None, None, *[RUNS] * (MANY - 2)]


def test_a_list_that_breaks_tells_nothing_and_is_left_alone_for_a_while(account: Account) -> None:
    account.broken = True
    assert account.ask(NAMES * 3) == [None] * (3 * MANY)
    assert account.pages == [1]
    account.now += 16
    account.broken = False
    assert account.ask(NAMES) == [RUNS] * MANY


def test_more_batches_are_worth_more_pages(account: Account) -> None:
    for many in (3, 1_000):
        account.now += 100
        account.ask(NAMES)
        account.ask([f"other_{number}" for number in range(MANY * (many - 1))])
        account.now += 16
        account.ask(NAMES[:1])
    assert account.pages == [1, 3, 1, MOST_PAGES]
