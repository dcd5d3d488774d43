"""A week of figures is there at the first look, and soon."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask.testing import FlaskClient

from flask_forge_jobs.demo import history
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.backends import on_sqlite

# Of the processor; the server prints its address after it.
MAX_S = 3.0
QUEUES, KINDS = ("mail", "search"), ("send_receipt", "index_product")
READS = {"v1/series?by=queue": QUEUES, "v1/series?by=kind": KINDS, "v1/gauges?": QUEUES}
RANGES_H = (1, 3, 6, 24, 72, 168)


@on_sqlite
def test_the_past_week_is_full_of_figures(storage: Storage) -> None:
    now = datetime.now(UTC)  # noqa: TID251  # the service asks the system's clock
    began = time.process_time()

    history.fill(storage, to_micros(now))

    assert time.process_time() - began < MAX_S
    client = client_with_token(storage, "viewer")
    for hours in RANGES_H:
        window = {
            "from": (now - timedelta(hours=hours)).isoformat(),
            "to": now.isoformat(),
            "bucket_secs": hours * 60,
        }
        for path, names in READS.items():
            query = urlencode({**window, "name": names}, doseq=True)
            _check_full(client, f"{PREFIX}/{path}&{query}", names)
    _check_means(client)
    groups = client.get(f"{PREFIX}/v1/errors").json or []
    assert len(groups) == 3
    assert all(sum(1 for day in group["trend"] if day) >= 6 for group in groups)


def _check_means(client: FlaskClient) -> None:
    """The mean of a kind lies where its percentiles say, in its queue as well."""
    rows = client.get(f"{PREFIX}/v1/kinds").json or []
    assert len(rows) == len(history.FLOWS)
    for row in rows:
        mean_ms = row["total_run_ms"] / row["completed"]
        assert 0.8 * row["p50_ms"] < mean_ms < row["p99_ms"], row


def _check_full(client: FlaskClient, address: str, names: tuple[str, ...]) -> None:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    series = {each["name"]: _values(each) for each in answer.json or []}
    for name in names:
        full = [value for value in series[name] if value]
        assert len(full) >= 0.97 * len(series[name]), (address, name)


def _values(series: dict[str, Any]) -> list[float | None]:
    """Return the completed jobs of each bucket, or the live workers of a gauge."""
    if "buckets" in series:
        return [bucket["completed"] for bucket in series["buckets"]]
    live: list[float | None] = series["live_workers"]
    return live
