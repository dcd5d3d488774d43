"""Which functions of the package are called on the threads that matter."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PACKAGE = "flask_forge_jobs"
# The threads on which a job is claimed, run and finished.
DISPATCHER, SLOT = "forge-jobs-dispatcher", "forge-jobs-slot"


class Calls:
    """Notes what is called on the threads that it is installed on."""

    def __init__(self) -> None:
        self.by_thread: dict[str, list[str]] = {}
        self.is_on = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take an event of the interpreter."""
        del argument
        if self.is_on and event == "call":
            module = str(frame.f_globals.get("__name__"))
            if module.partition(".")[0] == PACKAGE:
                place = module.removeprefix(f"{PACKAGE}.")
                names = self.by_thread.setdefault(threading.current_thread().name, [])
                names.append(f"{place}: {frame.f_code.co_qualname}")

    def take(self) -> dict[str, list[str]]:
        """Return what was noted on each thread, and begin anew."""
        noted, self.by_thread = self.by_thread, {}
        return noted

    def during(self, call: Callable[[], object]) -> list[str]:
        """Return what a call calls on this thread."""
        sys.setprofile(self)
        self.is_on = True
        try:
            call()
        finally:
            self.is_on = False
            sys.setprofile(None)
        (names,) = self.take().values()
        return names

    @contextmanager
    def on_new_threads(self) -> Iterator[None]:
        """Note the calls of threads of a worker that start within the block."""
        threading.setprofile(self._on_thread)
        try:
            yield
        finally:
            threading.setprofile(None)

    def _on_thread(self, frame: FrameType, event: str, argument: Any) -> None:
        del frame, event, argument
        is_running = threading.current_thread().name.startswith((DISPATCHER, SLOT))
        sys.setprofile(self if is_running else None)
