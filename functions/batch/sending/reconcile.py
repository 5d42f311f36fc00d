"""Opens the next round: what was read or sent, minus what was answered, packed into shards.

The first round's remainder is the whole input. A round's plan is stored before anything of it is
started and never changed, so that a step which runs twice opens the same round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from functions.batch import layout
from functions.batch.ledger_ports import Ledger
from functions.batch.model import Refusal, RowCounts, Shard, at
from functions.batch.money_ports import Approvals
from functions.batch.outcomes import all_collected, collected, range_results
from functions.batch.outgrown import ONE_CALL, outgrows
from functions.batch.ports import Events, Objects
from functions.batch.pricing import model_of
from functions.batch.recipe import StoredRecipe
from functions.batch.repeats.deduped import answered_before, to_be_sent
from functions.batch.rows import Group, Limits, Weight
from functions.batch.sending import priming
from functions.batch.sending.reruns import Rerun, give_up, next_run
from functions.batch.spending import canary
from functions.batch.spending.estimating import stored_prices
from functions.batch.spending.promises import Keeper
from functions.batch.turnaround import LATE, MEDIAN, Awaited, finish
from functions.batch.work import ShardManifest, Source

MOST_INLINE = 40
"""Up to here a round's shards run in the job's own map; its payload and history stay small."""


class PlannedShard(msgspec.Struct, kw_only=True):
    shard_id: str
    number: int
    group: Group
    weight: Weight
    sources: list[Source]
    delay_seconds: int
    refusal: Refusal | None = None


class RoundPlan(msgspec.Struct, kw_only=True):
    """`taken`: the shards whose remainders are in this round's shards. `held`: what waits for the
    canary to come back or, if it `primes`, for the cache to be written. `refusal`: why none of the
    shards is to be sent, as a shard's own says why that one is not."""

    number: int
    shards: list[PlannedShard]
    reruns: list[Rerun]
    taken: list[str]
    held: list[Source] = []
    refusal: Refusal | None = None
    primes: bool = False
    v: int = 1


class ShardRun(msgspec.Struct, kw_only=True):
    """What the workflow's map needs to start one shard; `name` is the execution's."""

    provider: str
    shard_id: str
    name: str
    delay_seconds: int


class Round(msgspec.Struct, kw_only=True):
    """`shards` is filled for an inline round only; else the map reads `manifest`. `ask`: a person
    has to say first whether the next round may open; `number` is still the last one's. `slices`:
    there is nothing to run, as with `none`, and the results are too much for one call."""

    number: int
    run: Literal["none", "slices", "inline", "distributed", "ask"]
    shards: list[ShardRun]
    manifest: str


LimitsOf = Callable[[Group], Limits]


def open_round(
    job_id: str,
    number: int,
    *,
    ledger: Ledger,
    objects: Objects,
    events: Events,
    limits_of: LimitsOf,
    approvals: Approvals,
    unanswered: bool = False,
    canary_above: int = canary.ABOVE,
    one_call: int = ONE_CALL,
) -> Round:
    """`unanswered`: the job waited for a person as long as one may."""
    if ledger.job(job_id).verdict is not None:
        return _as_round(job_id, number, [], objects)
    plan = _stored_plan(objects, job_id, number)
    if plan is None:
        earlier = _earlier(objects, job_id, number)
        if earlier:
            plan = _plan(job_id, earlier, ledger, objects, limits_of)
        else:
            plan = _first_plan(job_id, objects, limits_of, canary_above)
        if earlier and earlier[-1].held and not (plan.held or earlier[-1].primes):
            word = _word(job_id, earlier, ledger, objects, approvals, unanswered=unanswered)
            if word == "ask":
                manifest = layout.round_manifest(job_id, number - 1)
                return Round(number=number - 1, run="ask", shards=[], manifest=manifest)
            plan.refusal = word
        if earlier and plan.shards and plan.refusal is None:
            _keep_promise(job_id, plan, earlier, ledger, objects)
        objects.put_new(layout.round_manifest(job_id, number), msgspec.json.encode(plan))
        plan = _stored_plan(objects, job_id, number) or plan
    for planned in plan.shards:
        _create(job_id, number, planned, planned.refusal or plan.refusal, ledger, objects)
    for rerun in plan.reruns:
        if rerun.is_last:
            give_up(ledger.shard(job_id, rerun.shard_id), ledger)
    _tell(job_id, plan, ledger, objects, events)
    runs = [_start(job_id, planned) for planned in plan.shards]
    runs += [_restart(job_id, rerun) for rerun in plan.reruns]
    opened = _as_round(job_id, number, runs, objects)
    if opened.run == "none" and outgrows(job_id, objects, one_call):
        opened.run = "slices"
    return opened


