"""The worker process of ``forge-jobs-server --demo``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from flask_forge_jobs.config.environment import ServerEnvironment
from flask_forge_jobs.config.variables import PARENT_PIPE_VARIABLE
from flask_forge_jobs.demo.orders import run
from flask_forge_jobs.server import LOG_FORMAT, create_app
from flask_forge_jobs.storage.database import logger as database_logger

_JOBS = ("shop", "flask_forge_jobs.jobs")


def _is_about_the_worker(record: logging.LogRecord) -> bool:
    """Leave out single jobs, which fail all the time; the pages show them."""
    return not record.name.startswith(_JOBS)


def main() -> None:
    """Run in the foreground on the data in the file named by the only argument."""
    # ServerEnvironment refuses a variable that is not a setting.
    environ = {k: v for k, v in os.environ.items() if k != PARENT_PIPE_VARIABLE}
    environment = ServerEnvironment.from_environ(environ)
    logging.basicConfig(level=environment.log_level, format=LOG_FORMAT)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_about_the_worker)
    database_logger.setLevel(logging.WARNING)  # already logged
    sys.exit(run(create_app(environ, demo=Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
