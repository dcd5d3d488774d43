"""The audit trail names each change in words, for every kind of sender."""

from __future__ import annotations

import pytest

from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.dashboard.audit_words import in_words
from flask_forge_jobs.model.audit import AuditRecord

CHANGES = sorted({each.action for each in all_routes(enable_demo=True) if each.mutates})


def record(action: str, arguments: str = "{}") -> AuditRecord:
    return AuditRecord("ann", action, "mail", "", "r" * 32, 200, 1, arguments)


@pytest.mark.parametrize("action", [*CHANGES, "audit_prune", "db_reset", "copy"])
def test_every_change_has_words(action: str) -> None:
    said = in_words(record(action))

    assert "_" not in said
    assert said[0].isupper()


@pytest.mark.parametrize(
    ("action", "arguments", "said"),
    [
        ("queue_actions", '{"body": {"action": "pause"}}', "Pause queues"),
        ("queue_actions", '{"action": "cool_down"}', "Cool queues down"),
        ("jobs_act", '{"body": {"action": "run_now"}}', "Run jobs now"),
        (
            "bulk_run_begin", '{"body": {"action": "retry"}}',
            "Retry jobs in the background",
        ),
        ("job_retry", '{"body": {"action": "pause"}}', "Retry a job"),
    ],
)  # fmt: skip
def test_the_arguments_name_the_verb(action: str, arguments: str, said: str) -> None:
    assert in_words(record(action, arguments)) == said


@pytest.mark.parametrize(
    "arguments",
    [
        "", "{", "[]", "null", '{"body": []}', '{"body": {"action": []}}',
        '{"omitted_characters": 9}', '{"body": {"action": "unheard"}}',
    ],
)  # fmt: skip
def test_cut_arguments_name_no_verb(arguments: str) -> None:
    assert in_words(record("queue_actions", arguments)) == "Act on queues"
    assert in_words(record("of_another_version", arguments)) == "of_another_version"
