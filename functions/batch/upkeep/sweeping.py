"""Deletes a job's work files. Those of a job that broke stay: they hold answers that were paid."""

from __future__ import annotations

from functions.batch import layout
from functions.batch.ledger_ports import Ledger
from functions.batch.model import FINAL_JOB_STATUSES
from functions.batch.ports import Objects


def sweep(job_id: str, *, ledger: Ledger, objects: Objects) -> None:
    job = ledger.job(job_id)
    if job.status not in FINAL_JOB_STATUSES or job.verdict == "failed":
        return
    objects.delete(objects.keys(layout.everything(job_id)))
