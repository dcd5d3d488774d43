"""``python -m tests.benchmarks.http``: what a request costs beyond its work.

Flask's test client, in one process, on PostgreSQL with 400,000 jobs: an enqueue beside
``.enqueue()`` and a bare route ("hello"), a list of 50 rows, the facts of the storage
and the overview, in turns. It prints the median and the CPU of this process for each,
and, with ``--profile NAME``, where one spends it. With ``--server`` it serves by
``forge-jobs-server`` and counts enqueues a second of eight clients, in turns with
``.enqueue()`` from eight threads. It asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import os
import pstats
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import click
import psutil
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.state import state_of
from tests.acceptance.filling import fill
from tests.support.postgres import fresh_database, running_server
from tests.support.programs import running, script
from tests.support.sql import Sql

JOBS = 400_000
QUEUE = "http"
LIST = {"queues": [], "kinds": [], "statuses": [], "limit": 50, "offset": 0}
Call = Callable[[], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=20, help="of each in a round")
    parser.add_argument("--profile", help="one of the names that are printed")
    parser.add_argument("--server", action="store_true", help="measure that instead")
    options = parser.parse_args()
    if options.server:
        _serve(options.rounds)
        return
    with (
        running_server(is_durable=False) as server,
        fresh_database(server) as url,
        contextlib.ExitStack() as stack,
    ):
        app, calls = _calls(url, options.jobs)
        stack.enter_context(app.app_context())
        stack.callback(state_of(app).storage.close)
        for call in calls.values():
            for _ in range(20):
                call()
        if options.profile:
            _profile(calls[options.profile], options.rounds * options.calls)
            return
        _report(calls, options.rounds, options.calls)


def _calls(url: str, jobs: int) -> tuple[Flask, dict[str, Call]]:
    token, digest = new_token("http")
    app = Flask("http")
    app.config["FORGE_JOBS_DATABASE_URL"] = url
    app.config["FORGE_JOBS_TOKENS"] = [
        {"id": "http", "sha256": digest, "role": "admin"}
    ]
    forge = ForgeJobs(app)

    @forge.task(queue=QUEUE)
    def note(number: int) -> None:
        del number

    app.add_url_rule("/hello", "hello", lambda: "hello")
    state_of(app).storage.open()
    if jobs:
        fill(Sql(DatabaseSettings.from_url(url)), "postgres", jobs)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    job = {"kind": "note", "payload": {"number": 1}, "queue_name": QUEUE}

    def get(path: str) -> Call:
        def call() -> None:
            answer = client.get(path)
            assert answer.status_code == 200, answer.text

        return call

    def post(path: str, body: object, status: int) -> Call:
        def call() -> None:
            answer = client.post(path, json=body)
            assert answer.status_code == status, answer.text

        return call

    return app, {
        "hello": get("/hello"),
        ".enqueue()": lambda: note.enqueue(number=1),
        "POST /v1/jobs": post("/forge-jobs/v1/jobs", job, 201),
        "POST /jobs/enqueue": post("/forge-jobs/jobs/enqueue", job, 200),
        "POST /jobs/list": post("/forge-jobs/jobs/list", LIST, 200),
        "GET /v1/jobs": get("/forge-jobs/v1/jobs"),
        "GET /storage/info": get("/forge-jobs/storage/info"),
        "GET /queue/overview": get("/forge-jobs/queue/overview"),
    }


def _report(calls: dict[str, Call], rounds: int, number: int) -> None:
    took: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            since, used = time.perf_counter(), time.process_time()
            for _ in range(number):
                call()
            took[name].append((time.perf_counter() - since) * 1000 / number)
            cpu[name].append((time.process_time() - used) * 1000 / number)
    for name in calls:
        click.echo(
            f"{name:20} {min(took[name]):6.2f} ms at best, "
            f"{median(took[name]):6.2f} median; CPU {min(cpu[name]):6.2f} and "
            f"{median(cpu[name]):6.2f}"
        )


def _profile(call: Call, number: int) -> None:
    profile = cProfile.Profile(time.process_time)  # of a busy machine
    profile.enable()
    for _ in range(number):
        call()
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(40)


CLIENTS = 8
SECONDS = 2.0
BODY = json.dumps({"kind": "note", "payload": {"number": 1}, "queue_name": QUEUE})


def _serve(rounds: int) -> None:
    with running_server() as server, fresh_database(server) as url:
        app, calls = _calls(url, 0)
        with _served(url) as (program, request), app.app_context():
            own, over_http = [], []
            _rate(_posts(request))  # every process has its connections
            for _ in range(rounds):
                own.append(_rate(_enqueues(app, calls[".enqueue()"])))
                before = _cpu_s(program)
                over_http.append(_rate(_posts(request)))
                sent = over_http[-1] * SECONDS
                click.echo(
                    f".enqueue() {own[-1]:5.0f}/s, over HTTP {over_http[-1]:5.0f}/s, "
                    f"{(_cpu_s(program) - before) / sent * 1e3:4.2f} ms of the server"
                )
            share = median(over_http) / median(own)
            click.echo(
                f"medians {median(own):.0f}, {median(over_http):.0f}: {share:.2f}"
            )
            state_of(app).storage.close()


@contextlib.contextmanager
def _served(url: str) -> Iterator[tuple[psutil.Process, tuple[int, bytes]]]:
    token, digest = new_token("http")
    tokens = json.dumps([{"id": "http", "sha256": digest, "role": "admin"}])
    variables = {
        "QUEUE_BACKEND": "postgres", "DATABASE_URL": url, "JOBS_API_PORT": "0",
        "FORGE_JOBS_TOKENS": tokens,
    }  # fmt: skip
    with (
        tempfile.TemporaryDirectory(prefix="forge-http-") as folder,
        running(
            [script("forge-jobs-server")],
            environ=os.environ | variables,
            folder=Path(folder),
        ) as program,
    ):
        port = program.port()
        request = (
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
        )
        yield psutil.Process(program.process.pid), (port, request.encode())


def _posts(target: tuple[int, bytes]) -> Callable[[threading.Event], int]:
    port, request = target

    def work(over: threading.Event) -> int:
        count = 0
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while not over.is_set():
                connection.sendall(request)
                answer = connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 201"), answer
                while not answer.endswith(b"}"):
                    answer += connection.recv(65536)
                count += 1
        return count

    return work


def _enqueues(app: Flask, call: Call) -> Callable[[threading.Event], int]:
    def work(over: threading.Event) -> int:
        count = 0
        with app.app_context():
            while not over.is_set():
                call()
                count += 1
        return count

    return work


def _rate(work: Callable[[threading.Event], int]) -> float:
    over, counts = threading.Event(), [0] * CLIENTS

    def count(place: int) -> None:
        counts[place] = work(over)

    threads = [threading.Thread(target=count, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    over.wait(SECONDS)
    over.set()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def _cpu_s(program: psutil.Process) -> float:
    processes = [program, *program.children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in processes)


if __name__ == "__main__":
    main()
