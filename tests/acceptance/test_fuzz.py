"""The short form of :mod:`tests.acceptance.fuzz`, and what its hooks repair."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flask_forge_jobs.api.table import all_routes
from tests.acceptance.fuzz import CALLERS, fuzz, serving_target
from tests.acceptance.fuzz_hooks import repair_query, repair_window, repaired

EXAMPLES = int(os.environ.get("FORGE_JOBS_FUZZ_EXAMPLES", "50"))
# One seed for the gate, so that it does not depend on chance; by hand take others.
SEED = int(os.environ.get("FORGE_JOBS_FUZZ_SEED", "20261126"))


@pytest.mark.long
@pytest.mark.parametrize("caller", CALLERS)
def test_no_check_fails(
    backend: str, database_url: str, tmp_path: Path, caller: str
) -> None:
    with serving_target(backend, database_url, tmp_path) as target:
        verdict = fuzz(target, caller, examples=EXAMPLES, seed_number=SEED)

    assert verdict.passed, f"FORGE_JOBS_FUZZ_SEED={SEED}\n{verdict.report}"
    # Every operation was tried, with something in it.
    assert verdict.cases > EXAMPLES


@pytest.mark.long
@pytest.mark.parametrize("backend", ["sqlite"])
def test_no_check_fails_in_a_short_run(
    backend: str, database_url: str, tmp_path: Path
) -> None:
    """As the one caller that is let in everywhere; the long form has every phase."""
    with serving_target(backend, database_url, tmp_path) as target:
        verdict = fuzz(
            target, "operator", examples=1, seed_number=SEED, phases=["fuzzing"]
        )

    assert verdict.passed, f"FORGE_JOBS_FUZZ_SEED={SEED}\n{verdict.report}"
    assert verdict.cases > len(all_routes(enable_demo=True))


@pytest.mark.parametrize(
    ("generated", "sent"),
    [
        ({"n": 8.0}, {"n": 8}),
        ({"n": 8.5}, {"n": 8.5}),
        ({"payload": {"x": 1.0}}, {"payload": {"x": 1.0}}),
        (
            {"base_seconds": 60, "max_seconds": 2},
            {"base_seconds": 2, "max_seconds": 60},
        ),
        (
            {"filter": {"from": "2031-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"}},
            {"filter": {"from": "2030-01-01T00:00:00Z", "to": "2031-01-01T00:00:00Z"}},
        ),
        (
            {"backoff_base_seconds": 60},
            {"backoff_base_seconds": 60, "backoff_max_seconds": 86_400},
        ),
        (
            {"cron_expr": "000", "timezone": "000"},
            {"cron_expr": "0 6 * * *", "timezone": "UTC"},
        ),
        ({"expr": "@daily"}, {"expr": "@daily"}),
        (
            {"action": "retry", "ids": ["x"], "filter": {}, "all": True},
            {"action": "retry", "ids": ["x"]},
        ),
        (
            {"action": "retry", "filter": {}, "cursor": "x", "run_at": None},
            {"action": "retry", "filter": {}, "all": True},
        ),
        (
            {"action": "reschedule", "ids": []},
            {"action": "reschedule", "ids": [], "run_at": "2030-01-01T00:00:00Z"},
        ),
        ({"action": "pause"}, {"action": "pause"}),
        (
            {"delay": 5, "run_at": "2030-01-01T00:00:00Z"},
            {"run_at": "2030-01-01T00:00:00Z"},
        ),
        ({"delay": 5, "run_at": None}, {"delay": 5, "run_at": None}),
    ],
)
def test_what_a_schema_cannot_say_is_repaired(
    generated: dict[str, object], sent: dict[str, object]
) -> None:
    assert repaired(generated) == sent


@pytest.mark.parametrize(
    ("generated", "sent"),
    [
        ({"cursor": "x", "limit": 5}, {"limit": 5}),
        (
            {"from": "2031-01-01T00:00:00Z", "to": "2030-12-31T23:00:00-05:00"},
            {"from": "2031-01-01T00:00:00Z", "to": "2030-12-31T23:00:00-05:00"},
        ),
        (
            {
                "from": "2030-01-01T00:00:00Z",
                "to": "2031-01-01T00:00:00Z",
                "bucket_secs": 60,
            },
            {
                "from": "2030-01-01T00:00:00Z",
                "to": "2031-01-01T00:00:00Z",
                "bucket_secs": 999_999_999,
            },
        ),
    ],
)
def test_a_query_is_repaired(
    generated: dict[str, object], sent: dict[str, object]
) -> None:
    repair_query(generated)

    assert generated == sent


@pytest.mark.parametrize(
    ("window", "is_kept"),
    [
        ({}, True),
        ({"from": "2031-01-01T00:00:00Z", "to": "2031-02-01T00:00:00Z"}, True),
        ({"from": "2031-01-01T00:00:00Z", "to": "2031-02-01T00:00:01Z"}, False),
        ({"from": "2031-01-01T00:00:00Z", "to": "2031-01-01T00:00:00Z"}, False),
        ({"from": "2031-01-01T00:00:00Z"}, False),
        ({"to": "2031-01-01T00:00:00Z"}, False),
    ],
)
def test_a_window_of_firings_is_repaired(
    window: dict[str, object], is_kept: bool
) -> None:
    sent = dict(window)

    repair_window(sent)

    assert sent == (window if is_kept else {})
