"""The shop as it is deployed: its migrations, gunicorn, and real databases."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import flask_migrate
import pytest
from flask import Flask

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.handlers.cron import change_schedule
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.examples.shop import create_app
from tests.examples.shop.extensions import db
from tests.examples.shop.orders import charge
from tests.examples.shop.reports import close_day
from tests.support.applications import worker
from tests.support.commands import ROOT
from tests.support.postgres import fresh_database
from tests.support.programs import Program, running
from tests.support.waiting import wait_until

ORDERS, SERVER_WORKERS = 60, 3
REFUSED = range(0, ORDERS, 5)
UNFINISHED = JobFilter(statuses=[JobStatus.PENDING, JobStatus.IN_PROGRESS])


@pytest.fixture
def shop_url(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[str]:
    """One database for the tables of the shop and those of its jobs."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path / 'shop.sqlite'}"
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as url:
        yield url


class Browser:
    """Somebody who uses the shop."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def open(self, path: str, form: dict[str, object] | None = None) -> tuple[str, str]:
        """Return address and text of the page that a request ends at."""
        data = None if form is None else urlencode(form).encode()
        with urlopen(self._address + path, data, timeout=60) as answer:
            return answer.url.removeprefix(self._address), answer.read().decode()

    def json(self, path: str, form: dict[str, object] | None = None) -> Any:
        """Return what a request answers."""
        return json.loads(self.open(path, form)[1])

    def place(self, number: int) -> Any:
        """Place an order, some with a stolen card; return its id."""
        card = "stolen" if number in REFUSED else "fine"
        return self.json("/orders/", {"card": card, "cents": number})["order"]

    def state(self, order: int) -> str:
        """Return what has become of an order."""
        return str(self.json(f"/orders/{order}")["state"])

    def export(self) -> tuple[str, str]:
        """Start an export; return the paths of its page and of its status link."""
        path, page = self.open("/exports/", {})
        link = re.search(r"fetch\((.+)\)", page)
        assert link is not None, page
        return path, json.loads(link[1]).removeprefix(self._address)


@contextlib.contextmanager
def serving(shop_url: str, folder: Path) -> Iterator[Program]:
    """Migrate the database, then run the shop and its jobs in gunicorn's processes."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "FLASK_APP": f"tests.examples.shop:create_app(instance_path={str(folder)!r})",
        "FLASK_SQLALCHEMY_DATABASE_URI": shop_url.replace("sql:", "sql+psycopg2:"),
        "FLASK_FORGE_JOBS_EMBEDDED_WORKER": "on",
    }
    python = (sys.executable, "-m")
    subprocess.run([*python, "flask", "db", "upgrade"], env=environ, check=True)
    gunicorn = [*python, "gunicorn", "--bind=127.0.0.1:0", environ["FLASK_APP"]]
    gunicorn += [f"--workers={SERVER_WORKERS}"]
    with running(gunicorn, environ=environ, folder=folder) as server:
        yield server


@pytest.mark.long
def test_the_shop_works_under_gunicorn(shop_url: str, tmp_path: Path) -> None:
    """Three processes take orders and run jobs on the database of the orders."""
    with (
        contextlib.closing(open_storage(DatabaseSettings.from_url(shop_url))) as jobs,
        serving(shop_url, tmp_path) as server,
    ):
        browser = Browser(server.port())
        wait_until(lambda: len(jobs.workers.all()) == SERVER_WORKERS, "all are up")

        _orders_are_paid_or_refused(browser, jobs)
        _an_export_is_followed_and_cancelled(browser)
        _an_order_is_cancelled_between_attempts(browser, jobs)
        _a_day_is_closed(browser, jobs)
        assert server.stop() == 0


def _orders_are_paid_or_refused(browser: Browser, jobs: Storage) -> None:
    with ThreadPoolExecutor(8) as threads:
        placed = list(threads.map(browser.place, range(ORDERS)))

    def states() -> list[str]:
        return [browser.state(order) for order in placed]

    wait_until(lambda: "placed" not in states(), "every order is paid or refused")

    assert sorted(placed) == list(range(1, ORDERS + 1))
    assert states() == [
        "refused" if each in REFUSED else "paid" for each in range(ORDERS)
    ]
    wait_until(
        lambda: not jobs.job_reader.page(UNFINISHED, 1, 0).rows, "jobs have ended"
    )
    rows = jobs.job_reader.page(JobFilter(kinds=[charge.kind]), 2 * ORDERS, 0).rows
    ends = Counter((row.status, row.attempts) for row in rows)
    paid = ORDERS - len(REFUSED)
    assert ends == {(JobStatus.DONE, 1): paid, (JobStatus.DEAD, 1): len(REFUSED)}


def _an_export_is_followed_and_cancelled(browser: Browser) -> None:
    page, status = browser.export()
    wait_until(lambda: browser.json(status)["progress"], "an export goes on")
    assert browser.json(status)["progress"]["total"] == ORDERS
    browser.open(f"{page}/cancel", {})
    wait_until(lambda: browser.json(status)["is_ready"], "it has been cancelled")
    assert not browser.json(status)["is_successful"]

    page, status = browser.export()
    wait_until(lambda: browser.json(status)["is_ready"], "another one has ended")
    assert browser.json(status)["result"] == {"orders": ORDERS}
    _, file = browser.open(f"{page}/orders.csv")
    assert len(file.splitlines()) == 1 + ORDERS


def _an_order_is_cancelled_between_attempts(browser: Browser, jobs: Storage) -> None:
    placed = browser.json("/orders/", {"card": "offline", "cents": 1})
    get = partial(jobs.job_reader.get, placed["job"])
    wait_until(lambda: get().status is JobStatus.FAILED, "it waits for a retry")
    jobs.job_admin.cancel(placed["job"])
    wait_until(lambda: browser.state(placed["order"]) == "refused", "the shop is told")


def _a_day_is_closed(browser: Browser, jobs: Storage) -> None:
    change_schedule(jobs, close_day.kind, {"cron_expr": "* * * * * *"})
    wait_until(lambda: browser.json("/reports/"), "a day is closed")
    report = browser.json("/reports/")[0]
    cents = sum(each for each in range(ORDERS) if each not in REFUSED)
    assert report == {"report": 1, "orders": ORDERS - len(REFUSED), "cents": cents}


def test_two_shops_in_one_process_do_not_meet(tmp_path: Path) -> None:
    """They share the tasks, and nothing else."""

    def open_shop(name: str) -> Flask:
        config = {"TESTING": True, "FORGE_JOBS_INLINE": "off"}  # a worker runs them
        shop = create_app(config, instance_path=str(tmp_path / name))
        with shop.app_context():
            flask_migrate.upgrade()
        stack.callback(state_of(shop).storage.close)
        return shop

    def state_of_order(shop: Flask) -> object:
        return shop.test_client().get("/orders/1").get_json()["state"]

    with contextlib.ExitStack() as stack:
        shop, other = open_shop("shop"), open_shop("other")
        for each in (shop, other):
            each.test_client().post("/orders/", data={"card": "fine", "cents": 5})
        with worker(other) as runs:
            runs.wait_for(1)

        assert (state_of_order(shop), state_of_order(other)) == ("placed", "paid")
        for each in (shop, other):
            with each.app_context():
                db.engine.dispose()
