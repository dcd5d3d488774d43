"""AttentionReader: reads the facts from which :mod:`.handlers.attention` judges."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import itemgetter
from statistics import median
from typing import Any

from flask_forge_jobs.errors import StorageBusyError
from flask_forge_jobs.model.attention import (
    AnswerTimes,
    DatabaseFacts,
    Facts,
    HeldFacts,
    KindFacts,
    LimitFacts,
    OpenBatchFacts,
    OpenTransaction,
    QueueFacts,
    Rescued,
    ScheduleFacts,
    WorkerFacts,
)
from flask_forge_jobs.model.histograms import charted
from flask_forge_jobs.model.instants import DAY_US, SECOND_US, from_micros, to_micros
from flask_forge_jobs.model.metrics import DAY, SAMPLE_LEVELS, floor_to
from flask_forge_jobs.model.proportions import Failures
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.workers import LIVE_WITHIN_S, kinds_from_text
from flask_forge_jobs.storage.database import (
    Database,
    Executor,
    Parameter,
    Row,
    SchemaVersions,
    encode_rows,
)
from flask_forge_jobs.storage.deadlines import within
from flask_forge_jobs.storage.rows import reader_of, service_ages_from_text

# A schedule fires within seconds, unless something is wrong.
OVERDUE_S = 60
# A shorter line at a rate limit is its ordinary work.
LINE_S = 60
# As in :mod:`.handlers.readiness`: older transactions slow claims down.
OLD_TRANSACTION_S = 60.0
# A producer of an open batch that adds nothing for so long may have died.
QUIET_S = 900
# Held jobs, and open batches, of which the oldest are looked at.
_MAX_HELD, _MAX_OPEN = 300, 500
# Workers beat every two seconds; the lock of a file is held for a write, milliseconds.
SILENCE_S = 10.0
_PROBE_S = 0.02
_MINUTE_S, _, _HALF_HOUR_S = SAMPLE_LEVELS
_HOUR_S = 3600
# Times are of these last seconds, and usual ones of one half hour in each of 12 hours.
_NOW_S, _USUAL_S = 300, 12 * 3600
# With fewer samples nothing is usual.
_USUAL_SAMPLES = 6
# Of a kind of whose runs none has ended.
_NO_ENDS = (0,) * 10
_P95 = 1


class AttentionReader:
    """Reads facts, in two round trips at most and without reading jobs."""

    def __init__(self, database: Executor, whole: Database) -> None:
        self._database = database
        self._whole = whole

    def facts(self, at: datetime) -> Facts:
        """Return the facts of this moment; ``at`` is the time by the caller's clock.

        Raises:
            StorageUnavailableError: The database could not be reached.
        """
        at_us = to_micros(at)
        [row] = self._database.read_one("attention", **_windows(at_us))
        now_us, *lists, version, oldest_reader = row
        schema = SchemaVersions(version, self._whole.known_version, oldest_reader)
        parsed = [_rows(each) for each in lists]
        queues, counts, waits, slots, workers, rescued, *others = parsed
        tasks, runs, schedules, limits, times, transactions, held, quiet = others
        of_workers = _workers(workers, rescued)
        database = DatabaseFacts(
            schema_fault=_fault(schema),
            schema_stored=schema.stored,
            schema_known=schema.known,
            times=_answer_times(times),
            transactions=[OpenTransaction(*each) for each in transactions],
            write_locked_s=self._write_locked_s(of_workers),
        )
        return Facts(
            at=from_micros(now_us),
            queues=_queues(queues, counts, waits, slots),
            kinds=_kinds(counts, runs, _edge_share(at_us), _known_kinds(tasks)),
            workers=of_workers,
            schedules=[_schedule(each) for each in schedules],
            limits=[_limit(each, now_us) for each in limits],
            held=[_held(each) for each in held],
            open_batches=[_open_batch(each) for each in quiet],
            database=database,
        )

    def common_errors(self, kinds: Iterable[KindFacts]) -> dict[tuple[str, str], str]:
        """Return the most common error of the last hours, by queue and kind.

        It is a signature, as in ``/v1/errors``.
        """
        rows = encode_rows(
            {"queue_name": each.queue_name, "kind": each.kind} for each in kinds
        )
        errors = self._database.read_one("common_errors", rows=rows)
        # The last one of equal names is the most common.
        return {
            (queue_name, kind): error
            for queue_name, kind, error, _ in sorted(errors, key=itemgetter(3, 2))
        }

    def _write_locked_s(self, workers: Sequence[WorkerFacts]) -> float | None:
        """Return for how long nobody could write to a SQLite file, if it is locked.

        Reads only if no worker has beaten for a while, as a dead worker cannot either.
        """
        silent_s = min((worker.silent_s for worker in workers), default=0.0)
        if self._database.backend != "sqlite" or silent_s < SILENCE_S:
            return None
        try:
            with within(_PROBE_S):
                self._whole.execute("touch_nothing")
        except StorageBusyError:
            return silent_s
        return None


def _windows(at_us: int) -> Mapping[str, Parameter]:
    """Return the parameters of the statement for a time of the caller's clock."""
    edge_us = floor_to(at_us - _HOUR_S * SECOND_US, _HALF_HOUR_S)
    usual_us = floor_to(at_us, _HALF_HOUR_S)
    return {
        "hour_level": _HALF_HOUR_S,
        "edge_at": edge_us,
        "before_at": edge_us - _HOUR_S * SECOND_US,
        "day_level": DAY,
        "day_at": floor_to(at_us, DAY) - DAY_US,
        "now_level": _MINUTE_S,
        "now_at": floor_to(at_us, _MINUTE_S) - _NOW_S * SECOND_US,
        "usual_level": _HALF_HOUR_S,
        "usual_at": usual_us - _USUAL_S * SECOND_US,
        "usual_end": usual_us,
        "usual_every": _HOUR_S * SECOND_US,
        "live_us": int(LIVE_WITHIN_S) * SECOND_US,
        "overdue_us": OVERDUE_S * SECOND_US,
        "line_us": LINE_S * SECOND_US,
        "old_s": OLD_TRANSACTION_S,
        "max_held": _MAX_HELD,
        "max_open": _MAX_OPEN,
        "quiet_us": QUIET_S * SECOND_US,
    }


