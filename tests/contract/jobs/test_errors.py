"""Failures by signature, on both backends."""

from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.error_groups import ErrorOrder, ErrorPosition, ErrorRange
from flask_forge_jobs.model.instants import DAY_US, from_micros, to_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import errors
from tests.support.failing import counts, fail, groups
from tests.support.jobs import claim_one, enqueue, finish, walk
from tests.support.sql import Sql

HOUR_US = 3_600_000_000


@pytest.fixture(params=[False, True], ids=["appended", "folded"])
def settle(request: pytest.FixtureRequest) -> Any:
    """Return what runs before each look, so that both forms are read."""

    def work(storage: Storage) -> None:
        if request.param:
            storage.errors.fold(0)

    return work


def test_failures_are_counted_by_signature(storage: Storage, settle: Any) -> None:
    fail(storage, Dead("timeout after 10 s"), "a", "one")
    fail(storage, Failed("no such user 'bob'"), "a", "one")
    last = fail(storage, Dead("timeout after 25 s"), "b", "two")
    settle(storage)

    first, second = groups(storage)

    assert (first.signature, first.count) == ("timeout after <n> s", 2)
    assert (first.kinds, first.queues) == (["one", "two"], ["a", "b"])
    assert (first.sample_id, first.message) == (last, "timeout after 25 s")
    assert (first.retrying, first.dead) == (0, 2)
    assert first.first_seen < first.last_seen
    assert second.signature == "no such user <value>"
    assert (second.count, second.retrying, second.dead) == (1, 1, 0)


def test_dead_jobs_are_counted_by_signature(storage: Storage, settle: Any) -> None:
    for number, kind in enumerate(("b", "a", "b")):
        fail(storage, Dead(f"timeout after {number} s"), "mail", kind)
    dead = fail(storage, Dead("no"), "bank", "c")
    fail(storage, Failed("waits"), "mail", "a")
    settle(storage)

    def found(limit: int = 9, **scope: Any) -> list[tuple[Any, ...]]:
        page = storage.errors.dead(limit, **scope)
        return [(*each[:2], *each[3:], page.total) for each in page.groups]

    timeout = ("timeout after <n> s", 3, 2, "a", 2)
    assert found() == [timeout, ("no", 1, 1, "c", 2)]
    assert found(1) == [timeout]
    assert found(queue_names=["bank"], kinds=["c"]) == [("no", 1, 1, "c", 1)]
    assert found(queue_names=["bank"], kinds=["a"]) == []
    (first,) = storage.errors.dead(1).groups
    assert (
        first.last_at
        == storage.errors.page(ErrorRange.MONTH, ErrorOrder.COUNT, 1)
        .groups[0]
        .last_seen
    )
    storage.job_admin.requeue(dead)
    assert found() == [(*timeout[:4], 1)]


def test_each_attempt_counts_and_each_job_once(storage: Storage, settle: Any) -> None:
    job_id = enqueue(storage)
    for number in range(3):
        assert finish(storage, claim_one(storage), Failed(f"try {number}"), delay_s=0.0)
        settle(storage)

    assert counts(storage) == {"try <n>": (3, 1, 0)}
    assert storage.job_reader.get(job_id).signature == "try <n>"


def test_a_job_leaves_the_counts_when_it_leaves_the_state(
    storage: Storage, settle: Any
) -> None:
    ids = [fail(storage, Failed("no")) for _ in range(4)]
    ids.append(fail(storage, Dead("no")))
    storage.job_admin.run_now(ids[0])
    job = claim_one(storage)
    settle(storage)
    assert counts(storage) == {"no": (5, 3, 1)}

    finish(storage, job, Done())
    storage.job_admin.cancel(ids[1])
    storage.job_admin.delete(ids[2])
    storage.job_admin.requeue(ids[4])
    settle(storage)

    assert counts(storage) == {"no": (5, 1, 0)}


def test_a_job_that_moves_takes_its_count_along(storage: Storage, settle: Any) -> None:
    job_id = fail(storage, Failed("no"), "a")
    storage.queues.ensure("b")
    settle(storage)
    storage.job_admin.reschedule(job_id, queue_name="b")
    settle(storage)

    assert counts(storage, queue_names=["a"]) == {"no": (1, 0, 0)}
    assert counts(storage, queue_names=["b"]) == {}
    assert counts(storage) == {"no": (1, 1, 0)}


def test_another_change_of_a_failed_job_is_none_of_its_counts(
    storage: Storage, sql: Sql
) -> None:
    job_id = fail(storage, Failed("no"))
    storage.errors.fold(0)

    storage.job_admin.reschedule(job_id, priority=7)

    assert storage.job_reader.get(job_id).priority == 7
    assert sql.value("SELECT COUNT(*) FROM forge_error_change") == 0
    assert counts(storage) == {"no": (1, 1, 0)}


