from __future__ import annotations

import json
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import CancelledError, CancelReason
from flask_forge_jobs.testing import JobsKit
from tests.examples.shop.exports import export
from tests.examples.shop.extensions import db
from tests.examples.shop.models import Order


@pytest.fixture(autouse=True)
def _orders(app: Flask) -> None:
    with app.app_context():
        db.session.add_all(Order(card="fine", cents=cents) for cents in (500, 700))
        db.session.commit()


def test_the_page_follows_its_export(client: FlaskClient, forge_jobs: JobsKit) -> None:
    page = client.post("/exports/", follow_redirects=True)
    link = re.search(r"fetch\((.+)\)", page.text)
    assert link is not None
    status_url = json.loads(link[1])
    assert client.get(status_url).get_json()["status"] == "pending"

    (ran,) = forge_jobs.drain()

    job = client.get(status_url).get_json()
    assert job["result"] == {"orders": 2}
    assert job["progress"].items() >= {
        "done": 2, "total": 2, "message": "order 2",
    }.items()  # fmt: skip
    with client.get(f"/exports/{ran.job.id}/orders.csv") as file:
        lines = file.get_data(as_text=True).splitlines()
    assert lines == ["order,cents,state", "1,500,placed", "2,700,placed"]


def test_an_export_that_waits_can_be_cancelled(
    client: FlaskClient, forge_jobs: JobsKit
) -> None:
    page = client.post("/exports/").location

    client.post(f"{page}/cancel")

    assert forge_jobs.drain() == []


def test_an_export_that_runs_can_be_cancelled(app: Flask, forge_jobs: JobsKit) -> None:
    context = forge_jobs.context(export)
    context.cancel.cancel(CancelReason.USER)

    with app.app_context(), pytest.raises(CancelledError):
        export.function(context)


def test_an_unknown_export_has_no_page(client: FlaskClient) -> None:
    assert client.get("/exports/01ARZ3NDEKTSV4RRFFQ69G5FAV").status_code == 404
