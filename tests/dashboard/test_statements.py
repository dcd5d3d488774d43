"""The price of an open page: the statements of a refresh."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from flask_forge_jobs.auth.permissions import Principal
from flask_forge_jobs.dashboard.page_route import PageRoute
from flask_forge_jobs.dashboard.table import page_routes
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Row, Transaction
from tests.api.mounting import PREFIX
from tests.api.tokens import client_of_principal
from tests.dashboard.browser.filling import fill
from tests.dashboard.browser.sites import filled
from tests.dashboard.markup import parsed
from tests.dashboard.sites import open_page
from tests.support.clocks import MovingClock

# Beside the report of the frame, which all pages share.
MOST = 3
REPORT = ("attention", "common_errors", "newest_version", "touch_nothing")
FILTERED = (
    "/jobs?status=failed", "/jobs?queue=mail", "/jobs?last=24h", "/jobs?q=xyz",
    "/jobs?cron=nightly", "/jobs?sort=priority", "/retries?kind=send",
    "/dead?last=7d", "/dead?queue=mail", "/find?q=mail", "/tail?queue_name=mail",
    "/jobs?batch=<batch_id>", "/dead?batch=<batch_id>", "/jobs?waiting=1",
)  # fmt: skip
BLOCKS = {
    route.path: ",".join(("state", "pages", "alarms", *route.blocks))
    for route in page_routes()
    if isinstance(route, PageRoute)
}
# A token leads to it.
LINKED = next(path for path in BLOCKS if "<token>" in path)


@pytest.fixture(params=["sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    # The dialects take the same steps.
    backend: str = request.param
    return backend


def test_a_refresh_takes_few_statements(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = fill(storage, ())
    clock = MovingClock()
    client = client_of_principal(
        storage, Principal.with_role("root", "admin"), clock=clock
    )
    transaction: Any = storage.database.read(type)
    real = transaction.all
    asked, own = list[str](), threading.get_ident()

    def noted(self: Transaction, name: str, /, **parameters: Any) -> Sequence[Row]:
        # Other threads of the process store figures meanwhile.
        if threading.get_ident() == own and name not in REPORT:
            asked.append(name)
        rows: Sequence[Row] = real(self, name, **parameters)
        return rows

    monkeypatch.setattr(transaction, "all", noted)
    counts = {}
    for path in (*BLOCKS.keys() - {LINKED}, *FILTERED):
        address = PREFIX + filled(path, examples)
        page = open_page(client, address)
        assert page.status_code == 200, address
        pins = [each["data-pin"] for each in parsed(page.text).all("div")]
        pin = "".join(f"&pin={each}" for each in pins if each)
        also = "&" if "?" in path else "?"
        only = BLOCKS[path.partition("?")[0]]
        clock.move(31)
        asked.clear()
        answer = open_page(client, f"{address}{also}only={only}{pin}")
        assert answer.status_code == 200, address
        counts[path] = list(asked)

    assert {path: each for path, each in counts.items() if len(each) > MOST} == {}
    assert counts["/jobs"] == ["counts_plain", "page_by_age_desc"]
