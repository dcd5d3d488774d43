"""The page of limits, through the real application."""

from __future__ import annotations

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.pages.test_queues import changes, page_of
from tests.dashboard.sites import open_page


def test_without_a_limit_the_page_says_so(storage: Storage) -> None:
    page = page_of(storage, "/limits")

    assert page.find("h1").text == "No limit is in use"
    assert "Others are made here" in page.find("#buckets").text


def test_a_used_up_limit_is_told_from_one_with_tokens(storage: Storage) -> None:
    storage.rate_limits.put("mail", capacity=10, refill_per_sec=0.001)
    storage.rate_limits.put("sms", capacity=10, refill_per_sec=0.001)
    storage.rate_limits.drain("sms")

    page = page_of(storage, "/limits")

    assert page.find("h1").text == "2 rate limits, 1 used up"
    assert "Has tokens" in page.find("#limit-mail").text
    assert "Used up" in page.find("#limit-sms").text
    # As the fields of its form are named.
    heads = [each.text for each in page.find("thead").all("th")]
    assert heads[2:5] == ["Tokens", "Tokens at most", "Tokens a second"]
    assert [bar["width"] for bar in page.find("#limit-mail").all("rect")] == ["1000"]


def test_the_holders_of_a_key_are_named(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("send"))
    (job,) = storage.jobs.claim("default", "worker-1", 1)
    assert storage.concurrency.acquire(job, "worker-1", "send account=1", 1)

    keys = page_of(storage, "/limits").find("#held")

    assert "send account=1" in keys.text
    assert keys.all("tr")[1].find("a")["href"] == f"./jobs/{job.id}"


def test_a_limit_is_changed_drained_and_deleted_by_forms(storage: Storage) -> None:
    storage.rate_limits.put("mail", capacity=10, refill_per_sec=0.5)

    edited = changes(page_of(storage, "/limits?edit=mail"))
    created = changes(page_of(storage, "/limits?edit=other"))
    drained = page_of(storage, "/limits?ask=drain&scope=mail").find("dialog")
    deleted = page_of(storage, "/limits?ask=delete&scope=mail").find("dialog")

    assert edited[0]["action"] == "./do/put/v1/rate-limits/mail"
    values = {each["name"]: each["value"] for each in edited[0].all("input")}
    assert (values["capacity"], values["refill_per_sec"]) == ("10", "0.5")
    assert created[0]["action"] == "./do/put/v1/rate-limits/other"
    assert drained.find("form")["action"] == "./do/post/v1/rate-limits/mail/drain"
    assert deleted.find("form")["action"] == "./do/delete/v1/rate-limits/mail"
    assert "Jobs that take its tokens fail" in deleted.text
    assert page_of(storage, "/limits?ask=drain&scope=none").all("dialog") == []


def test_a_viewer_is_offered_no_change(storage: Storage) -> None:
    storage.rate_limits.put("mail", capacity=10, refill_per_sec=0.5)

    page = page_of(storage, "/limits?edit=mail&ask=drain&scope=mail&new=1", "viewer")

    assert changes(page) == []
    assert page.all("dialog") == []


def test_many_limits_are_cut_into_pages(storage: Storage) -> None:
    for number in range(51):
        storage.rate_limits.put(f"scope-{number:03}", capacity=1, refill_per_sec=1)

    first = page_of(storage, "/limits").find("#buckets")
    last = page_of(storage, "/limits?page=2").find("#buckets")

    assert "50 of 51" in first.text
    assert "51 of 51" in last.text
    found = page_of(storage, "/limits?q=SCOPE-042").find("#buckets")
    assert len(found.all("tr")) == 2


def test_limits_belong_to_no_queue(storage: Storage) -> None:
    limited = Principal.with_role("ann", "operator", queues={"mail"})
    client = client_of_principal(storage, limited)

    assert open_page(client, f"{PREFIX}/limits").status_code == 403
