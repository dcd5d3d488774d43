"""One short trial of the driver in ``failover``, and what it makes of figures."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import secrets
from pathlib import Path
from typing import cast

import pytest

from flask_forge_jobs import Storage
from flask_forge_jobs.errors import StorageOutcomeUnknownError
from tests.acceptance.failover.answers import Answers
from tests.acceptance.failover.clients import NUMBERS_A_CLIENT, HttpClient, twice
from tests.acceptance.failover.outcome import Outcome, table
from tests.acceptance.failover.trial import Trial
from tests.support.client import Answer
from tests.support.outages import routed_to_a_standby

GOOD = Outcome(
    "frozen for 20 s", 60.0, jobs=500, producers_s=0.1, api_s=0.2, workers_s=0.3,
    before_ms=4.0, after_ms=5.0,
)  # fmt: skip


@pytest.mark.long
def test_a_standby_for_a_moment_loses_nothing_and_ends_nobody(tmp_path: Path) -> None:
    outcome = Trial(routed_to_a_standby, down_s=2.0, lease_s=20.0).run(
        tmp_path, secrets.randbelow(1_000_000)
    )

    assert not outcome.misses(), table([outcome])


@pytest.mark.parametrize(
    ("change", "miss"),
    [
        ({"lost": 1}, "1 lost"),
        ({"stuck": 2}, "2 stuck"),
        ({"twice": 3}, "3 twice"),
        ({"ended": 1}, "1 processes ended"),
        ({"producers_s": 2.1}, "producers back after 2.1 s"),
        ({"api_s": math.inf}, "API back after inf s"),
        ({"workers_s": 29.4}, "workers back after 29.4 s"),
        ({"after_ms": 21.1}, "p50 21.1 ms after 4.0 ms"),
        ({"after_ms": math.nan}, "p50 nan ms after 4.0 ms"),
        ({"complaints": ["a 503 without Retry-After"]}, "a 503 without Retry-After"),
    ],
)
def test_whatever_does_not_hold_is_missed(change: dict[str, object], miss: str) -> None:
    outcome = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]  # by name

    assert GOOD.misses() == []
    assert outcome.misses() == [miss]
    assert "MISSED" in table([outcome])
    assert "MISSED" not in table([GOOD])


@pytest.mark.parametrize(
    ("calls", "back_s"),
    [
        ([(0, 1, True), (11, 12, True)], 2e-9),
        # It was under way: it may have met the fault.
        ([(9, 11, False), (11, 13, True)], 3e-9),
        # It works, and fails once more.
        ([(10, 11, True), (12, 13, False), (14, 19, True)], 9e-9),
        ([(0, 1, True), (10, 11, False)], math.inf),
    ],
)
def test_somebody_is_back_when_calls_succeed_for_good(
    calls: list[tuple[int, int, bool]], back_s: float
) -> None:
    assert Answers(calls).back_s(10) == pytest.approx(back_s)


@pytest.mark.parametrize(
    ("status", "headers", "message", "unknown", "complaint"),
    [
        (503, {"Retry-After": "5"}, "try again later", None, None),
        (503, {"Retry-After": "5"}, str(StorageOutcomeUnknownError(["7"])), "7", None),
        (409, {"Retry-After": "1"}, "the database is busy", None, None),
        (503, {}, "try again later", None, "a 503 without Retry-After"),
        (503, {"Retry-After": "5"}, str(StorageOutcomeUnknownError()), None, "its id"),
        (500, {}, "internal error", None, "answered 500"),
    ],
)
def test_a_client_checks_what_it_is_told(
    status: int,
    headers: dict[str, str],
    message: str,
    unknown: str | None,
    complaint: str | None,
) -> None:
    nowhere = cast("Storage", None)
    client = HttpClient(1, 0, nowhere, random.Random(0))
    answer = Answer(status, headers, json.dumps({"msg": message}).encode())

    assert client._check(answer) == unknown
    assert len(client.complaints) == (complaint is not None)
    assert complaint is None or complaint in client.complaints[0]


def test_only_jobs_of_clients_are_counted_by_their_number() -> None:
    first = NUMBERS_A_CLIENT + 1

    assert twice([0, 0, first, first + 1]) == 0
    assert twice([0, 0, first, first, first]) == 2
