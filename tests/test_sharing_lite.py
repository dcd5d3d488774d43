"""``ForgeJobs(app, db=db)`` with the database of Flask-SQLAlchemy-Lite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy.engine import URL

from flask_forge_jobs import ConfigurationError, ForgeJobs
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.sqlite import shared_file
from tests.test_sharing import checkpoints

URL_TEXT = "sqlite:///shop.sqlite"


class Shop:
    """An application whose database and jobs begin in either order."""

    def __init__(self, folder: Path, *, db_first: bool) -> None:
        self.app = Flask("shop", instance_path=str(folder))
        self.db = SQLAlchemy(require_default_engine=False)
        self.forge = ForgeJobs()
        self._db_first = db_first

    def start(self, engines: object, **config: object) -> DatabaseSettings:
        self.app.config.from_mapping(config, SQLALCHEMY_ENGINES=engines)
        if self._db_first:
            self.db.init_app(self.app)
        self.forge.init_app(self.app, db=self.db)
        if not self._db_first:
            self.db.init_app(self.app)
        return state_of(self.app).database.settings


@pytest.fixture(params=[True, False], ids=["db first", "jobs first"])
def shop(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shop]:
    shop = Shop(tmp_path, db_first=request.param)
    yield shop
    if "sqlalchemy" in shop.app.extensions:
        with shop.app.app_context():
            for engine in shop.db.engines.values():
                engine.dispose()


@pytest.mark.parametrize(
    "engine",
    [
        URL_TEXT,
        URL.create("sqlite", database="shop.sqlite"),
        {"url": URL_TEXT, "pool_size": 3},
        {"url": {"drivername": "sqlite", "database": "shop.sqlite"}},
    ],
)
def test_jobs_are_in_the_file_of_the_default_engine(
    shop: Shop, tmp_path: Path, engine: object
) -> None:
    settings = shop.start({"default": engine, "other": "sqlite:///other.sqlite"})

    assert settings.path == tmp_path / "shop.sqlite"
    assert settings.source == "SQLALCHEMY_ENGINES"


def test_a_job_is_part_of_the_transaction_of_the_session(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_file, "has_wal_reset_bug", lambda: True)
    shop.start({"default": URL_TEXT})

    @shop.forge.task
    def welcome() -> None:
        """Do nothing."""

    with shop.app.app_context():
        assert not checkpoints(shop.db.engine)
        welcome.options(connection=shop.db.session).enqueue()
        shop.db.session.rollback()
        kept = welcome.options(connection=shop.db.session).enqueue()
        shop.db.session.commit()

        assert shop.forge.storage.job_reader.total(JobFilter()) == 1
        assert shop.forge.job(kept.id).status == "pending"


def test_options_of_the_engine_count(shop: Shop) -> None:
    args = {"sslmode": "require"}
    default = {"url": "postgresql+psycopg2://db/shop", "connect_args": args}

    assert shop.start({"default": default}).connect_parameters()["sslmode"] == "require"


def test_our_setting_may_name_another_engine(shop: Shop, tmp_path: Path) -> None:
    url = "sqlite:///jobs.sqlite"
    engines = {"default": URL_TEXT, "jobs": url}

    settings = shop.start(engines, FORGE_JOBS_DATABASE_URL=url)

    assert settings.path == tmp_path / "jobs.sqlite"


@pytest.mark.parametrize(
    ("engines", "part"),
    [
        ({}, "has no default, but db= takes it"),
        ({"other": URL_TEXT}, "has no default, but db= takes it"),
        ({"default": "sqlite://"}, "is a database in memory"),
        (
            {"default": {"url": "postgresql+psycopg2://h/d", "creator": object}},
            "has a creator",
        ),
    ],
)
def test_a_database_that_jobs_cannot_share_is_refused(
    shop: Shop, engines: object, part: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        shop.start(engines)

    assert raised.value.key == "SQLALCHEMY_ENGINES"
    assert part in raised.value.message


@pytest.mark.parametrize(
    "url", ["hunter2", {"drivername": "sqlite", "pass": "hunter2"}]
)
def test_what_is_no_url_is_refused(tmp_path: Path, url: object) -> None:
    shop = Shop(tmp_path, db_first=False)

    with pytest.raises(ConfigurationError) as raised:
        shop.start({"default": {"url": url}})

    assert raised.value.key == "SQLALCHEMY_ENGINES"
    assert "hunter2" not in str(raised.value)
