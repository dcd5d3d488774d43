"""The shop takes orders and works them off, on both backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from flask_forge_jobs.model.jobs import Job, JobFilter, JobStatus
from flask_forge_jobs.state import state_of
from tests.examples.shop.application import create_app
from tests.support.applications import worker

QUEUES = ("default", "mail")
MakeShop = Callable[..., Flask]


@pytest.fixture
def make_shop(database_url: str, tmp_path: Path) -> Iterator[MakeShop]:
    made: list[Flask] = []

    def make(busy_for_s: float | None = None) -> Flask:
        config = {
            "TESTING": True,
            "FORGE_JOBS_INLINE": "off",  # a worker runs them
            "FORGE_JOBS_DATABASE_URL": database_url,
        }
        app = create_app(
            config, instance_path=str(tmp_path / "instance"), busy_for_s=busy_for_s
        )
        made.append(app)
        return app

    yield make
    for app in made:
        state_of(app).storage.close()


def jobs_of(app: Flask) -> dict[str, Job]:
    """Return the stored jobs by kind."""
    reader = state_of(app).storage.job_reader
    page = reader.page(JobFilter(), 10, 0)
    return {job.kind: reader.get(job.id) for job in page.rows}


def test_an_order_is_shipped_and_a_letter_follows(make_shop: MakeShop) -> None:
    shop = make_shop()

    answer = shop.test_client().post("/orders/2")
    with worker(shop, QUEUES) as runs:
        runs.wait_for(2)

    assert answer.status_code == 202
    stored = jobs_of(shop)
    assert answer.json == {"job": stored["ship"].id, "is_new": True}
    assert stored["ship"].status is JobStatus.DONE
    assert stored["ship"].result == '{"shipped":2}'
    assert stored["mail_receipt"].status is JobStatus.DONE
    assert stored["mail_receipt"].queue_name == "mail"
    assert shop.extensions["carrier"].parcels == [2]
    assert shop.config["SHOP_LETTERS"] == [(2, 1)]


def test_the_same_order_twice_is_one_job(make_shop: MakeShop) -> None:
    client = make_shop().test_client()

    first, second = client.post("/orders/1"), client.post("/orders/1")

    assert first.json is not None
    assert first.json["is_new"] is True
    assert second.json == {"job": first.json["job"], "is_new": False}


def test_an_unknown_order_is_dead_at_once(make_shop: MakeShop) -> None:
    shop = make_shop()
    shop.test_client().post("/orders/99")

    with worker(shop, QUEUES) as runs:
        runs.wait_for(1)

    job = jobs_of(shop)["ship"]
    assert (job.status, job.attempts) == (JobStatus.DEAD, 1)
    assert job.last_error == "there is no order 99"


def test_a_busy_carrier_costs_no_attempt(make_shop: MakeShop) -> None:
    shop = make_shop(busy_for_s=3600)
    shop.test_client().post("/orders/3")

    with worker(shop, QUEUES) as runs:
        runs.wait_for(1)

    job = jobs_of(shop)["ship"]
    assert (job.status, job.attempts) == (JobStatus.PENDING, 0)
    assert (job.scheduled_at - job.enqueued_at).total_seconds() > 3500


def test_a_short_wait_is_over_by_itself(make_shop: MakeShop) -> None:
    shop = make_shop(busy_for_s=0.1)
    shop.test_client().post("/orders/3")

    with worker(shop, QUEUES) as runs:
        runs.wait_for(3)

    assert {job.status for job in jobs_of(shop).values()} == {JobStatus.DONE}
    assert shop.config["SHOP_LETTERS"] == [(3, 1)]


def test_two_shops_in_one_process_do_not_meet(
    make_shop: MakeShop, tmp_path: Path
) -> None:
    """They share the tasks, and nothing else."""
    shop = make_shop()
    config = {"TESTING": True, "FORGE_JOBS_INLINE": "off"}
    other = create_app(config, instance_path=str(tmp_path / "other"))
    shop.test_client().post("/orders/1")
    other.test_client().post("/orders/2")

    try:
        with worker(other, QUEUES) as runs:
            runs.wait_for(2)

        assert jobs_of(shop)["ship"].status is JobStatus.PENDING
        assert jobs_of(other)["ship"].status is JobStatus.DONE
    finally:
        state_of(other).storage.close()
    assert shop.extensions["carrier"].parcels == []
    assert other.extensions["carrier"].parcels == [2]


def test_the_tasks_stay_functions(make_shop: MakeShop) -> None:
    """A unit test of an application needs no queue."""
    from tests.examples.shop.orders import mail_receipt

    shop = make_shop()

    with shop.app_context():
        coroutine = mail_receipt(5, attempt=2)
        with pytest.raises(StopIteration):
            coroutine.send(None)

    assert shop.config["SHOP_LETTERS"] == [(5, 2)]
