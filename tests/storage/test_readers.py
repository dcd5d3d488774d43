"""What a worker loads, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# A worker that has ended its first job, as the command makes it.
WORKER = """
import json, sys
from flask import Flask
from flask_forge_jobs import ForgeJobs
import flask_forge_jobs.cli.worker
from flask_forge_jobs.state import state_of

app = Flask("app", instance_path=sys.argv[1])
forge = ForgeJobs(app)

@forge.task
def send() -> None: ...

with app.app_context():
    job = send.enqueue()
    handle = state_of(app).runtime(threads=1).with_queues(["default"]).start()
    job.wait(timeout_s=60)
    handle.shutdown_graceful(60)
print(json.dumps(sorted(sys.modules)))
"""
# What only requests, operators and rare tasks need, as prefixes of modules.
UNUSED = (
    "apispec",
    "asyncio",
    "gunicorn",
    "marshmallow",
    "prometheus_client",
    "psutil",
    "psycopg2",
    "flask_forge_jobs.api.schemas",
    "flask_forge_jobs.api.v1",
    "flask_forge_jobs.dashboard.page",
    "flask_forge_jobs.handlers",
    "flask_forge_jobs.model.activity",
    "flask_forge_jobs.model.attention",
    "flask_forge_jobs.model.cron_history",
    "flask_forge_jobs.model.sentences",
    "flask_forge_jobs.model.worker_details",
    "flask_forge_jobs.storage.attention",
    "flask_forge_jobs.storage.audit",
    "flask_forge_jobs.storage.cron_history",
    "flask_forge_jobs.storage.jobs.activity",
    "flask_forge_jobs.storage.jobs.evidence",
    "flask_forge_jobs.storage.jobs.search",
    "flask_forge_jobs.storage.worker_reader",
)


def test_a_worker_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    """It should start soon and stay small."""
    finished = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = json.loads(finished.stdout)
    assert [name for name in loaded if name.startswith(UNUSED)] == []
