"""Pages and API on a hot standby: under load, behind, gone, and after a failover.

A primary with durable commits, a standby of it, a producer, a worker, and callers at a
fixed pace who open the pages and lists that operators keep open. A beat stores a job
ten times a second, and each answer of one route tells which beats it shows: so its age
is that of the oldest beat it lacks. First the primary answers everything, which tells
what the standby takes off it. Then the replay pauses for longer than the bound, the
standby is killed and started again, and at last the primary is killed and the standby
promoted. It prints, for each phase, how many requests each server answered, the age of
the oldest answer of each, errors, answers 503, times, and the cores that each server
took (0 if it died meanwhile).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.api.standby_reads import SERVER_HEADER
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.state import state_of
from tests.benchmarks.application import URL_VARIABLE
from tests.benchmarks.measure import percentile
from tests.benchmarks.sustained import _server_cpu_s
from tests.support.postgres import running_server
from tests.support.sql import Sql
from tests.support.standby import StandbyServer, at, running_standby
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 2.0
KEPT = 20_000
CALLERS = 4
BEAT = "/forge-jobs/v1/jobs?kind=beat&limit=5"
PATHS = (BEAT, "/forge-jobs/", "/forge-jobs/jobs", "/forge-jobs/v1/stats")
PAGE = "text/html"
_AWAY = 503
_OK = 200


@dataclass(frozen=True)
class Plan:
    """How long each phase takes, in seconds, and how many calls and jobs a second."""

    seconds: float = 12.0
    calls: int = 40
    jobs: int = 500


@dataclass
class Phase:
    """What the callers got in one phase."""

    name: str
    may_be_away: bool = False
    served: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    away: int = 0
    times_ms: list[float] = field(default_factory=list)
    ages_s: dict[str, list[float]] = field(default_factory=dict)
    cpu_s: tuple[float, float] = (0.0, 0.0)

    def line(self, seconds: float) -> str:
        """Return a line of the report."""
        oldest = {name: max(ages) for name, ages in self.ages_s.items()}
        return (
            f"{self.name:<34} {self.served['standby']:>7} {self.served['primary']:>8}"
            f" {oldest.get('standby', 0):>9.2f} {oldest.get('primary', 0):>9.2f}"
            f" {len(self.errors):>7} {self.away:>5}"
            f" {percentile(self.times_ms or [0.0], 50):>6.1f}"
            f" {percentile(self.times_ms or [0.0], 99):>7.1f}"
            f" {max(self.cpu_s[0], 0) / seconds:>8.3f}"
            f" {max(self.cpu_s[1], 0) / seconds:>8.3f}"
        )


HEAD = (
    f"{'':<34} {'standby':>7} {'primary':>8} {'age s':>9} {'age s':>9} {'errors':>7}"
    f" {'503':>5} {'p50 ms':>6} {'p99 ms':>7} {'CPU pri':>8} {'CPU sta':>8}"
)


class Beats:
    """Jobs whose commits are known, by their ids."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._at: list[float] = []
        self._numbers: dict[str, int] = {}

    def beat(self) -> None:
        """Store one more."""
        with self._app.app_context():
            handle = self._app.extensions["beat"].enqueue("beat", queue="beats")
        # Before the number is known, because answers are looked up at once.
        self._at.append(time.monotonic())
        self._numbers[handle.id] = len(self._at) - 1

    def age_s(self, ids: list[str], asked_at: float) -> float:
        """Return how old an answer with these jobs was when it was asked for."""
        newest = max((self._numbers.get(each, -1) for each in ids), default=-1)
        missing = newest + 1
        if missing >= len(self._at):
            return 0.0
        return max(asked_at - self._at[missing], 0.0)