def test_pages_follow_one_another(storage: Storage, settle: Any) -> None:
    for number, word in enumerate(("ab", "cd", "ef", "gh"), start=1):
        for _ in range(number // 2 + 1):
            fail(storage, Failed(word))
    settle(storage)

    for order in ErrorOrder:
        whole = groups(storage, order=order)
        seen: list[str] = []
        after: ErrorPosition | None = None
        for _ in whole:
            page = storage.errors.page(ErrorRange.MONTH, order, 1, after)
            assert page.total == 4
            seen += [each.signature for each in page.groups]
            after = page.end
        assert after is None
        assert seen == [each.signature for each in whole]
    by_count = [each.signature for each in groups(storage)]
    assert by_count == ["gh", "cd", "ef", "ab"]
    last = groups(storage, order=ErrorOrder.LAST_SEEN)
    assert [each.signature for each in last] == ["gh", "ef", "cd", "ab"]


def test_behind_the_last_page_nothing_follows(storage: Storage) -> None:
    fail(storage, Failed("no"))

    page = storage.errors.page(
        ErrorRange.DAY, ErrorOrder.COUNT, 5, ErrorPosition(0, "")
    )

    assert (list(page.groups), page.end, page.total) == ([], None, 1)


def test_a_scope_learns_nothing_of_other_queues(storage: Storage, settle: Any) -> None:
    own = fail(storage, Failed("no 1"), "own", "mine")
    fail(storage, Dead("no 2"), "other", "theirs")
    fail(storage, Dead("theirs alone"), "other", "theirs")
    settle(storage)

    for window in ErrorRange:
        [group] = groups(storage, window, queue_names=["own"])
        assert (group.count, group.retrying, group.dead) == (1, 1, 0)
        assert (group.kinds, group.queues) == (["mine"], ["own"])
        assert (group.sample_id, group.message) == (own, "no 1")
        assert sum(group.trend) == 1
        assert group.first_seen == group.last_seen
    assert groups(storage, queue_names=[]) == []
    assert list(counts(storage, kinds=["theirs"])) == ["no <n>", "theirs alone"]


def age(sql: Sql, hours: int) -> None:
    """Let hours pass for failures that are not folded yet."""
    shift_us = hours * HOUR_US
    sql.run("UPDATE forge_error_change SET at = at - ?", shift_us)


def age_folded(sql: Sql, days: int) -> None:
    """Let days pass for failures that are folded; a key must stay unique meanwhile."""
    shift_us = days * DAY_US
    sql.run(
        "UPDATE forge_error_bucket SET bucket_start = -(bucket_start - ?)", shift_us
    )
    sql.run("UPDATE forge_error_bucket SET bucket_start = -bucket_start")
    sql.run(
        "UPDATE forge_error SET first_at = first_at - ?, last_at = last_at - ?",
        shift_us, shift_us,
    )  # fmt: skip


def buckets(sql: Sql) -> dict[int, int]:
    """Return the failures in the buckets of each width."""
    widths = "SELECT width_s, SUM(failures) FROM forge_error_bucket GROUP BY width_s"
    return {width_s: int(failures) for width_s, failures in sql.run(widths)}


def test_a_range_counts_the_same_before_and_after_folding(
    storage: Storage, sql: Sql
) -> None:
    """Every failure counts once in each range, whichever buckets it went through."""
    hours_ago = [0, 0, 1, 22, 25, 30, 47, 100, 143, 170, 400, 680]
    for number, hours in enumerate(hours_ago):
        fail(storage, Failed("no"), "ab"[number % 2], "xyz"[number % 3])
        sql.run(
            "UPDATE forge_error_change SET at = at - ?"
            " WHERE id = (SELECT MAX(id) FROM forge_error_change WHERE failures > 0)",
            hours * HOUR_US,
        )

    def answers() -> list[Any]:
        scopes: list[dict[str, Any]] = [{}, {"queue_names": ["a"]}, {"kinds": ["x"]}]
        return [
            groups(storage, each, **scope) for scope in scopes for each in ErrorRange
        ]

    appended = answers()
    storage.errors.fold(0)
    folded = answers()
    storage.errors.expire()

    assert [group.count for (group,) in appended[:3]] == [4, 9, 12]
    assert all(sum(group.trend) == group.count for (group,) in appended)
    assert folded == appended
    assert answers() == appended


def test_a_trend_has_each_hour_or_day(storage: Storage, sql: Sql) -> None:
    for count, hours in ((3, 49), (2, 2), (1, 0)):
        for _ in range(count):
            fail(storage, Failed("no"))
        age(sql, hours)
        storage.errors.fold(0)

    now_us = sql.now_us()
    day, week, month = (groups(storage, window)[0] for window in ErrorRange)

    assert day.trend == [0] * 21 + [2, 0, 1]
    assert to_micros(day.trend_from) == (now_us // HOUR_US - 23) * HOUR_US
    assert (day.count, week.count, month.count) == (3, 6, 6)
    assert (len(week.trend), len(month.trend)) == (7, 30)
    assert sum(week.trend) == 6
    assert month.trend[-7:] == week.trend
    assert to_micros(month.trend_from) == (now_us // DAY_US - 29) * DAY_US
    assert day.retrying == month.retrying == 6
    assert day.first_seen == month.first_seen
    assert from_micros(now_us - 50 * HOUR_US) < day.first_seen
    # The sums are those of groups beyond the page, too.
    fail(storage, Failed("new"))
    pages = [storage.errors.page(each, ErrorOrder.COUNT, 1) for each in ErrorRange]
    assert [(page.failures, page.fresh) for page in pages] == [(4, 1), (7, 1), (7, 1)]


def test_the_errors_of_a_day_are_counted_as_their_page_does(
    storage: Storage, sql: Sql, settle: Any
) -> None:
    fail(storage, Failed("of yesterday"), "a")
    fail(storage, Failed("of both days"), "a")
    age(sql, 25)
    settle(storage)
    fail(storage, Failed("of both days"), "b")
    waits = fail(storage, Failed("of today"), "b")
    storage.job_admin.delete(waits)  # a change that is no failure
    settle(storage)

    for queue_names in (None, ["a"], ["b"], ["a", "b"], ["c"], []):
        number = storage.errors.failing(queue_names=queue_names)
        shown = groups(storage, ErrorRange.DAY, queue_names=queue_names)
        assert number == len(shown)
    assert storage.errors.failing() == 2


def test_hours_leave_after_a_day_and_days_after_a_month(
    storage: Storage, sql: Sql
) -> None:
    ids = [fail(storage, Failed(text)) for text in ("no", "no", "old")]
    age(sql, 26)
    storage.errors.fold(0)
    assert buckets(sql) == {3600: 3, 86_400: 3}
    storage.errors.expire()
    assert buckets(sql) == {86_400: 3}
    assert counts(storage) == {"no": (2, 2, 0), "old": (1, 1, 0)}
    age_folded(sql, 29)
    fail(storage, Failed("no"))
    storage.job_admin.delete(ids[2])

    storage.errors.expire()

    [group] = groups(storage)
    assert (group.signature, group.count, group.retrying) == ("no", 1, 3)
    assert group.first_seen < from_micros(sql.now_us() - 29 * DAY_US)
    assert sql.value("SELECT COUNT(*) FROM forge_error") == 1
    assert sql.value("SELECT COUNT(*) FROM forge_error_change") == 0


def test_few_changes_are_not_folded(storage: Storage, sql: Sql) -> None:
    fail(storage, Failed("no"))

    storage.errors.fold()
    assert sql.value("SELECT COUNT(*) FROM forge_error_change") == 2
    storage.errors.fold(1)
    assert sql.value("SELECT COUNT(*) FROM forge_error_change") == 0


def test_many_changes_are_folded_in_batches(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "FOLD_BATCH", 3)
    for number in range(5):
        fail(storage, Failed("ab" if number % 2 else "cd"))
    before = groups(storage)

    storage.errors.fold(0)

    assert sql.value("SELECT COUNT(*) FROM forge_error_change") == 0
    assert groups(storage) == before


# -- jobs by signature -------------------------------------------------------------


def test_jobs_are_found_by_the_signature_of_their_last_failure(
    storage: Storage, settle: Any
) -> None:
    failed = fail(storage, Failed("no 1"), "a")
    dead = fail(storage, Dead("no 2"), "b")
    fail(storage, Dead("else"), "b")
    cancelled = fail(storage, Failed("no 3"), "a")
    storage.job_admin.cancel(cancelled)
    settle(storage)

    def ids(**parts: Any) -> list[str]:
        page = storage.job_reader.page(JobFilter(signature="no <n>", **parts), 10)
        assert page.total == len(page.rows)
        return [row.id for row in page.rows]

    assert ids() == [dead, failed]
    assert ids(queues=["a"]) == [failed]
    assert ids(statuses=[JobStatus.DEAD]) == [dead]
    assert ids(statuses=[JobStatus.DONE]) == []
    assert ids(error_search="no 1") == [failed]
    assert ids(enqueued_to=from_micros(0)) == []
    assert ids(scheduled=True) == []


@pytest.mark.parametrize("action", [JobAction.RETRY, JobAction.DELETE])
def test_the_listed_jobs_are_those_acted_upon(
    storage: Storage, action: JobAction
) -> None:
    for number in range(12):
        outcome = (Dead if number % 2 else Failed)(f"{'ab' if number % 3 else 'cd'} 1")
        fail(storage, outcome, "a" if number % 4 else "b")
    wanted = JobFilter(signature="ab <n>", queues=["a"])
    listed = {row.id for row in storage.job_reader.page(wanted, 100).rows}
    others = {row.id for row in storage.job_reader.page(JobFilter(), 100).rows} - listed
    before = {each: storage.job_reader.get(each) for each in others}

    steps = walk(storage, action, wanted, limit=2)

    assert sum(step.change.changed for step in steps) == len(listed) > 3
    assert storage.job_reader.total(wanted) == 0
    assert {each: storage.job_reader.get(each) for each in others} == before


def test_the_sums_equal_the_rows(storage: Storage, sql: Sql) -> None:
    """Whatever happens to jobs, the counts are those of a scan."""
    texts = ("ab", "cd", "ef")
    for number in range(40):
        outcome: Outcome = (Failed, Dead, Failed)[number % 3](texts[number % 3])
        job_id = fail(storage, outcome, "ab"[number % 2])
        if number % 5 == 0:
            storage.job_admin.requeue(job_id)
        elif number % 7 == 0:
            storage.job_admin.cancel(job_id) if number % 3 != 1 else None
        elif number % 11 == 0:
            storage.job_admin.delete(job_id)
        if number % 9 == 0:
            storage.errors.fold(0)
    scanned = sql.run(
        "SELECT signature, SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END), "
        "SUM(CASE WHEN status = 'dead' THEN 1 ELSE 0 END) FROM forge_job "
        "WHERE status IN ('failed', 'dead') AND signature IS NOT NULL "
        "GROUP BY signature"
    )

    assert {each.signature: (each.retrying, each.dead) for each in groups(storage)} == {
        name: (int(failed), int(dead)) for name, failed, dead in scanned
    }


# -- one group ---------------------------------------------------------------------


def test_one_group_is_that_of_the_page_with_its_kinds(
    storage: Storage, settle: Any
) -> None:
    for queue, kind in (("a", "one"), ("b", "two"), ("b", "two")):
        fail(storage, Dead("timeout after 10 s"), queue, kind)
    fail(storage, Failed("another"))
    settle(storage)

    detail = storage.errors.group("timeout after <n> s", ErrorRange.DAY)

    assert detail is not None
    (listed,) = [g for g in groups(storage, ErrorRange.DAY) if g.count == 3]
    assert detail.group == listed
    assert [tuple(each) for each in detail.kinds] == [
        ("b", "two", 2),
        ("a", "one", 1),
    ]


def test_the_kinds_of_one_group_have_the_failures_of_the_range(
    storage: Storage, sql: Sql
) -> None:
    """They had those of a month, and kinds without any in the range had rows of 0."""
    for hours, kind in ((0, "new"), (0, "new"), (60, "both"), (0, "both"), (60, "old")):
        fail(storage, Dead("no"), "a", kind)
        if hours:
            sql.run(
                "UPDATE forge_error_change SET at = at - ? WHERE id = "
                "(SELECT MAX(id) FROM forge_error_change WHERE failures > 0)",
                hours * HOUR_US,
            )

    def found(window: ErrorRange) -> dict[str, int]:
        detail = storage.errors.group("no", window)
        assert detail is not None
        assert sum(each.failures for each in detail.kinds) == detail.group.count
        return {each.kind: each.failures for each in detail.kinds}

    day = {"new": 2, "both": 1}
    month = {"new": 2, "both": 2, "old": 1}
    assert [found(each) for each in ErrorRange] == [day, month, month]
    storage.errors.fold(0)
    assert [found(each) for each in ErrorRange] == [day, month, month]


def test_one_group_of_other_queues_is_unknown(storage: Storage, settle: Any) -> None:
    fail(storage, Dead("no"), "a", "one")
    settle(storage)

    assert storage.errors.group("no", ErrorRange.DAY, queue_names=["b"]) is None
    assert storage.errors.group("yes", ErrorRange.DAY) is None


def test_one_group_is_known_after_its_range(
    storage: Storage, sql: Sql, settle: Any
) -> None:
    fail(storage, Dead("no"))
    settle(storage)
    for table, column in (
        ("forge_error", "first_at"), ("forge_error", "last_at"),
        ("forge_error_change", "at"), ("forge_error_bucket", "bucket_start"),
    ):  # fmt: skip
        sql.run(f"UPDATE {table} SET {column} = {column} - {3 * DAY_US}")

    detail = storage.errors.group("no", ErrorRange.DAY)

    assert detail is not None
    assert (detail.group.count, detail.group.dead, detail.kinds) == (0, 1, [])