def _stored_plan(objects: Objects, job_id: str, number: int) -> RoundPlan | None:
    data = objects.find(layout.round_manifest(job_id, number))
    return None if data is None else msgspec.json.decode(data, type=RoundPlan)


def _word(
    job_id: str,
    earlier: list[RoundPlan],
    ledger: Ledger,
    objects: Objects,
    approvals: Approvals,
    *,
    unanswered: bool,
) -> Literal["ask"] | Refusal | None:
    """Whether what the round before held back may go now. None: yes. A job that is cancelled goes
    on as well: each of its shards sees the cancel."""
    job = ledger.job(job_id)
    word: Literal["ask"] | Refusal | None = None
    if not job.cancel_requested:
        came = {each.shard_id: each for each in all_collected(objects, job_id)}
        models = {shard.shard_id: model_of(shard.group) for shard in earlier[0].shards}
        reason = canary.trouble(came, models, job.estimate, earlier[-1].held)
        if reason is not None:
            word = canary.word(job_id, approvals=approvals, unanswered=unanswered)
            if word == "ask":
                ledger.update_job(job_id, {"reason": reason})
    if word != "ask":
        ledger.change_status(job_id, "awaiting_approval", "running", {"reason": None})
    return word


def _earlier(objects: Objects, job_id: str, number: int) -> list[RoundPlan]:
    return [
        plan for k in range(1, number) if (plan := _stored_plan(objects, job_id, k)) is not None
    ]


def _first_plan(job_id: str, objects: Objects, limits_of: LimitsOf, canary_above: int) -> RoundPlan:
    sources = to_be_sent(objects, job_id, range_results(objects, job_id))
    held: list[Source] = []
    primes = False
    recipe = _recipe(objects, job_id)
    if canary.is_due(sources, canary_above) and (recipe is None or recipe.canary):
        sources, held = canary.split(sources)  # and it writes the cache as well
    elif recipe is not None and recipe.prefix is not None:
        sources, held = priming.split(sources, recipe, stored_prices(objects, job_id))
        primes = bool(held)
    shards = pack(sources, 1, limits_of)
    return RoundPlan(number=1, shards=shards, reruns=[], taken=[], held=held, primes=primes)


def _plan(
    job_id: str,
    earlier: list[RoundPlan],
    ledger: Ledger,
    objects: Objects,
    limits_of: LimitsOf,
) -> RoundPlan:
    """While what went first is not in, only its own broken shards run again."""
    number = earlier[-1].number + 1
    done = {shard_id for plan in earlier for shard_id in plan.taken}
    runs = Counter(run.shard_id for plan in earlier for run in (*plan.shards, *plan.reruns))
    taken: list[str] = []
    sources: list[Source] = []
    reruns: list[Rerun] = []
    waits = False
    for shard in ledger.shards(job_id):
        if shard.status in ("collected", "cleaned") and shard.shard_id not in done:
            taken.append(shard.shard_id)
            sources += collected(objects, job_id, shard.shard_id).remainder
        rerun = next_run(shard, runs[shard.shard_id])
        if rerun is not None:
            reruns.append(rerun)
            waits = waits or shard.status != "collected"
    held = earlier[-1].held
    if held and waits:
        primes = earlier[-1].primes
        return RoundPlan(
            number=number, shards=[], reruns=reruns, taken=[], held=held, primes=primes
        )
    return RoundPlan(
        number=number,
        shards=pack(sources + held, number, limits_of),
        reruns=reruns,
        taken=taken,
    )


def _keep_promise(
    job_id: str, plan: RoundPlan, earlier: list[RoundPlan], ledger: Ledger, objects: Objects
) -> None:
    job = ledger.job(job_id)
    prices = stored_prices(objects, job_id)
    if job.promise is None or prices is None:
        return
    keeper = Keeper(job.promise, prices, ledger.learned)
    planned = [(shard.group, shard.weight) for shard in plan.shards]
    sent = {
        shard.shard_id: (shard.group, shard.weight) for each in earlier for shard in each.shards
    }
    found = keeper.refusals(job, planned, sent, list(ledger.shards(job_id)))
    for shard, refusal in zip(plan.shards, found, strict=True):
        shard.refusal = refusal


def _recipe(objects: Objects, job_id: str) -> StoredRecipe | None:
    found = objects.find(layout.recipe(job_id))
    return None if found is None else msgspec.json.decode(found, type=StoredRecipe)


