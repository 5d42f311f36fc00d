"""Where answers lie, in the jobs' table: `ANSWER#<digest of the request>` / `ANSWER`, of less than
a kilobyte each, until their results expire."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from functions.aws.items import to_item
from functions.batch.rows import StoredAnswer

_READ = 100  # items in one BatchGetItem
_WRITTEN = 25  # items in one BatchWriteItem
_REQUESTS = 8
_LONGEST_PAUSE = 5.0
Item = TypeVar("Item")
Result = TypeVar("Result")


class DynamoAnswers:
    """See `functions.batch.ledger_ports.EarlierAnswers`."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def find(self, digests: Iterable[bytes]) -> Iterator[tuple[bytes, StoredAnswer]]:
        """Items are deleted some time after they expired: what has is not found."""
        now = int(time.time())
        for items in _at_once(self._read, digests, _READ):
            for item in items:
                if int(item["expires_at"]["N"]) > now:
                    yield item["pk"]["S"].partition("#")[2].encode(), _answer(item)

    def remember(self, answers: Iterable[tuple[bytes, StoredAnswer]], expires_at: int) -> None:
        items = (_item(digest, answer, expires_at) for digest, answer in answers)
        for _ in _at_once(self._write, items, _WRITTEN):
            pass

    def _read(self, digests: list[bytes]) -> list[dict[str, Any]]:
        keys = [to_item({"pk": _pk(digest), "sk": "ANSWER"}) for digest in digests]
        found: list[dict[str, Any]] = []

        def ask(keys: list[Any]) -> list[Any]:
            answer = self._dynamodb.batch_get_item(RequestItems={self._table: {"Keys": keys}})
            found.extend(answer["Responses"].get(self._table, []))
            return answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])

        _until_done(ask, keys)
        return found

    def _write(self, items: list[dict[str, Any]]) -> None:
        def put(requests: list[Any]) -> list[Any]:
            answer = self._dynamodb.batch_write_item(RequestItems={self._table: requests})
            return answer.get("UnprocessedItems", {}).get(self._table, [])

        _until_done(put, [{"PutRequest": {"Item": item}} for item in items])


def _until_done(ask: Callable[[list[Any]], list[Any]], waiting: list[Any]) -> None:
    """What a busy table leaves undone is asked for again."""
    pause = 0.05
    while waiting := ask(waiting):
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _at_once(
    run: Callable[[list[Item]], Result], items: Iterable[Item], size: int
) -> Iterator[Result]:
    """Runs it over `size` items at a time, several times at once; memory stays flat."""
    waiting = iter(items)
    with ThreadPoolExecutor(_REQUESTS) as pool:
        while some := list(islice(waiting, size * _REQUESTS)):
            yield from pool.map(run, (some[at : at + size] for at in range(0, len(some), size)))


def _pk(digest: bytes) -> str:
    return f"ANSWER#{digest.decode()}"


def _item(digest: bytes, answer: StoredAnswer, expires_at: int) -> dict[str, Any]:
    return to_item(
        {
            "pk": _pk(digest),
            "sk": "ANSWER",
            "v": 1,
            "job_id": answer.job_id,
            "offset": answer.offset,
            "length": answer.length,
            "expires_at": expires_at,
        }
    )


def _answer(item: dict[str, Any]) -> StoredAnswer:
    return StoredAnswer(item["job_id"]["S"], int(item["offset"]["N"]), int(item["length"]["N"]))
