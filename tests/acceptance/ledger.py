"""What the kill driver knows from outside the store, and how it is read back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.application import (
    ASKED,
    BROKEN,
    ENDED,
    ENQUEUED,
    FAILED,
    STARTED,
    TRIES,
)

Run = tuple[str, int]
_EVENTS = (ASKED, STARTED, ENDED, FAILED, TRIES, ENQUEUED, BROKEN)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger.

    Args:
        event: ``S`` started, ``E`` ended well, ``F`` is about to fail on purpose, ``A``
            asks for a token; of a child that a run forked ``T`` is about to enqueue,
            ``Q`` has enqueued, ``X`` did not end as it should.
        job_id: The job; with ``T`` and ``Q`` the one that is enqueued.
        attempt: The attempt.
        worker_id: The worker process that owned the job.
        pid: Its process id.
        at_ns: Monotonic time of this machine, in nanoseconds.
    """

    event: str
    job_id: str
    attempt: int
    worker_id: str
    pid: int
    at_ns: int

    @property
    def run(self) -> Run:
        """Job and attempt."""
        return self.job_id, self.attempt


@dataclass(frozen=True, slots=True)
class Ack:
    """What ``enqueue`` returned to the producer."""

    job_id: str
    dedupe_key: str | None = None
    is_deduped: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """One injected fault: a death, or a stall longer than the lease.

    Args:
        pid: The victim.
        worker_id: The name under which it owned jobs; None when it had not started.
        at_ns: Monotonic nanoseconds at which it was surely dead, or was stopped.
        held: The runs that the store says it owned then.
        resumed_ns: When a stalled process went on; None for a death.
    """

    pid: int
    worker_id: str | None
    at_ns: int
    held: frozenset[Run] = frozenset()
    resumed_ns: int | None = None

    @property
    def is_stall(self) -> bool:
        """Whether the process went on, believing that it still owned its jobs."""
        return self.resumed_ns is not None


@dataclass(frozen=True, slots=True)
class Life:
    """From when one worker process watched the others until it ended.

    Args:
        pid: The process.
        from_ns: Its first sweep, in monotonic nanoseconds.
        to_ns: Its end.
        gaps: From one sweep to the next, where that came too late to count.
    """

    pid: int
    from_ns: int
    to_ns: int
    gaps: tuple[tuple[int, int], ...] = ()

    def has_watched_ns(self, from_ns: int, duration_ns: int) -> int | None:
        """Return when it had watched for so long; None if it ended before."""
        until_ns = max(from_ns, self.from_ns) + duration_ns
        for begin_ns, end_ns in self.gaps:
            if end_ns > from_ns and begin_ns < until_ns:
                until_ns += end_ns - max(begin_ns, from_ns)
        return until_ns if until_ns <= self.to_ns else None


@dataclass(frozen=True, slots=True)
class Failure:
    """One entry of a job's error history; ``at_ns`` is on the monotonic scale."""

    attempt: int
    at_ns: int
    is_reaped: bool


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """A row of ``forge_attempt``; its instants are of the database's clock.

    ``slot`` is the slot that its worker had shown with the job, or None.
    """

    run: int
    attempt: int
    ending: str
    worker_id: str | None
    started_us: int
    ended_us: int
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A line of ``forge_log``: its place in its run, and its text."""

    run: int
    attempt: int
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class FinalRow:
    """A job as it is stored in the end.

    ``result_host`` and ``result_attempt`` are what the finishing run returned,
    ``claims`` how often the job was claimed.
    """

    job_id: str
    status: str
    attempts: int
    max_attempts: int
    crashes: int
    dedupe_key: str | None = None
    failures: tuple[Failure, ...] = ()
    result_host: str | None = None
    result_attempt: int | None = None
    worker_id: str | None = None
    claims: int = 1
    stored_attempts: tuple[StoredAttempt, ...] = ()
    kept_lines: tuple[KeptLine, ...] = ()


Counts = dict[str, int]


@dataclass(slots=True)
class Evidence:
    """Everything the checker looks at.

    Args:
        acks: In the producer's order.
        lines: The ledger.
        kills: The kill log.
        lapses: Leases that ran out by themselves, as stalls that hold a run each.
        lives: Every worker process, killed or not.
        rows: Every stored job.
        counts: Source of numbers (``rows``, ``maintained``, ``overview``, ``metrics``)
            to status to number.
        duplicates_seen: Dedupe keys that a snapshot showed on two unfinished jobs.
        leftovers: What should be gone once all workers have stopped.
        damage: What the databases' own checks complained about.
        recovery_limit_s: Within which the jobs of a dead worker must be given back,
            counted from when another worker was there to notice.
    """

    acks: list[Ack] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    lapses: list[Kill] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    rows: list[FinalRow] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    duplicates_seen: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    recovery_limit_s: float = 6.0


def parse_lines(texts: Iterable[str]) -> list[Line]:
    """Return the lines of a ledger.

    Raises:
        ValueError: A line is damaged, which one write a line rules out.
    """
    found = []
    for number, text in enumerate(texts, 1):
        words = text.split()
        if len(words) != 5 or words[0] not in _EVENTS:
            raise ValueError(f"line {number} of the ledger is damaged: {text!r}")
        event, job_id, attempt, owner, at_ns = words
        worker_id, _, pid = owner.partition("/")
        found.append(Line(event, job_id, int(attempt), worker_id, int(pid), int(at_ns)))
    return found


def read_ledger(path: Path) -> list[Line]:
    """Return the lines of a ledger file; an absent one is empty."""
    if not path.exists():
        return []
    return parse_lines(path.read_text("ascii").splitlines())
