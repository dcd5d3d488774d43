"""The pages of schedules, through the real application."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.dashboard.pages.cron import PAGE_SIZE
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import open_page
from tests.support.jobs import claim_one
from tests.support.sql import Sql

HOSTILE = "<script>alert(1)</script>\"'&"


def schedule(
    storage: Storage, name: str, expr: str = "0 5 * * *", **more: object
) -> None:
    storage.cron.create(
        ScheduleDefinition(name=name, kind="send", cron_expr=expr, **more)  # type: ignore[arg-type]
    )


def trigger(storage: Storage, name: str) -> str:
    job = storage.cron.get(name).definition.job(lambda _kind: "mail")
    return storage.jobs.enqueue(job).id


def page_of(storage: Storage, path: str = "/cron", role: str = "admin") -> Element:
    """Return a page as a caller sees it."""
    client = client_of_principal(storage, Principal.with_role("ann", role))
    response = open_page(client, PREFIX + path)
    assert response.status_code == 200, response.text
    return parsed(response.text)


def names_of(page: Element) -> list[str]:
    """Return the names in the list, in order."""
    rows = [row for row in page.all("tr") if row["id"].startswith("schedule-")]
    return [row.find("a").text for row in rows]


def test_without_a_schedule_the_page_says_how_one_comes(storage: Storage) -> None:
    page = page_of(storage)

    assert page.find("h1").text == "No schedule is registered"
    assert "A worker stores the schedules" in page.find("#list").text


def test_the_way_back_stands_above_the_name_as_on_other_pages(
    storage: Storage,
) -> None:
    schedule(storage, "nightly")

    head = page_of(storage, "/cron/nightly").find("#headline")

    elements = [part for part in head.parts if isinstance(part, Element)]
    assert elements[0]["class"] == "crumb"


def test_the_list_says_when_and_in_words(storage: Storage) -> None:
    schedule(storage, "renew", "0 5 * * *", timezone="Europe/Berlin")
    schedule(storage, "off", "0 * * * *", enabled=False)

    page = page_of(storage)

    assert page.find("h1").text.startswith("2 schedules, 1 on. Next fires in ")
    row = page.find("#schedule-renew").text
    assert "send → router" in row
    assert "At 05:00" in row
    assert "Europe/Berlin" in row
    assert "never" in row
    assert page.find("#schedule-off")["class"] == "off"
    strips = [svg["aria-label"] for svg in page.find("tbody").all("svg")]
    assert strips == ["0 firings before now, 1 to come"]
    assert "It does not fire" in page.find("#schedule-off").text


def test_the_list_says_when_the_last_firing_was(storage: Storage, sql: Sql) -> None:
    schedule(storage, "often", "* * * * *")
    trigger(storage, "often")
    claim_one(storage, queue_name="mail")
    sql.run("UPDATE forge_job SET fire_at = enqueued_at - 240000000")

    assert "In progress 4m ago" in page_of(storage).find("#schedule-often").text


def test_each_of_many_schedules_has_its_whole_day(storage: Storage) -> None:
    for number in range(70):
        schedule(storage, f"hourly-{number}", f"{number % 60} * * * *")

    strips = page_of(storage).find("tbody").all("svg")

    assert len(strips) == PAGE_SIZE
    assert {each["aria-label"] for each in strips} <= {
        f"0 firings before now, {number} to come" for number in (23, 24, 25)
    }
    # The hours to come have a mark each.
    marks = [each.all("path")[1]["d"].count("v") for each in strips]
    assert min(marks) >= 23


def test_a_daily_schedule_is_on_the_axis_and_a_yearly_one_says_when(
    storage: Storage,
) -> None:
    """An axis of twelve hours ahead hid daily ones, and a row without a mark said
    nothing.
    """
    now = from_micros(SystemClock().now_us())
    later = now + timedelta(hours=20)
    schedule(storage, "daily", f"{later.minute} {later.hour} * * *")
    far = now + timedelta(days=40)
    schedule(storage, "yearly", f"30 7 {far.day} {far.month} *")

    page = page_of(storage)

    (strip,) = page.find("#schedule-daily").all("svg")
    assert strip["aria-label"] == "0 firings before now, 1 to come"
    yearly = page.find("#schedule-yearly")
    assert yearly.all("svg") == []
    assert f"None here, next {far:%a %-d %b %Y} 07:30 UTC" in yearly.text
    (labels,) = page.find("thead").all("svg")
    (here,) = (each["x"] for each in labels.all("text") if each.text == "now")
    assert here == "25%"
    assert "from 8 hours ago" in page.find("#list").text
    assert "to 24 hours ahead" in page.find("#list").text


def test_a_firing_that_is_late_was_due(storage: Storage, sql: Sql) -> None:
    schedule(storage, "soon", "* * * * *")
    sql.age(120)

    title = page_of(storage).find("h1").text

    assert title.startswith("1 schedule, 1 on. The next was due ")
    assert title.endswith("m ago")


def test_the_list_is_filtered_and_sorted(storage: Storage) -> None:
    schedule(storage, "a-late", "0 0 1 1 *")
    schedule(storage, "b-soon", "* * * * *")
    schedule(storage, "c-off", "* * * * *", enabled=False)

    # One that is off comes last.
    assert names_of(page_of(storage)) == ["b-soon", "a-late", "c-off"]
    by_name = names_of(page_of(storage, "/cron?sort=name"))
    assert by_name == ["a-late", "b-soon", "c-off"]
    assert names_of(page_of(storage, "/cron?sort=-name"))[0] == "c-off"
    assert names_of(page_of(storage, "/cron?sort=next"))[0] in {"b-soon", "c-off"}
    assert names_of(page_of(storage, "/cron?q=SOON")) == ["b-soon"]
    for number in (10, 2):
        schedule(storage, f"d-{number}", "0 0 1 1 *")
    assert names_of(page_of(storage, "/cron?q=d-")) == ["d-2", "d-10"]
    assert "No schedule matches" in page_of(storage, "/cron?q=none").find("#list").text


def test_programs_get_their_json_as_before(storage: Storage) -> None:
    schedule(storage, "renew")
    client = client_of_principal(storage, Principal.with_role("ann", "viewer"))

    answer = client.get(f"{PREFIX}/cron")

    assert answer.is_json
    assert [each["name"] for each in answer.get_json()] == ["renew"]


def test_a_new_schedule_is_tried_out_in_two_zones(storage: Storage) -> None:
    page = page_of(storage, "/cron?new=1&expr=0+30+7+*+*+*&zone=Asia/Tokyo")

    trial = page.find("#trial")
    assert trial.find("h3").text == "At 07:30, every day, Asia/Tokyo"
    cells = [[cell.text for cell in row.all("td")] for row in trial.all("tr")[1:]]
    assert len(cells) == 5
    assert cells[0][0].endswith("07:30")
    assert cells[0][1].endswith("22:30")
    # The form that stores it has it in fields of its own, which users see.
    fields = [each.attributes for each in page.all("input")]
    stored = {
        each.get("name"): each["value"]
        for each in fields
        if each.get("class") == "in" and each.get("name") in ("cron_expr", "timezone")
    }
    assert stored == {"cron_expr": "0 30 7 * * *", "timezone": "Asia/Tokyo"}


@pytest.mark.parametrize(
    ("query", "fault"),
    [("expr=61+*+*+*+*", "cron_expr"), ("expr=*+*+*+*+*&zone=X", "timezone")],
)
def test_a_bad_expression_says_its_fault(
    storage: Storage, query: str, fault: str
) -> None:
    trial = page_of(storage, f"/cron?new=1&{query}").find("#trial")

    assert trial.text.startswith(fault)


def test_one_schedule_has_its_settings_and_runs(storage: Storage) -> None:
    schedule(storage, "renew", payload='{"token":"s3cret","n":1}', max_attempts=3)
    job_id = trigger(storage, "renew")

    page = page_of(storage, "/cron/renew")

    assert page.find("h1").text.startswith("renew fires in ")
    assert "s3cret" not in page.text
    assert json.loads(page.find("pre").text)["n"] == 1
    assert "masked values" in page.text
    assert job_id[-7:] in page.find("#runs").text
    assert "by hand" in page.find("#runs").text
    values = {each["name"]: each["value"] for each in page.all("input")}
    assert values["max_attempts"] == "3"


def test_run_now_asks_only_while_a_job_is_unfinished(storage: Storage) -> None:
    schedule(storage, "renew")

    assert "?ask=run" not in str(
        [a["href"] for a in page_of(storage, "/cron/renew").all("a")]
    )
    trigger(storage, "renew")
    page = page_of(storage, "/cron/renew?ask=run")

    assert "?ask=run" in str([a["href"] for a in page.find("#headline").all("a")])
    assert "still waiting" in page.find("dialog").text


def test_a_viewer_is_offered_no_change(storage: Storage) -> None:
    schedule(storage, "renew")

    for path in ("/cron?new=1", "/cron/renew?ask=delete"):
        page = page_of(storage, path, "viewer")

        forms = page.find("main").all("form")
        assert [form for form in forms if form["method"] == "post"] == []
        assert page.all("dialog") == []


def test_a_viewer_reads_the_settings(storage: Storage) -> None:
    schedule(storage, "renew", "0 5 * * *", timezone="Europe/Berlin")

    settings = page_of(storage, "/cron/renew", "viewer").find("#settings")

    assert not settings.all("form")
    facts = [
        (each.find("dt").text, each.find("dd").text)
        for each in settings.find("dl").all("div")
    ]
    assert facts[:2] == [("Expression", "0 5 * * *"), ("Time zone", "Europe/Berlin")]
    assert facts[-2:] == [
        ("Unfinished job", "Each firing makes another job"),
        ("Missed firings", "Run once, late"),
    ]


def test_a_schedule_says_whether_it_has_fired(storage: Storage, sql: Sql) -> None:
    """Without a stored run it said that finished jobs are deleted."""
    schedule(storage, "renew")

    assert "It has not fired yet" in page_of(storage, "/cron/renew").find("#runs").text
    sql.run("UPDATE forge_cron SET last_fired_at = created_at")
    runs = page_of(storage, "/cron/renew").find("#runs").text
    assert "No run is stored" in runs
    assert "It fired last at 20" in runs


def test_a_bad_cursor_shows_the_first_page(storage: Storage) -> None:
    schedule(storage, "renew")
    trigger(storage, "renew")

    page = page_of(storage, "/cron/renew?cursor=nonsense")

    assert len(page.find("#runs").all("tr")) == 2


def test_an_unknown_schedule_is_a_page_of_its_own(storage: Storage) -> None:
    client = client_of_principal(storage, Principal.with_role("ann", "viewer"))

    assert open_page(client, f"{PREFIX}/cron/none").status_code == 404


def test_hostile_texts_stay_texts(storage: Storage) -> None:
    definition = ScheduleDefinition(
        name="renew", kind=HOSTILE, cron_expr="* * * * *", payload=json.dumps(HOSTILE)
    )
    storage.cron.create(definition)

    for path in ("/cron", "/cron/renew", "/cron?new=1&expr=%3Cscript%3E&zone=%3Cb%3E"):
        page = page_of(storage, path)

        assert all(script["src"] for script in page.all("script"))
        assert page.all("b") == [] or all("<b>" not in b.text for b in page.all("b"))
    assert HOSTILE in page_of(storage).find("#list").text
