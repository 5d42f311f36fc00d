"""Refusals of whole batches, by providers that tell less than they could."""

from __future__ import annotations

import json

import pytest

from functions.batch.model import BatchState, Reason, Refusal
from functions.providers.openai.dialect import OpenAIDialect
from tests.support.driver import World
from tests.support.echo_provider import EchoProvider, last_text
from tests.support.lines import body, jsonl, line


class Pedant(EchoProvider):
    """Refuses a batch for the first of its bad rows, and says nothing of the others."""

    def poll(self, batch_id: str) -> BatchState:
        requests = self._files[self._batches[int(batch_id)]].splitlines()
        for number, request in enumerate(requests, 1):
            if last_text(json.loads(request)["body"]).startswith("bad"):
                lines = {number: Reason("invalid", "This one is bad.")}
                refusal = Refusal(code="invalid", message="Bad.", then="resend", lines=lines)
                return BatchState(status="failed", outcome="refused", refusal=refusal)
        return super().poll(batch_id)


@pytest.mark.parametrize("every", [7, 2])
def test_many_bad_rows_that_are_named_one_by_one_do_not_take_the_others_down(every: int) -> None:
    provider = Pedant()
    world = World([OpenAIDialect()], {"openai": lambda: provider})
    texts = [f"bad {n}" if n % every == 1 else f"good {n}" for n in range(200)]
    job_id = world.drop("a.jsonl", jsonl([line(text, body(text)) for text in texts]))
    world.run(job_id)
    results = world.result_lines(job_id)
    assert [result["custom_id"] for result in results] == texts
    for result in results:
        good = result["custom_id"].startswith("good")
        assert result["status"] == ("succeeded" if good else "failed")
        assert good or result["error"]["code"] == "invalid"
    assert sorted(map(last_text, provider.bodies)) == sorted(
        text for text in texts if text.startswith("good")
    )


class Moody(EchoProvider):
    """Refuses its first batches without a word."""

    refuses = 0

    def poll(self, batch_id: str) -> BatchState:
        if int(batch_id) < self.refuses:
            refusal = Refusal(code="batch_failed", message="no reason was given", then="split")
            return BatchState(status="failed", outcome="refused", refusal=refusal)
        return super().poll(batch_id)


@pytest.mark.parametrize(("refuses", "status"), [(1, "succeeded"), (2, "failed")])
def test_a_row_that_is_alone_in_a_batch_that_fails_goes_again_once(
    refuses: int, status: str
) -> None:
    provider = Moody()
    provider.refuses = refuses
    world = World([OpenAIDialect()], {"openai": lambda: provider})
    job_id = world.drop("a.jsonl", jsonl([line("only", body("only"))]))
    world.run(job_id)
    (result,) = world.result_lines(job_id)
    assert (result["custom_id"], result["status"]) == ("only", status)
    assert len(list(world.ledger.shards(job_id))) == 2
