"""The log of a worker process: lines for people, or JSON for programs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping

from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.runtime.run.job_log import (
    JOB_LOGGER,
    LineFormatter,
    LineHandler,
    entry_of,
)

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(LineFormatter):
    """Writes each record as one JSON object, including the fields of a job."""

    def __init__(self) -> None:
        super().__init__("")

    def done_lines(self, done: Iterable[JobUpdate], boot_s: float) -> list[str]:
        """Return the lines of jobs that were done."""
        return [_done_line(boot_s + each.ended_at, *entry_of(each)) for each in done]

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = record.getMessage()
        entry = _entry(record.created, record.levelname, record.name, message)
        if isinstance(record.args, Mapping):
            entry |= record.args
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _done_line(at: float, template: str, fields: Mapping[str, object]) -> str:
    entry = _entry(at, "INFO", JOB_LOGGER, template % fields)
    return json.dumps({**entry, **fields})


def _entry(at: float, level: str, name: str, message: str) -> dict[str, object]:
    time = from_micros(int(at * SECOND_US)).isoformat()
    return {"time": time, "level": level, "logger": name, "message": message}


def write_logs(*, quiet: bool, as_json: bool) -> None:
    """Log to standard error, unless the application has set up logging.

    JSON replaces the application's handlers.
    """
    handler = LineHandler(JsonFormatter() if as_json else LineFormatter(_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=as_json)
    if quiet:
        logging.getLogger(JOB_LOGGER).setLevel(logging.WARNING)
