"""Tasks that fork under a real worker, on its threads."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.storage.base import Storage
from tests.support.backends import long
from tests.support.commands import Application
from tests.support.runtimes import add, wait_for_status

SHOP = """
import os, signal, sys, time
from flask import Flask
from flask_forge_jobs import ForgeJobs, current_job, signals

app = Flask(__name__, instance_path=os.environ["TEST_INSTANCE"])
app.config.from_prefixed_env()
forge = ForgeJobs(app)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

@forge.task
def fork(how: str) -> str:
    pid = os.fork()
    if pid == 0:
        if how == "exit":
            sys.exit(0)
        if how == "exec":
            os.execv("/nowhere/program", ["program"])
        return "child"
    ends_at = time.monotonic() + 25
    while time.monotonic() < ends_at:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return f"ended with {os.waitstatus_to_exitcode(status)}"
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return "runs on"

@forge.task
def quick() -> None:
    say("RUN", current_job.job_id)

@signals.job_succeeded.connect
@signals.job_failed.connect
@signals.job_dead.connect
def tell(sender, context, **extra):
    if context.kind == "fork":
        say("TOLD", os.getpid())

@app.teardown_appcontext
def tear_down(error):
    say("TORN", os.getpid())
"""


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Application:
    application = Application(tmp_path, database_url)
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    return application


@pytest.mark.parametrize(
    ("backend", "how"),
    [
        ("sqlite", "exit"),
        ("postgres", "return"),
        ("sqlite", "exec"),
        long("postgres", "exit"),
        long("sqlite", "return"),
        long("postgres", "exec"),
    ],
    indirect=["backend"],
)
def test_a_forked_child_that_comes_back_does_nothing_more(
    storage: Storage, shop: Application, how: str
) -> None:
    """It has a copy of the jobs that the worker has claimed."""
    quick = [add(storage, "quick") for _ in range(30)]
    forking = add(storage, "fork", payload=json.dumps({"how": how}))
    quick += [add(storage, "quick") for _ in range(30)]
    with shop.worker("--threads", "1") as worker:
        forked = wait_for_status(storage, forking, JobStatus.DONE)
        for job_id in quick:
            wait_for_status(storage, job_id, JobStatus.DONE)
        status = worker.stop()

    assert forked.result == '"ended with 1"'
    assert status == 0
    assert worker.lines_with("TOLD") == [f"TOLD {worker.process.pid}"]
    assert set(worker.lines_with("TORN")) == {f"TORN {worker.process.pid}"}
    ran = Counter(line.split()[1] for line in worker.lines_with("RUN "))
    assert ran == dict.fromkeys(quick, 1)
    assert worker.lines_with(f"job {forking} returned in a forked child")
