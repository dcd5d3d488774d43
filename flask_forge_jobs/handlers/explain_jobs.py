"""Rules that explain a job: why it waits, where it runs, or how it ended.

Each returns its sentence or None. Of a job that waits, the list holds first what needs
somebody, then what passes by itself; the last rule of each list always has a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask_forge_jobs.handlers import explain_queues as of_queue
from flask_forge_jobs.handlers import explain_ties as of_ties
from flask_forge_jobs.handlers.explain_case import JobCase, JobRule, quoted, show_job
from flask_forge_jobs.model.durations import countdown, duration
from flask_forge_jobs.model.evidence import MAX_AHEAD
from flask_forge_jobs.model.instants import format_instant
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.limits import awaited_rate_limit
from flask_forge_jobs.model.sentences import Action, Sentence, count
from flask_forge_jobs.model.workers import slot_number


def concurrency_limited(case: JobCase) -> Sentence | None:
    """Other jobs hold all places under the concurrency limit."""
    job, holders = case.job, case.around.holders
    is_refused = job.concurrency_key is not None and job.admitted_at is None
    if not (_waits(case) and is_refused and job.claims):
        return None
    if holders:
        # The verb, too, must not tell how many there are elsewhere.
        verb = "holds" if case.is_one_in_words(holders) else "hold"
        held = f"; {case.list_of(holders)} {verb} it"
    else:
        held = f" and is tried again in {_left(case)}"
    named = case.named(holders)
    evidence = {"holders": named, "until": job.scheduled_at}
    action = show_job(str(named[0]["id"]), "Show the holder") if named else None
    text = f"{case.name} waits for its concurrency limit{held}."
    return Sentence("concurrency_limited", text, evidence, action)


def rate_limited(case: JobCase) -> Sentence | None:
    """The job's rate limit has no tokens."""
    scope = awaited_rate_limit(case.job.last_error)
    if scope is None or not _waits(case):
        return None
    bucket = None if case.is_limited else case.around.rate_limit
    rate = f", which gains {bucket.refill_per_sec:g} a second" if bucket else ""
    until = case.job.scheduled_at
    evidence: dict[str, object] = {"scope": scope, "until": until}
    if bucket is not None:
        evidence |= {
            "tokens": bucket.tokens,
            "capacity": bucket.capacity,
            "refill_per_sec": bucket.refill_per_sec,
        }
    text = (
        f"{case.name} waits {_left(case)} more for tokens of the rate limit "
        f"{quoted(scope)}{rate}."
    )
    action = Action("GET", "/v1/rate-limits", "Show rate limits") if bucket else None
    return Sentence("rate_limited", text, evidence, action)


def backs_off(case: JobCase) -> Sentence | None:
    """The last attempt failed, and the next one is not due yet."""
    job = case.job
    if job.status is not JobStatus.FAILED or job.scheduled_at <= case.now:
        return None
    error = quoted(job.last_error)
    text = (
        f"{case.name} backs off for {_left(case)} more after attempt "
        f"{job.attempts} of {job.max_attempts}: {error}."
    )
    evidence = _attempts(case) | {"until": job.scheduled_at, "error": job.last_error}
    return Sentence("backs_off", text, evidence, _run_now(case))


def throttled(case: JobCase) -> Sentence | None:
    """The task asked for a pause of this job."""
    job = case.job
    if not (_waits(case) and job.claims and job.throttle_attempts):
        return None
    why = f": “{quoted(job.last_error)}”" if job.last_error else ""
    text = (
        f"{case.name} waits {_left(case)} more, because its task "
        f"asked for a pause{why}."
    )
    evidence = {
        "until": job.scheduled_at,
        "throttle_attempts": job.throttle_attempts,
        "reason": job.last_error,
    }
    return Sentence("job_throttled", text, evidence, _run_now(case))


def scheduled(case: JobCase) -> Sentence | None:
    """The job is for later."""
    at = case.job.scheduled_at
    if at <= case.now:
        return None
    text = f"{case.name} is scheduled for {format_instant(at)}, in {_left(case)}."
    return Sentence("scheduled", text, {"scheduled_at": at}, _run_now(case))


