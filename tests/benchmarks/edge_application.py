"""The two applications in one that the edge benchmark serves: ours, and a bare route.

gunicorn finds it by its path. The bare route does what any view does that reads one
row: the same driver, a connection of its own for each thread, and ``jsonify``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import psycopg2
from flask import Flask, Response, jsonify

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.config.database import DatabaseSettings

PATH = Path(__file__)
URL_VARIABLE = "FLASK_FORGE_JOBS_DATABASE_URL"
BARE = "/bare"
QUEUE = "queue-0"
_COLUMNS = ("name", "max_workers", "paused")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM forge_queue WHERE name = "


def create_app() -> Flask:
    """Return the application; nothing is opened before the first request."""
    app = Flask("edge", static_folder=None)
    app.config.from_prefixed_env()
    ForgeJobs(app)
    settings = DatabaseSettings.from_url(os.environ[URL_VARIABLE])
    local = threading.local()

    def connection() -> Any:
        if not hasattr(local, "connection"):
            local.connection = _connect(settings)
        return local.connection

    @app.get(BARE)
    def bare() -> Response:
        if settings.backend == "sqlite":
            row = connection().execute(f"{_SELECT}?", (QUEUE,)).fetchone()
        else:
            with connection().cursor() as cursor:
                cursor.execute(f"{_SELECT}%s", (QUEUE,))
                row = cursor.fetchone()
        return jsonify(dict(zip(_COLUMNS, row, strict=True)))

    return app


def _connect(settings: DatabaseSettings) -> Any:
    if settings.backend == "sqlite":
        return sqlite3.connect(settings.path or "")
    connection = psycopg2.connect(**settings.connect_parameters())
    connection.autocommit = True
    return connection
