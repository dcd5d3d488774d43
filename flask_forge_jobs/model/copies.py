"""Copies the fields of a new job, as each call of a task does."""

from __future__ import annotations

from typing import Any


def copy_fields(job: Any, draft: Any) -> None:
    """Copy all fields of a new job.

    Written out, because a loop over their names takes five times as long.
    """
    draft.kind = job.kind
    draft.payload = job.payload
    draft.queue_name = job.queue_name
    draft.priority = job.priority
    draft.max_attempts = job.max_attempts
    draft.dedupe_key = job.dedupe_key
    draft.run_at = job.run_at
    draft.timeout_s = job.timeout_s
    draft.schedule_name = job.schedule_name
    draft.dedupe_for = job.dedupe_for
    draft.replace = job.replace
    draft.job_id = job.job_id
    draft.is_key_of_queue = job.is_key_of_queue
    draft.carried = job.carried
    draft.delay = job.delay
    draft.after = job.after
    draft.on_parent_dead = job.on_parent_dead
    draft.batch_id = job.batch_id
