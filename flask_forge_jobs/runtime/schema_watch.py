"""Schema watch: notices that the database has gone beyond this package.

A newer package that is started beside this one may bring a schema that this code cannot
read any more. A process that starts then refuses, and whatever one that runs already
would store is refused. A worker that has nothing to store looks here, so that it ends
as well and makes room for its successor.
"""

from __future__ import annotations

from flask_forge_jobs.errors import SchemaTooNewError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.runtime.heartbeat import BEATS_PER_LEASE
from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.storage.database import Database
from flask_forge_jobs.storage.migrate import look_at_schema

logger = get_logger(__name__)


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
            look_at_schema(self._database).require_readable()
        except SchemaTooNewError as error:
            self.is_outdated = True
            logger.error("claiming no more: %s", error)  # noqa: TRY400  # says it all
