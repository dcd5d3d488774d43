"""The shop's tasks: what fails says why, and the cause can be mended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from flask import Flask

from flask_forge_jobs.demo import shop
from flask_forge_jobs.demo.flows import FLOWS
from flask_forge_jobs.server import create_app
from flask_forge_jobs.state import state_of


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    environ = {"JOBS_CONFIG_DIR": str(tmp_path), "JOBS_DATA_DIR": str(tmp_path)}
    made = create_app(environ, demo=tmp_path / "queue.sqlite")
    state_of(made).storage.queues.ensure(shop.LEDGER)
    with made.app_context():
        yield made
    state_of(made).storage.close()


def test_an_order_is_closed_once_its_queue_is_resumed(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    queues = state_of(app).storage.queues
    queues.change(shop.LEDGER, {"paused": True})

    with (
        caplog.at_level(logging.INFO, shop.logger.name),
        pytest.raises(shop.LedgerEntryMissingError, match="queue ledger is paused"),
    ):
        shop.close_order(order=4711)
    queues.change(shop.LEDGER, {"paused": False})
    shop.close_order(order=4711)

    assert "the queue ledger is paused, so nothing writes entries" in caplog.text


def test_one_order_fares_the_same_every_time() -> None:
    shares = [shop.share(order, "reset") for order in range(5000)]

    assert shares == [shop.share(order, "reset") for order in range(5000)]
    assert 120 < sum(share < shop.RESET for share in shares) < 180
    assert 0.48 < sum(shares) / len(shares) < 0.52


@pytest.mark.usefixtures("app")
def test_an_order_fails_as_the_past_says() -> None:
    by_kind = {flow.kind: flow for flow in FLOWS}
    order = next(n for n in count() if shop.share(n, "reset") < shop.RESET)

    with pytest.raises(ConnectionResetError) as caught:
        shop.send_receipt(order=order, to="a@shop.example")

    assert by_kind["send_receipt"].error == f"ConnectionResetError: {caught.value}"


def test_the_past_has_the_kinds_and_queues_of_the_tasks() -> None:
    tasks = {(task.kind, task.defaults.queue) for task in shop.TASKS}

    assert {(flow.kind, flow.queue_name) for flow in FLOWS} == tasks
