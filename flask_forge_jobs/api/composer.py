"""Large answers: composed one at a time, with pauses for other requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import sleep
from typing import TypeVar

from flask_forge_jobs.clock import Clock

T = TypeVar("T")

# After so much computing others get a pause, which is enough for a small request.
WORK_S = 0.005
PAUSE_S = 0.002


class Composer:
    """Composes large answers, one at a time.

    Threads that compute at once are no faster, but all other requests wait for each. A
    small request takes the interpreter's lock about ten times, and would wait each time
    for one call of the composing thread: masking a payload of 1 MiB is a single call of
    0.02 s. In a pause it takes the lock without waiting.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()

    def compose(self, parts: Iterable[T], write: Callable[[T], bytes]) -> list[bytes]:
        """Return each part of an answer in JSON.

        Args:
            parts: Neither they nor ``write`` may read the storage, which may hang.
            write: Returns the JSON of a part.
        """
        written = []
        with self._lock:
            began_at = self._clock.monotonic()
            for part in parts:
                written.append(write(part))
                if self._clock.monotonic() - began_at >= WORK_S:
                    sleep(PAUSE_S)
                    began_at = self._clock.monotonic()
        return written
