"""The pages of queues, through the real application."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.dashboard import queue_reads
from flask_forge_jobs.dashboard.queue_rows import QueueRow
from flask_forge_jobs.handlers.queue_rates import QueueRates
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.queues import ChangeNote, QueueSettings
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.markup import Element, parsed
from tests.dashboard.sites import open_page
from tests.support.jobs import claim_one, run
from tests.support.sql import Sql
from tests.support.threads import LIMIT_S

HOSTILE = "<script>alert(1)</script>\"'&"


def page_of(
    storage: Storage, path: str = "/queues", role: str = "admin", **more: object
) -> Element:
    """Return a page as a caller sees it."""
    queues = more.pop("queues", None)
    principal = Principal.with_role("ann", role, queues=queues)  # type: ignore[arg-type]
    client = client_of_principal(storage, principal, **more)
    response = open_page(client, PREFIX + path)
    assert response.status_code == 200, response.text
    return parsed(response.text)


def names_of(page: Element) -> list[str]:
    """Return the names in the list, in order."""
    return [row.find("th").text for row in page.all("tr") if "queue-" in row["id"]]


def changes(page: Element) -> list[Element]:
    """Return the forms within the page that change something."""
    forms = page.find("main").all("form")
    return [form for form in forms if form["method"] == "post"]


def test_two_people_read_the_page_at_the_same_time(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Python 3.11 one waited for the other's read, however slow."""
    both = threading.Barrier(2)
    read = queue_reads.rows_of

    def together(*given: Any) -> Sequence[QueueRow]:
        both.wait(LIMIT_S)
        return read(*given)

    monkeypatch.setattr("flask_forge_jobs.dashboard.pages.queues.rows_of", together)
    with ThreadPoolExecutor(2) as people:
        pages = [people.submit(page_of, storage) for _ in range(2)]

        assert all(page.result(2 * LIMIT_S) for page in pages)


def test_without_a_queue_the_page_says_how_one_comes(storage: Storage) -> None:
    page = page_of(storage)

    assert page.find("h1").text == "No queue is registered"
    assert "comes with its first job" in page.find("#list").text


