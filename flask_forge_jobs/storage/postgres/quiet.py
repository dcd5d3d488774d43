"""When nobody can be told of new jobs: PostgreSQL's queue of notifications is full.

A session that listens and never ends its transaction keeps all notifications of the
server from being dropped. When the queue has no room, every commit that notifies fails.
So nothing is notified for a while; workers find new jobs by looking. When that session
is gone the queue stays full until somebody asks how full it is: only commits that
notify drop what has been heard, and they fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.seldom import Seldom

logger = get_logger(__name__)
_SELDOM = Seldom()

# How long nobody is told before it is tried again, which costs one call a repeat.
QUIET_S = 10.0
_MUCH = 0.5
_PROGRAM_LIMIT = "54000"
# Where the server's code says so; the message is in the server's language.
_SOURCE_FILE = "async.c"


def is_unheard(error: BaseException) -> bool:
    """Tell whether a commit failed for its notifications, of which none had room."""
    return (
        isinstance(error, psycopg2.Error)
        and error.pgcode == _PROGRAM_LIMIT
        and error.diag.source_file == _SOURCE_FILE
    )


def look_how_full(connection: Connection) -> float:
    """Let the server drop what all have heard; return how full its queue is, 0 to 1."""
    cursor = connection.cursor()
    cursor.execute("SELECT pg_notification_queue_usage()")
    (part,) = cursor.fetchone() or (1.0,)
    return float(part)


class Quiet:
    """Whether transactions of this process notify nobody at present.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0

    @property
    def is_on(self) -> bool:
        """Whether nobody is told."""
        return self._until > 0 and self._clock() < self._until

    def note_unheard(self, part: float) -> None:
        """Take in that a commit could not notify.

        Args:
            part: Of the queue that is in use since; little when it was worth a look.
        """
        if part < _MUCH:
            return
        self._until = self._clock() + QUIET_S
        if _SELDOM.is_time_for("full"):
            logger.warning(
                "PostgreSQL's queue of notifications is full, so workers look for new "
                "jobs by themselves%s",
                _SELDOM.more("full"),
            )
