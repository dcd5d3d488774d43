"""Rules that explain a queue, and with it the jobs that wait in it.

Each returns its sentence or None. The list begins with the states that need a person;
states that pass by themselves follow, and normal states come last.
"""

from __future__ import annotations

import difflib

from flask_forge_jobs.handlers.attention.queues import (
    queue_action,
    queue_change,
    still_to_run,
    worker_command,
)
from flask_forge_jobs.handlers.explain_case import Case, JobCase, QueueRule, quoted
from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.queues import DEFAULT_MAX_WORKERS, GOOD_PART
from flask_forge_jobs.model.sentences import Action, Sentence, count

_NEAREST = 3
_SHOW_WORKERS = Action("GET", "/v1/queue/workers", "Show workers")


def schema(case: Case) -> Sentence | None:
    """The tables are of another version than this process."""
    stored, reader = case.around.schema_version, case.around.oldest_reader
    evidence: dict[str, object] = {
        "stored": stored,
        "known": case.known_version,
        "oldest_reader": reader,
    }
    if reader > case.known_version:
        text = (
            f"The schema has version {stored} and needs code that knows version "
            f"{reader}; this process knows {case.known_version}: upgrade it."
        )
        return Sentence("schema_misfit", text, evidence)
    if stored < case.known_version:
        text = (
            f"The schema has version {stored}, and this process needs version "
            f"{case.known_version}: run flask forge-jobs db migrate."
        )
        return Sentence("schema_misfit", text, evidence)
    return None


def paused(case: Case) -> Sentence | None:
    """An operator has paused the queue."""
    queue = case.queue
    if not queue.paused:
        return None
    by = f" by {quoted(queue.paused_by)}" if queue.paused_by else ""
    why = f", “{quoted(queue.pause_reason)}”," if queue.pause_reason else ""
    since = f" for {case.ago(queue.paused_at)}" if queue.paused_at else ""
    evidence = {
        "queue": queue.name,
        "by": queue.paused_by,
        "paused_at": queue.paused_at,
        "reason": queue.pause_reason,
    }
    resume = queue_action(queue.name, "resume", "Resume")
    text = f"{queue.name} is paused{by}{why}{since}."
    return Sentence("queue_paused", text, evidence, resume)


def without_slots(case: Case) -> Sentence | None:
    """The queue may run no job at all."""
    name = case.queue.name
    if case.queue.max_workers > 0:
        return None
    action = queue_change(name, "Give it slots", max_workers=DEFAULT_MAX_WORKERS)
    evidence = {"queue": name, "max_workers": 0}
    text = f"{name} runs nothing: its max_workers is 0."
    return Sentence("queue_without_slots", text, evidence, action)


def unserved(case: Case) -> Sentence | None:
    """No live worker serves the queue."""
    if case.serving:
        return None
    queue = case.queue
    seen = [(each.seen_at, each.label) for each in case.of_queue]
    if queue.last_served_at is not None:
        seen.append((queue.last_served_at, queue.last_worker or "unknown"))
    text = f"No live worker serves {queue.name}."
    evidence: dict[str, object] = {
        "queue": queue.name, "last_worker": None, "last_served_at": None,
        "command": worker_command(queue.name),
    }  # fmt: skip
    if seen:
        seen_at, label = max(seen)
        text += f" The last one, {label}, was seen {case.ago(seen_at)} ago."
        evidence |= {"last_worker": label, "last_served_at": seen_at}
    else:
        text += " None ever has."
    action = None if case.is_limited else _SHOW_WORKERS
    return Sentence("queue_unserved", text, evidence, action)


def kind_unknown(case: JobCase) -> Sentence | None:
    """Each live worker of the queue says that it lacks the kind."""
    serving = case.serving
    if not serving or any(each.knows_kind is not False for each in serving):
        return None
    known = {kind for each in serving for kind in each.kinds}
    if case.is_limited:
        known &= case.around.own_kinds
    nearest = difflib.get_close_matches(case.job.kind, sorted(known), n=_NEAREST)
    hint = f"; the nearest is {one_line(nearest[0])}" if nearest else ""
    evidence = {
        "kind": case.job.kind,
        "nearest": nearest,
        "workers": [each.label for each in serving],
    }
    kind = one_line(case.job.kind)
    text = f"No live worker of {case.queue.name} knows the kind {kind}{hint}."
    return Sentence("kind_unknown", text, evidence)


