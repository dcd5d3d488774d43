"""One request for each kind of change, and something of everything to change."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.bulk_runs import NewBulkRun, RunAuthor
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import QUEUE, job_with, run

JOB: dict[str, object] = {"kind": "k", "payload": {"to": "x"}}
NAMED: dict[str, object] = {"name": "new", "kind": "k", "cron_expr": "5 4 * * *"}
LIMIT: dict[str, object] = {"capacity": 1, "refill_per_sec": 1}
RETENTION: dict[str, object] = {"done_days": 1, "dead_days": 1}
BACKOFF: dict[str, object] = {"enabled": True, "base_seconds": 2, "max_seconds": 3}
Call = tuple[str, str, dict[str, object] | None]
# They change no job by themselves.
RUNS = ("begin a bulk run", "stop a bulk run")
# One of each kind of verb, by how it stores what it does.
CHANGES: dict[str, Call] = {
    "enqueue": ("POST", "/jobs/enqueue", {**JOB, "queue_name": QUEUE}),
    "enqueue to a new queue": ("POST", "/jobs/enqueue", {**JOB, "queue_name": "new"}),
    "enqueue with a key": ("POST", "/v1/jobs", {**JOB, "dedupe_key": "one"}),
    "enqueue many": ("POST", "/v1/jobs/bulk", {"items": [JOB, JOB]}),
    "demo": ("POST", "/jobs/enqueue-demo", {}),
    "run now": ("POST", "/jobs/run-now/{later}", {}),
    "delete one": ("DELETE", "/v1/jobs/{later}", None),
    "cancel": ("POST", "/v1/jobs/{later}/cancel", {}),
    "retry one": ("POST", "/v1/jobs/{dead}/retry", None),
    "reschedule": ("POST", "/v1/jobs/{later}/reschedule", {"priority": 3}),
    "release": ("POST", "/v1/jobs/{waiting}/release", None),
    "retry": ("POST", "/jobs/retry", {"ids": ["{dead}"]}),
    "retry all": ("POST", "/jobs/retry-all-by-status", {"status": "dead"}),
    "delete": ("POST", "/jobs/delete", {"ids": ["{later}"]}),
    "delete all": ("POST", "/jobs/delete-by-status", {"status": "dead"}),
    "delete done": ("POST", "/jobs/delete-done-older-than", {"days": 0}),
    "act": ("POST", "/v1/jobs/actions", {"action": "delete", "ids": ["{later}"]}),
    "begin a bulk run": (
        "POST",
        "/v1/bulk-runs",
        {"action": "run_now", "filter": {"kinds": ["none"]}},
    ),
    "stop a bulk run": ("POST", "/v1/bulk-runs/{run}/stop", None),
    "create a batch": (
        "POST",
        "/v1/batches",
        {"name": "report", "jobs": [JOB, {**JOB, "after": [0]}]},
    ),
    "add to a batch": ("POST", "/v1/batches/{batch}/jobs", {"jobs": [JOB]}),
    "seal a batch": ("POST", "/v1/batches/{batch}/seal", None),
    "cancel a batch": ("POST", "/v1/batches/{batch}/cancel", None),
    "retry a batch": ("POST", "/v1/batches/{dead_batch}/retry", None),
    "delete a batch": ("DELETE", "/v1/batches/{dead_batch}", None),
    "cleanup": ("POST", "/queue/cleanup", {}),
    "requeue": ("POST", "/jobs/requeue", {"ids": ["{dead}"]}),
    "retry failed": ("POST", "/jobs/retry-all-failed", {}),
    "set workers": ("POST", "/queue/{queue}/max-workers", {"n": 3}),
    "set retention": ("POST", "/queue/{queue}/retention", RETENTION),
    "set backoff": ("POST", "/queue/{queue}/backoff", BACKOFF),
    "set expression": ("POST", "/cron/nightly/expr", {"expr": "5 4 * * *"}),
    "set dedupe": ("POST", "/cron/nightly/dedupe", {"dedupe": True}),
    "pause": ("POST", "/queue/{queue}/paused", {"paused": True}),
    "create a queue": ("POST", "/v1/queues", {"name": "new"}),
    "change a queue": ("PATCH", "/v1/queues/{queue}", {"max_workers": 7}),
    "delete a queue": ("DELETE", "/v1/queues/empty", None),
    "delete a queue of jobs": ("DELETE", "/v1/queues/{queue}?force=true", None),
    "pause queues": ("POST", "/v1/queues/actions", {"action": "pause"}),
    "create a schedule": ("POST", "/v1/cron", NAMED),
    "change a schedule": ("PATCH", "/v1/cron/nightly", {"kind": "other"}),
    "disable": ("POST", "/cron/nightly/enabled", {"enabled": False}),
    "trigger": ("POST", "/cron/nightly/trigger", {}),
    "delete a schedule": ("DELETE", "/v1/cron/nightly", None),
    "put a limit": ("PUT", "/v1/rate-limits/new", LIMIT),
    "drain": ("POST", "/v1/rate-limits/mail/drain", {}),
    "delete a limit": ("DELETE", "/v1/rate-limits/mail", None),
}


def fill(storage: Storage) -> dict[str, str]:
    """Store something of everything; return what a path may name."""
    storage.queues.ensure("empty")
    storage.queues.ensure(QUEUE)
    storage.queues.change(QUEUE, {"retain_done_for_days": 0, "retain_dead_for_days": 0})
    made = ScheduleDefinition("nightly", "digest", "0 3 * * *", '{"to":"all"}')
    storage.cron.create(made)
    storage.rate_limits.put("mail", 5, 1.0)
    job_with(storage, JobStatus.DONE)
    job_with(storage, JobStatus.FAILED)
    later = NewJob("k", queue_name=QUEUE, run_at=datetime(2040, 1, 1, tzinfo=UTC))
    parent = storage.jobs.enqueue(later).id
    return {
        "queue": QUEUE,
        "waiting": storage.jobs.enqueue(NewJob("k", after=[parent])).id,
        "dead": job_with(storage, JobStatus.DEAD),
        "later": storage.jobs.enqueue(later).id,
        "run": _begin_bulk(storage),
        **_batches(storage),
    }


def _batches(storage: Storage) -> dict[str, str]:
    """Create an open batch, and one that has ended with a dead job."""
    jobs = [NewJob("k", queue_name="batched")]
    dead = storage.batches.create(NewBatch("dead"), jobs).id
    run(storage, Dead("no"), queue_name="batched")
    storage.batches.tend()
    made = storage.batches.create(NewBatch("open"), jobs, is_sealed=False)
    return {"batch": made.id, "dead_batch": dead}


def _begin_bulk(storage: Storage) -> str:
    author = RunAuthor("ops", "127.0.0.1", "request-1", "{}")
    jobs: dict[str, object] = {"kinds": ["none"]}
    run = NewBulkRun(action=JobAction.RUN_NOW, jobs=jobs, matched=0, author=author)
    return storage.bulk_runs.add(run, "process-1")


def placed(change: str, names: dict[str, str]) -> Call:
    """Return method, path and body of a change, with the names in their places."""
    method, path, body = CHANGES[change]
    text = json.dumps(body)
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
        text = text.replace(f"{{{name}}}", value)
    return method, path, json.loads(text)