class Site:
    """The application and all that goes on around it."""

    def __init__(self, primary_url: str, read_url: str | None) -> None:
        self.app = Flask("shop")
        self.app.testing = True  # this machine is let in
        self.app.config["FORGE_JOBS_DATABASE_URL"] = primary_url
        self.app.config["FORGE_JOBS_INLINE"] = "off"
        if read_url is not None:
            self.app.config["FORGE_JOBS_READ_DATABASE_URL"] = read_url
            self.app.config["FORGE_JOBS_READ_MAX_LAG_S"] = BOUND_S
        forge = ForgeJobs(self.app)
        self.app.extensions["beat"] = forge
        self.beats = Beats(self.app)
        self._client = self.app.test_client

    def ask(self, phase: Phase, number: int) -> None:
        """Send one request and note its answer."""
        path = PATHS[number % len(PATHS)]
        accept = PAGE if "/v1/" not in path else "application/json"
        asked_at = time.monotonic()
        answer = self._client().get(path, headers={"Accept": accept})
        phase.times_ms.append((time.monotonic() - asked_at) * 1000)
        if answer.status_code == _AWAY and phase.may_be_away:
            phase.away += 1
            return
        if answer.status_code != _OK:
            phase.errors.append(f"{answer.status_code} {path}: {answer.text[:200]}")
            return
        server = answer.headers.get(SERVER_HEADER, "primary")
        phase.served[server] += 1
        if path == BEAT:
            ids = [each["id"] for each in answer.get_json()["rows"]]
            age_s = self.beats.age_s(ids, asked_at)
            phase.ages_s.setdefault(server, []).append(age_s)

    def close(self) -> None:
        """Close all connections."""
        state = state_of(self.app)
        if state.standby is not None:
            state.standby.close()
        with contextlib.suppress(StorageError):
            state.storage.close()


def _paced(work: Callable[[int], None], a_second: float, stop: threading.Event) -> None:
    """Call something at a pace that does not depend on how long it takes."""
    begun, number = time.monotonic(), 0
    while not stop.wait(max(begun + number / a_second - time.monotonic(), 0)):
        work(number)
        number += 1


@contextlib.contextmanager
def _threads(*loops: tuple[Callable[[int], None], float]) -> Iterator[None]:
    stop = threading.Event()
    threads = [
        threading.Thread(target=_paced, args=(work, pace, stop)) for work, pace in loops
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def _worker(url: str) -> Iterator[None]:
    """Run a real worker beside it all."""
    command = [
        sys.executable, "-m", "flask", "--app",
        "tests.benchmarks.application:create_app", "forge-jobs", "worker",
        "--queue", "default",
    ]  # fmt: skip
    environ = {**os.environ, URL_VARIABLE: url}
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)


class Trial:
    """Runs the phases on one site after the other."""

    def __init__(self, plan: Plan, server: str, url: str, standby: StandbyServer):
        self.plan, self.url, self.standby = plan, url, standby
        self._server = server
        self.phases: list[Phase] = []

    def _cpu(self) -> tuple[float, float]:
        found = []
        for url in (self._server, self.standby.url):
            try:
                found.append(_server_cpu_s(url))
            except Exception:  # noqa: BLE001  # it is gone
                found.append(0.0)
        return found[0], found[1]

    def run(
        self,
        site: Site,
        name: str,
        events: Callable[[], None] | None = None,
        *,
        may_be_away: bool = False,
    ) -> Phase:
        """Let callers ask for the time of a phase; ``events`` happen meanwhile."""
        phase, first = Phase(name, may_be_away), Phase("first requests")
        self.phases.append(phase)
        for number in range(len(PATHS)):
            site.ask(first, number)  # loads what a server has loaded
        before = self._cpu()
        ends_at = time.monotonic() + self.plan.seconds
        pace = self.plan.calls / CALLERS
        callers = [
            (lambda number, own=own: site.ask(phase, number + own), pace)
            for own in range(CALLERS)
        ]
        with _threads(*callers):
            if events is not None:
                events()
            time.sleep(max(ends_at - time.monotonic(), 0))
        after = self._cpu()
        phase.cpu_s = (after[0] - before[0], after[1] - before[1])
        return phase

    def lag(self) -> None:
        """Pause the replay for longer than the bound."""
        self.standby.pause()
        time.sleep(BOUND_S + self.plan.seconds / 4)
        self.standby.resume()

    def die(self) -> None:
        """Kill the standby and start it again."""
        self.standby.kill()
        time.sleep(self.plan.seconds / 4)
        self.standby.start()

    def fail_over(self) -> None:
        """Kill the primary and promote the standby a moment later."""
        time.sleep(self.plan.seconds / 4)
        os.kill(_postmaster(self._server), signal.SIGKILL)
        time.sleep(1.0)
        self.standby.promote()

    def report(self) -> tuple[str, bool]:
        """Return the report, and whether every promise held."""
        own = [each.ages_s.get("standby", [0.0]) for each in self.phases]
        oldest = max(max(ages) for ages in own)
        errors = [error for each in self.phases for error in each.errors]
        promoted = self.phases[-1]
        checks = {
            f"no answer of the standby is older than {BOUND_S:g} s ({oldest:.2f} s)": (
                oldest <= BOUND_S
            ),
            f"no request fails while a server takes writes ({len(errors)})": not errors,
            "the standby answers nine of ten requests while it is level": (
                self.phases[1].served["standby"] >= 9 * self.phases[1].served["primary"]
            ),
            "one that is promoted answers no read": promoted.served["standby"] == 0,
            "some are answered by the standby until then": (
                self.phases[-2].served["standby"] > 0
            ),
        }
        lines = [HEAD, *(each.line(self.plan.seconds) for each in self.phases)]
        lines += [f"{'ok' if held else 'NO'}: {name}" for name, held in checks.items()]
        return "\n".join([*lines, *errors[:5]]), all(checks.values())


