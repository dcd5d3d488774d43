"""Threads that answer requests are marked, in every application that has our routes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.request_threads import this_thread


@pytest.mark.parametrize("path", ["/forge-jobs/health", "/nowhere"])
def test_a_thread_that_answers_a_request_is_marked(path: str, tmp_path: Path) -> None:
    app = Flask(__name__, instance_path=str(tmp_path))
    ForgeJobs(app)
    client = app.test_client()

    def ask() -> tuple[bool, bool]:
        before = this_thread.answers_requests
        client.get(path)
        return before, this_thread.answers_requests

    with ThreadPoolExecutor(1) as server:
        assert server.submit(ask).result() == (False, True)
