from __future__ import annotations

from flask_forge_jobs.storage.base import Storage
from tests.api.mounting import PREFIX, mount


def test_every_answer_is_counted_by_route_and_status(storage: Storage) -> None:
    client = mount(storage)
    client.get(f"{PREFIX}/jobs/inspect/unknown")
    client.post(f"{PREFIX}/jobs/enqueue", data="{", content_type="application/json")
    client.post(f"{PREFIX}/jobs/enqueue", json={"kind": "k", "payload": {}})
    client.get(f"{PREFIX}/health")

    lines = client.get(f"{PREFIX}/metrics").text.splitlines()

    found = [line for line in lines if line.startswith("forge_jobs_http_requests_")]
    name = "forge_jobs_http_requests_total"
    assert found == [
        f'{name}{{method="GET",route="{path}",status="{status}"}} 1'
        if method == "GET"
        else f'{name}{{method="POST",route="{path}",status="{status}"}} 1'
        for method, path, status in (
            ("GET", "/jobs/inspect/<job_id>", 404),
            ("POST", "/jobs/enqueue", 400),
            ("POST", "/jobs/enqueue", 200),
            ("GET", "/health", 200),
        )
    ]
    count = 'forge_jobs_http_request_seconds_count{method="POST",route="/jobs/enqueue"}'
    assert f"{count} 2" in lines


def test_the_new_families_come_after_the_ten(storage: Storage) -> None:
    of_the_server = ["forge_jobs_oldest_snapshot_age_seconds"]
    # An application of its own: which families there are depends on the backend.
    lines = mount(storage).get(f"{PREFIX}/metrics").text.splitlines()

    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert all(name.startswith("queue_") for name in types[:10])
    assert types[10:] == [
        "forge_jobs_enqueued_total",
        "forge_jobs_completed_total",
        "forge_jobs_failed_total",
        "forge_jobs_run_seconds",
        "forge_jobs_wait_seconds",
        "forge_jobs_build_info",
        "forge_jobs_service_tick_age_seconds",
        *(of_the_server if storage.backend == "postgres" else ()),
        "forge_jobs_http_requests_total",
        "forge_jobs_http_request_seconds",
    ]
