"""Takes up a job whose execution ended before the job did: aborted, failed or timed out.

All that matters stands in the ledger and in the work bucket, so a new execution goes through the
same steps, and each of them finds what is done already. When a few have broken off, a last one only
puts together what there is, and reports. Who stopped an execution by hand wants the
job stopped: it is cancelled then, its batches at the providers too, and what was finished is kept.
"""

from __future__ import annotations

import re
from contextlib import suppress

from functions.batch.errors import Conflict
from functions.batch.ledger_ports import Ledger
from functions.batch.ports import Alerts, Workflows

MOST_RUNS = 3
"""New executions that a job gets before it is given up, and a person has to look at it."""

_RUN = re.compile(r"-run(\d+)$")


def rescue(
    job_id: str,
    execution: str,
    status: str,
    *,
    ledger: Ledger,
    workflows: Workflows,
    alerts: Alerts,
) -> bool:
    """`execution` and `status` are the ended execution's. False where nothing is to be done.

    A job that has ended is taken up too: its execution may have died before it told so. The new
    one writes the summary and the event again, and deletes the work files.
    """
    try:
        ledger.job(job_id)
    except LookupError:
        return False
    number = _RUN.search(execution)
    run = int(number.group(1)) + 1 if number else 1
    if run > MOST_RUNS:
        alerts.alert(
            f"Batchdrop: job {job_id} does not come to its end",
            f"{run} executions of it ended before it did; the last one's history says why. What "
            "was collected is kept in the work bucket.",
        )
        if run == MOST_RUNS + 1:
            workflows.start_job(job_id, run, given_up=True)
        return run == MOST_RUNS + 1
    if status == "ABORTED":
        with suppress(Conflict):  # raised for a job that has ended
            ledger.update_job(job_id, {"cancel_requested": True})
    workflows.start_job(job_id, run)
    return True
