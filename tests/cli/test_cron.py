"""``flask forge-jobs cron``; its entries are tested in ``test_local_api``."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from tests.cli.console import Console

CREATE = ("cron", "create", "nightly", "--kind", "report", "--cron", "0 3 * * *")


def test_a_schedule_is_created_listed_changed_and_deleted(console: Console) -> None:
    made = console.text(
        *CREATE, "--payload", '{"day": 1}', "--timezone", "Europe/Berlin"
    )
    head, line = console.text("cron", "list").splitlines()
    changed = console.text("cron", "set", "nightly", "--catch-up", "all", "--no-dedupe")
    (shown,) = console.documents("cron", "show", "nightly")
    deleted = console.text("cron", "delete", "nightly", "--yes")

    assert made == "schedule nightly created\n"
    assert head.split()[:5] == ["SCHEDULE", "CRON", "ZONE", "KIND", "QUEUE"]
    assert line.split()[:9] == [
        "nightly", "0", "3", "*", "*", "*", "Europe/Berlin", "report", "-",
    ]  # fmt: skip
    assert changed == "schedule nightly changed\n"
    assert (shown["payload"], shown["catch_up"]) == ({"day": 1}, "all")
    assert deleted == "schedule nightly deleted\n"
    nothing = console.text("cron", "list")
    assert nothing.startswith("there is no schedule")
    assert "when it starts" in nothing


def test_a_schedule_is_triggered_and_shows_its_run(console: Console) -> None:
    console.text(*CREATE)
    before = console.text("cron", "runs", "nightly")

    job_id = console.text("cron", "trigger", "nightly").strip()

    assert before == "the schedule has made no job yet\n"
    (run,) = console.documents("cron", "runs", "nightly")
    assert run["job_id"] == job_id
    text = console.text("cron", "show", "nightly")
    assert text.startswith("schedule nightly\n")
    assert job_id in text


def test_schedules_are_disabled_and_enabled(console: Console) -> None:
    console.text(*CREATE)

    off = console.text("cron", "disable", "nightly")
    (disabled,) = console.documents("cron", "list")
    on = console.text("cron", "enable", "nightly")
    (enabled,) = console.documents("cron", "list")

    assert (off, on) == ("schedule nightly disabled\n", "schedule nightly enabled\n")
    assert (disabled["enabled"], enabled["enabled"]) == (False, True)


def test_the_next_firings_of_a_schedule_and_of_an_expression(console: Console) -> None:
    console.text(*CREATE, "--timezone", "Europe/Berlin")

    (of_schedule,) = console.documents("cron", "next", "nightly", "--count", "2")
    text = console.text("cron", "next", "0 9 * * 1-5", "--count", "3")

    assert len(of_schedule["next"]) == 2
    at = datetime.fromisoformat(of_schedule["next"][0])
    assert at.astimezone(ZoneInfo("Europe/Berlin")).hour == 3
    assert len(text.splitlines()) == 4
    assert "  in " in text.splitlines()[1]


def test_command_lines_that_are_wrong(console: Console) -> None:
    assert "--kind is required" in console.refusal(
        "cron", "create", "x", "--cron", "* * * * *"
    )
    assert "--cron is required" in console.refusal("cron", "create", "x", "--kind", "k")
    assert "--kind KIND --cron EXPRESSION" in console.refusal(
        "cron", "create", "x", "0 3 * * *", "report"
    )
    assert "is not JSON" in console.refusal(*CREATE, "--payload", "{")
    assert "cron_expr" in console.refusal("cron", "next", "61 * * * *")
    assert len(console.text("cron", "next", "@daily").splitlines()) == 6
    assert "nowhere" in console.refusal("cron", "trigger", "nowhere")
    console.text(*CREATE)
    assert "give an option" in console.refusal("cron", "set", "nightly")
    assert "add --yes" in console.refusal("cron", "delete", "nightly")
