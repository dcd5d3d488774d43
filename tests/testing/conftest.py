"""A small application and its jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.testing import JobsKit

MakeApp = Callable[..., Flask]


@pytest.fixture
def forge() -> ForgeJobs:
    return ForgeJobs()


@pytest.fixture
def make_app(forge: ForgeJobs, tmp_path: Path) -> MakeApp:
    """Makes applications; TESTING is for the kit to set."""

    def make(**config: object) -> Flask:
        app = Flask("shop", instance_path=str(tmp_path / "instance"))
        app.config.update(config)
        forge.init_app(app)
        return app

    return make


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture
def jobs(app: Flask) -> Iterator[JobsKit]:
    with JobsKit(app) as kit, app.app_context():
        yield kit
