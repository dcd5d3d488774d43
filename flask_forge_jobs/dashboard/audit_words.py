"""The actions of the audit trail in words; their names are those of routes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flask_forge_jobs.model.audit import AuditRecord

# Of entries whose arguments name the verb.
_OBJECTS: Mapping[str, str] = {
    "bulk_run_begin": "jobs in the background",
    "jobs_act": "jobs",
    "queue_actions": "queues",
}
_VERBS: Mapping[str, str] = {
    "cancel": "Cancel {}",
    "cool_down": "Cool {} down",
    "delete": "Delete {}",
    "end_cooldown": "End the cool-down of {}",
    "pause": "Pause {}",
    "reschedule": "Reschedule {}",
    "resume": "Resume {}",
    "retry": "Retry {}",
    "run_now": "Run {} now",
}
_WORDS: Mapping[str, str] = {
    "audit_prune": "Delete old entries",
    "batch_add": "Add jobs to a batch",
    "batch_cancel": "Cancel a batch",
    "batch_create": "Create a batch",
    "batch_delete": "Delete a batch",
    "batch_retry": "Retry a batch",
    "batch_seal": "Seal a batch",
    "bulk_run_begin": "Act on jobs in the background",
    "bulk_run_stop": "Stop a bulk run",
    "change_queue": "Change a queue's settings",
    "copy": "Copy a database",
    "create_queue": "Register a queue",
    "cron_change": "Change a schedule",
    "cron_create": "Create a schedule",
    "cron_delete": "Delete a schedule",
    "cron_set_dedupe": "Change a schedule",
    "cron_set_enabled": "Switch a schedule on or off",
    "cron_set_expr": "Change a schedule",
    "cron_trigger": "Run a schedule now",
    "db_reset": "Empty the database",
    "delete_queue": "Remove a queue",
    "delete_rate_limit": "Delete a limit",
    "drain_rate_limit": "Drain a limit",
    "enqueue": "Enqueue a job",
    "enqueue_many": "Enqueue jobs",
    "job_cancel": "Cancel a job",
    "job_delete": "Delete a job",
    "job_release": "Let a job wait for no other",
    "job_reschedule": "Reschedule a job",
    "job_retry": "Retry a job",
    "jobs_act": "Act on jobs",
    "jobs_delete": "Delete jobs",
    "jobs_delete_by_status": "Delete jobs",
    "jobs_delete_done_older_than": "Delete old done jobs",
    "jobs_enqueue": "Enqueue a job",
    "jobs_enqueue_demo": "Enqueue jobs of the demo",
    "jobs_requeue": "Retry a job",
    "jobs_retry": "Retry a job",
    "jobs_retry_all_by_status": "Retry jobs",
    "jobs_retry_all_failed": "Retry jobs",
    "jobs_run_now": "Run a job now",
    "put_rate_limit": "Set a limit",
    "queue_actions": "Act on queues",
    "queue_cleanup": "Clean up finished jobs",
    "queue_set_backoff": "Change a queue's back-off",
    "queue_set_max_workers": "Change a queue's slots",
    "queue_set_paused": "Pause or resume a queue",
    "queue_set_retention": "Change a queue's retention",
}


def in_words(record: AuditRecord) -> str:
    """Return what an entry is about, such as ``Pause queues``.

    Actions of other versions keep their name.
    """
    verb = _VERBS.get(_verb(record.arguments))
    subject = _OBJECTS.get(record.action)
    if verb and subject:
        return verb.format(subject)
    return _WORDS.get(record.action, record.action)


def _verb(arguments: str) -> str:
    """Return the verb that the arguments name; empty without one."""
    try:
        sent = json.loads(arguments)
    except ValueError:
        return ""
    body = sent.get("body", sent) if isinstance(sent, dict) else None
    verb = body.get("action") if isinstance(body, dict) else None
    return verb if isinstance(verb, str) else ""
