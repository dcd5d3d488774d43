"""The past: which orders have trouble, and what running their jobs leaves behind."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.demo import shop
from flask_forge_jobs.demo.past import Past, orders_with, past_of, queue_of
from flask_forge_jobs.demo.shop import HOUR_US
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import SECOND_US, to_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.server import create_app
from flask_forge_jobs.state import state_of


def test_some_orders_have_trouble() -> None:
    troubled = list(islice(orders_with("reset", shop.RESET), 20))

    assert all(shop.share(order, "reset") < shop.RESET for order in troubled)
    assert troubled == sorted(troubled)


def test_each_kind_has_its_queue() -> None:
    assert queue_of("write_entry") == shop.LEDGER
    assert queue_of("charge_card") == "orders"


def test_a_schedule_fires_although_a_job_runs_past_its_time(tmp_path: Path) -> None:
    """The report that takes 8 s begins 3 s before the schedule is due."""
    environ = {"JOBS_CONFIG_DIR": str(tmp_path), "JOBS_DATA_DIR": str(tmp_path)}
    app = create_app(environ, demo=tmp_path / "queue.sqlite")
    storage = state_of(app).storage
    storage.open()
    due_us = 500_000 * HOUR_US
    with app.app_context(), past_of(app, due_us - HOUR_US) as (of_past, clock):
        of_past.queues.ensure(shop.LEDGER)
        of_past.cron.create(
            ScheduleDefinition("hourly", "index_product", "0 * * * *", '{"order":1}')
        )
        past = Past(of_past, clock, due_us + HOUR_US)
        clock.set(due_us - 3 * SECOND_US)
        past._run([shop.build_report.job(name="yesterday")])
        past._fire_until(due_us + HOUR_US // 2)

        schedule = of_past.cron.get("hourly")
        assert schedule.last_fired_at is not None
        assert to_micros(schedule.last_fired_at) - due_us < 60 * SECOND_US
    storage.close()


def test_the_past_is_told_in_its_time_and_leaves_no_figures(tmp_path: Path) -> None:
    environ = {"JOBS_CONFIG_DIR": str(tmp_path), "JOBS_DATA_DIR": str(tmp_path)}
    app = create_app(environ, demo=tmp_path / "queue.sqlite")
    storage, now_us = state_of(app).storage, SystemClock().now_us()
    storage.open()
    with app.app_context(), past_of(app, now_us - 3 * HOUR_US) as (of_past, clock):
        of_past.queues.ensure(shop.LEDGER)
        Past(of_past, clock, now_us).play([])
        at_us = clock.now_us()

    assert now_us - 20_000_000 < at_us <= now_us
    done = JobFilter(statuses=[JobStatus.DONE], kinds=["close_order"])
    page = storage.job_reader.page(done, 1, 0)  # newest first
    assert page.total == 80  # nobody has paused the ledger
    first = storage.job_reader.page(done, 1, page.total - 1).rows[0]
    assert now_us - first.enqueued_at.timestamp() * 1e6 > HOUR_US / 2
    rows = storage.database.read(
        lambda transaction: transaction.all("stored_names", level=60)
    )
    assert rows == []
    storage.close()