def _edge_share(at_us: int) -> float:
    """Return the part of the bucket that lies within the last hour."""
    since_us = at_us - _HOUR_S * SECOND_US
    width_us = _HALF_HOUR_S * SECOND_US
    return 1 - (since_us - floor_to(since_us, _HALF_HOUR_S)) / width_us


def _fault(schema: SchemaVersions) -> str | None:
    if schema.stored < schema.known:
        return f"it has version {schema.stored}, and this code needs {schema.known}"
    if schema.oldest_reader > schema.known:
        return (
            f"it needs code that knows {schema.oldest_reader}, and this one knows "
            f"{schema.known}"
        )
    return None


def _rows(value: Any) -> Sequence[Row]:
    # psycopg2 has parsed it already.
    parsed = json.loads(value) if isinstance(value, str) else value
    return parsed or ()


def _queues(
    queues: Iterable[Row],
    counts: Iterable[Row],
    waits: Iterable[Row],
    slots: Iterable[Row],
) -> list[QueueFacts]:
    sums: dict[str, list[int]] = {}
    for name, _, *jobs in counts:
        so_far = sums.get(name, [0] * 6)
        sums[name] = [a + int(b) for a, b in zip(so_far, jobs, strict=True)]
    longest: dict[str, int] = {}
    for name, overdue, waited_s in waits:
        longest[name] = max(longest.get(name, 0), waited_s)
        if overdue and name in sums:  # due, but no worker has promoted them yet
            sums[name][0] += overdue
            sums[name][1] -= overdue
    of_slots = {name: (int(all_), int(busy)) for name, all_, busy in slots}
    return [
        _queue_from_row(
            (
                *row[:5],
                QueueCounts(*sums.get(row[0], ())),
                longest.get(row[0], 0),
                *of_slots.get(row[0], (0, 0)),
                *row[5:],
            )
        )
        for row in sorted(queues, key=itemgetter(0))
    ]


def _seconds(age_us: int | None) -> float | None:
    return None if age_us is None else max(age_us, 0) / SECOND_US


_queue_from_row = reader_of(
    QueueFacts,
    is_paused=bool,
    cools_for_s=lambda left_us: (
        left_us / SECOND_US if left_us and left_us > 0 else None
    ),
    paused_for_s=_seconds,
    last_served_s=_seconds,
)