def pack(sources: Iterable[Source], round_number: int, limits_of: LimitsOf) -> list[PlannedShard]:
    """Fills shards with sources of one group, in input order. Rows are not touched: a shard is a
    list of sources, read one after the other."""
    packed: list[list[Source]] = []
    weights: list[Weight] = []
    open_for: dict[Group, int] = {}
    for source in sorted(sources, key=lambda each: (each.first, each.group)):
        index = None if source.alone else open_for.get(source.group)
        if index is not None and weights[index].plus(source.weight).fits(limits_of(source.group)):
            packed[index].append(source)
            weights[index].add(source.weight)
            continue
        packed.append([source])
        weights.append(Weight().plus(source.weight))
        if not source.alone:
            open_for[source.group] = len(packed) - 1
    return [
        PlannedShard(
            shard_id=f"{round_number:02d}-{number:05d}",
            number=number,
            group=shard[0].group,
            weight=weight,
            sources=shard,
            delay_seconds=max(source.delay_seconds for source in shard),
        )
        for number, (shard, weight) in enumerate(zip(packed, weights, strict=True), 1)
    ]


def _create(
    job_id: str,
    number: int,
    planned: PlannedShard,
    refusal: Refusal | None,
    ledger: Ledger,
    objects: Objects,
) -> None:
    manifest = ShardManifest(shard_id=planned.shard_id, sources=planned.sources)
    objects.put(layout.shard(job_id, planned.shard_id), msgspec.json.encode(manifest))
    ledger.create_shard(
        Shard(
            job_id=job_id,
            shard_id=planned.shard_id,
            round=number,
            number=planned.number,
            provider=planned.group.provider,
            endpoint=planned.group.endpoint,
            model=planned.group.model,
            variant=planned.group.variant,
            rows=planned.weight.rows,
            bytes=planned.weight.bytes,
            tokens=planned.weight.tokens,
            delay_seconds=planned.delay_seconds,
            refusal=refusal,
        )
    )


def _tell(job_id: str, plan: RoundPlan, ledger: Ledger, objects: Objects, events: Events) -> None:
    """Keeps the job's record true, and announces it once it is known to have rows."""
    ranges = list(range_results(objects, job_id))
    counts = RowCounts(
        total=sum(result.rows for result in ranges),
        invalid=sum(result.invalid for result in ranges),
    )
    for result in all_collected(objects, job_id):
        counts.succeeded += result.succeeded
        counts.failed += result.failed
    counts.succeeded += answered_before(objects, job_id, ranges)
    changes: dict[str, object] = {"rows": counts, "round": plan.number}
    if plan.shards:
        changes |= _expected(plan.shards, ledger)
    job = ledger.job(job_id)
    if plan.number == 1 and counts.total and job.status == "planning":
        changes["status"] = "running"
        events.publish(
            "Job Accepted",
            {
                "job_id": job_id,
                "status": "running",
                "input": {"bucket": job.bucket, "key": job.key, "bytes": job.bytes},
                "rows": msgspec.to_builtins(counts),
            },
        )
    ledger.update_job(job_id, changes)


def _expected(shards: list[PlannedShard], ledger: Ledger) -> dict[str, object]:
    batches: dict[tuple[str, str], list[PlannedShard]] = {}
    for shard in shards:
        batches.setdefault((shard.group.provider, shard.group.model), []).append(shard)
    awaited = [
        Awaited(
            histogram=ledger.learned(*model).turnaround,
            batches=len(sent),
            delay_seconds=max(shard.delay_seconds for shard in sent),
        )
        for model, sent in batches.items()
    ]
    return {
        "expected_at": _after(finish(awaited, MEDIAN)),
        "expected_by": _after(finish(awaited, LATE)),
    }


def _after(seconds: int | None) -> str | None:
    return None if seconds is None else at(datetime.now(UTC) + timedelta(seconds=seconds))


def _start(job_id: str, planned: PlannedShard) -> ShardRun:
    return ShardRun(
        provider=planned.group.provider,
        shard_id=planned.shard_id,
        name=f"{job_id}-{planned.shard_id}-1",
        delay_seconds=planned.delay_seconds,
    )


def _restart(job_id: str, rerun: Rerun) -> ShardRun:
    return ShardRun(
        provider=rerun.provider,
        shard_id=rerun.shard_id,
        name=f"{job_id}-{rerun.shard_id}-{rerun.run}",
        delay_seconds=rerun.delay_seconds,
    )


def _as_round(job_id: str, number: int, runs: list[ShardRun], objects: Objects) -> Round:
    manifest = layout.round_runs(job_id, number)
    if not runs:
        return Round(number=number, run="none", shards=[], manifest=manifest)
    if len(runs) <= MOST_INLINE:
        return Round(number=number, run="inline", shards=runs, manifest=manifest)
    objects.put(manifest, msgspec.json.encode(runs))
    return Round(number=number, run="distributed", shards=[], manifest=manifest)
