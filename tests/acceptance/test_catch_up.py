"""Ten minutes without a scheduler, and then a real worker."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.catch_up import POLICIES, run


def test_each_policy_is_exact(database_url: str, tmp_path: Path) -> None:
    outcomes = run(database_url, tmp_path)

    assert [outcome.policy for outcome in outcomes] == list(POLICIES)
    assert [len(outcome.expected) for outcome in outcomes] == [0, 1, 10, 4, 1]
    for outcome in outcomes:
        assert list(outcome.fired) == list(outcome.expected), outcome
