"""A week of figures is there at the first look, and soon."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from flask_forge_jobs.demo import flows, history
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX
from tests.api.tokens import client_with_token
from tests.support.backends import on_sqlite

# Of the processor; the server prints its address after it.
MAX_S = 2.0
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
    assert len(groups) == sum(bool(flow.error) for flow in flows.FLOWS)
    assert all(sum(1 for day in group["trend"] if day) >= 5 for group in groups)


@on_sqlite
def test_the_figures_of_a_day_agree(storage: Storage) -> None:
    """The errors are those of the runs, and a mean is near the median."""
    now = datetime.now(UTC)  # noqa: TID251  # the service asks the system's clock
    history.fill(storage, to_micros(now))
    client = client_with_token(storage, "viewer")

    groups = client.get(f"{PREFIX}/v1/errors?range=24h").json or []
    kinds = {each["kind"]: each for each in client.get(f"{PREFIX}/v1/kinds").json or []}

    for group in groups:
        (kind,) = group["kinds"]
        of_kind = kinds[kind]
        failed = of_kind["retried"] + of_kind["dead"]
        assert group["count"] == pytest.approx(failed, rel=0.25, abs=20), kind
    for each in kinds.values():
        mean_ms = each["total_run_ms"] / each["completed"]
        assert mean_ms == pytest.approx(each["p50_ms"], rel=0.2)


def _check_means(client: FlaskClient) -> None:
    """The mean of a kind lies where its percentiles say, in its queue as well."""
    rows = client.get(f"{PREFIX}/v1/kinds").json or []
    assert len(rows) == len(flows.FLOWS)
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
