"""ErrorStore: reads failures by signature, and keeps their sums.

Failures and changes of jobs append rows (see :mod:`.failures`), so that no two
transactions wait for a hot row. They are folded later: into a total for each signature,
queue and kind, into hours and into days, so that a range reads buckets of one width.
Hours leave after a day, and days after a month, also from the totals.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flask_forge_jobs.model.error_groups import (
    HOUR_US,
    MONTH_DAYS,
    DeadGroup,
    DeadGroups,
    ErrorDetail,
    ErrorGroup,
    ErrorOrder,
    ErrorPosition,
    ErrorRange,
    ErrorsPage,
    KindFailures,
)
from flask_forge_jobs.model.instants import (
    DAY_US,
    SECOND_US,
    from_micros,
    optional_from_micros,
)
from flask_forge_jobs.storage.database import (
    Executor,
    Parameter,
    Row,
    Transaction,
    encode_names,
    encode_rows,
    in_queues,
)

FOLD_ROWS = 500
FOLD_BATCH = 2000
# Hours before the current one that stay: those of a trend, and one for clocks that lag.
_KEPT_HOURS = 24
# Beyond every key.
_FIRST = ErrorPosition(2**62, "")
Key = tuple[str, str, str]
# Width in microseconds, key and start.
Bucket = tuple[int, Key, int]


class ErrorStore:
    """Failures by signature."""

    def __init__(self, database: Executor) -> None:
        self._database = database

    # -- reading -------------------------------------------------------------------

    def page(
        self,
        window: ErrorRange,
        order: ErrorOrder,
        limit: int,
        after: ErrorPosition | None = None,
        *,
        queue_names: Sequence[str] | None = None,
        kinds: Sequence[str] = (),
    ) -> ErrorsPage:
        """Return the groups of a range that follow a place in an order.

        ``after`` is the end of the page before. None as ``queue_names`` means all
        queues, no ``kinds`` all kinds.
        """
        scope = _scope(queue_names, kinds) | _range(window)

        def work(transaction: Transaction) -> ErrorsPage:
            start = after or _FIRST
            rows = transaction.all(
                "error_page",
                is_month=window is ErrorRange.MONTH,
                by_count=order is ErrorOrder.COUNT,
                after_key=start.key,
                after_signature=start.signature,
                limit=limit + 1,
                **scope,
            )
            since, total, failures, fresh = map(int, rows[0][:4])
            groups = [_Group(*row[4:]) for row in rows if row[4] is not None]
            shown = groups[:limit]
            return ErrorsPage(
                _complete(transaction, shown, since, window, scope),
                shown[-1].position(order) if limit < len(groups) else None,
                total,
                failures,
                fresh,
            )

        # A group that is dropped between both statements is left out.
        return self._database.read(work, apart=True)

    def failing(self, *, queue_names: Sequence[str] | None = None) -> int:
        """Return how many groups a day has, as the total of its page says."""
        scope = _scope(queue_names, ()) | _range(ErrorRange.DAY)
        [(number,)] = self._database.read_one("count_failing", **scope)
        return int(number)

    def group(
        self,
        signature: str,
        window: ErrorRange,
        *,
        queue_names: Sequence[str] | None = None,
    ) -> ErrorDetail | None:
        """Return one group, with or without failures in a range; None if unknown."""
        scope = _scope(queue_names, ())
        names = encode_names("name", [signature])

        def work(transaction: Transaction) -> ErrorDetail | None:
            (start,) = transaction.all("start_of_range", **_range(window))
            since = int(start[0])
            rows = transaction.all(
                "error_parts",
                rows=names,
                since=since,
                by_kind=True,
                **_range(window),
                **scope,
            )
            parts = [_Part._make(row) for row in rows]
            if not any(part.last_at for part in parts):
                return None
            group = _group(_Group(signature, 0, 0), parts, since, window)
            group.count = sum(group.trend)
            return ErrorDetail(group, _by_kind(parts, since))

        return self._database.read(work)

    def dead(
        self,
        limit: int,
        *,
        queue_names: Sequence[str] | None = None,
        kinds: Sequence[str] = (),
    ) -> DeadGroups:
        """Return the signatures of the dead jobs, those of the most first.

        None as ``queue_names`` means all queues, no ``kinds`` all kinds.
        """
        scope = _scope(queue_names, kinds)
        rows = self._database.read_one("dead_by_error", limit=limit, **scope)
        groups = [
            DeadGroup(signature, int(dead), optional_from_micros(at), int(kinds), kind)
            for signature, dead, at, kinds, kind, _ in rows
        ]
        return DeadGroups(groups, int(rows[0][5]) if rows else 0)

    # -- upkeep --------------------------------------------------------------------

    def fold(self, worthwhile: int = FOLD_ROWS) -> None:
        """Add the appended changes to the sums if there are more than so many."""
        rows = self._database.read_one("waiting_error_changes", limit=worthwhile + 1)
        if rows[0][0] > worthwhile:
            while self._database.write(_fold) == FOLD_BATCH:
                pass

    def expire(self) -> None:
        """Drop hours that are older than a day, and days older than a month."""
        self.fold(0)
        for work in (_drop_hours, _drop_days):
            while self._database.write(work) == FOLD_BATCH:
                pass
        self._database.write(lambda transaction: transaction.run("drop_errors"))


class _Group(NamedTuple):
    """A row of ``error_page``."""

    signature: str
    failures: int
    last_at: int

    def position(self, order: ErrorOrder) -> ErrorPosition:
        key = self.failures if order is ErrorOrder.COUNT else self.last_at
        return ErrorPosition(int(key), self.signature)


def _scope(
    queue_names: Sequence[str] | None, kinds: Sequence[str]
) -> dict[str, Parameter]:
    return {
        **in_queues(queue_names),
        "any_kind": not kinds,
        "kinds": encode_names("name", kinds),
    }


def _range(window: ErrorRange) -> dict[str, Parameter]:
    """Return the parameters of the start of a range and of the buckets in it."""
    return {
        "width_us": window.width_us,
        "width_s": window.width_us // SECOND_US,
        "before_us": (window.buckets - 1) * window.width_us,
    }


class _Part(NamedTuple):
    """A row of ``error_parts``; the ``message`` of buckets is their failures."""

    part: str
    signature: str
    queue_name: str
    kind: str
    failures: int
    first_at: int | None
    last_at: int | None
    retrying: int
    dead: int
    job_id: str | None
    message: str | None


def _complete(
    transaction: Transaction,
    groups: Sequence[_Group],
    since: int,
    window: ErrorRange,
    scope: dict[str, Parameter],
) -> list[ErrorGroup]:
    """Return groups with all that is shown of them."""
    if not groups:
        return []
    names = encode_names("name", (each.signature for each in groups))
    parts: defaultdict[str, list[_Part]] = defaultdict(list)
    scope = scope | {"since": since, "by_kind": False}
    for row in transaction.all("error_parts", rows=names, **scope):
        part = _Part._make(row)
        parts[part.signature].append(part)
    return [
        _group(each, parts[each.signature], since, window)
        for each in groups
        if any(part.last_at for part in parts[each.signature])
    ]


def _by_kind(parts: Sequence[_Part], since: int) -> Sequence[KindFailures]:
    """Return the queues and kinds with failures since then, the most first."""
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for part in parts:
        key = part.queue_name, part.kind
        if part.part == "bucket":
            sums[key] += sum(json.loads(part.message or "{}").values())
        elif part.part == "change" and (part.first_at or 0) >= since:
            sums[key] += part.failures
    kinds = [KindFailures(*key, failures) for key, failures in sums.items() if failures]
    return sorted(kinds, key=lambda each: (-each.failures, each.kind, each.queue_name))


def _group(
    group: _Group, parts: Sequence[_Part], since: int, window: ErrorRange
) -> ErrorGroup:
    counts: defaultdict[int, int] = defaultdict(int)
    failed: list[_Part] = []
    for part in parts:
        if part.part == "bucket":
            for start, failures in json.loads(part.message or "{}").items():
                counts[int(start) // window.width_us] += failures
        elif part.part == "change" and part.first_at:
            counts[part.first_at // window.width_us] += part.failures
        if part.last_at:
            failed.append(part)
    newest = max(failed, key=lambda part: part.last_at or 0)
    first = since // window.width_us
    return ErrorGroup(
        signature=group.signature,
        count=int(group.failures),
        kinds=sorted({part.kind for part in failed}),
        queues=sorted({part.queue_name for part in failed}),
        first_seen=from_micros(min(part.first_at or 0 for part in failed)),
        last_seen=from_micros(newest.last_at or 0),
        sample_id=newest.job_id,
        message=newest.message,
        retrying=sum(int(part.retrying) for part in parts),
        dead=sum(int(part.dead) for part in parts),
        trend=[counts[start] for start in range(first, first + window.buckets)],
        trend_from=from_micros(since),
    )


# -- sums --------------------------------------------------------------------------


def _fold(transaction: Transaction) -> int:
    """Add a batch of changes to the sums; return how many there were."""
    rows = transaction.all("take_error_changes", limit=FOLD_BATCH)
    totals: dict[Key, dict[str, Any]] = {}
    buckets: defaultdict[Bucket, int] = defaultdict(int)
    for row in rows:
        key, at, failures, job_id, message = row[:3], row[3], row[4], row[7], row[8]
        total = totals.setdefault(key, _no_failure(key))
        total["failures"] += failures
        total["retrying"] += row[5]
        total["dead"] += row[6]
        if failures:
            for width_us in (HOUR_US, DAY_US):
                buckets[width_us, key, at // width_us * width_us] += failures
            total["first_at"] = min(total["first_at"] or at, at)
            if at >= (total["last_at"] or 0):
                total["last_at"] = at
                total["job_id"], total["message"] = job_id, message
    _add(transaction, totals)
    _add_buckets(transaction, buckets)
    return len(rows)


def _drop_hours(transaction: Transaction) -> int:
    return len(_taken(transaction, HOUR_US, _KEPT_HOURS))


def _drop_days(transaction: Transaction) -> int:
    rows = _taken(transaction, DAY_US, MONTH_DAYS - 1)
    totals: dict[Key, dict[str, Any]] = {}
    for *names, _, failures in rows:
        key = (names[0], names[1], names[2])
        totals.setdefault(key, _no_failure(key))["failures"] -= failures
    _add(transaction, totals)
    return len(rows)


def _taken(transaction: Transaction, width_us: int, buckets: int) -> list[Row]:
    """Take a batch of the buckets before the current one and so many earlier ones."""
    return transaction.all(
        "take_error_buckets",
        width_s=width_us // SECOND_US,
        width_us=width_us,
        before_us=buckets * width_us,
        limit=FOLD_BATCH,
    )


def _no_failure(key: Key) -> dict[str, Any]:
    return {
        "signature": key[0],
        "queue_name": key[1],
        "kind": key[2],
        "failures": 0,
        "first_at": None,
        "last_at": None,
        "retrying": 0,
        "dead": 0,
        "job_id": None,
        "message": None,
    }


def _add(transaction: Transaction, totals: dict[Key, dict[str, Any]]) -> None:
    # In the order of the keys, so that two processes that add never deadlock.
    if totals:
        rows = encode_rows(totals[key] for key in sorted(totals))
        transaction.defer("add_errors", rows=rows)


def _add_buckets(transaction: Transaction, counts: Mapping[Bucket, int]) -> None:
    if not counts:
        return
    rows = encode_rows(
        {
            "width_s": width_us // SECOND_US,
            "signature": key[0],
            "queue_name": key[1],
            "kind": key[2],
            "bucket_start": start,
            "failures": counts[width_us, key, start],
        }
        for width_us, key, start in sorted(counts)
    )
    transaction.defer("add_error_buckets", rows=rows)
