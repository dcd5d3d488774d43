"""The audit trail as a page, through the real application."""

from __future__ import annotations

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.contract.test_audit import insert_aged
from tests.dashboard.pages.test_queues import page_of
from tests.dashboard.sites import open_page
from tests.support.sql import Sql


def record(
    actor: str, action: str, status: int = 200, requests: int = 1
) -> AuditRecord:
    return AuditRecord(
        actor, action, "mail", "127.0.0.1", "r" * 32, status, 1, "{}", requests
    )


def actors(storage: Storage, path: str = "/audit") -> list[str]:
    """Return the actors of the entries that a page shows, in order."""
    rows = page_of(storage, path).find("#entries").all("tr")[1:]
    return [row.all("td")[1].find("a").text for row in rows]


def test_every_change_has_its_author_and_result(storage: Storage) -> None:
    storage.audit.append(record("user:ann", "queue_actions"))
    storage.audit.append(record("ci", "job_retry", 409, 3))

    page = page_of(storage, "/audit")

    assert actors(storage) == ["ci", "user:ann"]
    words = {a.text: a["title"] for a in page.find("#entries").all("a")}
    assert words["Act on queues"] == "queue_actions"
    assert words["Retry a job"] == "job_retry"
    assert "Refused 409, 3 times" in page.find("#entries").text
    labels = [cell.attributes.get("data-label") for cell in page.all("td")]
    assert {"actor", "target", "changed", "request"} <= set(labels)


def test_the_trail_is_filtered_and_paged(storage: Storage) -> None:
    for number in range(30):
        storage.audit.append(record(f"a{number % 2}", "act"))

    assert len(actors(storage, "/audit?per=25")) == 25
    assert set(actors(storage, "/audit?actor=a1")) == {"a1"}
    assert actors(storage, "/audit?action=none") == []
    assert actors(storage, "/audit?to=2020-01-01T00:00") == []
    # The ends of a range in the wrong order are taken as they were meant.
    both = "/audit?from=2999-01-01T00:00&to=2020-01-01T00:00"
    assert len(actors(storage, both)) == 30
    assert len(actors(storage, "/audit?cursor=nonsense")) == 30
    (following,) = [
        link["href"]
        for link in page_of(storage, "/audit?per=25").find("#entries").all("a")
        if link.text == "Next"
    ]
    assert len(actors(storage, f"/audit{following}")) == 5


def test_a_page_whose_entries_are_gone_says_so(storage: Storage, sql: Sql) -> None:
    storage.open()
    insert_aged(sql, days=100, count=1)
    for _ in range(10):
        storage.audit.append(record("ann", "act"))
    entries = page_of(storage, "/audit?per=10").find("#entries")
    (following,) = [a["href"] for a in entries.all("a") if a.text == "Next"]
    storage.audit.prune(90)

    text = page_of(storage, f"/audit{following}").find("#entries").text

    assert "No more entries" in text
    assert "Nothing has been changed yet" not in text


def test_the_trail_is_for_admins(storage: Storage) -> None:
    for role, queues in (("operator", None), ("admin", {"mail"})):
        principal = Principal.with_role("ann", role, queues=queues)
        client = client_of_principal(storage, principal)

        assert open_page(client, f"{PREFIX}/audit").status_code == 403
