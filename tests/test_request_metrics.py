from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flask_forge_jobs.request_metrics import RequestMetrics

PROGRAM = """
import sys
from flask_forge_jobs.request_metrics import RequestMetrics
metrics = RequestMetrics()
for _ in range(int(sys.argv[1])):
    metrics.observe("GET", "/jobs", 200, 0.25)
for family in metrics.collect():
    for sample in family.samples:
        if sample.name.endswith(("_total", "_count", "_created")):
            print(sample.name, sample.labels, sample.value)
"""

ENQUEUES = """
from flask import Flask
from flask_forge_jobs import ForgeJobs
app = Flask("shop")
app.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=False, FORGE_JOBS_INLINE="off")
forge = ForgeJobs(app)
job = {"kind": "k", "payload": {}}
for _ in range(3):
    answer = app.test_client().post("/forge-jobs/v1/jobs", json=job)
    print(answer.status_code)
with app.app_context():
    print(forge.storage.job_reader.statistics()["default"].counts.pending)
"""


def samples(metrics: RequestMetrics, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_requests_are_counted_and_timed() -> None:
    metrics = RequestMetrics()
    metrics.observe("GET", "/jobs", 200, 0.25)
    metrics.observe("GET", "/jobs", 404, 0.5)
    metrics.observe("GET", "/jobs", 404, 0.5)

    assert samples(metrics, "forge_jobs_http_requests_total") == {
        ("GET", "/jobs", "200"): 1.0,
        ("GET", "/jobs", "404"): 2.0,
    }
    assert samples(metrics, "forge_jobs_http_request_seconds_sum") == {
        ("GET", "/jobs"): 1.25
    }


def test_every_instance_counts_for_itself() -> None:
    one, two = RequestMetrics(), RequestMetrics()
    one.observe("GET", "/jobs", 200, 0.25)

    assert samples(two, "forge_jobs_http_requests_total") == {}


def test_no_instants_of_creation_are_shown() -> None:
    metrics = RequestMetrics()
    metrics.observe("GET", "/jobs", 200, 0.25)

    names = {sample.name for family in metrics.collect() for sample in family.samples}
    assert not any(name.endswith("_created") for name in names)


def test_the_processes_of_a_server_are_shown_together(tmp_path: Path) -> None:
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    printed = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, count],
            env=environ, capture_output=True, text=True, check=True,
        ).stdout
        for count in ("2", "3")
    ]  # fmt: skip

    assert "'status': '200'} 2.0" in printed[0]
    assert "'status': '200'} 5.0" in printed[1]
    assert "forge_jobs_http_request_seconds_count" in printed[1]


def test_a_request_that_cannot_be_counted_is_answered_all_the_same(
    tmp_path: Path,
) -> None:
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "none")}

    ended = subprocess.run(
        [sys.executable, "-c", ENQUEUES],
        env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert ended.stdout.split() == ["201", "201", "201", "3"]
    assert ended.stderr.count("a request could not be counted") == 1
    assert f"No such file or directory: '{tmp_path}/none/" in ended.stderr