def cooling(case: Case) -> Sentence | None:
    """A throttled job or an operator has begun a cool-down."""
    queue = case.queue
    until = queue.throttled_until
    if until is None or until <= case.now:
        return None
    cause = quoted(queue.throttle_cause)
    if queue.throttled_job_id is not None:
        kind = one_line(queue.throttled_kind or "")
        why = f": job {queue.throttled_job_id} ({kind}) was throttled"
        why += f", “{cause}”" if cause else ""
    else:
        why = f", begun by {quoted(queue.throttled_by)}" if queue.throttled_by else ""
        why += f": “{cause}”" if cause else ""
    evidence = {
        "queue": queue.name,
        "until": until,
        "job_id": queue.throttled_job_id,
        "kind": queue.throttled_kind,
        "by": queue.throttled_by,
        "cause": queue.throttle_cause,
    }
    text = f"{queue.name} cools down for {case.until(until)} more{why}."
    end = queue_action(queue.name, "end_cooldown", "End now")
    return Sentence("queue_cools_down", text, evidence, end)


def full(case: Case) -> Sentence | None:
    """The queue takes no more jobs."""
    counts, bound = case.counts, case.queue.max_pending
    waiting = counts.pending + counts.scheduled + counts.failed
    if bound is None or waiting < bound:
        return None
    name = case.queue.name
    evidence = {"queue": name, "waiting": waiting, "max_pending": bound}
    jobs = still_to_run(waiting)
    text = f"{name} refuses new jobs: {jobs}, and its max_pending is {bound:,}."
    return Sentence("queue_full", text, evidence)


def behind(case: Case) -> Sentence | None:
    """The oldest due job waits too long."""
    age_s, due = case.oldest_due_age_s, case.counts.pending + case.counts.failed
    if age_s < case.behind_s or not due:
        return None
    busy = f"; {case.busy}" if case.is_full else ""
    name = case.queue.name
    evidence = {
        "queue": name,
        "oldest_due_age_seconds": age_s,
        "waiting": due,
        "slots_busy": case.is_full,
        "running": case.named(case.running_there),
    }
    text = f"{name} is behind: its oldest due job waits for {duration(age_s)}{busy}."
    return Sentence("queue_behind", text, evidence)


def runs(case: Case) -> Sentence | None:
    """Jobs run or are about to."""
    counts, started, age_s = case.counts, case.around.started, case.oldest_due_age_s
    retries = bool(counts.failed and age_s)
    if not (counts.in_progress or counts.pending or started or retries):
        return None
    name = case.queue.name
    evidence = {
        "queue": name,
        "running": counts.in_progress,
        "due": counts.pending,
        "started_last_hour": started,
    }
    due, oldest = count(counts.pending, "job is due", "jobs are due"), "the oldest"
    if not counts.pending and retries:
        due, oldest = "a retry is due", "a retry"
    is_slow = age_s >= case.behind_s / GOOD_PART
    if not (counts.in_progress or started):
        oldest = "the oldest " if counts.pending > 1 else ""
        waits = f", {oldest}for {duration(age_s)}" if is_slow else ""
        text = f"{name} has started no job of late; {due}{waits}."
        return Sentence("queue_runs", text, evidence)
    waits = f", {oldest} for {duration(age_s)}" if is_slow else ""
    numbers = f"{counts.pending:,} due{waits}, {started:,} started in the last hour"
    running = f"{count(counts.in_progress, 'job')} in progress, "
    if is_slow and not counts.in_progress:
        text = f"{name} runs no job now: {numbers}."
    else:
        text = f"{name} runs{'' if is_slow else ' fine'}: {running}{numbers}."
    return Sentence("queue_runs", text, evidence)


def idle(case: Case) -> Sentence | None:
    """Jobs wait for their time only."""
    later = case.counts.scheduled + case.counts.failed
    if not later:
        return None
    name = case.queue.name
    waits = count(later, "job waits for its time", "jobs wait for their time")
    text = f"{name} has nothing to run: {waits}."
    return Sentence("queue_idle", text, {"queue": name, "later": later})


def empty(case: Case) -> Sentence:
    """No job waits or runs."""
    name = case.queue.name
    return Sentence("queue_empty", f"{name} is empty.", {"queue": name})


RULES: tuple[QueueRule, ...] = (
    schema, paused, without_slots, unserved, cooling, full, behind, runs, idle, empty,
)  # fmt: skip
