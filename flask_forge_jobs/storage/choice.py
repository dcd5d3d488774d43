"""Tells once which database was chosen, and what chose it."""

from __future__ import annotations

import logging
import threading

from flask_forge_jobs.config.database import DatabaseSettings

logger = logging.getLogger(__name__)


class Choice:
    """The choice of a database, which is logged once.

    A process that is forked after it was logged does not repeat it.

    Args:
        settings: The database; one that no setting named is not logged.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._untold = threading.Lock()

    def tell(self) -> None:
        """Log it, unless that was done."""
        if self._settings.source is not None and self._untold.acquire(blocking=False):
            logger.info(
                "database %s, named by %s",
                self._settings.dsn_for_display,
                self._settings.source,
            )
