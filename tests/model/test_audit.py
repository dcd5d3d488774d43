from __future__ import annotations

from datetime import UTC, datetime

from flask_forge_jobs.model.audit import AuditEntry, AuditRecord


def test_detail_gathers_what_has_no_key_of_its_own() -> None:
    record = AuditRecord(
        "ada", "jobs_retry", None, "::1", "r-1", 403, 0, '{"query":{"a":"b"}}'
    )

    assert AuditEntry(1, datetime(2027, 1, 1, tzinfo=UTC), record).detail == {
        "address": "::1",
        "arguments": {"query": {"a": "b"}},
        "changed": 0,
        "requests": 1,
        "status": 403,
    }