def _postmaster(url: str) -> int:
    (folder,) = parse_qs(urlsplit(url).query)["host"]
    return int((Path(folder) / "postmaster.pid").read_text("utf-8").split()[0])


def _either(url: str, other: str) -> str:
    """Return the address of a database on one of two servers."""
    hosts = [parse_qs(urlsplit(each).query)["host"][0] for each in (url, other)]
    return urlunsplit(urlsplit(url)._replace(query=f"host={','.join(hosts)}"))


def try_all(plan: Plan) -> tuple[str, bool]:
    """Run everything on two new servers; return the report, and whether it held."""
    with running_server(is_own=True) as server, running_standby(server) as standby:
        # Never dropped: in the end this server is gone.
        at(server, "CREATE DATABASE shop")
        url = urlunsplit(urlsplit(server)._replace(path="/shop"))
        settings = DatabaseSettings.from_url(url)
        control = Site(url, None)
        state_of(control.app).storage.open()
        Sql(settings).seed(KEPT, status="done", prefix="0kept")
        Sql(settings).run("VACUUM ANALYZE")
        standby.wait_level(server)
        trial = Trial(plan, server, url, standby)
        sites = [control, Site(url, standby.at(url))]
        with _worker(url), _loaded(sites[0], plan):
            trial.run(sites[0], "the primary alone")
        control.close()
        with _worker(url), _loaded(sites[1], plan):
            trial.run(sites[1], "both")
            trial.run(sites[1], "the replay pauses", trial.lag)
            trial.run(sites[1], "the standby is killed", trial.die)
        sites[1].close()
        _fail_over(trial, server, url)
        return trial.report()


def _fail_over(trial: Trial, server: str, url: str) -> None:
    """Kill the primary under load; commits wait for the standby from now on."""
    standby = trial.standby
    at(server, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    at(server, "SELECT pg_reload_conf()")
    wait_until(
        lambda: at(server, "SELECT sync_state FROM pg_stat_replication") == "sync",
        "commits wait for the standby",
    )
    both = _either(url, standby.at(url))
    site = Site(both, _either(standby.at(url), url))
    with _worker(both), _loaded(site, trial.plan):
        trial.run(site, "the primary is killed", trial.fail_over, may_be_away=True)
        trial.run(site, "after the failover")
    site.close()


@contextlib.contextmanager
def _loaded(site: Site, plan: Plan) -> Iterator[None]:
    """Let a producer and the beat store jobs; both wait while there is no primary."""
    forge = site.app.extensions["beat"]
    batch = max(plan.jobs // 10, 1)

    def produce(_: int) -> None:
        with site.app.app_context(), contextlib.suppress(StorageError):
            forge.enqueue_many([_noop()] * batch)

    def beat(_: int) -> None:
        with contextlib.suppress(StorageError):
            site.beats.beat()

    with _threads((produce, plan.jobs / batch), (beat, 10.0)):
        yield


def _noop() -> object:
    from flask_forge_jobs.model.jobs import NewJob

    return NewJob(kind="noop", payload="{}", queue_name="default")


def main() -> int:
    """Read the options, run and print the report."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.standby_reads", description=__doc__
    )
    plan = Plan()
    parser.add_argument("--seconds", type=float, default=plan.seconds)
    parser.add_argument("--calls", type=int, default=plan.calls, help="a second")
    parser.add_argument("--jobs", type=int, default=plan.jobs, help="a second")
    given = parser.parse_args()
    text, holds = try_all(Plan(given.seconds, given.calls, given.jobs))
    sys.stdout.write(f"{text}\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
