"""Schema watch: notices that the database has gone beyond this package.

A newer package that is started beside this one may bring a schema that this code cannot
read any more. A process that starts then refuses; one that runs already must not go on
claiming jobs from tables that it takes for others.
"""

from __future__ import annotations

import logging

from flask_forge_jobs.errors import MigrationError
from flask_forge_jobs.runtime.heartbeat import BEATS_PER_LEASE
from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.storage.database import Database
from flask_forge_jobs.storage.migrate import check_readable

logger = logging.getLogger(__name__)


class SchemaWatch(Service):
    """Reads the version of the schema as often as a heartbeat comes.

    Args:
        database: The seam to the database.
        lease_s: Seconds of silence that end ownership; a sixth of it is the period.
    """

    def __init__(self, database: Database, *, lease_s: float) -> None:
        super().__init__("schema-watch", lease_s / BEATS_PER_LEASE, begins_late=True)
        self._database = database
        self.is_outdated = False

    def tick(self) -> None:
        """Look once; what has been seen does not change any more."""
        if self.is_outdated:
            return
        try:
            check_readable(self._database)
        except MigrationError as error:
            self.is_outdated = True
            logger.error("claiming no more: %s", error)  # noqa: TRY400  # says it all
