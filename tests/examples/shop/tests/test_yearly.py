from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.testing import JobsKit
from tests.examples.shop.extensions import db, forge
from tests.examples.shop.models import Order
from tests.examples.shop.yearly import PARTS, WrongAmountError, add_up


@pytest.fixture
def orders(app: Flask) -> range:
    """Sixty orders of one cent each, which are paid."""
    with app.app_context():
        db.session.add_all(Order(card="fine", cents=1, state="paid") for _ in range(60))
        db.session.commit()
    return range(1, 61)


def sum_in(client: FlaskClient, path: str) -> tuple[int, int]:
    """Return the number of parts in a report's file, and the sum of their cents."""
    with client.get(path) as answer:
        lines = answer.get_data(as_text=True).splitlines()[1:]
    return len(lines), sum(int(line.split(",")[1]) for line in lines)


def test_a_report_is_written_once_all_parts_have_ended(
    client: FlaskClient, forge_jobs: JobsKit, orders: range
) -> None:
    report = client.post("/yearly/").get_json()["report"]
    assert forge_jobs.assert_batched("yearly report").id == report
    page = f"/yearly/{report}"
    assert client.get(page).get_json()["percent"] == 0
    assert client.get(f"{page}/parts.csv").status_code == 404

    forge_jobs.drain()

    assert client.get(page).get_json() == {"state": "done", "percent": 100, "dead": []}
    assert sum_in(client, f"{page}/parts.csv") == (PARTS, len(orders))


def test_a_part_that_dies_and_one_that_is_cancelled_are_retried(
    app: Flask, client: FlaskClient, forge_jobs: JobsKit, orders: range
) -> None:
    def correct(cents: int) -> None:
        with app.app_context():
            db.session.get_one(Order, orders[6]).cents = cents
            db.session.commit()

    correct(-5)
    started = client.post("/yearly/").get_json()
    page = f"/yearly/{started['report']}"
    with app.app_context():
        forge.cancel(started["parts"][30])
    forge_jobs.drain(raise_errors=False)

    shown = client.get(page).get_json()
    assert shown == {
        "state": "dead", "percent": 96,
        "dead": [started["parts"][7], started["parts"][30]],
    }  # fmt: skip
    assert client.get(f"{page}/parts.csv").status_code == 404

    correct(5)
    assert client.post(f"{page}/retry").get_json() == {"parts": 2}
    forge_jobs.drain()

    assert client.get(page).get_json()["state"] == "done"
    assert sum_in(client, f"{page}/parts.csv") == (PARTS, len(orders) + 4)


def test_an_amount_below_zero_needs_an_accountant(
    app: Flask, forge_jobs: JobsKit, orders: range
) -> None:
    with app.app_context():
        db.session.get_one(Order, orders[6]).cents = -5
        db.session.commit()

    with pytest.raises(WrongAmountError, match="order 7 has -5 cents"):
        forge_jobs.perform(add_up, 7)


def test_there_is_no_such_report(client: FlaskClient) -> None:
    assert client.get("/yearly/01ARZ3NDEKTSV4RRFFQ69G5FAV").status_code == 404
