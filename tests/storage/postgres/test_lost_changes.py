"""A request whose change is stored, but whose answer from the server gets lost."""

from __future__ import annotations

import contextlib

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.request_threads import this_thread
from flask_forge_jobs.storage.base import open_storage
from tests.api.changes import CHANGES, fill, placed
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.conftest import empty_tables
from tests.support.backends import long
from tests.support.proxy import proxied

# One of each way to store a change; the full tier tries the others, too.
OF_EACH_WAY = (
    "enqueue", "retry one", "release", "delete", "seal a batch", "create a queue",
    "pause queues", "delete a schedule",
)  # fmt: skip
# Its entries count all of them.
COUNTS_WHAT_IS_LEFT = {"delete a queue of jobs"}
# These continue after the part that is stored: they say 404, or count the rest only.
SEVERAL = {
    "delete a queue", "delete done", "cancel a batch", "retry a batch", "cleanup",
}  # fmt: skip

# In the messages that store an entry.
NOTES = (b"INTO forge_audit", b"CALL forge_enqueue_early")


def outcome_of(
    settings: DatabaseSettings, change: str, *, is_lost: bool
) -> tuple[int, list[tuple[int, int]], dict[str, str]]:
    """Return the status of a change, those and counts of its entries, and its own."""
    with (
        proxied(settings) as proxy,
        contextlib.closing(
            open_storage(DatabaseSettings.from_url(proxy.url_of(settings)), jitter=None)
        ) as storage,
    ):
        names = fill(storage)
        before = len(storage.audit.page(AuditFilter(), 99))
        method, path, body = placed(change, names)
        client = client_with_token(storage, "admin")
        if is_lost:
            proxy.weather.loses = lambda text: (
                any(mark in text for mark in NOTES) and not proxy.weather.lost
            )
        answer = client.open(PREFIX + path, method=method, json=body)
        proxy.weather.loses = None
        assert proxy.weather.lost == is_lost
        entries = storage.audit.page(AuditFilter(), 99)
    new = entries[: len(entries) - before]
    noted = [(e.record.status, e.record.changed) for e in new]
    counts = {key: n for key, n in answer.headers if key.startswith("X-Jobs-")}
    return answer.status_code, noted, counts


@pytest.mark.parametrize(
    "change",
    [
        change if change in OF_EACH_WAY else long(change)
        for change in CHANGES
        if change not in SEVERAL
    ],
)
def test_a_change_whose_answer_is_lost_is_made_and_noted_once(
    postgres_settings: DatabaseSettings, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another test's client may have made this thread one of a server's.
    monkeypatch.setattr(this_thread, "answers_requests", False)

    lost = outcome_of(postgres_settings, change, is_lost=True)
    empty_tables(postgres_settings)

    assert lost[0] < 300
    compared = slice(2 if change in COUNTS_WHAT_IS_LEFT else 3)
    whole = outcome_of(postgres_settings, change, is_lost=False)
    assert lost[compared] == whole[compared]
