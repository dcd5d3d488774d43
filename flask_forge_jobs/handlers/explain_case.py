"""Cases: the facts that the rules of an explanation read, and their shared words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from flask_forge_jobs.model.durations import duration
from flask_forge_jobs.model.evidence import Evidence, JobFacts, KnownWorker, NamedJob
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.queues import BEHIND_S, QueueCounts, QueueSettings
from flask_forge_jobs.model.sentences import Action, Sentence, listed

_LONGEST_QUOTE = 200
_MILLION = 1_000_000
# Jobs that a text names; the evidence names more.
NAMED_IN_TEXT = 3


@dataclass(frozen=True, slots=True)
class Case:
    """A queue, its evidence, and the rights of the caller.

    ``queues`` are the caller's; None means all. ``known_version`` is the newest version
    of the schema that this process knows. A queue whose oldest due job waits for
    ``behind_s`` is behind.
    """

    queue: QueueSettings
    around: Evidence
    known_version: int
    queues: Collection[str] | None = None
    counts: QueueCounts = field(default_factory=QueueCounts)
    due_at: datetime | None = None
    behind_s: float = BEHIND_S

    @property
    def oldest_due_age_s(self) -> int:
        """Whole seconds that the oldest due job waits; 0 without one."""
        waits = self.now - (self.due_at or self.now)
        return max(int(waits.total_seconds()), 0)

    @property
    def now(self) -> datetime:
        """The current time by the database's clock."""
        return self.around.now

    @property
    def is_limited(self) -> bool:
        """Whether the caller may know some queues only."""
        return self.queues is not None

    @property
    def serving(self) -> Sequence[KnownWorker]:
        """The live workers that serve the queue."""
        return [each for each in self.of_queue if each.is_live]

    @property
    def of_queue(self) -> Sequence[KnownWorker]:
        """The workers that serve the queue or did."""
        return [each for each in self.around.workers if self.queue.name in each.queues]

    @property
    def is_full(self) -> bool:
        """Whether no live worker has a free slot for the queue."""
        return bool(self.serving) and all(each.is_full for each in self.serving)

    @property
    def busy(self) -> str:
        """What no live worker has free: its slots, or threads, which queues share."""
        if all(each.running_here >= each.slots for each in self.serving):
            return "all its slots are busy"
        return "all threads of its workers are busy"

    @property
    def usual_run_s(self) -> float | None:
        """Half of the latest runs of the kind took no longer; None without runs."""
        times = self.around.run_times
        return times.percentiles(50)[0] / _MILLION if times.count else None

    @property
    def running_there(self) -> Sequence[NamedJob]:
        """Jobs that the live workers of the queue run, those of the queue first."""
        ids = {each.worker_id for each in self.serving}
        return [each for each in self.around.running if each.worker_id in ids]

    def may_know(self, queue_name: str) -> bool:
        """Whether the caller may learn of a queue."""
        return self.queues is None or queue_name in self.queues

    def ago(self, instant: datetime) -> str:
        """Return in words for how long something has lasted."""
        return duration((self.now - instant).total_seconds())

    def until(self, instant: datetime) -> str:
        """Return in words for how long something still lasts."""
        return duration((instant - self.now).total_seconds())

    def wait_behind_s(self, jobs: int) -> float | None:
        """Return how long so many jobs take to start at the last hour's rate."""
        around = self.around
        if not around.started or around.counted_since is None:
            return None
        counted = max(self.now - around.counted_since, timedelta(seconds=10))
        return jobs * counted.total_seconds() / around.started

    def named(self, jobs: Sequence[NamedJob]) -> list[dict[str, object]]:
        """Return as evidence those jobs that the caller may know."""
        return [
            {
                "id": each.id,
                "queue": each.queue_name,
                "kind": each.kind,
                "started_at": each.since,
            }
            for each in jobs
            if self.may_know(each.queue_name)
        ]

    def is_one_in_words(self, jobs: Sequence[NamedJob]) -> bool:
        """Whether :meth:`list_of` speaks of one job, however many there are."""
        known = [each for each in jobs if self.may_know(each.queue_name)]
        return len(known) + (len(known) < len(jobs)) == 1

    def list_of(self, jobs: Sequence[NamedJob]) -> str:
        """Return the first of some jobs in words; those of other queues nameless."""
        known = [each for each in jobs if self.may_know(each.queue_name)]
        texts = [
            f"job {each.id} ({one_line(each.kind)})"
            + (f" for {self.ago(each.since)}" if each.since else "")
            for each in known
        ]
        return first_of(texts, len(jobs))


def first_of(known: Sequence[str], total: int) -> str:
    """Return the first of some texts, and that there are more or nameless ones."""
    texts = list(known[:NAMED_IN_TEXT])
    if len(known) > NAMED_IN_TEXT:
        texts.append("more")
    elif len(known) < total:
        texts.append("another job")
    return listed(texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCase(Case):
    """A job with its queue."""

    job: JobFacts

    @property
    def worker(self) -> KnownWorker | None:
        """The worker that runs it, or ran it last; None if it is gone."""
        workers = self.around.workers
        return next((w for w in workers if w.worker_id == self.job.worker_id), None)

    @property
    def name(self) -> str:
        """The job as the subject of a sentence."""
        return f"Job {self.job.id}"


QueueRule = Callable[[Case], Sentence | None]
JobRule = Callable[[JobCase], Sentence | None]


def quoted(text: str | None) -> str:
    """Return the begin of the first line of a text; without any, nothing."""
    line = one_line((text or "").strip().partition("\n")[0])
    return f"{line[:_LONGEST_QUOTE]}…" if len(line) > _LONGEST_QUOTE else line


def show_job(job_id: str, label: str) -> Action:
    """Return the request that shows a job."""
    return Action("GET", f"/v1/jobs/{quote(job_id, safe='')}", label)
