"""Who serves is read off the stacks; with real gunicorn in ``test_embedded.py``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from flask import Flask
from werkzeug.debug import DebuggedApplication
from werkzeug.serving import make_server

from flask_forge_jobs.server_detection import (
    green_threads,
    is_gunicorn_fork,
    is_gunicorn_worker,
    is_served,
)
from tests.support.waiting import wait_until


@pytest.fixture(params=[False, True], ids=["plain", "debugger"])
def served(request: pytest.FixtureRequest) -> Iterator[Flask]:
    app = Flask("served")
    around = DebuggedApplication(app) if request.param else app
    server = make_server("127.0.0.1", 0, around)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield app
    server.shutdown()
    thread.join()


def test_an_application_is_served_while_its_server_runs(served: Flask) -> None:
    wait_until(lambda: is_served(served), "it is served")

    assert not is_served(Flask("other"))


def test_an_application_that_is_only_loaded_is_not_served() -> None:
    app = Flask("loaded")
    server = make_server("127.0.0.1", 0, app)  # as the parent of the reloader does

    assert not is_served(app)
    server.server_close()


def called_from(
    module: str, function: Callable[[], bool], *, name: str = "call"
) -> bool:
    """Call a function from a function of a module."""
    names: dict[str, object] = {"__name__": module}
    exec(f"def {name}(function): return function()", names)
    caller = names[name]
    assert callable(caller)
    return bool(caller(function))


def test_gunicorn_is_known_by_its_innermost_caller() -> None:
    def in_worker(function: Callable[[], bool]) -> bool:
        """Called by a worker, and that by the arbiter that has forked it."""
        return called_from(
            "gunicorn.arbiter", lambda: called_from("gunicorn.workers.sync", function)
        )

    assert (is_gunicorn_worker(), is_gunicorn_fork()) == (False, False)
    assert called_from("gunicorn.arbiter", is_gunicorn_fork)
    assert not called_from("gunicorn.arbiter", is_gunicorn_worker)
    assert in_worker(is_gunicorn_worker)
    assert not in_worker(is_gunicorn_fork)


@pytest.mark.parametrize(
    ("module", "content", "name"),
    [
        ("gevent.monkey", {"is_module_patched": "threading".__eq__}, "gevent"),
        ("gevent.monkey", {"is_module_patched": "socket".__eq__}, None),
        ("eventlet.patcher", {"is_monkey_patched": "thread".__eq__}, "eventlet"),
        ("gunicorn.workers.ggevent", {}, "gevent"),
        ("gunicorn.workers.geventlet", {}, "eventlet"),
        ("gunicorn.workers.gthread", {}, None),
    ],
)
def test_what_replaces_threads_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, content: dict[str, object], name: str
) -> None:
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**content))

    assert green_threads() == name
    assert green_threads(served=False) == (name if content else None)
