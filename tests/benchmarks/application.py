"""The application behind the real worker: one task, nothing else to import."""

from __future__ import annotations

import os

from flask import Flask

from flask_forge_jobs import ForgeJobs

URL_VARIABLE = "FORGE_JOBS_BENCHMARK_URL"


def noop() -> None:
    """Do nothing."""


def create_app() -> Flask:
    """Return an application on the database that the environment names."""
    app = Flask(__name__)
    app.config["FORGE_JOBS_DATABASE_URL"] = os.environ[URL_VARIABLE]
    forge = ForgeJobs(app)
    forge.task(noop)
    return app