def _kinds(
    counts: Iterable[Row],
    runs: Iterable[Row],
    edge_share: float,
    known_kinds: Mapping[str, Collection[str] | None],
) -> list[KindFacts]:
    stored = {
        (queue_name, kind): (int(pending) + int(scheduled) + int(failed), int(dead))
        for queue_name, kind, pending, scheduled, _, _, failed, dead in counts
    }
    ended = {(queue_name, kind): ends for queue_name, kind, *ends in runs}
    facts = []
    for names in sorted(stored.keys() | ended.keys()):
        done, retried, died, *others = map(int, ended.get(names, _NO_ENDS))
        edge_done, edge_retried, edge_dead, *others = others
        completed = done + round(edge_done * edge_share)
        given_up = died + round(edge_dead * edge_share)
        failed = given_up + retried + round(edge_retried * edge_share)
        hour = Failures(failed, failed + completed)
        waiting, dead = stored.get(names, (0, 0))
        facts.append(
            KindFacts(
                queue_name=names[0],
                kind=names[1],
                waiting=waiting,
                dead=dead,
                completed=completed,
                given_up=given_up,
                hour=hour,
                hour_before=Failures(*others[:2]),
                day=Failures(*others[2:]).less(hour),
                is_known=_is_known(names[1], known_kinds.get(names[0])),
            )
        )
    return facts


def _known_kinds(workers: Iterable[Row]) -> dict[str, set[str] | None]:
    """Return what kinds live workers of each queue know; None if one does not say."""
    known: dict[str, set[str] | None] = {}
    for queues, text in workers:
        kinds = kinds_from_text(text) if text else None
        for name in queues.split(",") if queues else ():
            so_far = known.setdefault(name, set())
            if so_far is None or kinds is None:
                known[name] = None
            else:
                so_far.update(kinds)
    return known


def _is_known(kind: str, known: Collection[str] | None) -> bool:
    return known is None or kind in known


def _workers(workers: Iterable[Row], rescued: Iterable[Row]) -> list[WorkerFacts]:
    left: dict[str, list[Rescued]] = {}
    for worker_id, queue_name, jobs, dead in rescued:
        left.setdefault(worker_id, []).append(Rescued(queue_name, int(jobs), int(dead)))
    return [_worker(row, left.get(row[0], ())) for row in workers]


def _worker(row: Row, rescued: Sequence[Rescued]) -> WorkerFacts:
    worker_id, name, queues, silent_us, services, lost, threads, *slots = row
    silent_s = max(int(silent_us), 0) / SECOND_US
    ages = service_ages_from_text(services, silent_s) if services else ()
    names = tuple(queues.split(",")) if queues else ()
    return WorkerFacts(
        id=worker_id,
        name=name,
        queues=names,
        silent_s=silent_s,
        services=tuple(ages),
        is_lost=bool(lost),
        rescued=tuple(rescued),
        threads=threads,
        slots=int(slots[0]),
        busy_slots=int(slots[1]),
    )


def _schedule(row: Row) -> ScheduleFacts:
    name, kind, queue_name, due_us, error = row
    return ScheduleFacts(name, kind, queue_name, from_micros(due_us), error)


def _limit(row: Row, now_us: int) -> LimitFacts:
    scope, refill_per_sec, refilled_us, line_ends_us = row
    line_us = int(line_ends_us) - now_us
    refilling_us = int(line_ends_us) - max(now_us, int(refilled_us))
    tokens = round(max(refilling_us, 0) / SECOND_US * refill_per_sec)
    return LimitFacts(scope, refill_per_sec, line_us / SECOND_US, max(tokens, 1))


def _held(row: Row) -> HeldFacts:
    facts = HeldFacts(*row)
    # SQLite has no truth values.
    return replace(facts, is_batch=bool(row[8]), is_gone=bool(row[9]))


def _open_batch(row: Row) -> OpenBatchFacts:
    batch_id, name, quiet_us, jobs, unfinished = row
    return OpenBatchFacts(
        batch_id, name, int(quiet_us) / SECOND_US, int(jobs), int(unfinished)
    )


def _answer_times(rows: Sequence[Row]) -> list[AnswerTimes]:
    """Return the percentiles of calls whose usual ones are known, too."""
    times = []
    for place, calls in enumerate(("reads", "writes"), start=1):
        now, usual = (
            [
                charted(row[place])[_P95]
                for row in rows
                if row[0] == level and row[place]
            ]
            for level in (_MINUTE_S, _HALF_HOUR_S)
        )
        if now and len(usual) >= _USUAL_SAMPLES:
            seconds = (median(each) / SECOND_US for each in (now, usual))
            times.append(AnswerTimes(calls, *seconds))
    return times
