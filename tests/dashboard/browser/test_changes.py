"""Queues and schedules in a browser, by two operators, with and without script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.handlers import bulk, queues
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.workers import SlotReport
from tests.dashboard.browser import probes
from tests.dashboard.browser.sites import Site, read_anew, running_site
from tests.support.browser import complaints_of, lent_tab
from tests.support.databases import sqlite_url
from tests.support.jobs import having, job_with
from tests.support.sql import Sql

REQUEST = re.compile(r"[Rr]equest \w{8}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose tests have a queue or a schedule of their own each."""
    folder = tmp_path_factory.mktemp("shared")
    url = sqlite_url(folder / "queue.sqlite")
    with running_site(folder, database_url=url) as made:
        made.storage.open()
        yield made


@pytest.fixture(
    params=[
        pytest.param(True, id="script"),
        pytest.param(False, id="plain", marks=pytest.mark.long),
    ]
)
def page(
    request: pytest.FixtureRequest, browser: Browser, shared: Site
) -> Iterator[Page]:
    """A tab of an admin, with and without script."""
    headers = shared.headers["admin"]
    with lent_tab(browser, headers, with_script=request.param) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show at once what the test itself stores, as another process would."""
    read_anew(monkeypatch)


@pytest.fixture
def has_script(request: pytest.FixtureRequest) -> bool:
    """Whether the tab runs scripts."""
    return "[script]" in request.node.name


@pytest.fixture
def name(request: pytest.FixtureRequest, shared: Site, *, has_script: bool) -> str:
    """Return the name of a queue of this test."""
    own = f"{request.function.__name__[5:12]}-{has_script}"
    shared.storage.queues.ensure(own, 4)
    return own


def refused(page: Page, text: str) -> None:
    """Wait for the refusal of a change, which names its request."""
    box = page.locator("#messages .bar-msg, form.refused")
    expect(box).to_contain_text(text)
    expect(box).to_contain_text(REQUEST)


def done(page: Page, text: str) -> None:
    """Wait for the message about a change."""
    expect(page.locator("#messages, #toasts").get_by_text(text).first).to_be_visible()


def test_P08_P12_P14_D11_no_operator_undoes_the_other_s_settings(
    page: Page, shared: Site, name: str, *, has_script: bool
) -> None:
    storage = shared.storage
    address = shared.url(f"/queues?edit={name}")
    page.goto(address)
    page.get_by_label("Slots at most").fill("7")
    storage.queues.change(name, {"retain_dead_for_days": 9})
    if has_script:
        # A refresh does not take away what is being typed.
        page.locator("h1").click()
        with page.expect_response(lambda answer: "only=" in answer.url):
            page.keyboard.press("r")
        expect(page.get_by_label("Keep dead jobs, days")).not_to_have_value("9")

    page.get_by_role("button", name="Save settings").click()

    refused(page, f"the settings of queue '{name}' have changed")
    field = "Slots at most" if has_script else "max_workers"
    expect(page.get_by_label(field)).to_have_value("7")
    stored = storage.queues.get(name)
    assert (stored.max_workers, stored.retain_dead_for_days) == (4, 9)
    page.goto(address)
    expect(page.get_by_label("Keep dead jobs, days")).to_have_value("9")
    page.get_by_label("Slots at most").fill("8")
    page.get_by_role("button", name="Save settings").click()
    done(page, name)
    stored = storage.queues.get(name)
    assert (stored.max_workers, stored.retain_dead_for_days) == (8, 9)


def test_P08_D23_a_schedule_shows_the_expression_that_another_operator_stored(
    page: Page, shared: Site, name: str, *, has_script: bool
) -> None:
    cron = shared.storage.cron
    cron.create(ScheduleDefinition(name, "nightly", "0 3 * * *", catch_up="all"))
    page.goto(shared.url(f"/cron/{name}"))
    field = page.locator("[name=cron_expr]")
    expect(field).to_have_value("0 3 * * *")
    if has_script:
        # Edited and put back, a field follows what is stored as before.
        for each in (field, page.get_by_label("Late runs at most")):
            before = each.input_value()
            each.fill("1")
            each.fill(before)
            each.blur()
    cron.change(
        name,
        lambda stored: replace(stored.with_expression("0 4 * * *"), catch_up_limit=7),
    )

    if has_script:
        page.mouse.move(0, 0)
        page.keyboard.press("r")
        expect(field).to_have_value("0 4 * * *")
        expect(page.get_by_label("Late runs at most")).to_have_value("7")
        page.get_by_label("Attempts at most").fill("3")
        cron.change(name, lambda stored: stored.with_expression("0 5 * * *"))
    page.get_by_role("button", name="Save", exact=True).click()

    refused(page, f"the settings of schedule '{name}' have changed")
    last = "0 5 * * *" if has_script else "0 4 * * *"
    assert cron.get(name).definition.cron_expr == last
    page.goto(shared.url(f"/cron/{name}"))
    field.fill("0 6 * * *")
    page.get_by_role("button", name="Save", exact=True).click()
    done(page, name)
    assert cron.get(name).definition.cron_expr == "0 6 * * *"
    page.goto(shared.url(f"/cron/{name}"))
    page.get_by_label("Expression to try").fill("0 30 6 * * MON-FRI")
    page.get_by_role("button", name="Show the next times").click()
    expect(page.locator("#trial tbody tr")).to_have_count(5)
    page.get_by_role("button", name="Save", exact=True).click()
    done(page, name)
    assert cron.get(name).definition.cron_expr == "0 30 6 * * MON-FRI"


def test_P14_P08_a_pause_and_a_switch_are_undone_at_their_message(
    page: Page, shared: Site, name: str
) -> None:
    storage = shared.storage
    storage.cron.create(ScheduleDefinition(name, "nightly", "0 3 * * *"))
    undo = page.locator("#messages, #toasts").get_by_role("button", name="Undo")
    page.goto(shared.url(f"/queues?ask=pause&queue={name}"))
    page.get_by_role("button", name=f"Pause {name}").click()
    done(page, f"{name} is paused.")
    assert storage.queues.get(name).paused

    undo.click()

    done(page, f"{name} is resumed.")
    assert not storage.queues.get(name).paused
    expect(page.get_by_text(f"{name} is paused.")).to_have_count(0)
    expect(undo).to_have_count(0)
    page.goto(shared.url(f"/cron/{name}"))
    page.get_by_role("button", name="Turn off").click()
    done(page, f"{name} is off.")

    undo.click()

    done(page, f"{name} is on.")
    assert storage.cron.get(name).definition.enabled


def test_P09_D17_queues_schedules_and_jobs_are_run_by_keys_alone(
    browser: Browser, shared: Site
) -> None:
    storage, name = shared.storage, "keys"
    storage.queues.ensure(name, 4)
    job_id = job_with(storage, JobStatus.DEAD, queue_name=name)
    with lent_tab(browser, shared.headers["admin"]) as page:
        press, reach = page.keyboard.press, probes.reach

        page.goto(shared.url(f"/queues?q={name}"))
        reach(page, "Pause")
        press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        reach(page, "Reason")
        page.keyboard.type("the printer is full")
        reach(page, f"Pause {name}")
        press("Enter")
        expect(page.locator(f"#queue-{name}")).to_contain_text("the printer is full")
        # The keyboard stays where it was.
        reach(page, "Resume", 2)
        press("Enter")
        expect(page.locator(f"#queue-{name}")).not_to_contain_text("the printer")
        reach(page, "Settings")
        press("Enter")
        page.wait_for_url("**edit=*")
        reach(page, "Slots at most")
        press("Control+a")
        page.keyboard.type("9")
        press("Enter")
        done(page, name)
        assert probes.scan(page, "#messages, #toasts") == []
        assert storage.queues.get(name).max_workers == 9

        page.goto(shared.url("/cron?new=1"))
        reach(page, "Expression to try")
        page.keyboard.type("0 7 * * *")
        press("Enter")
        expect(page.locator("#trial tbody tr")).to_have_count(5)
        for field in ("Name", "Kind"):
            reach(page, field)
            page.keyboard.type(name)
        reach(page, "Create the schedule")
        press("Enter")
        done(page, name)
        reach(page, f"{name} fires")
        press("Space")
        expect(page.locator(f"#schedule-{name} [aria-checked]")).to_have_text("Off")
        assert not storage.cron.get(name).definition.enabled

        page.goto(shared.url("/jobs"))
        reach(page, "Add a filter, or the id of a job")
        page.keyboard.type(f"queue:{name}")
        press("Enter")
        expect(page.locator("h1")).to_have_text("1 job matches")
        press("j")
        press("x")
        reach(page, "Delete")
        press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        # No key of its own destroys: only the button does.
        press("d")
        assert storage.job_reader.get(job_id).id == job_id
        reach(page, "Delete 1 job")
        press("Enter")
        done(page, "1 job deleted")


def test_P14_D07_a_refused_change_says_so_on_the_page(
    page: Page,
    shared: Site,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_script: bool,
) -> None:
    storage = shared.storage
    complaints = complaints_of(page)
    # A pause: somebody has removed the queue.
    page.goto(shared.url(f"/queues?ask=pause&queue={name}"))
    storage.queues.delete(name)
    page.get_by_role("dialog").get_by_label("Reason").fill("full")
    page.get_by_role("button", name=f"Pause {name}").click()
    refused(page, name)
    if has_script:
        assert probes.scan(page) == []
    # A run at once: somebody has deleted the schedule.
    storage.cron.create(ScheduleDefinition(name, "nightly", "0 3 * * *"))
    page.goto(shared.url(f"/cron?q={name}"))
    storage.cron.delete(name)
    page.get_by_role("button", name="Run now").click()
    refused(page, name)
    # A delete of all that match: more match by now than a busy list may gain.
    monkeypatch.setattr(bulk, "_TOLERATED_ROWS", 0)
    storage.queues.ensure(name, 4)
    job_with(storage, JobStatus.DEAD, queue_name=name)
    page.goto(shared.url(f"/dead?queue={name}&all=1&ask=delete"))
    job_with(storage, JobStatus.DEAD, queue_name=name)
    page.get_by_role("button", name="Delete 1 job").click()
    refused(page, "2 jobs match, 1 were expected")
    assert storage.job_reader.total(having(JobStatus.DEAD, queue_name=name)) == 2
    # A clean-up: the database is away.
    page.goto(shared.url("/queues?ask=cleanup"))
    monkeypatch.setattr(queues, "cleanup", lambda *_, **__: 1 / 0)
    page.get_by_role("button", name=re.compile("Delete .* jobs")).click()
    refused(page, "")
    assert [each for each in complaints if "Failed to load resource" not in each] == []


def test_D21_a_silent_worker_turns_late_then_lost_and_stays(
    page: Page, shared: Site, name: str
) -> None:
    workers = shared.storage.workers
    workers.beat(name, f"the {name}", [name], [SlotReport(f"{name}-slot", name)])
    row = page.locator("#workers").get_by_text(f"the {name}").locator("xpath=../..")
    page.goto(shared.url("/workers"))
    expect(row.locator(".c-green")).to_be_visible()

    grown(shared, 40)
    page.goto(shared.url("/workers"))
    expect(page.locator("#alerts")).to_contain_text(f"the {name} is late")
    expect(row.locator(".c-amber").first).to_be_visible()
    workers.reap([name])
    page.goto(shared.url("/workers"))
    expect(page.locator("#alerts .c-red")).to_contain_text([f"the {name} is lost"])


def grown(site: Site, seconds: float) -> None:
    """Let time pass."""
    url = site.app.config["FORGE_JOBS_DATABASE_URL"]
    Sql(DatabaseSettings.from_url(url)).age(seconds)


def test_P15_D12_a_queue_that_lags_says_for_how_long(
    page: Page, shared: Site, name: str
) -> None:
    shared.storage.jobs.enqueue(NewJob("send", queue_name=name))
    grown(shared, 2 * 3600 + 90)

    page.goto(shared.url("/queues"))
    expect(page.locator(f"#queue-{name} .bad")).to_have_text("2h 1m")
    expect(page.locator("#state")).to_contain_text(re.compile(r"oldest wait \d+h \d+m"))
    page.goto(shared.url("/"))
    expect(page.locator(f"#queue-{name}")).to_contain_text("2h 1m")
    page.goto(shared.url(f"/queues/{name}"))
    expect(page.locator("#tiles")).to_contain_text("2h 1m")
