"""Figures over time: added once, merged when read, folded and pruned exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from flask_forge_jobs.ids import least_at
from flask_forge_jobs.model.instants import DAY_US, SECOND_US, to_micros
from flask_forge_jobs.model.metrics import (
    DAY,
    LEVELS,
    MetricKey,
    Tally,
    Window,
    floor_to,
    window,
)
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.metrics import (
    FOLD_AFTER_US,
    FOLD_ROWS,
    PUT_ROWS,
    SOURCE_KEPT_US,
    SOURCE_US,
)
from tests.support.figures import PastProcess, add_figures
from tests.support.sql import Sql
from tests.support.threads import run_together

NOON = datetime(2026, 9, 16, 12, tzinfo=UTC)
NOON_US = to_micros(NOON)
MINUTE = window(NOON, NOON + timedelta(minutes=1), 10)


def tally(
    enqueued: int = 0,
    *,
    started: int = 0,
    retried: int = 0,
    completed: int = 0,
    dead: int = 0,
    refused: int = 0,
    run_ms: int = 20,
) -> Tally:
    made = Tally(enqueued, started, retried, completed, dead, refused)
    for _ in range(completed):
        made.wait.record_many([1000])
        made.run.record_many([run_ms * 1000])
        made.total.record_many([2 * run_ms * 1000])
    return made


def key(
    bucket_us: int = NOON_US, level: int = 10, queue: str = "", kind: str = ""
) -> MetricKey:
    return MetricKey(level, bucket_us, queue, kind)


def buckets(
    storage: Storage,
    span: Window = MINUTE,
    level: int = 10,
    queue: str = "",
    kind: str = "",
) -> list[Tally]:
    return storage.metrics.timelines(span, level, [queue], kind)[queue]


def everything(storage: Storage, level: int = 10) -> Tally:
    whole = Tally()
    span = Window(NOON_US - 40 * DAY_US, 80 * DAY_US, 1)
    whole.merge(buckets(storage, span, level)[0])
    return whole


# -- writing and reading -----------------------------------------------------------


def test_tallies_land_in_the_bucket_in_which_they_begin(storage: Storage) -> None:
    later = NOON_US + 25 * SECOND_US
    add_figures(
        storage,
        "A",
        {
            key(): tally(enqueued=3),
            key(floor_to(later, 10)): tally(started=2, completed=2, retried=1, dead=4),
        },
    )

    found = buckets(storage)

    assert [each.enqueued for each in found] == [3, 0, 0, 0, 0, 0]
    assert (found[2].started, found[2].completed) == (2, 2)
    assert (found[2].retried, found[2].dead) == (1, 4)
    assert (found[2].run.count, found[2].run.sum_us) == (2, 40_000)
    assert (found[2].total.count, found[2].total.sum_us) == (2, 80_000)


def test_a_window_is_half_open(storage: Storage) -> None:
    for offset_s in (-10, 0, 50, 60):
        at_us = NOON_US + offset_s * SECOND_US
        add_figures(storage, "A", {key(at_us): tally(enqueued=1)})

    assert sum(each.enqueued for each in buckets(storage)) == 2


def test_figures_are_added_to_rows_that_are_known_or_read(storage: Storage) -> None:
    first = storage.metrics.add("A", 1, {key(): tally(enqueued=3, completed=1)}, {})
    second = storage.metrics.add("A", 2, {key(): tally(enqueued=2)}, first)
    third = storage.metrics.add("A", 3, {key(): tally(completed=1)}, {})

    [shown, *_] = buckets(storage)

    assert [each[key()].enqueued for each in (first, second, third)] == [3, 5, 5]
    assert (shown.enqueued, shown.completed, shown.run.count) == (5, 2, 2)
    assert third == {key(): shown}


def test_a_write_that_is_stored_changes_nothing_when_it_is_repeated(
    storage: Storage,
) -> None:
    writes = [{key(): tally(enqueued=jobs)} for jobs in (1, 10, 100)]
    for number, each in enumerate(writes, 1):
        assert storage.metrics.add("A", number, each, {})
        for again in range(1, number + 1):
            assert storage.metrics.add("A", again, writes[again - 1], {}) == {}

    assert everything(storage).enqueued == 111


def test_writes_that_are_repeated_at_once_are_stored_once(storage: Storage) -> None:
    """As when the server still works on a write that its client has given up."""
    new = {key(): tally(enqueued=1)}
    for number in (1, 2):
        write = partial(storage.metrics.add, "A", number, new, {})
        assert sum(map(bool, run_together([write] * 4))) == 1

    assert everything(storage).enqueued == 2


def test_a_number_of_a_source_that_is_unknown_counts_as_stored(
    storage: Storage,
) -> None:
    """The upkeep drops sources after an hour."""
    source = least_at(NOON_US)
    new = {key(): tally(enqueued=1)}
    storage.metrics.add(source, 1, new, {})
    storage.metrics.prune(NOON_US + SOURCE_KEPT_US)
    storage.metrics.add(source, 2, new, {})
    storage.metrics.prune(NOON_US + SOURCE_KEPT_US + SECOND_US)

    assert storage.metrics.add(source, 3, new, {}) == {}
    assert everything(storage).enqueued == 2


def test_rows_of_a_past_are_appended(storage: Storage) -> None:
    given = tally(enqueued=3, completed=2)
    times = [each.encode() for each in (given.wait, given.run, given.total)]
    counts = [3, given.started, 0, 2, 0, 0, 0]
    storage.metrics.append([(10, "", "", NOON_US, "", *counts, *times)])

    [first, *_] = buckets(storage)

    assert (first.enqueued, first.completed, first.run.count) == (3, 2, 2)


def test_a_row_that_was_folded_begins_anew(storage: Storage, sql: Sql) -> None:
    """If it was written as it had been, its figures would count twice."""
    keys = [key(NOON_US + n * 10 * SECOND_US, queue="mail") for n in range(7)]
    rows = storage.metrics.add("A", 1, {each: tally(enqueued=1) for each in keys}, {})
    add_figures(storage, "B", {keys[0]: tally(enqueued=1)})
    storage.metrics.fold(NOON_US + FOLD_AFTER_US + 10 * SECOND_US)

    new = {each: tally(enqueued=2, completed=1) for each in keys}
    rows = storage.metrics.add("A", 2, new, rows)

    assert [rows[each].enqueued for each in keys] == [2, *[3] * 6]
    assert sql.run(
        "SELECT source, enqueued, COUNT(*), MIN(LENGTH(run_times)) > 0"
        " FROM forge_metric WHERE level > 0 GROUP BY source, enqueued ORDER BY source,"
        " enqueued"
    ) == [("", 2, 1, 0), ("A", 2, 1, 1), ("A", 3, 6, 1)]


def test_processes_are_merged_when_read(storage: Storage) -> None:
    add_figures(storage, "A", {key(): tally(completed=99, run_ms=10)})
    add_figures(storage, "B", {key(): tally(completed=1, run_ms=5000)})

    [first, *_] = buckets(storage)

    assert first.completed == 100
    assert round(first.run.percentiles(99)[0] / 1000) == 10
    assert 4900 < first.run.percentiles(100)[0] / 1000 < 5100


def test_queues_and_kinds_are_kept_apart(storage: Storage) -> None:
    add_figures(
        storage,
        "A",
        {
            key(queue="mail", kind="send"): tally(enqueued=1),
            key(queue="bulk", kind="send"): tally(enqueued=2),
            key(queue="mail"): tally(enqueued=4),
            key(): tally(enqueued=8),
        },
    )

    found = [
        buckets(storage, queue=queue, kind=kind)[0].enqueued
        for queue, kind in (("mail", "send"), ("mail", ""), ("", ""), ("other", ""))
    ]

    assert found == [1, 4, 8, 0]
    assert buckets(storage, level=60)[0].enqueued == 0


def test_many_names_come_in_one_answer(storage: Storage) -> None:
    add_figures(
        storage,
        "A",
        {
            key(queue="mail"): tally(enqueued=1),
            key(queue="bulk"): tally(enqueued=2),
            key(queue="bulk", kind="b"): tally(enqueued=2),
        },
    )
    metrics = storage.metrics

    queues = metrics.timelines(MINUTE, 10, ["mail", "bulk", "idle"])
    kinds = metrics.timelines_of_kinds(MINUTE, 10, ["b", "c"])
    elsewhere = metrics.timelines_of_kinds(MINUTE, 10, ["b"], ["mail"])

    assert {name: buckets[0].enqueued for name, buckets in queues.items()} == {
        "mail": 1,
        "bulk": 2,
        "idle": 0,
    }
    assert {name: buckets[0].enqueued for name, buckets in kinds.items()} == {
        "b": 2,
        "c": 0,
    }
    assert elsewhere["b"][0].enqueued == 0
    assert metrics.timelines(MINUTE, 10, []) == {}


def test_an_empty_window_has_no_tallies(storage: Storage) -> None:
    assert buckets(storage, window(NOON, NOON, 10)) == []


def test_more_rows_than_one_statement_takes(storage: Storage) -> None:
    process, kinds = PastProcess(storage, NOON_US), PUT_ROWS // len(LEVELS) + 1

    for jobs in (kinds, 2 * kinds):  # written, and overwritten
        for number in range(kinds):
            process.recorder.enqueued("mail", f"kind-{number}")
        assert process.flusher.flush() > PUT_ROWS
        assert {everything(storage, level).enqueued for level in LEVELS} == {jobs}


# -- counters ----------------------------------------------------------------------


def _all_levels(instant_us: int, queue: str, kind: str) -> dict[MetricKey, Tally]:
    return {
        MetricKey(level, floor_to(instant_us, level), queue, kind): tally(completed=1)
        for level in LEVELS
    }


def test_counters_are_those_of_all_days(storage: Storage) -> None:
    midnight = floor_to(NOON_US, DAY)
    for number in range(3):
        at_us = midnight - number * DAY_US
        add_figures(
            storage,
            "A",
            {
                key(at_us, DAY, "mail", "send"): tally(enqueued=10, completed=2),
                key(at_us, DAY, "mail"): tally(enqueued=10, completed=2),
                key(at_us, 60, "mail", "send"): tally(enqueued=10),
            },
        )

    counters = storage.metrics.counters()

    [(pair, counted)] = counters.jobs.items()
    assert (pair, counted.enqueued, counted.completed) == (("mail", "send"), 30, 6)
    assert counters.times["mail"].run.count == 6
    assert counters.times["mail"].wait.sum_us == 6000


# -- upkeep ------------------------------------------------------------------------


def test_a_fold_merges_sources_and_changes_no_figure(
    storage: Storage, sql: Sql
) -> None:
    for host in ("A", "B", "C"):
        add_figures(storage, host, {key(): tally(enqueued=1, completed=2)})
    before = everything(storage)

    folded = storage.metrics.fold(NOON_US + FOLD_AFTER_US + 10 * SECOND_US)

    assert folded == 3
    assert everything(storage) == before
    assert sql.run("SELECT source FROM forge_metric") == [("",)]


def test_what_comes_late_is_folded_into_what_is_there(
    storage: Storage, sql: Sql
) -> None:
    late_us = NOON_US + FOLD_AFTER_US + 10 * SECOND_US
    for host in ("A", "B"):
        add_figures(storage, host, {key(): tally(enqueued=1, completed=1)})
        storage.metrics.fold(late_us)

    assert everything(storage).enqueued == 2
    assert everything(storage).run.count == 2
    assert sql.run("SELECT COUNT(*) FROM forge_metric") == [(1,)]


def test_a_bucket_that_may_still_change_is_left_alone(storage: Storage) -> None:
    add_figures(storage, "A", {key(): tally(enqueued=1)})

    assert storage.metrics.fold(NOON_US + FOLD_AFTER_US + 10 * SECOND_US - 1) == 0


def test_what_processes_counted_that_are_long_gone_is_folded_before_the_day_is_over(
    storage: Storage, sql: Sql
) -> None:
    """Or whoever scrapes reads the rows of all that have run on this day."""
    rows = _all_levels(NOON_US, "", "")
    for age_us in (1, 2, 3):
        add_figures(storage, least_at(NOON_US - age_us * SECOND_US), rows)
    late = least_at(NOON_US)
    add_figures(storage, late, rows)
    before = [everything(storage, level) for level in LEVELS]

    folded = storage.metrics.fold(NOON_US + SOURCE_US + FOLD_AFTER_US)

    assert [everything(storage, level) for level in LEVELS] == before
    wide = sql.run(
        "SELECT level, source, completed FROM forge_metric"
        " WHERE level > 600 ORDER BY level, source"
    )
    assert wide == [
        (level, source, jobs)
        for level in (1800, 10_800, DAY)
        for source, jobs in (("", 3), (late, 1))
    ]
    assert folded == 3 * len(LEVELS) + 3  # the narrow buckets are over


def test_a_process_leaves_rows_of_two_sources_at_most(
    storage: Storage, sql: Sql
) -> None:
    """Or reading today's figures would cost more with each process that runs."""
    left = set()
    for number in range(12):
        at_us = NOON_US + number * SOURCE_US // 2
        source = least_at(NOON_US + number // 2 * SOURCE_US)
        add_figures(storage, source, _all_levels(NOON_US, "", ""))
        storage.metrics.fold(at_us)  # as every five minutes
        left.add(
            sql.value(
                "SELECT COUNT(DISTINCT source) FROM forge_metric"
                f" WHERE level = {DAY} AND source <> ''"
            )
        )

    assert left == {1, 2}
    assert everything(storage, DAY).completed == 12


def test_many_rows_are_folded_in_batches(storage: Storage, sql: Sql) -> None:
    count = FOLD_ROWS * 2 + 7
    for host in ("A", "B"):
        many = {
            key(NOON_US + n * 10 * SECOND_US): tally(enqueued=1) for n in range(count)
        }
        add_figures(storage, host, many)

    assert storage.metrics.fold(NOON_US + DAY_US) == 2 * count
    assert everything(storage).enqueued == 2 * count
    assert sql.run("SELECT COUNT(*) FROM forge_metric") == [(count,)]


def test_processes_that_fold_at_once_count_everything_once(storage: Storage) -> None:
    for number in range(20):
        many = {
            key(NOON_US + n * 10 * SECOND_US): tally(enqueued=1) for n in range(100)
        }
        add_figures(storage, f"host-{number}", many)

    run_together([lambda: storage.metrics.fold(NOON_US + DAY_US)] * 4)
    storage.metrics.fold(NOON_US + DAY_US)

    assert everything(storage).enqueued == 2000


def test_what_is_folded_while_processes_write_it_counts_once(storage: Storage) -> None:
    """As by hosts whose clocks are far ahead."""
    processes = [PastProcess(storage, NOON_US) for _ in range(3)]

    def write(process: PastProcess) -> None:
        for _ in range(20):
            process.runs("mail", "send", [1])
            storage.metrics.fold(NOON_US + 2 * DAY_US)

    run_together([partial(write, each) for each in processes])

    assert {
        (counted.enqueued, counted.completed, counted.run.count)
        for counted in (everything(storage, level) for level in LEVELS)
    } == {(60, 60, 60)}


def test_pruning_keeps_each_level_for_its_time(storage: Storage, sql: Sql) -> None:
    now_us = NOON_US + 60 * DAY_US
    ages_us = (DAY_US, 2 * DAY_US, 29 * DAY_US, 31 * DAY_US)
    for age_us in ages_us:
        rows = _all_levels(now_us - age_us, "mail", "send")
        add_figures(storage, f"host-{age_us}", rows)

    storage.metrics.prune(now_us)

    left = sql.run(
        "SELECT level, COUNT(*) FROM forge_metric GROUP BY level ORDER BY level"
    )
    names = (-1, 2)  # of the queue and of the pair
    wider = [(level, 3) for level in LEVELS[1:]]
    assert left == [names, (0, 1), (10, 1), *wider]


def test_counters_never_go_down(storage: Storage) -> None:
    for number in range(5):
        at_us = floor_to(NOON_US, DAY) + number * DAY_US
        rows = {
            key(at_us, DAY, "mail", "send"): tally(enqueued=1, completed=1, refused=2),
            key(at_us, DAY, "mail"): tally(enqueued=1, completed=1, refused=2),
        }
        add_figures(storage, f"host-{number}", rows)

    for days in range(28, 60):
        storage.metrics.fold(NOON_US + days * DAY_US)
        storage.metrics.prune(NOON_US + days * DAY_US)
        counters = storage.metrics.counters()
        counted = counters.jobs["mail", "send"]
        assert (counted.enqueued, counted.refused) == (5, 10)
        assert counters.times["mail"].run.count == 5
