"""The log of a worker process: lines for people, or JSON for programs."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.runtime.run.outcome import JOB_LOGGER

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """Writes each record as one JSON object, including the fields of a job."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {
            "time": from_micros(int(record.created * SECOND_US)).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(record.args, Mapping):
            entry |= record.args
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def write_logs(*, quiet: bool, as_json: bool) -> None:
    """Log to standard error, unless the application has set up logging.

    JSON replaces the application's handlers.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=as_json)
    if quiet:
        logging.getLogger(JOB_LOGGER).setLevel(logging.WARNING)
