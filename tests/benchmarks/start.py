"""``python -m tests.benchmarks.start``: the cost of a start, in CPU and in memory.

Each step runs in a process of its own, in turns with the others: Python alone, Flask,
``from flask_forge_jobs import ForgeJobs``, an application, and a worker on SQLite until
its first job is done. It prints the least CPU of each, what it adds to Python's, its
ratio to Flask's, the modules beyond Flask's and the peak of the memory; it asserts
nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile

import click

_APPLICATION = """
from flask import Flask
from flask_forge_jobs import ForgeJobs
app = Flask("start", instance_path=sys.argv[1])
forge = ForgeJobs(app)
@forge.task
def send(user_id: int) -> None: ...
"""
_WORKER = """
import flask_forge_jobs.cli.worker
from flask_forge_jobs.state import state_of
with app.app_context():
    job = send.enqueue(user_id=7)
    handle = state_of(app).runtime(threads=4).with_queues(["default"]).start()
    assert job.wait(timeout_s=30)
    handle.shutdown_graceful(30)
"""
STEPS = {
    "python": "",
    "import flask": "import flask",
    "import ForgeJobs": "from flask_forge_jobs import ForgeJobs",
    "application": _APPLICATION,
    "worker, one job": _APPLICATION + _WORKER,
}
_END = """
import json, resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([
    (used.ru_utime + used.ru_stime) * 1000, used.ru_maxrss / 1024, len(sys.modules)
]))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    figures: dict[str, list[list[float]]] = {name: [] for name in STEPS}
    for _ in range(rounds):
        for name, program in STEPS.items():
            figures[name].append(measured(program))
    python = min(each[0] for each in figures["python"])
    flask = min(each[0] for each in figures["import flask"]) - python
    modules = figures["import flask"][0][2]
    for name, runs in figures.items():
        cpu_ms = min(each[0] for each in runs)
        memory = min(each[1] for each in runs)
        click.echo(
            f"{name:17} {cpu_ms:4.0f} ms CPU, {cpu_ms - python:4.0f} more than Python, "
            f"{(cpu_ms - python) / flask:4.2f} of Flask, "
            f"{max(0, runs[0][2] - modules):4.0f} modules, {memory:3.0f} MiB"
        )


def measured(program: str) -> list[float]:
    """Return CPU in ms, memory in MiB and the modules of one process."""
    with tempfile.TemporaryDirectory(prefix="forge-start-") as folder:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys\n{program}\n{_END}", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
    return [float(each) for each in json.loads(done.stdout)]


if __name__ == "__main__":
    main()
