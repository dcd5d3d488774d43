"""Which server serves an application in this process, read off the stacks of threads.

Neither Flask nor Werkzeug tells an extension that a server starts to serve. The stacks
do, without a request and without a change to the server: the parent of Werkzeug's
reloader loads the application and never serves it, and gunicorn's arbiter loads it for
its workers with ``--preload``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from flask import Flask
from werkzeug.serving import BaseWSGIServer

_GUNICORN_ARBITER = "gunicorn.arbiter"
_GUNICORN_WORKERS = "gunicorn.workers."
# Worker classes of gunicorn that run requests in green threads.
_GREEN_WORKERS = {
    "gunicorn.workers.ggevent": "gevent",
    "gunicorn.workers.geventlet": "eventlet",
}


def is_served(app: Flask) -> bool:
    """Tell whether this process serves an application now, all of it loaded.

    That is Werkzeug's server, which knows its application, or a worker of gunicorn,
    which has one only.
    """
    # For debuggers, and for the like of us, who look and change nothing.
    stacks = sys._current_frames().values()  # noqa: SLF001
    return any(_serves(frame, app) for stack in stacks for frame in _outwards(stack))


def is_gunicorn_worker() -> bool:
    """Tell whether a worker process of gunicorn calls this, loading its application."""
    return _gunicorn_frame().startswith(_GUNICORN_WORKERS)


def is_gunicorn_fork() -> bool:
    """Tell whether gunicorn calls this in the process that it has forked for a worker.

    A fork by a worker is none: the worker stands between it and gunicorn's arbiter.
    """
    return _gunicorn_frame() == _GUNICORN_ARBITER


def green_threads() -> str | None:
    """Return the name of the library that replaces threads here; None without one."""
    for module, name in _GREEN_WORKERS.items():
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
            served = served.app  # Werkzeug's debugger is around it
        return served is app
    module = frame.f_globals.get("__name__", "")
    if module.startswith(_GUNICORN_WORKERS) and frame.f_code.co_name == "init_process":
        return bool(frame.f_locals["self"].booted)
    return False


def _gunicorn_frame() -> str:
    """Return the module of the innermost caller that is gunicorn's, or nothing."""
    for frame in _outwards(sys._getframe()):  # noqa: SLF001
        module: str = frame.f_globals.get("__name__", "")
        if module == _GUNICORN_ARBITER or module.startswith(_GUNICORN_WORKERS):
            return module
    return ""


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
