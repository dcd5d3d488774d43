"""Which reads a standby answers, on a real one that lags, dies and is promoted."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.standby_reads import COOKIE, SERVER_HEADER
from flask_forge_jobs.api.table import all_routes
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.dashboard.table import page_routes
from flask_forge_jobs.errors import (
    ConfigurationError,
    InvalidInputError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.masking import KNOWN
from flask_forge_jobs.model.standby import Positions, StandbyState
from flask_forge_jobs.request_threads import this_thread
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Row
from flask_forge_jobs.storage.postgres import standby as module
from flask_forge_jobs.storage.standby import PAUSE_S, Standby
from tests.api.mounting import PREFIX
from tests.conformance.requests import sample
from tests.support.clocks import MovingClock
from tests.support.postgres import SERVER_VARIABLE, fresh_database, running_server
from tests.support.standby import StandbyServer, at, running_standby
from tests.support.threads import run_together
from tests.support.waiting import wait_until

BOUND_S = 5.0
PAGE = {"Accept": "text/html"}


# -- the rule ------------------------------------------------------------------------


def test_an_answer_must_show_what_was_written_within_the_bound() -> None:
    positions = Positions(5.0)
    for second in range(10):
        positions.note(float(second), 100 * second)

    # At 9 s: what was written at 4 s, and nothing newer.
    assert positions.required(9.0) == 400
    assert positions.required(9.001) == 500


def test_without_a_note_within_the_bound_the_standby_answers_nothing() -> None:
    positions = Positions(5.0)

    assert positions.required(0.0) is None
    positions.note(0.0, 100)
    assert positions.required(5.0) == 100
    assert positions.required(5.1) is None
    positions.forget()
    assert positions.required(5.0) is None


def test_the_lag_is_the_age_of_the_newest_moment_that_is_shown() -> None:
    positions = Positions(5.0)
    positions.note(1.0, 100)
    positions.note(2.0, 200)

    assert positions.lag_s(2.5, 99) is None
    assert positions.lag_s(2.5, 150) == 1.5
    assert positions.lag_s(2.5, 200) == 0.5


def test_an_idle_primary_is_no_lag() -> None:
    positions = Positions(5.0)
    for second in range(100):
        positions.note(float(second), 700)

    assert positions.required(99.5) == 700
    assert positions.lag_s(99.5, 700) == 0.5


def test_what_callers_act_on_is_read_from_the_primary() -> None:
    routes = (*all_routes(enable_demo=True), *page_routes())
    current = {
        route.path for route in routes if not route.mutates and not route.may_lag
    }

    assert current >= {
        "/health", "/metrics", "/storage/info", "/v1/health/ready", "/v1/events",
        "/v1/me", "/jobs.csv", "/find", "/system", "/audit",
    }  # fmt: skip
    assert all("<" not in route.path for route in routes if route.may_lag)
    assert not any(route.mutates for route in routes if route.may_lag)
    lagging = {route.endpoint for route in routes if route.may_lag}
    assert lagging >= {"jobs_list", "v1_jobs_find", "v1_stats", "page_index"}


# -- the servers' answers --------------------------------------------------------------


@dataclass
class Server:
    """What a server says of its log; also the Database of the standby."""

    is_standby: bool
    at: int | None = 0
    identity_: str = "ours"
    is_away: bool = False
    backend = "postgres"
    error: StorageError | None = None

    def position(self) -> tuple[bool, int | None]:
        self._require()
        return self.is_standby, self.at

    def identity(self) -> list[Row]:
        self._require()
        return [(self.identity_,)]

    def read_one(self, name: str) -> list[Row]:
        return self.identity() if name == "shared_identity" else [self.position()]

    def read(self, required: int) -> str:
        """Read as the standby does, which refuses what would be too old."""
        self.error = None
        if self.is_away or not self.is_standby or (self.at or 0) < required:
            self.error = StorageUnavailableError("is too far behind")
            raise self.error
        return "standby"

    @contextlib.contextmanager
    def noting(self) -> Iterator[Callable[[], StorageError | None]]:
        yield lambda: self.error

    def wake(self, _queue: str) -> None: ...
    def forget_idle(self) -> None: ...

    def _require(self) -> None:
        if self.is_away:
            raise StorageUnavailableError("does not answer")


@dataclass
class Pair:
    """A primary and a standby, each as a test sets it."""

    primary: Server
    server: Server
    standby: Standby
    clock: MovingClock

    def served(self) -> bool:
        """Return whether the standby answers a read now."""
        read = self.standby._required  # as its database asks for it
        return self.standby.answer(lambda: self.server.read(read())) == "standby"

    def after(self, seconds: float) -> bool:
        """Return the same after some time."""
        self.clock.move(seconds)
        return self.served()


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Pair:
    primary, server = Server(is_standby=False, at=100), Server(is_standby=True, at=100)
    monkeypatch.setattr(module, "StandbyDatabase", lambda *_: server)
    stores = cast("Storage", SimpleNamespace(database=primary, masking=KNOWN))
    clock = MovingClock()
    settings = DatabaseSettings.from_url("postgresql://standby/shop")
    waits: list[float] = []
    standby = Standby(
        stores, settings, max_lag_s=BOUND_S, clock=clock, wait=waits.append
    )
    return Pair(primary, server, standby, clock)


def test_a_standby_that_is_level_answers(pair: Pair) -> None:
    assert pair.served()
    assert pair.after(60)
    assert pair.standby.look() == StandbyState(0.0, None, answered=2, instead=0)


def test_a_standby_answers_until_it_is_older_than_the_bound(pair: Pair) -> None:
    assert pair.served()
    pair.primary.at = 200

    assert pair.after(1)  # and notes 200
    assert pair.after(4)  # shows what was written 5 s ago
    assert not pair.after(1)
    pair.server.at = 200
    assert not pair.after(0.5)  # left alone for a second
    assert pair.after(0.5)


def test_without_an_answer_of_the_primary_the_standby_ages(pair: Pair) -> None:
    assert pair.served()
    pair.primary.is_away = True

    assert pair.after(5)
    assert not pair.after(0.1)


def test_a_server_that_takes_writes_is_no_standby(pair: Pair) -> None:
    assert pair.served()
    pair.server.is_standby = False

    assert not pair.after(1)
    assert "takes writes itself" in str(pair.standby.look().fault)


def test_a_log_of_another_history_is_not_trusted_when_the_primary_has_passed_it(
    pair: Pair,
) -> None:
    pair.server.at = 150  # the new primary has less
    assert not pair.served()

    pair.primary.at = 200
    assert not pair.after(2)
    assert "history" not in str(pair.standby.look().fault)
    pair.server.at = 200  # now it follows
    assert pair.after(2)


def test_a_standby_of_another_database_is_refused(pair: Pair) -> None:
    pair.server.identity_ = "another"

    assert not pair.served()
    assert "no standby of the jobs' database" in str(pair.standby.look().fault)


def test_a_service_that_hides_its_position_has_no_standby(pair: Pair) -> None:
    pair.server.at = None

    assert not pair.served()
    assert "does not say" in str(pair.standby.look().fault)


def test_an_error_that_is_not_the_standbys_is_the_callers(pair: Pair) -> None:
    def read() -> object:
        raise InvalidInputError("field", "is wrong")

    with pytest.raises(InvalidInputError):
        pair.standby.answer(read)


def test_an_error_that_a_page_passes_over_leads_to_the_primary(pair: Pair) -> None:
    def read() -> str:
        with contextlib.suppress(StorageError):
            pair.server.read(10**6)
        return "a page without its counts"

    assert pair.standby.answer(read) is None


def test_a_wait_that_is_refused_leads_to_the_primary() -> None:
    """As a read does that is not tried."""
    settings = DatabaseSettings.from_url("postgresql://forge@127.0.0.1:1/forge")
    database = module.StandbyDatabase(settings, lambda: 0)
    database._current.availability._reason = "time-out"

    with database.noting() as failure:
        with pytest.raises(StorageUnavailableError, match="not tried"), database.turn:
            pytest.fail("it may wait")

        assert isinstance(failure(), StorageUnavailableError)


def test_a_look_that_fails_is_no_call_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = DatabaseSettings.from_url("postgresql://forge@127.0.0.1:1/forge")
    database = module.StandbyDatabase(settings, lambda: 0)
    state = database._current
    state.is_open = True
    monkeypatch.setattr(this_thread, "answers_requests", True)

    for look in (database.position, database.identity):
        with pytest.raises(StorageUnavailableError):
            look()
        assert not state.gate._turns


def test_a_look_does_not_wait_for_that_of_another_thread(pair: Pair) -> None:
    before = pair.standby.look()
    pair.primary.at = 200
    pair.clock.move(3)

    with pair.standby._noting:
        (state,) = run_together([pair.standby.look])
    assert state == before
    assert pair.standby.look().lag_s == 3.0


def test_a_look_tells_the_lag_of_a_standby_that_does_not_catch_up(pair: Pair) -> None:
    assert pair.served()
    pair.primary.at = 200
    pair.clock.move(3)

    assert pair.standby.look().lag_s == 3.0


# -- settings ------------------------------------------------------------------------


def test_a_standby_needs_jobs_on_postgresql() -> None:
    app = Flask("shop")
    app.config["FORGE_JOBS_DATABASE_URL"] = "sqlite:///:memory:"
    app.config["FORGE_JOBS_READ_DATABASE_URL"] = "postgresql://standby/shop"

    with pytest.raises(ConfigurationError, match="the jobs are on SQLite") as caught:
        ForgeJobs(app)

    assert caught.value.key == "FORGE_JOBS_READ_DATABASE_URL"


def test_of_several_hosts_one_that_is_a_standby_is_taken() -> None:
    primary = DatabaseSettings.from_url("postgresql://a,b/shop")

    several = primary.standby("postgresql://a,b/shop").connect_parameters()
    chosen = primary.standby("postgresql://a,b/shop?target_session_attrs=any")

    assert several["target_session_attrs"] == "standby"
    assert chosen.connect_parameters()["target_session_attrs"] == "any"
    assert "target_session_attrs" not in (
        primary.standby("postgresql://b/shop").connect_parameters()
    )


# -- a real standby ------------------------------------------------------------------


@dataclass
class Site:
    """An application whose reads may go to a standby."""

    app: Flask
    clock: MovingClock
    server: StandbyServer
    primary_url: str

    @property
    def standby(self) -> Standby:
        standby = state_of(self.app).standby
        assert standby is not None
        return standby

    def client(self) -> FlaskClient:
        client = self.app.test_client()
        client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
        return client

    def kinds(self, client: FlaskClient | None = None, **headers: str) -> Any:
        """Return the kinds that a caller sees, and whether the standby answered."""
        answer = (client or self.client()).get(f"{PREFIX}/jobs/kinds", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.get_json(), answer.headers.get(SERVER_HEADER) == "standby"

    def wait_served(self) -> None:
        """Wait until the standby answers."""

        def is_served() -> bool:
            self.clock.move(2 * PAUSE_S)
            return bool(self.kinds()[1])

        wait_until(is_served, "the standby answers")


def add(client: FlaskClient, kind: str) -> None:
    answer = client.post(
        f"{PREFIX}/jobs/enqueue",
        json={"kind": kind, "payload": {}, "queue_name": "mail"},
    )
    assert answer.status_code == 200, answer.text


@contextlib.contextmanager
def two_servers(postgres_server: str) -> Iterator[tuple[str, StandbyServer]]:
    with contextlib.ExitStack() as stack:
        server = postgres_server
        if SERVER_VARIABLE in os.environ:
            server = stack.enter_context(running_server(is_durable=False, is_own=True))
        standby = stack.enter_context(running_standby(server))
        url = stack.enter_context(fresh_database(server))
        # Off in the tests' server: a commit would show before it is in the log.
        name = urlsplit(url).path.removeprefix("/")
        at(server, f"ALTER DATABASE {name} SET synchronous_commit = on")
        yield url, standby


@contextlib.contextmanager
def deployed(primary_url: str, server: StandbyServer, read_url: str) -> Iterator[Site]:
    clock = MovingClock()
    app = Flask("shop")
    app.testing = True
    app.config["FORGE_JOBS_DATABASE_URL"] = primary_url
    app.config["FORGE_JOBS_READ_DATABASE_URL"] = read_url
    app.config["FORGE_JOBS_READ_MAX_LAG_S"] = BOUND_S
    app.config["FORGE_JOBS_INLINE"] = "off"
    app.config["FORGE_JOBS_URL_PREFIX"] = PREFIX
    ForgeJobs(app, clock=clock)
    state = state_of(app)
    state.storage.open()
    server.wait_level(primary_url)
    try:
        yield Site(app, clock, server, primary_url)
    finally:
        assert state.standby is not None
        state.standby.close()
        state.storage.close()


@pytest.mark.long
def test_a_standby_answers_within_its_bound_until_it_is_promoted(
    postgres_server: str,
) -> None:
    with (
        two_servers(postgres_server) as (primary_url, server),
        deployed(primary_url, server, server.at(primary_url)) as site,
    ):
        _reads_go_to_the_standby(site)
        _own_changes_show_at_once(site)
        _a_lag_over_the_bound_leads_to_the_primary(site)
        _a_standby_that_dies_costs_no_answer(site)
        _one_that_is_promoted_answers_nothing(site)


def _reads_go_to_the_standby(site: Site) -> None:
    client = site.client()
    add(client, "welcome")
    site.server.wait_level(site.primary_url)
    site.wait_served()

    assert site.kinds() == (["welcome"], True)
    page = client.get(f"{PREFIX}/jobs", headers=PAGE)
    assert page.headers.get(SERVER_HEADER) is None  # of one who has just changed it
    page = site.client().get(f"{PREFIX}/jobs", headers=PAGE)
    assert page.headers[SERVER_HEADER] == "standby"
    assert "welcome" in page.text
    system = site.client().get(f"{PREFIX}/system", headers=PAGE).text
    assert re.search(r"0\.\d s behind; this process: \d+ of \d+ reads", system)
    metrics = site.client().get(f"{PREFIX}/metrics").text
    assert re.search(
        r"^forge_jobs_standby_lag_seconds 0(\.\d+)?$", metrics, re.MULTILINE
    )
    state = site.standby.look()
    assert state.fault is None
    assert state.lag_s is not None
    assert state.lag_s < BOUND_S


def _served_by(site: Site, route: Route) -> str | None:
    client = site.client()
    if route.is_page:
        answer = client.get(f"{PREFIX}{route.path}", headers=PAGE)
    else:
        request = sample(route)
        answer = request.send(client)
    assert answer.status_code in (200, 302), (route.path, answer.text)
    return answer.headers.get(SERVER_HEADER)


def _own_changes_show_at_once(site: Site) -> None:
    client = site.client()
    site.server.pause()
    add(client, "own")

    assert client.get_cookie(COOKIE) is not None
    assert site.kinds(client) == (["own", "welcome"], False)
    # Others see it within the bound, and a program without cookies may ask for it.
    assert site.kinds() == (["welcome"], True)
    assert site.kinds(Cache_Control="no-cache") == (["own", "welcome"], False)


def _a_lag_over_the_bound_leads_to_the_primary(site: Site) -> None:
    site.clock.move(1.5)
    assert site.kinds() == (["welcome"], True)  # older than the change, within it
    site.clock.move(BOUND_S)
    assert site.kinds() == (["own", "welcome"], False)

    site.clock.move(2 * PAUSE_S)
    state = site.standby.look()
    assert state.lag_s is None or state.lag_s > BOUND_S
    site.server.resume()
    site.server.wait_level(site.primary_url)
    site.wait_served()
    assert site.kinds() == (["own", "welcome"], True)


def _a_standby_that_dies_costs_no_answer(site: Site) -> None:
    site.server.kill()
    assert site.kinds() == (["own", "welcome"], False)
    site.clock.move(2 * PAUSE_S)
    assert site.kinds() == (["own", "welcome"], False)
    assert site.standby.look().fault is not None

    site.server.start()
    site.server.wait_level(site.primary_url)
    site.wait_served()


def _one_that_is_promoted_answers_nothing(site: Site) -> None:
    site.server.promote()
    assert at(site.server.url, "SELECT pg_is_in_recovery()") is False

    for _ in range(3):
        assert not site.kinds()[1]
        site.clock.move(2 * PAUSE_S)
    assert site.standby.look().fault == "takes writes itself, so it is no standby"


@pytest.mark.long
def test_a_standby_answers_each_route_that_may_lag(postgres_server: str) -> None:
    routes = (*all_routes(enable_demo=True), *page_routes())
    lagging = [route for route in routes if route.may_lag]
    with (
        two_servers(postgres_server) as (primary_url, server),
        deployed(primary_url, server, server.at(primary_url)) as site,
    ):
        add(site.client(), "welcome")
        server.wait_level(primary_url)
        site.wait_served()
        others = [
            route.path for route in lagging if _served_by(site, route) != "standby"
        ]

    assert others == []


def test_a_database_that_is_no_standby_of_the_jobs_is_not_read(
    postgres_server: str, postgres_database: str
) -> None:
    with fresh_database(postgres_server) as other:
        app = Flask("shop")
        app.config["FORGE_JOBS_DATABASE_URL"] = postgres_database
        app.config["FORGE_JOBS_READ_DATABASE_URL"] = other
        ForgeJobs(app)
        state = state_of(app)
        assert state.standby is not None
        with contextlib.closing(state.storage):
            look = state.standby.look()

    assert look.fault is not None
    assert look.lag_s is None
