"""Jobs as listings show them, without the texts that may have a megabyte each."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.model.jobs import JobSummary
from flask_forge_jobs.storage.database import Transaction, encode_names
from flask_forge_jobs.storage.rows import summary_from_row


def load_summaries(transaction: Transaction, ids: Sequence[str]) -> list[JobSummary]:
    """Return jobs as listings show them, in the order of their ids' list."""
    if not ids:
        return []
    rows = transaction.all("get_summaries", rows=encode_names("job_id", ids))
    jobs = {row[0]: summary_from_row(row) for row in rows}
    return [jobs[job_id] for job_id in ids if job_id in jobs]
