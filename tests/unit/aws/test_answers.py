from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from functions.aws.answers import DynamoAnswers
from functions.batch.rows import StoredAnswer

ANSWERS = {b"%032x" % n: StoredAnswer("job", n, 10) for n in range(900)}


class BusyTable:
    """Leaves undone half of what it is asked, as a throttled table does. Never more than a request
    may hold, and no key twice in one."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self.requests = 0
        self._lock = threading.Lock()

    def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803
        requests = RequestItems["t"]
        assert 0 < len(requests) <= 25
        done = (len(requests) + 1) // 2
        with self._lock:
            self.requests += 1
            for each in requests[:done]:
                item = each["PutRequest"]["Item"]
                self.items[item["pk"]["S"]] = item
        left = requests[done:]
        return {"UnprocessedItems": {"t": left} if left else {}}

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803
        keys = RequestItems["t"]["Keys"]
        assert 0 < len(keys) <= 100
        assert len({key["pk"]["S"] for key in keys}) == len(keys)
        assert "ConsistentRead" not in RequestItems["t"], "it would cost twice as much"
        done = (len(keys) + 1) // 2
        found = [self.items[pk] for key in keys[:done] if (pk := key["pk"]["S"]) in self.items]
        left = keys[done:]
        return {
            "Responses": {"t": found} if found else {},
            "UnprocessedKeys": {"t": {"Keys": left}} if left else {},
        }


def test_what_a_busy_table_leaves_undone_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    table = BusyTable()
    answers = DynamoAnswers(table, "t")
    answers.remember(ANSWERS.items(), int(time.time()) + 100)
    assert len(table.items) == len(ANSWERS)
    assert table.requests > len(ANSWERS) / 25
    asked = [*ANSWERS, *(b"%032x" % n for n in range(10**6, 10**6 + 500))]
    assert dict(answers.find(asked)) == ANSWERS
    assert pauses
    assert max(pauses) <= 5


def test_an_item_is_a_kilobyte_at_most() -> None:
    """So that writing it takes one unit."""
    table = BusyTable()
    answers = DynamoAnswers(table, "t")
    longest = StoredAnswer("j" * 80, 10**15, 10**9)
    answers.remember([(b"f" * 32, longest)], 10**10)
    [item] = table.items.values()
    assert sum(len(name) + len(next(iter(value.values()))) for name, value in item.items()) < 1_000
    assert dict(answers.find([b"f" * 32])) == {b"f" * 32: longest}
