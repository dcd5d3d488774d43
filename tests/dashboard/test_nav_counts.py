"""The numbers of errors and schedules in the navigation, for each caller."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from flask_forge_jobs.api.routes import Reach
from flask_forge_jobs.auth.permissions import ROLES, Principal
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import parsed
from tests.dashboard.sites import open_page, with_page
from tests.dashboard.test_frame import TEMPLATE, tried
from tests.support.jobs import run


def test_errors_and_schedules_are_counted_for_the_caller(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    storage.cron.create(ScheduleDefinition("nightly", "report", "0 3 * * *"))
    for name, error in (("mail", "no route"), ("bank", "no card"), ("bank", "no key")):
        storage.jobs.enqueue(NewJob("send", queue_name=name))
        run(storage, Failed(error), queue_name=name)

    def counts(queues: frozenset[str] | None) -> dict[str, str]:
        caller = Principal("ann", ROLES["viewer"], queues)
        client = with_page(
            monkeypatch, TEMPLATE, tried, storage=storage, principal=caller,
            nav="Try", reach=Reach.VIEW,
        )  # fmt: skip
        nav = parsed(open_page(client, f"{PREFIX}/try").text).find("#pages")
        return {
            link.find("span").text: "".join(count.text for count in link.all("b"))
            for link in nav.all("a")
        }

    whole, limited = counts(None), counts(frozenset(("mail",)))
    assert (whole["Errors"], whole["Cron"]) == ("3", "1")
    assert limited["Errors"] == "1"
    # Schedules are of the whole service.
    assert "Cron" not in limited


def test_a_refresh_reads_them_once_a_minute(storage: Storage) -> None:
    client = client_of_principal(storage, Principal.with_role("ann", "viewer"))
    path = f"{PREFIX}/queues"
    open_page(client, path)
    storage.cron.create(ScheduleDefinition("nightly", "report", "0 3 * * *"))

    nav = parsed(open_page(client, f"{path}?only=pages").text).find("#pages")

    (cron,) = [link for link in nav.all("a") if link["title"] == "Cron"]
    assert cron.find("b").text == "0"


def test_the_overview_reads_the_errors_of_its_navigation_once(
    monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    run(storage, Failed("no route"), queue_name="mail")
    client = client_of_principal(storage, Principal.with_role("ann", "viewer"))
    read = Mock(wraps=storage.errors.page)
    monkeypatch.setattr(storage.errors, "page", read)

    shown = parsed(open_page(client, f"{PREFIX}/").text)

    (errors,) = [
        link for link in shown.find("#pages").all("a") if link["title"] == "Errors"
    ]
    assert errors.find("b").text == "1"
    assert "All 1" in shown.find("#errors").text
    read.assert_called_once()
