"""Whether a server can be waited for.

Each call to a server that hangs takes as long as its limits allow, and the threads of a
web process are soon all in one. So after the first time-out nobody waits any more:
calls fail at once until the server is seen to answer; it is looked for once a second.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)

PROBE_PERIOD_S = 1.0
# Who is away again so soon after it answered is asked for more than an answer.
RELAPSE_S = 60.0


class Availability:
    """Keeps callers from a server that is away.

    Args:
        probe: Raises a StorageError unless the server answers and takes writes. Called
            with whether to write something: a server that waits for its standby answers
            reads and ends no commit.
        on_return: Called on a thread of its own when it does again.
    """

    def __init__(
        self, probe: Callable[[bool], object], on_return: Callable[[], object]
    ) -> None:
        self._probe = probe
        self._on_return = on_return
        self._changing = threading.Lock()
        self._reason: str | None = None
        self._closing = threading.Event()
        self._returned_at = -math.inf

    def check(self) -> None:
        """Let a call pass.

        Raises:
            StorageUnavailableError: The server is away.
        """
        reason = self._reason
        if reason is not None:
            raise StorageUnavailableError(
                f"not tried, for the last call failed: {reason}"
            )

    def note_away(self, reason: str) -> None:
        """Take in that the server cannot be waited for."""
        with self._changing:
            if self._reason is not None:
                return
            self._reason = reason
            self._closing.clear()
            threading.Thread(
                target=self._look, name="forge-jobs-probe", daemon=True
            ).start()
        logger.warning("the database is away, calls fail until it answers: %s", reason)

    def close(self) -> None:
        """Look no more; a later call finds out for itself."""
        with self._changing:
            self._closing.set()
            self._reason = None

    def _look(self) -> None:
        is_relapse = time.monotonic() - self._returned_at < RELAPSE_S
        while not self._closing.is_set():
            try:
                self._probe(is_relapse)
            except StorageError:
                self._closing.wait(PROBE_PERIOD_S)
                continue
            except Exception:
                logger.exception("cannot look for the database; trying again")
                self._closing.wait(PROBE_PERIOD_S)
                continue
            with self._changing:
                if self._closing.is_set():
                    return
                self._reason = None
            self._returned_at = time.monotonic()
            logger.warning("the database answers again")
            self._on_return()
            return
