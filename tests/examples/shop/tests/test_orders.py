from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.testing import JobsKit
from tests.examples.shop.bank import bank
from tests.examples.shop.extensions import db, forge
from tests.examples.shop.orders import charge, refuse


def place(client: FlaskClient, card: str = "fine") -> dict[str, str]:
    answer = client.post("/orders/", data={"card": card, "cents": 500})
    placed: dict[str, str] = answer.get_json()
    return placed


def state(client: FlaskClient, placed: dict[str, str]) -> str:
    return str(client.get(f"/orders/{placed['order']}").get_json()["state"])


def test_an_order_is_paid(client: FlaskClient, forge_jobs: JobsKit) -> None:
    placed = place(client)
    forge_jobs.assert_enqueued(charge, args={"order_id": placed["order"]})
    assert state(client, placed) == "placed"

    forge_jobs.drain()

    assert state(client, placed) == "paid"


def test_an_order_that_is_not_stored_has_no_job(
    app: Flask, forge_jobs: JobsKit
) -> None:
    with app.app_context():
        charge.options(connection=db.session).enqueue(1)
        db.session.rollback()

    forge_jobs.assert_not_enqueued(charge)


def test_a_stolen_card_is_refused_at_once(
    client: FlaskClient, forge_jobs: JobsKit
) -> None:
    placed = place(client, card="stolen")

    charged, told = forge_jobs.drain(raise_errors=False)

    assert (charged.status, charged.job.attempts) == ("dead", 1)
    assert (told.kind, told.status) == (refuse.kind, "done")
    assert state(client, placed) == "refused"


def test_a_bank_that_is_away_is_asked_again(
    client: FlaskClient, forge_jobs: JobsKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = place(client, card="offline")
    (failed,) = forge_jobs.drain(raise_errors=False)
    assert failed.status == "failed"

    monkeypatch.setattr(bank, "charge", lambda *_args, **_named: None)
    forge_jobs.clock.move(10)
    forge_jobs.drain()

    assert state(client, placed) == "paid"


def test_an_order_is_refused_after_the_last_attempt(
    client: FlaskClient, forge_jobs: JobsKit
) -> None:
    placed = place(client, card="offline")

    for delay_s in (0, 10, 40, 160):
        forge_jobs.clock.move(delay_s)
        forge_jobs.drain(raise_errors=False)

    assert state(client, placed) == "refused"


def test_an_order_can_be_cancelled(
    app: Flask, client: FlaskClient, forge_jobs: JobsKit
) -> None:
    placed = place(client)

    with app.app_context():
        forge.cancel(placed["job"])
    forge_jobs.drain()

    assert state(client, placed) == "refused"
