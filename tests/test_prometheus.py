"""The ten gauges, byte for byte, and what follows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flask_forge_jobs.handlers.metrics import JobCounters, QueueGauges
from flask_forge_jobs.model.batches import BatchOverview
from flask_forge_jobs.model.metrics import Tally
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.standby import StandbyState
from flask_forge_jobs.model.workers import ServiceAge
from flask_forge_jobs.prometheus import (
    BUCKETS_S,
    FAMILIES,
    BatchCollector,
    JobCollector,
    QueueExposition,
    ServiceCollector,
    SnapshotCollector,
    StandbyCollector,
)
from flask_forge_jobs.storage.base import OpenSnapshot
from flask_forge_jobs.storage.metrics import QueueTimes

MAIL = QueueGauges(
    queue_name="mail",
    counts=QueueCounts(12, 1, 2, 1_234_567, 3, 10_000_000),
    oldest_due_age_s=14,
    max_workers=64,
    is_paused=True,
    is_throttled=False,
)
EXPECTED = """\
# HELP queue_pending_jobs Jobs a worker could claim now.
# TYPE queue_pending_jobs gauge
queue_pending_jobs{queue="mail"} 12
# HELP queue_scheduled_jobs Pending jobs whose start time lies ahead.
# TYPE queue_scheduled_jobs gauge
queue_scheduled_jobs{queue="mail"} 1
# HELP queue_in_flight_jobs Jobs being run.
# TYPE queue_in_flight_jobs gauge
queue_in_flight_jobs{queue="mail"} 2
# HELP queue_done_jobs Finished jobs still stored.
# TYPE queue_done_jobs gauge
queue_done_jobs{queue="mail"} 1234567
# HELP queue_failed_jobs Failed jobs waiting for their next attempt.
# TYPE queue_failed_jobs gauge
queue_failed_jobs{queue="mail"} 3
# HELP queue_dead_jobs Jobs that ended without success.
# TYPE queue_dead_jobs gauge
queue_dead_jobs{queue="mail"} 10000000
# HELP queue_oldest_pending_age_seconds Seconds the oldest claimable job has waited.
# TYPE queue_oldest_pending_age_seconds gauge
queue_oldest_pending_age_seconds{queue="mail"} 14
# HELP queue_max_workers Configured worker total.
# TYPE queue_max_workers gauge
queue_max_workers{queue="mail"} 64
# HELP queue_paused 1 while the queue is paused.
# TYPE queue_paused gauge
queue_paused{queue="mail"} 1
# HELP queue_throttled 1 while the queue is cooling down.
# TYPE queue_throttled gauge
queue_throttled{queue="mail"} 0
"""


def _named(name: str) -> QueueGauges:
    return QueueGauges(name, QueueCounts(), 0, 0, is_paused=False, is_throttled=False)


def test_exposition_is_the_contract_byte_for_byte() -> None:
    assert QueueExposition(lambda: [MAIL]).render() == EXPECTED


def test_exposition_without_queues_has_help_and_type_only() -> None:
    lines = QueueExposition(list).render().splitlines()

    assert len(lines) == 2 * len(FAMILIES)
    assert all(line.startswith("# ") for line in lines)


def test_exposition_keeps_the_order_of_the_queues() -> None:
    text = QueueExposition(lambda: [_named("a"), _named("b")]).render()

    assert text.index('jobs{queue="a"}') < text.index('jobs{queue="b"}')


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", "a\nb", "a\u2028b", "a\x85b", "größe", "{x}", "a 1", "#"]
)
def test_exposition_escapes_labels(name: str) -> None:
    text = QueueExposition(lambda: [_named(name)]).render()

    families = list(text_string_to_metric_families(text))
    assert [family.name for family in families] == [name for name, _, _ in FAMILIES]
    for family in families:
        [sample] = family.samples
        assert sample.labels == {"queue": name}


@pytest.mark.parametrize("value", [0, 999_999, 10**6, 2**31, 10**15, 2**53 - 1])
def test_exposition_prints_whole_numbers(value: int) -> None:
    gauges = QueueGauges(
        "q", QueueCounts(done=value), 0, 0, is_paused=False, is_throttled=False
    )

    text = QueueExposition(lambda: [gauges]).render()

    assert f'queue_done_jobs{{queue="q"}} {value}\n' in text


def test_exposition_is_the_same_in_multiprocess_mode(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    assert QueueExposition(lambda: [MAIL]).render() == EXPECTED


def test_exposition_reads_once_a_scrape_and_not_before() -> None:
    reads: list[None] = []

    def read() -> list[QueueGauges]:
        reads.append(None)
        return [MAIL]

    exposition = QueueExposition(read)
    assert not reads

    exposition.render()
    exposition.render()

    assert len(reads) == 2


def test_services_show_how_old_their_last_tick_is() -> None:
    ages = [ServiceAge("cron", 1.23456, 5.0), ServiceAge("reaper", 12.0, 15.0)]

    text = QueueExposition(list, [ServiceCollector(lambda: ages)]).render()

    lines = text[text.index("# HELP forge_jobs_service") :].splitlines()
    assert lines[1:] == [
        "# TYPE forge_jobs_service_tick_age_seconds gauge",
        'forge_jobs_service_tick_age_seconds{service="cron"} 1.235',
        'forge_jobs_service_tick_age_seconds{service="reaper"} 12',
    ]


def test_batches_are_counted_without_labels() -> None:
    collector = BatchCollector(lambda: BatchOverview(open=3, waiting=1_000_000))

    text = QueueExposition(list, [collector]).render()

    assert text[text.index("# HELP forge_jobs") :].splitlines() == [
        "# HELP forge_jobs_batches_open Batches that have not ended.",
        "# TYPE forge_jobs_batches_open gauge",
        "forge_jobs_batches_open 3",
        "# HELP forge_jobs_waiting Jobs that wait for other jobs.",
        "# TYPE forge_jobs_waiting gauge",
        "forge_jobs_waiting 1000000",
    ]


@pytest.mark.parametrize(
    ("found", "shown"), [(OpenSnapshot(61.23456, "session 7"), "61.235"), (None, "0")]
)
def test_the_oldest_open_snapshot_is_shown_by_its_age(
    found: OpenSnapshot | None, shown: str
) -> None:
    text = QueueExposition(list, [SnapshotCollector(lambda: found)]).render()

    assert text.splitlines()[-2:] == [
        "# TYPE forge_jobs_oldest_snapshot_age_seconds gauge",
        f"forge_jobs_oldest_snapshot_age_seconds {shown}",
    ]


@pytest.mark.parametrize(("lag_s", "shown"), [(0.25049, "0.25"), (None, "+Inf")])
def test_a_standby_is_shown_by_its_lag(lag_s: float | None, shown: str) -> None:
    state = StandbyState(lag_s, None, answered=3, instead=0)
    text = QueueExposition(list, [StandbyCollector(lambda: state)]).render()

    assert text.splitlines()[-1] == f"forge_jobs_standby_lag_seconds {shown}"


# -- jobs --------------------------------------------------------------------------


def _jobs_text(found: JobCounters) -> str:
    text = QueueExposition(list, [JobCollector(lambda: found, "sqlite")]).render()
    return text[text.index("# HELP forge_jobs_") :]


def _found() -> JobCounters:
    times = QueueTimes()
    for run_ms in (1, 1, 40, 7_200_000):
        times.run.record_many([run_ms * 1000])
    jobs = {("mail", "send"): Tally(3_000_000, 3, 1, 2, 0, 5, 4), ("a", "b"): Tally(1)}
    return JobCounters(jobs, {"mail": times})


def test_counters_stand_by_queue_and_kind() -> None:
    lines = _jobs_text(_found()).splitlines()

    assert [line for line in lines if "enqueued" in line and line[0] != "#"] == [
        'forge_jobs_enqueued_total{kind="b",queue="a"} 1',
        'forge_jobs_enqueued_total{kind="send",queue="mail"} 3000000',
    ]
    assert "# TYPE forge_jobs_enqueued_total counter" in lines
    assert 'forge_jobs_completed_total{kind="send",queue="mail"} 2' in lines
    assert 'forge_jobs_dead_total{kind="send",queue="mail"} 0' in lines
    assert 'forge_jobs_cancelled_total{kind="send",queue="mail"} 4' in lines
    assert 'forge_jobs_refused_total{kind="send",queue="mail"} 5' in lines


def test_histograms_are_cumulative_seconds_by_queue() -> None:
    lines = _jobs_text(_found()).splitlines()

    run = [line for line in lines if line.startswith("forge_jobs_run_seconds")]
    counts = [int(line.split()[-1]) for line in run if "_bucket" in line]
    assert len(counts) == len(BUCKETS_S) + 1
    assert counts[0] == 2
    assert counts[-2:] == [3, 4]
    assert counts == sorted(counts)
    assert 'forge_jobs_run_seconds_count{queue="mail"} 4' in run
    assert 'forge_jobs_run_seconds_sum{queue="mail"} 7200.042' in run
    assert 'forge_jobs_run_seconds_bucket{le="+Inf",queue="mail"} 4' in run
    assert 'forge_jobs_wait_seconds_count{queue="mail"} 0' in lines


def test_the_build_is_told() -> None:
    text = _jobs_text(JobCounters({}, {}))

    assert 'forge_jobs_build_info{backend="sqlite",python="3.' in text
    assert list(text_string_to_metric_families(text))


def test_hostile_names_of_jobs_are_escaped() -> None:
    """H36"""
    names = ['a"b', "a\\b", "a\nb", "{x}", "größe", "a\u2028b"]
    found = JobCounters({(name, name): Tally(7) for name in names}, {})

    families = text_string_to_metric_families(_jobs_text(found))

    enqueued = next(f for f in families if f.name == "forge_jobs_enqueued")
    assert {sample.labels["kind"] for sample in enqueued.samples} == set(names)