def turn(case: JobCase) -> Sentence | None:
    """Other due jobs of the queue come first."""
    ahead = case.around.ahead
    if not ahead:
        return None
    is_exact = ahead <= MAX_AHEAD
    usual_s = case.wait_behind_s(ahead)
    jobs = count(ahead, "job") if is_exact else f"more than {MAX_AHEAD:,} jobs"
    usual = ""
    if usual_s is not None:
        usual = f", {'usually' if is_exact else 'usually over'} {duration(usual_s)}"
    busy = f"; {case.busy}" if case.is_full else ""
    evidence = {
        "queue": case.queue.name,
        "ahead": min(ahead, MAX_AHEAD),
        "ahead_is_exact": is_exact,
        "started_last_hour": case.around.started,
        "usual_wait_seconds": usual_s,
        "slots_busy": case.is_full,
    }
    text = f"{case.name} waits for its turn behind {jobs} of {case.queue.name}"
    return Sentence("waits_for_turn", f"{text}{usual}{busy}.", evidence)


def slots_busy(case: JobCase) -> Sentence | None:
    """The job is next, but no worker has a free slot."""
    if not case.is_full:
        return None
    jobs = case.running_there
    named = case.named(jobs)
    what = f": {case.list_of(jobs)}" if jobs else ""
    evidence = {
        "queue": case.queue.name,
        "workers": [each.label for each in case.serving],
        "running": named,
    }
    text = f"{case.name} is next, but all slots of its workers are busy{what}."
    action = show_job(str(named[0]["id"]), "Show the oldest job") if named else None
    return Sentence("slots_busy", text, evidence, action)


def starting(case: JobCase) -> Sentence:
    """Nothing holds the job back."""
    evidence = {"workers": [each.label for each in case.serving]}
    text = f"{case.name} is next: a worker with a free slot is about to claim it."
    return Sentence("starting", text, evidence)


def stop_asked(case: JobCase) -> Sentence | None:
    """A user asked the running job to stop."""
    job = case.job
    if job.cancel_requested_at is None:
        return None
    why = f", “{quoted(job.cancel_reason)}”," if job.cancel_reason else ""
    asked = case.ago(job.cancel_requested_at)
    batch = of_ties.cancelled_with_batch(case)
    text = (
        f"{case.name} was asked to stop {asked} ago{batch}{why} and still runs"
        f"{_on(case)}."
    )
    evidence = _run(case) | {
        "cancel_requested_at": job.cancel_requested_at,
        "reason": job.cancel_reason,
        **of_ties.batch_of(case),
    }
    return Sentence("stop_asked", text, evidence)


def worker_silent(case: JobCase) -> Sentence | None:
    """The worker that runs the job sends no heartbeat."""
    worker = case.worker
    if worker is not None and worker.is_live:
        return None
    seen = f" was last seen {case.ago(worker.seen_at)} ago" if worker else " is gone"
    label = worker.label if worker else case.job.worker_id or "unknown"
    text = (
        f"{case.name} runs on {label}, which{seen}; another worker takes it over when "
        "the lease is over."
    )
    evidence = _run(case) | {"seen_at": worker.seen_at if worker else None}
    return Sentence("worker_silent", text, evidence)


def running(case: JobCase) -> Sentence:
    """A worker runs the job."""
    job, usual_s = case.job, case.usual_run_s
    since = case.ago(job.started_at or case.now)
    usual = "" if usual_s is None else f"; it usually takes {duration(usual_s)}"
    text = f"{case.name} has run for {since}{_on(case)}, {_attempt(case)}{usual}."
    return Sentence("running", text, _run(case) | {"usual_run_seconds": usual_s})


def done(case: JobCase) -> Sentence | None:
    """The job has succeeded."""
    job = case.job
    if job.status is not JobStatus.DONE:
        return None
    ended, began = job.completed_at or case.now, job.started_at or case.now
    took = duration((ended - began).total_seconds())
    text = f"{case.name} was done {case.ago(ended)} ago: {_attempt(case)} ran {took}."
    return Sentence("done", text, _attempts(case) | _ended(case))


