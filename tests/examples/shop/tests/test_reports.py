from __future__ import annotations

from datetime import timedelta

from flask.testing import FlaskClient

from flask_forge_jobs.testing import JobsKit
from tests.examples.shop.reports import close_day


def test_a_day_is_closed_every_night(client: FlaskClient, forge_jobs: JobsKit) -> None:
    client.post("/orders/", data={"card": "fine", "cents": 500})
    client.post("/orders/", data={"card": "fine", "cents": 700})
    client.post("/orders/", data={"card": "stolen", "cents": 900})
    forge_jobs.drain(raise_errors=False)

    forge_jobs.clock.move(timedelta(days=1))
    forge_jobs.drain()

    forge_jobs.assert_enqueued(close_day)
    assert client.get("/reports/").get_json() == [
        {"report": 1, "orders": 2, "cents": 1200}
    ]


def test_a_paid_order_is_in_one_report(
    client: FlaskClient, forge_jobs: JobsKit
) -> None:
    client.post("/orders/", data={"card": "fine", "cents": 500})
    forge_jobs.drain()

    forge_jobs.perform(close_day)
    forge_jobs.perform(close_day)

    assert [each["orders"] for each in client.get("/reports/").get_json()] == [1, 0]
