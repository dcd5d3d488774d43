"""A form leads to a page of ours, whatever it says."""

from __future__ import annotations

from flask_forge_jobs.dashboard.forms.way_back import way_back
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.dashboard.forms.sending import Sender, where
from tests.support.backends import on_sqlite

WAYS = (
    "", "jobs?status=dead&queue=a%2Fb", "cron/night%20ly", "queues?q=//x.example",
    "jobs?error=%5B%23%5D",
)  # fmt: skip
# Each leaves the mount point, or might in some browser.
EVIL_WAYS = (
    "/", "//x.example", "/jobs", "https://x.example", "https:x.example",
    "javascript:alert(1)", "\\\\x.example", "/\\x.example", "..", "../", "../../x",
    "jobs/../../x", "jobs/..", "./x", "%2e%2e/x", "jobs/%2E%2e/%2e./x", "jobs//x",
    "%2f%2fx.example", "%5c%5cx", "jobs%5c..%5c..", "jobs\r\nSet-Cookie: a=b",
    "jobs%0d%0aX: y", "jobs\t", "\tjobs", " /x", "jobs#x", "jobs?a#b", "jobs?a b",
    "jobs\u2028", "j\u00f6bs", "x" * 2001, "@x.example/..", "jobs?\\",
)  # fmt: skip


@on_sqlite
def test_the_way_back_stays_below_the_mount_point(storage: Storage) -> None:
    storage.queues.ensure("mail")
    sender = Sender(client_with_token(storage, "operator"))

    for back in (*WAYS, *EVIL_WAYS):
        answer = sender.send("patch/v1/queues/mail", {"paused": "true"}, _back=back)
        kept = back if back in WAYS else ""
        assert answer.headers["Location"] == f"../../../../{kept}", back
        assert where(answer).partition("?")[0].startswith(f"{PREFIX}/")


def test_a_way_of_ours_is_kept_as_it_is() -> None:
    assert [way_back(way) for way in WAYS] == list(WAYS)
    assert {way_back(way) for way in EVIL_WAYS} == {""}