def test_the_headline_counts_the_queues_that_do_not_run(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.queues.create(QueueSettings("bulk", max_workers=0))
    storage.queues.create(QueueSettings("media"))
    storage.queues.create(QueueSettings("slow"))
    slots = [SlotReport("1", "mail"), SlotReport("2", "slow")]
    storage.workers.beat("worker-1", None, ["mail", "slow"], slots)
    note = ChangeNote("dana", "CDN migration")
    storage.queues.set_paused_many(["media"], paused=True, note=note)
    storage.queues.cool_down(["slow"], 60.0)

    page = page_of(storage)

    assert page.find("h1").text == (
        "4 queues: 1 runs, 1 paused, 1 cooling down, 1 without slots"
    )
    assert "dana" in page.find("#queue-media").text
    assert "“CDN migration”" in page.find("#queue-media").text


def test_a_queue_that_cools_down_without_a_worker_is_counted_as_both(
    storage: Storage,
) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.queues.create(QueueSettings("media"))
    storage.queues.cool_down(["mail", "media"], 60.0)
    note = ChangeNote("dana", "CDN migration")
    storage.queues.set_paused_many(["media"], paused=True, note=note)

    page = page_of(storage)
    row = page.find("#queue-mail")
    one = page_of(storage, "/queues/mail").find("#headline").text

    assert page.find("h1").text == (
        "2 queues: 1 paused, 1 without a worker (1 also cools down)"
    )
    assert "No worker" in row.text
    assert "Cools down" in row.text
    assert "End now" in row.text
    assert "Cools down" not in page.find("#queue-media").text
    assert "Cooling down" in one
    assert one.count("End now") == 1
    assert "Cools down" in page_of(storage, "/").find("#queue-mail").text


def test_a_queue_without_a_worker_is_nowhere_counted_as_behind(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    storage.jobs.enqueue(NewJob("send", queue_name="bank"))
    storage.workers.beat("worker-1", None, ["mail"], [SlotReport("1", "mail")])
    Sql(database_settings).run(
        "UPDATE forge_job SET scheduled_at = scheduled_at - 1000000000"
    )

    page = page_of(storage)

    assert page.find("h1").text == "2 queues: 1 behind, 1 without a worker"
    assert "Behind 1" in page.find("#filters").text


def test_the_list_is_filtered_sorted_and_cut_into_pages(storage: Storage) -> None:
    for number in range(30):
        storage.queues.create(QueueSettings(f"q{number:02}", paused=number % 3 == 0))
    storage.jobs.enqueue_many([NewJob("send", queue_name="q07")] * 3)

    assert names_of(page_of(storage, "/queues?per=20")) == [
        f"q{number:02}" for number in range(20)
    ]
    assert names_of(page_of(storage, "/queues?per=20&page=2"))[0] == "q20"
    # A page beyond the last one is the last one.
    assert names_of(page_of(storage, "/queues?per=20&page=999"))[0] == "q20"
    assert names_of(page_of(storage, "/queues?sort=-waiting"))[0] == "q07"
    assert names_of(page_of(storage, "/queues?q=Q2&sort=-name"))[0] == "q29"
    assert names_of(page_of(storage, "/queues?q=nothing")) == []
    assert "none matches" in page_of(storage, "/queues?q=nothing").find("#list").text


@pytest.mark.parametrize(("threads", "note"), [(4, ["They share 4 slots."]), (12, [])])
def test_it_says_that_queues_share_their_slots(
    storage: Storage, threads: int, note: list[str]
) -> None:
    names = ["a", "b", "c"]
    for name in names:
        storage.queues.ensure(name, 4)
    slots = [SlotReport(f"{name}-{n}-w", name) for name in names for n in range(4)]
    process = WorkerProcess(threads=threads)
    storage.workers.beat("w", None, names, slots, process=process)

    assert [each.text for each in page_of(storage).find("#headline").all("p")] == note


def test_invalid_parameters_fall_back_and_leave_the_links(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))

    page = page_of(storage, "/queues?sort=nonsense&per=7&page=x&state=bad&foo=1&q=ma")

    assert names_of(page) == ["mail"]
    links = [
        link["href"] for link in page.find("#list").all("a") if "?" in link["href"]
    ]
    assert links
    for href in links:
        assert "nonsense" not in href
        assert "foo" not in href
        assert "q=ma" in href


def test_a_viewer_is_offered_no_change(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))

    for path in ("/queues", "/queues?edit=mail&ask=pause&queue=mail"):
        page = page_of(storage, path, "viewer")

        assert [form["action"] for form in changes(page)] == []
        assert "Pause" not in page.find("main").text


def test_a_read_only_service_offers_no_change(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))

    page = page_of(storage, "/queues?edit=mail", read_only=True)

    assert [form["action"] for form in changes(page)] == []


def test_a_limited_caller_sees_its_queues_only(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.queues.create(QueueSettings("secret-queue"))

    page = page_of(storage, role="operator", queues={"mail"})

    assert page.find("h1").text.startswith("1 queue: ")
    assert "secret-queue" not in page.find("body").text


def test_a_limited_caller_is_asked_about_its_own_queues(storage: Storage) -> None:
    """A new queue would be none of them."""
    storage.queues.create(QueueSettings("mail"))

    def asked(verb: str) -> str:
        path = f"/queues?ask={verb}"
        page = page_of(storage, path, role="operator", queues={"mail"})
        assert "New queue" not in page.find("#headline").text
        return "".join(dialog.find("h2").text for dialog in page.all("dialog"))

    assert asked("pause_all") == "Pause all of your queues?"
    assert asked("resume_all") == "Resume all of your queues?"
    assert asked("new") == ""


def test_all_are_paused_or_resumed_only_if_one_is_not(storage: Storage) -> None:
    def offered() -> list[str]:
        page = page_of(storage, "/queues", role="operator")
        links = [each.text for each in page.find("#headline").all("a")]
        return [text for text in links if text.endswith(" all")]

    assert offered() == []
    storage.queues.create(QueueSettings("mail"))
    assert offered() == ["Pause all"]
    storage.queues.create(QueueSettings("slow"))
    storage.queues.change("slow", {"paused": True})
    assert offered() == ["Pause all", "Resume all"]
    storage.queues.change("mail", {"paused": True})
    assert offered() == ["Resume all"]


@pytest.mark.parametrize("verb", ["pause", "cool_down", "remove"])
def test_a_dialog_names_the_queue(storage: Storage, verb: str) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))

    dialog = page_of(storage, f"/queues?ask={verb}&queue=mail").find("dialog")

    assert "mail" in dialog.find("h2").text
    (button,) = dialog.all("button")
    assert "mail" in button.text


