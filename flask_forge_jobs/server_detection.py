"""Which server serves an application in this process, read from the thread stacks.

Flask and Werkzeug do not tell an extension when a server starts, and loading is no
sign of it: the parent of Werkzeug's reloader loads the application too, and so does
gunicorn's arbiter with ``--preload``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from flask import Flask
from werkzeug.serving import BaseWSGIServer

# Whatever serves has imported its own package before it imports an application.
_SERVERS = (
    "gunicorn", "uwsgi", "waitress", "mod_wsgi", "granian", "hypercorn", "uvicorn",
    "cheroot", "bjoern", "gevent.pywsgi",
)  # fmt: skip
_GUNICORN_ARBITER = "gunicorn.arbiter"
_GUNICORN_WORKERS = "gunicorn.workers."
_GREEN_WORKERS = {
    "gunicorn.workers.ggevent": "gevent",
    "gunicorn.workers.geventlet": "eventlet",
}


def has_server() -> bool:
    """Return whether a server for production is imported in this process.

    Commands, workers and scripts have none, and neither has ``flask run``.
    """
    return not sys.modules.keys().isdisjoint(_SERVERS)


def is_served(app: Flask) -> bool:
    """Return whether this process serves an application that is fully loaded.

    The server is Werkzeug's, which knows its application, or a gunicorn worker, which
    has only one.
    """
    # Private but documented, and only read here.
    stacks = sys._current_frames().values()  # noqa: SLF001
    return any(_serves(frame, app) for stack in stacks for frame in _outwards(stack))


def is_gunicorn_worker() -> bool:
    """Return whether a gunicorn worker is loading the application right now."""
    return _gunicorn_frame().startswith(_GUNICORN_WORKERS)


def is_gunicorn_fork() -> bool:
    """Return whether gunicorn's arbiter, not a worker of it, forked this process."""
    return _gunicorn_frame() == _GUNICORN_ARBITER


def green_threads(*, served: bool = True) -> str | None:
    """Return the library that replaces threads in this process, or None.

    A server has imported its kind of worker before it replaces threads. Without
    ``served`` only what is replaced already counts.
    """
    for module, name in _GREEN_WORKERS.items() if served else ():
        if module in sys.modules:
            return name
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None


def _serves(frame: FrameType, app: Flask) -> bool:
    if frame.f_code is BaseWSGIServer.serve_forever.__code__:
        served = frame.f_locals["self"].app
        while served is not app and hasattr(served, "app"):
            served = served.app  # unwrap Werkzeug's debugger
        return served is app
    module = frame.f_globals.get("__name__", "")
    if module.startswith(_GUNICORN_WORKERS) and frame.f_code.co_name == "init_process":
        return bool(frame.f_locals["self"].booted)
    return False


def _gunicorn_frame() -> str:
    """Return the module of the innermost gunicorn caller, or an empty text."""
    for frame in _outwards(sys._getframe()):  # noqa: SLF001
        module: str = frame.f_globals.get("__name__", "")
        if module == _GUNICORN_ARBITER or module.startswith(_GUNICORN_WORKERS):
            return module
    return ""


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
