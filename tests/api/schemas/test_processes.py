from __future__ import annotations

from datetime import UTC, datetime

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.processes import QueueProcess
from flask_forge_jobs.model.processes import Process

AT = datetime(2026, 9, 16, 9, 30, 11, 402_000, tzinfo=UTC)


def test_process_has_exactly_the_references_bytes() -> None:
    process = Process("mail-0-H-1", "mail", "H", AT, AT.replace(microsecond=0))

    assert encode(dumper(QueueProcess())(process)).decode() == (
        '{"process_id":"mail-0-H-1","queue_name":"mail","host_id":"H","started_at":'
        '"2026-09-16T09:30:11.402Z","heartbeat_at":"2026-09-16T09:30:11Z",'
        '"current_job_id":null}'
    )