def test_a_removal_counts_the_jobs_that_it_deletes_or_stops(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))

    def lines() -> list[str]:
        dialog = page_of(storage, "/queues?ask=remove&queue=mail").find("dialog")
        return [each.text for each in dialog.all("li")]

    assert lines() == ["Deletes 1 job still to run."]
    claim_one(storage, queue_name="mail")
    assert lines() == ["Asks 1 job in progress to stop."]


def test_the_pause_dialog_says_nothing_of_retries_without_one(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))

    said = page_of(storage, "/queues?ask=pause&queue=mail").find("dialog").text

    assert "1 job waits. Running jobs go on" in said


def test_a_dialog_about_an_unknown_queue_does_not_open(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))

    assert page_of(storage, "/queues?ask=pause&queue=none").all("dialog") == []


def test_the_cleanup_dialog_counts_first(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))

    dialog = page_of(storage, "/queues?ask=cleanup").find("dialog")

    assert "Delete 0 jobs" in dialog.text


def test_a_cleanup_counts_the_callers_jobs_only(storage: Storage) -> None:
    for name in ("mail", "secret"):
        storage.queues.create(QueueSettings(name, retain_done_for_days=0))
    storage.jobs.enqueue(NewJob("send", queue_name="secret"))
    run(storage, Done(None), queue_name="secret")
    both = frozenset({"mail", "other"})

    for queues, counted in ((None, "Delete 1 job"), (["mail"], "Delete 0 jobs")):
        dialog = page_of(storage, "/queues?ask=cleanup", queues=queues).find("dialog")
        assert counted in dialog.text
    # The route cleans one queue or all, and these are neither.
    page = page_of(storage, "/queues?ask=cleanup", queues=both)
    assert page.all("dialog") == []
    assert "Clean up" not in page.find("main").text