def cancelled(case: JobCase) -> Sentence | None:
    """A user has cancelled the job."""
    job = case.job
    if job.cancel_requested_at is None:
        return None
    why = f", “{quoted(job.last_error)}”" if job.last_error else ""
    ended = case.ago(job.completed_at or case.now)
    batch = of_ties.cancelled_with_batch(case)
    text = f"{case.name} was cancelled {ended} ago{batch}{why}."
    evidence = _ended(case) | {"reason": job.cancel_reason, "error": job.last_error}
    evidence |= of_ties.batch_of(case)
    return Sentence("cancelled", text, evidence)


def key_held(case: JobCase) -> Sentence | None:
    """The job is dead, and another one holds its dedupe key by now."""
    holder = case.around.key_holder
    if holder is None:
        return None
    named = case.named([holder])
    by = f"job {holder.id}" if named else "another job"
    text = f"{case.name} is dead and cannot be retried: {by} holds its dedupe key."
    action = show_job(holder.id, "Show the holder") if named else None
    evidence = _ended(case) | {"holders": named, "error": case.job.last_error}
    return Sentence("key_held", text, evidence, action)


def dead(case: JobCase) -> Sentence:
    """The job has been given up."""
    job = case.job
    why = f": {quoted(job.last_error)}" if job.last_error else ""
    ended = case.ago(job.completed_at or case.now)
    text = f"{case.name} has been dead for {ended}, after {_attempt(case)}{why}."
    evidence = _attempts(case) | _ended(case) | {"error": job.last_error}
    retry = Action("POST", f"/v1/jobs/{job.id}/retry", "Retry")
    return Sentence("dead", text, evidence, retry)


_WAITING: tuple[JobRule, ...] = (
    of_queue.schema, of_ties.held, of_ties.waits_for_jobs, of_queue.paused,
    of_queue.without_slots, of_queue.unserved, of_queue.kind_unknown, of_queue.cooling,
    concurrency_limited, rate_limited, backs_off, throttled, scheduled, turn,
    slots_busy, starting,
)  # fmt: skip
RULES: Mapping[JobStatus, tuple[JobRule, ...]] = {
    JobStatus.PENDING: _WAITING,
    JobStatus.FAILED: _WAITING,
    JobStatus.IN_PROGRESS: (stop_asked, worker_silent, running),
    JobStatus.DONE: (done,),
    JobStatus.DEAD: (cancelled, key_held, of_ties.died_with_parent, dead),
}


def _waits(case: JobCase) -> bool:
    """Whether the job came back to wait for its time."""
    return case.job.status is JobStatus.PENDING and case.job.scheduled_at > case.now


def _left(case: JobCase) -> str:
    return countdown((case.job.scheduled_at - case.now).total_seconds())


def _attempt(case: JobCase) -> str:
    return f"attempt {case.job.attempts} of {case.job.max_attempts}"


def _attempts(case: JobCase) -> dict[str, object]:
    return {"attempt": case.job.attempts, "max_attempts": case.job.max_attempts}


def _ended(case: JobCase) -> dict[str, object]:
    return {"started_at": case.job.started_at, "completed_at": case.job.completed_at}


def _on(case: JobCase) -> str:
    """Return where the job runs: worker, host and slot, as far as they are known."""
    worker = case.worker
    label = worker.label if worker else case.job.worker_id
    host = f" at {worker.host}" if worker and worker.host else ""
    slot = slot_number(case.job.slot_id, case.job.queue_name)
    return f" on worker {label}{host}" + ("" if slot is None else f" in slot {slot}")


def _run(case: JobCase) -> dict[str, object]:
    job, worker = case.job, case.worker
    return _attempts(case) | {
        "started_at": job.started_at,
        "worker_id": job.worker_id,
        "worker": worker.label if worker else None,
        "host": worker.host if worker else None,
        "slot": slot_number(job.slot_id, job.queue_name),
    }


def _run_now(case: JobCase) -> Action:
    body = {"action": "run_now", "ids": [case.job.id]}
    return Action("POST", "/v1/jobs/actions", "Run now", body)
