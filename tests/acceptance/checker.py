"""The checker: from ledger, acks, kill log and final rows to a table of invariants.

The numbers are those of the project's fault matrix. It knows nothing of the driver and
reads no database, so it is tested with evidence that was damaged on purpose.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from flask_forge_jobs.model.attempts import NEWEST_ATTEMPTS, AttemptEnding
from flask_forge_jobs.model.run_end import MAX_CRASHES
from tests.acceptance import kept_lines
from tests.acceptance.application import (
    BROKEN,
    ENDED,
    ENQUEUED,
    FAILED,
    MAX_ATTEMPTS,
    STARTED,
    TRIES,
)
from tests.acceptance.ledger import Evidence, Failure, FinalRow, Kill, Line, Run

FINAL = ("done", "dead")
_COUNTED = ("done", "failed", "timed_out", "crashed", "cancelled")
SECOND_NS = 1_000_000_000
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one invariant.

    ``violations`` are one sentence each; none when it holds.
    """

    name: str
    promise: str
    violations: list[str]


class Checker:
    """Looks at one run of the driver."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._rows = {row.job_id: row for row in evidence.rows}
        self._starts: defaultdict[str, list[Line]] = defaultdict(list)
        for line in evidence.lines:
            if line.event == STARTED:
                self._starts[line.job_id].append(line)
        self._ended_by: defaultdict[Run, set[str]] = defaultdict(set)
        self._last_start_ns: dict[str, int] = {}
        for line in evidence.lines:
            if line.event == ENDED:
                self._ended_by[line.run].add(line.worker_id)
            elif line.event == STARTED:
                last_ns = self._last_start_ns.get(line.worker_id, 0)
                self._last_start_ns[line.worker_id] = max(last_ns, line.at_ns)
        self._bad_ends = {line.run for line in evidence.lines if line.event == FAILED}
        blows = [*evidence.kills, *evidence.lapses]
        self._kill_of_run: dict[Run, Kill] = {
            run: kill for kill in blows for run in kill.held
        }
        # These may start or end after somebody else was given the job.
        self._stalled = {run for kill in blows if kill.is_stall for run in kill.held}

    def check(self) -> list[Verdict]:
        """Return a verdict for each invariant that applies to this driver."""
        return [
            Verdict(name, promise, list(look(self))) for name, promise, look in _LOOKS
        ]

    def extra_runs(self) -> list[Line]:
        """Return the runs that were neither recorded as done nor failed on purpose."""
        return [
            line
            for lines in self._starts.values()
            for line in lines
            if not self._is_accounted_for(line)
        ]

    def late_ends(self) -> list[Line]:
        """Return the ends of runs that had lost their job by then: to be refused."""
        extra = {line.run for line in self.extra_runs()}
        return [
            line
            for line in self._evidence.lines
            if line.event != STARTED and line.run in extra & self._stalled
        ]

    def _is_accounted_for(self, line: Line) -> bool:
        row = self._rows.get(line.job_id)
        if row is None:
            return False
        if self._was_given_back(line):
            return True
        if row.status == "done" and row.attempts == line.attempt:
            return True
        return line.run in self._bad_ends and any(
            failure.attempt == line.attempt and not failure.is_reaped
            for failure in row.failures
        )

    def _was_given_back(self, line: Line) -> bool:
        """Return whether its worker gave a run back, as it does once, when it stops.

        The next run has the same attempt.
        """
        row = self._rows.get(line.job_id)
        ending = AttemptEnding.RELEASED
        return row is not None and any(
            (each.ending, each.attempt, each.worker_id)
            == (ending, line.attempt, line.worker_id)
            for each in row.stored_attempts
        )

    # -- the invariants --------------------------------------------------------------

    def no_loss(self) -> Iterator[str]:
        """I1."""
        acknowledged = {ack.job_id for ack in self._evidence.acks}
        for job_id in sorted(acknowledged | self._jobs_of(ENQUEUED)):
            if job_id not in self._rows:
                yield f"job {job_id} was acknowledged and is gone"
        for row in self._evidence.rows:
            if row.status not in FINAL:
                yield f"job {row.job_id} has not ended: {row.status}"
            elif row.status == "dead" and row.crashes < MAX_CRASHES:
                yield f"job {row.job_id} is dead after {row.crashes} crashes"

    def no_phantom(self) -> Iterator[str]:
        """I2."""
        acknowledged = {ack.job_id for ack in self._evidence.acks}
        # A child may be killed before it can say that its job is stored.
        asked_for = acknowledged | self._jobs_of(TRIES)
        for row in self._evidence.rows:
            if row.job_id not in asked_for:
                yield f"job {row.job_id} was never acknowledged"

    def at_least_once(self) -> Iterator[str]:
        """I3."""
        for row in self._evidence.rows:
            if row.status != "done":
                continue
            workers = self._ended_by.get((row.job_id, row.attempts), set())
            if not workers:
                yield f"job {row.job_id} is done, but attempt {row.attempts} never was"
            elif row.result_host not in workers:
                names = ", ".join(sorted(workers))
                yield f"job {row.job_id}: {names} ran it, not {row.result_host}"

    def at_most_once(self) -> Iterator[str]:
        """I4."""
        for line in self.extra_runs():
            kill = self._kill_of_run.get(line.run)
            if kill is None:
                yield f"no kill explains attempt {line.attempt} of job {line.job_id}"
            elif kill.pid != line.pid or (
                kill.at_ns < line.at_ns and not kill.is_stall
            ):
                yield (
                    f"attempt {line.attempt} of job {line.job_id} is not of the process"
                    f" {kill.pid} whose death should explain it"
                )
        for job_id, lines in self._starts.items():
            last_ns = max(line.at_ns for line in lines)
            kept = []
            for line in lines:
                if not self._was_given_back(line):
                    kept.append(line.attempt)
                elif self._last_start_ns[line.worker_id] > last_ns:
                    yield f"{line.worker_id} gave job {job_id} back and went on"
            for attempt, count in Counter(kept).items():
                if count > 1:
                    yield f"attempt {attempt} of job {job_id} was started {count} times"
        for row, failure in self._reaped():
            if (row.job_id, failure.attempt) not in self._kill_of_run:
                yield f"no kill explains that job {row.job_id} was given back"

    def owner_only(self) -> Iterator[str]:
        """I5."""
        for row in self._evidence.rows:
            if row.worker_id is not None and row.status in FINAL:
                yield f"job {row.job_id} has ended and is owned by {row.worker_id}"
            if row.status != "done":
                continue
            if row.result_attempt != row.attempts:
                yield (
                    f"job {row.job_id} is at attempt {row.attempts}, and attempt "
                    f"{row.result_attempt} finished it"
                )
            if any(failure.attempt == row.attempts for failure in row.failures):
                yield f"job {row.job_id} was finished by a run that had lost it"

    def no_overlap(self) -> Iterator[str]:
        """I6."""
        # A run that was given back and the next one have the same attempt.
        ends = {
            (line.run, line.worker_id): line.at_ns
            for line in self._evidence.lines
            if line.event in (ENDED, FAILED)
        }
        killed_at = {
            kill.pid: kill.at_ns for kill in self._evidence.kills if not kill.is_stall
        }
        for job_id, lines in self._starts.items():
            ordered = sorted(lines, key=lambda line: line.at_ns)
            for before, after in pairwise(ordered):
                if self._stalled & {before.run, after.run}:
                    continue
                of_run = before.run, before.worker_id
                end_ns = ends.get(of_run, killed_at.get(before.pid))
                if end_ns is None or end_ns > after.at_ns:
                    yield (
                        f"attempts {before.attempt} and {after.attempt} of job {job_id}"
                        " ran at the same time"
                    )

    def legal_history(self) -> Iterator[str]:
        """I7."""
        for row in self._evidence.rows:
            reaped = sum(failure.is_reaped for failure in row.failures)
            if row.attempts > row.max_attempts:
                yield f"job {row.job_id} had {row.attempts} of {row.max_attempts} runs"
            if reaped != row.crashes or row.crashes > MAX_CRASHES:
                yield f"job {row.job_id} counts {row.crashes} crashes, not {reaped}"
            expected = [*range(1, len(row.failures) + 1)]
            if [failure.attempt for failure in row.failures] != expected:
                yield f"the history of job {row.job_id} is not one entry an attempt"
            successes = int(row.status == "done")
            if row.status in FINAL and row.attempts != len(row.failures) + successes:
                yield f"job {row.job_id}: {row.attempts} attempts, but not as many ends"
            if row.max_attempts == MAX_ATTEMPTS and self._had_waited(row):
                yield f"job {row.job_id} had not started and has paid for a death"
        for job_id, lines in self._starts.items():
            ordered = sorted(lines, key=lambda line: line.at_ns)
            attempts = [
                line.attempt for line in ordered if line.run not in self._stalled
            ]
            if attempts != sorted(attempts):
                yield f"the attempts of job {job_id} went back: {attempts}"

    def _had_waited(self, row: FinalRow) -> bool:
        """Return whether a job had been claimed ahead when its first worker died."""
        crashed = [each for each in row.stored_attempts if each.ending == "crashed"]
        if not crashed or crashed[0].slot is not None:
            return False
        started = {line.attempt for line in self._starts[row.job_id]}
        return crashed[0].attempt not in started

    def counts_equal_rows(self) -> Iterator[str]:
        """I8."""
        scanned = Counter(row.status for row in self._evidence.rows)
        if "rows" not in self._evidence.counts:
            yield "the rows were not counted"
        for source, numbers in self._evidence.counts.items():
            found = {status: n for status, n in numbers.items() if n}
            if found != dict(scanned):
                yield f"{source} says {found}, the rows are {dict(scanned)}"

    def one_job_a_key(self) -> Iterator[str]:
        """I9."""
        for key in self._evidence.duplicates_seen:
            yield f"two unfinished jobs had the key {key!r}"
        for ack in self._evidence.acks:
            row = self._rows.get(ack.job_id)
            if row is not None and row.dedupe_key != ack.dedupe_key:
                yield f"key {ack.dedupe_key!r} was answered with job {ack.job_id}"
        new = Counter(ack.job_id for ack in self._evidence.acks if not ack.is_deduped)
        for job_id, count in new.items():
            if count > 1:
                yield f"job {job_id} was acknowledged as new {count} times"

    def recovery_time(self) -> Iterator[str]:
        """I12."""
        if not self._evidence.lives:
            yield "no worker is known to have started"
        for row, failure in self._reaped():
            kill = self._kill_of_run.get((row.job_id, failure.attempt))
            if kill is None:
                continue  # I4 complains
            deadline_ns = self._recovery_deadline_ns(kill)
            if deadline_ns is not None and failure.at_ns > deadline_ns:
                late_s = (failure.at_ns - deadline_ns) / SECOND_NS
                yield f"job {row.job_id} was given back {late_s:.1f} s too late"

    def _recovery_deadline_ns(self, kill: Kill) -> int | None:
        """Return when a worker that watched for long enough must have noticed."""
        limit_ns = int(self._evidence.recovery_limit_s * SECOND_NS)
        # A process that was stopped in a transaction keeps its locks until it goes on.
        # On SQLite nobody can write meanwhile, so silence proves nothing.
        from_ns = kill.resumed_ns or kill.at_ns
        for each in sorted(self._evidence.kills, key=lambda each: each.at_ns):
            resumed_ns = each.resumed_ns or 0
            if each.at_ns <= from_ns + limit_ns and resumed_ns > from_ns:
                from_ns = resumed_ns
        deadlines = (
            life.has_watched_ns(from_ns, limit_ns)
            for life in self._evidence.lives
            if life.pid != kill.pid
        )
        return min((each for each in deadlines if each is not None), default=None)

    def integrity(self) -> Iterator[str]:
        """I14."""
        yield from self._evidence.damage

    def hygiene(self) -> Iterator[str]:
        """I15."""
        yield from self._evidence.leftovers
        for job_id in self._jobs_of(BROKEN):
            yield f"a child that job {job_id} forked did not end as it should"

    def kept_attempts(self) -> Iterator[str]:
        """I16."""
        for row in self._evidence.rows:
            for complaint in _attempt_faults(row):
                yield f"job {row.job_id}: {complaint}"
        for job_id, lines in self._starts.items():
            if job_id not in self._rows:
                continue  # I1 complains
            kept = _attempts_of(self._rows[job_id])
            for line in lines:
                if (line.attempt, line.worker_id) not in kept:
                    yield (
                        f"attempt {line.attempt} of job {job_id} began in "
                        f"{line.worker_id}, and no stored attempt says so"
                    )

    def lines_of_runs(self) -> Iterator[str]:
        """I17."""
        for row in self._evidence.rows:
            for complaint in kept_lines.faults(row):
                yield f"job {row.job_id}: {complaint}"

    def _jobs_of(self, event: str) -> set[str]:
        return {line.job_id for line in self._evidence.lines if line.event == event}

    def _reaped(self) -> Iterator[tuple[FinalRow, Failure]]:
        for row in self._evidence.rows:
            for failure in row.failures:
                if failure.is_reaped:
                    yield row, failure


def _attempts_of(row: FinalRow) -> set[tuple[int, str | None]]:
    """Return number and worker of each attempt; of a done job, its own row has one."""
    kept = {(each.attempt, each.worker_id) for each in row.stored_attempts}
    return kept or {(row.attempts, row.result_host)}


def _attempt_faults(row: FinalRow) -> Iterator[str]:
    stored = row.stored_attempts
    if not stored:
        if row.failures or row.status == "dead":
            yield "it has failed, and no attempt is stored"
        return
    runs = [each.run for each in stored]
    if runs != sorted(set(runs)) or runs[-1] > row.claims:
        yield f"its attempts are of the runs {runs}, of {row.claims}"
    counted = [each.attempt for each in stored if each.ending in _COUNTED]
    if counted != [*range(1, len(counted) + 1)] and len(stored) <= NEWEST_ATTEMPTS:
        yield f"its attempts that count are {counted}"
    crashed = sum(each.ending == "crashed" for each in stored)
    if crashed != row.crashes:
        yield f"{crashed} attempts crashed, and it counts {row.crashes}"
    last = stored[-1]
    is_last_run = last.run == row.claims and last.attempt == row.attempts
    if row.status in FINAL and not is_last_run:
        yield f"its last attempt is {last.attempt} of run {last.run}"
    if (row.status == "done") != (last.ending == "done"):
        yield f"it is {row.status}, and its last attempt {last.ending}"
    for before, after in pairwise(stored):
        if before.ended_us > after.started_us:
            yield f"run {after.run} began before run {before.run} had ended"


_LOOKS: tuple[tuple[str, str, Callable[[Checker], Iterable[str]]], ...] = (
    ("I1", "no acknowledged job is lost", Checker.no_loss),
    ("I2", "nothing is stored that was not asked for", Checker.no_phantom),
    ("I3", "a done job was run to its end", Checker.at_least_once),
    ("I4", "every extra run is explained by a fault", Checker.at_most_once),
    ("I5", "only the owner finishes a job", Checker.owner_only),
    ("I6", "runs of a job overlap after a stall only", Checker.no_overlap),
    ("I7", "attempts and crashes add up", Checker.legal_history),
    ("I8", "counts equal rows", Checker.counts_equal_rows),
    ("I9", "one unfinished job a dedupe key", Checker.one_job_a_key),
    ("I12", "jobs of the dead are given back in time", Checker.recovery_time),
    ("I14", "the database finds itself sound", Checker.integrity),
    ("I15", "nothing is left of the dead", Checker.hygiene),
    ("I16", "each run has one attempt, with its end", Checker.kept_attempts),
    ("I17", "lines are of their run, in order, whole", Checker.lines_of_runs),
)


def table(verdicts: Iterable[Verdict]) -> str:
    """Return the verdicts as text, the first violations below each."""
    lines = []
    for verdict in verdicts:
        count = len(verdict.violations)
        state = "holds" if not count else f"BROKEN {count} times"
        lines.append(f"{verdict.name:<4} {verdict.promise:<44} {state}")
        lines.extend(f"       {each}" for each in verdict.violations[:_SHOWN])
    return "\n".join(lines)