def test_a_setting_says_from_when_on_a_queue_is_behind(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    storage.workers.beat("worker-1", None, ["mail"], [SlotReport("1", "mail")])
    Sql(database_settings).run(
        "UPDATE forge_job SET scheduled_at = scheduled_at - 100000000"
    )

    for behind_s, names in ((60.0, ["mail"]), (300.0, [])):
        listed = page_of(storage, "/queues?state=behind", behind_s=behind_s)
        one = page_of(storage, "/queues/mail", behind_s=behind_s)

        assert names_of(listed) == names
        still = page_of(storage, "/queues?state=stalled", behind_s=behind_s)
        assert names_of(still) == ([] if names else ["mail"])
        assert ("mail is behind" in one.find("#headline").text) is bool(names)
        assert ("mail is behind" in listed.find("#alarms").text) is bool(names)
        state = "is behind" if names else "completes no job"
        assert listed.find("h1").text == f"1 queue: it {state}"
        mark = "Behind" if names else "Completes none"
        for path in ("/queues", "/"):
            row = page_of(storage, path, behind_s=behind_s).find("#queue-mail")
            assert mark in row.text
        assert mark in one.find("#headline").text
        filters = page_of(storage, behind_s=behind_s).find("#filters").text
        assert ("Completes none 1" in filters) is not bool(names)


@pytest.mark.parametrize(
    ("per_minute", "mark"), [(0.0, "Completes none"), (0.1, "Live")]
)
def test_the_page_of_a_queue_judges_it_as_the_lists_do(
    storage: Storage,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    per_minute: float,
    mark: str,
) -> None:
    """It counted the starts of an hour, and the lists what completed of late."""
    rates = {"mail": QueueRates([0] * 12, per_minute)}
    monkeypatch.setattr(queue_reads, "queue_rates", lambda *_, **__: rates)
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    sql.age(100)
    storage.workers.beat("worker-1", None, ["mail"], [SlotReport("1", "mail")])

    assert mark in page_of(storage, "/queues").find("#queue-mail").text
    assert mark in page_of(storage, "/queues/mail").find("#headline").text


def test_one_queue_is_cleaned_alone(storage: Storage) -> None:
    for name in ("mail", "bank"):
        storage.queues.create(QueueSettings(name, retain_done_for_days=0))
        storage.jobs.enqueue(NewJob("send", queue_name=name))
        run(storage, Done(None), queue_name=name)

    settings = page_of(storage, "/queues?edit=mail").find("#settings-mail")
    ask = next(each["href"] for each in settings.all("a") if each.text == "Clean up")
    dialog = page_of(storage, f"/queues{ask}").find("dialog")
    fields = {each["name"]: each["value"] for each in dialog.all("input")}
    form = dialog.find("form")["action"]

    assert dialog.find("h2").text.startswith("Delete the finished jobs of mail ")
    assert "Delete 1 job" in dialog.text
    assert form.endswith("do/post/v1/queue/cleanup")
    assert fields["queue_name"] == "mail"
    assert page_of(storage, "/queues?ask=cleanup&queue=none").all("dialog") == []


def test_hostile_texts_stay_texts(storage: Storage) -> None:
    name = "a<b>'\"&c"
    storage.queues.create(QueueSettings(name))
    note = ChangeNote(HOSTILE, HOSTILE)
    storage.queues.set_paused_many([name], paused=True, note=note)

    for path in ("/queues", f"/queues?edit={name}", f"/queues?q={HOSTILE}"):
        page = page_of(storage, path.replace("&", "%26").replace("%26edit", "&edit"))

        assert all(script["src"] for script in page.all("script"))
    listed = page_of(storage)
    assert HOSTILE in listed.find("main").text


def test_a_cool_down_is_shown_with_its_cause(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))
    storage.workers.beat("worker-1", None, ["mail"], [SlotReport("s", "mail")])
    storage.queues.cool_down(["mail"], 600.0, ChangeNote("dana", "429"))

    page = page_of(storage)

    row = page.find("#queue-mail")
    assert "Cooling down" in row.text
    assert "429, resumes in 9m" in row.text
    assert "End now" in row.text
    assert page.find("h1").text == "1 queue: 1 cooling down"


def test_numbers_in_names_are_in_their_order(storage: Storage) -> None:
    for name in ("queue-10", "queue-2", "queue-a", "queue-1"):
        storage.queues.create(QueueSettings(name))

    up, down = (
        names_of(page_of(storage, f"/queues?sort={by}")) for by in ("name", "-name")
    )

    assert up == ["queue-1", "queue-2", "queue-10", "queue-a"]
    assert down == up[::-1]


def test_a_long_author_with_a_space_keeps_its_beginning(storage: Storage) -> None:
    """It was cut at its first space, which left one letter of it."""
    storage.queues.create(QueueSettings("mail"))
    note = ChangeNote("X " + "y" * 60)
    storage.queues.change("mail", {"paused": True}, note=note)

    assert f"X {'y' * 21}…" in page_of(storage).find("#queue-mail").text


def test_one_job_is_still_to_run(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))

    page = page_of(storage, "/queues?edit=mail")

    assert "1 is still to run: " in page.find("#settings-mail").text
