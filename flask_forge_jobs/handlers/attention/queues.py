"""Rules about queues: paused, cooling down, unserved, behind, full."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from flask_forge_jobs.model.attention import Facts, Need, QueueFacts, WorkerFacts
from flask_forge_jobs.model.durations import elapsed
from flask_forge_jobs.model.queues import DEFAULT_MAX_WORKERS, MAX_WORKERS_RANGE
from flask_forge_jobs.model.sentences import Action, Sentence, count

_MAX_NAMED = 20
_MAX_SLOTS = MAX_WORKERS_RANGE[1]


def worker_command(*names: str) -> str:
    """Return the command line of a worker that serves some queues."""
    return f"flask forge-jobs worker --queues {shlex.quote(','.join(names))}"


def jobs_wait(due: int, retrying: int = 0) -> str:
    """Return ``1 job waits``, ``2 jobs wait`` or ``2 jobs wait and 1 job retries``."""
    if not retrying:
        return count(due, "job waits", "jobs wait")
    if not due:
        return count(retrying, "job retries", "jobs retry")
    return f"{jobs_wait(due)} and {count(retrying, 'job retries', 'retry')}"


def still_to_run(number: int) -> str:
    """Return words for jobs that wait, retry or are scheduled."""
    return f"{count(number, 'job is', 'jobs are')} still to run"


def _jobs_wait(*queues: QueueFacts) -> str:
    due = sum(queue.counts.pending for queue in queues)
    return jobs_wait(due, sum(queue.counts.failed for queue in queues))


def unserved(facts: Facts) -> Iterator[Need]:
    """Yield the queues with due jobs that no live worker serves.

    One sentence says so of all queues if no worker is live at all.
    """
    if facts.database.write_locked_s is not None:
        return  # workers that cannot beat look dead
    waiting = [queue for queue in facts.queues if queue.waiting and not queue.is_paused]
    if facts.is_whole and not facts.live:
        if waiting:
            yield _no_worker(waiting)
        return
    for queue in waiting:
        if queue.name not in facts.served:
            yield queue.waiting, _unserved(facts, queue)


def _no_worker(waiting: list[QueueFacts]) -> Need:
    jobs = sum(queue.waiting for queue in waiting)
    oldest_s = max(queue.oldest_wait_s for queue in waiting)
    text = f"No worker is running. {_with_oldest(waiting, oldest_s)}."
    evidence = {
        "jobs": jobs,
        "oldest_wait_s": oldest_s,
        "queues": [queue.name for queue in waiting[:_MAX_NAMED]],
        "command": worker_command(*(queue.name for queue in waiting[:_MAX_NAMED])),
    }
    return jobs, Sentence("no_worker", text, evidence)


def _unserved(facts: Facts, queue: QueueFacts) -> Sentence:
    jobs = _with_oldest([queue], queue.oldest_wait_s)
    text = f"Queue {queue.name} has no worker. {jobs}."
    evidence: dict[str, object] = {
        "queue": queue.name,
        "jobs": queue.waiting,
        "oldest_wait_s": queue.oldest_wait_s,
        "command": worker_command(queue.name),
    }
    seen = _last_seen(facts, queue)
    if seen is not None:
        label, seen_s = seen
        text += f" Its last worker, {label}, was last seen {elapsed(seen_s)} ago."
        evidence |= {"worker": label, "last_seen_s": int(seen_s)}
    return Sentence("queue_unserved", text, evidence)


def _last_seen(facts: Facts, queue: QueueFacts) -> tuple[str, float] | None:
    """Return the last worker of a queue, and how many seconds ago it was seen."""
    seen = [
        (worker.silent_s, worker.label)
        for worker in facts.workers
        if queue.name in worker.queues
    ]
    if queue.last_worker is not None and queue.last_served_s is not None:
        seen.append((queue.last_served_s, queue.last_worker))
    if not seen:
        return None
    seen_s, label = min(seen)
    return label, seen_s


def _with_oldest(queues: Sequence[QueueFacts], oldest_s: int) -> str:
    words = _jobs_wait(*queues)
    if not oldest_s:
        return words
    oldest = ", the oldest" if sum(queue.waiting for queue in queues) > 1 else ""
    return f"{words}{oldest} for {elapsed(oldest_s)}"


def without_slots(facts: Facts) -> Iterator[Need]:
    """Yield the queues with due jobs and a ``max_workers`` of 0."""
    for queue in facts.queues:
        if queue.max_workers or not queue.waiting or queue.is_paused:
            continue
        jobs = _jobs_wait(queue)
        text = f"{queue.name} has no slots: its max_workers is 0. {jobs}."
        evidence = {"queue": queue.name, "jobs": queue.waiting, "max_workers": 0}
        action = queue_change(
            queue.name, "Give it slots", max_workers=DEFAULT_MAX_WORKERS
        )
        yield queue.waiting, Sentence("queue_without_slots", text, evidence, action)


def full(facts: Facts) -> Iterator[Need]:
    """Yield the queues that refuse producers."""
    for queue in facts.queues:
        if not queue.is_full or queue.max_pending is None:
            continue
        jobs = queue.waiting + queue.counts.scheduled
        text = (
            f"{queue.name} is full: {still_to_run(jobs)}, and its max_pending is "
            f"{queue.max_pending:,}, so it refuses new ones."
        )
        evidence = {"queue": queue.name, "jobs": jobs, "max_pending": queue.max_pending}
        bound = 2 * queue.max_pending
        action = queue_change(
            queue.name, f"Raise the bound to {bound:,}", max_pending=bound
        )
        yield jobs, Sentence("queue_full", text, evidence, action)


def paused(facts: Facts) -> Iterator[Need]:
    """Yield the paused queues with waiting jobs."""
    for queue in facts.queues:
        if not (queue.is_paused and queue.waiting):
            continue
        by = f" by {queue.paused_by}" if queue.paused_by else ""
        reason = f", “{queue.pause_reason}”," if queue.pause_reason else ""
        since = ""
        if queue.paused_for_s is not None:
            since = f" for {elapsed(queue.paused_for_s)}"
        text = f"{queue.name} is paused{by}{reason}{since}. {_jobs_wait(queue)}."
        if not _is_served(facts, queue):
            text += " No live worker serves it, so a resume alone starts none."
        evidence = {
            "queue": queue.name,
            "jobs": queue.waiting,
            "by": queue.paused_by,
            "reason": queue.pause_reason,
            "paused_s": None if queue.paused_for_s is None else int(queue.paused_for_s),
        }
        action = queue_action(queue.name, "resume", "Resume")
        yield queue.waiting, Sentence("queue_paused", text, evidence, action)


def _is_served(facts: Facts, queue: QueueFacts) -> bool:
    # Workers that cannot beat look dead.
    return queue.name in facts.served or facts.database.write_locked_s is not None


def behind(facts: Facts) -> Iterator[Need]:
    """Yield the queues that run, but whose oldest due job waits too long."""
    served = facts.served
    for queue in facts.queues:
        runs = queue.max_workers and not queue.is_paused and queue.name in served
        if not runs or queue.cools_for_s or queue.oldest_wait_s < facts.behind_s:
            continue
        text = (
            f"{queue.name} is behind: the oldest job waits "
            f"{elapsed(queue.oldest_wait_s)}{_busy(facts, queue)}."
        )
        evidence: dict[str, object] = {
            "queue": queue.name,
            "jobs": queue.counts.pending,
            "oldest_wait_s": queue.oldest_wait_s,
            "slots": queue.slots,
            "busy_slots": queue.busy_slots,
            "max_workers": queue.max_workers,
        }
        action = None
        if queue.slots < queue.max_workers or _are_threads_busy(facts, queue):
            # Its workers have no more threads.
            evidence["command"] = worker_command(queue.name)
        elif queue.max_workers < _MAX_SLOTS:
            slots = min(2 * queue.max_workers, _MAX_SLOTS)
            action = queue_change(queue.name, "Add slots", max_workers=slots)
        # The longest wait comes first, however many jobs are behind it.
        yield queue.oldest_wait_s, Sentence("queue_behind", text, evidence, action)


def _serving(facts: Facts, queue: QueueFacts) -> list[WorkerFacts]:
    return [worker for worker in facts.live if queue.name in worker.queues]


def _are_threads_busy(facts: Facts, queue: QueueFacts) -> bool:
    """Whether all threads of its workers run jobs, those of other queues as well."""
    serving = _serving(facts, queue)
    return all(worker.busy_slots >= worker.capacity > 0 for worker in serving)


def _claimed_before(facts: Facts, queue: QueueFacts) -> int:
    """Return how many jobs of other queues take the free threads of its workers.

    Of very short jobs, the reports see few in slots. 0 means that a thread stays free,
    or that a silent worker may hold the jobs.
    """
    if any(not worker.is_live and not worker.is_lost for worker in facts.workers):
        return 0
    serving = _serving(facts, queue)
    names = {name for worker in serving for name in worker.queues} - {queue.name}
    claimed = sum(
        max(other.counts.in_progress - other.running, 0)
        for other in facts.queues
        if other.name in names
    )
    free = sum(worker.capacity - worker.busy_slots for worker in serving)
    return claimed if claimed >= free > 0 else 0


def _busy(facts: Facts, queue: QueueFacts) -> str:
    """Return why no more of its jobs run, as far as the slots say it."""
    if not queue.slots:
        return "; it has no slot yet"
    if queue.busy_slots >= queue.slots:
        return (
            "; its only slot is busy"
            if queue.slots == 1
            else f"; all {queue.slots} slots are busy"
        )
    if _are_threads_busy(facts, queue):
        serving = _serving(facts, queue)
        threads = sum(worker.capacity for worker in serving)
        queues = len({name for worker in serving for name in worker.queues})
        whose = f"that {queues:,} queues share" if queues > 1 else "of its workers"
        return (
            f"; the only slot {whose} is busy"
            if threads == 1
            else f"; all {threads:,} slots {whose} are busy"
        )
    ahead = queue.counts.in_progress - queue.running
    if ahead > 0:
        starts = "is claimed and starts" if ahead == 1 else "are claimed and start"
        return f"; {ahead:,} of its jobs {starts} next"
    if others := _claimed_before(facts, queue):
        come = count(others, "claimed job comes", "claimed jobs come")
        return f"; of other queues, {come} first"
    free = queue.slots - queue.busy_slots
    if free == queue.slots:
        all_of_them = "its only slot is" if free == 1 else f"all {free:,} slots are"
        return f", although {all_of_them} free"
    are = "are" if free > 1 else "is"
    return f", although {free:,} of {queue.slots:,} slots {are} free"


def cooling(facts: Facts) -> Iterator[Need]:
    """Yield the queues in a cool-down with waiting jobs."""
    for queue in facts.queues:
        if queue.cools_for_s is None or queue.is_paused or not queue.waiting:
            continue
        starts = ""
        if queue.name in facts.served:
            own = "itself" if queue.waiting == 1 else "themselves"
            starts = f" and start{'s' * (queue.waiting == 1)} by {own}"
        text = (
            f"{queue.name} cools down for {elapsed(queue.cools_for_s)} more"
            f"{_cause(queue)}. {_jobs_wait(queue)}{starts}."
        )
        evidence = {
            "queue": queue.name,
            "jobs": queue.waiting,
            "left_s": int(queue.cools_for_s),
            "cause": queue.throttle_cause,
            "kind": queue.throttled_kind,
            "job_id": queue.throttled_job_id,
            "by": queue.throttled_by,
        }
        action = queue_action(queue.name, "end_cooldown", "End now")
        yield queue.waiting, Sentence("queue_cools_down", text, evidence, action)


def _cause(queue: QueueFacts) -> str:
    cause = f": “{queue.throttle_cause}”" if queue.throttle_cause else ""
    if queue.throttled_by:
        return f", as {queue.throttled_by} asked{cause}"
    if queue.throttled_kind:
        return f" after a throttle of {queue.throttled_kind}{cause}"
    return cause


def queue_action(name: str, action: str, label: str) -> Action:
    """Return an action on one queue."""
    body = {"action": action, "queues": [name]}
    return Action("POST", "/v1/queues/actions", label, body)


def queue_change(name: str, label: str, **settings: int) -> Action:
    """Return a change of the settings of a queue."""
    path = f"/v1/queues/{quote(name, safe='')}"
    return Action("PATCH", path, label, settings)
