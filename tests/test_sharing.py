"""``ForgeJobs(app, db=db)``: one database for the application and its jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, appcontext_pushed
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.engine import URL, make_url

from flask_forge_jobs import ConfigurationError, ForgeJobs, InvalidInputError, sharing
from flask_forge_jobs.config.database import ChosenDatabase, DatabaseSettings
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.administration import contents
from flask_forge_jobs.storage.sqlite import shared_file

Start = Callable[[Flask, SQLAlchemy, ForgeJobs], None]


def db_first(app: Flask, db: SQLAlchemy, forge: ForgeJobs) -> None:
    db.init_app(app)
    forge.init_app(app, db=db)


def jobs_first(app: Flask, db: SQLAlchemy, forge: ForgeJobs) -> None:
    forge.init_app(app, db=db)
    db.init_app(app)


either_order = pytest.mark.parametrize("start", [db_first, jobs_first])


class Shop:
    """An application with a database of Flask-SQLAlchemy, and jobs in it."""

    def __init__(self, folder: Path) -> None:
        self.app = Flask("shop", instance_path=str(folder))
        self.db = SQLAlchemy()
        self.forge = ForgeJobs()

    def start(self, start: Start = db_first, **config: object) -> DatabaseSettings:
        self.app.config.update(config)
        start(self.app, self.db, self.forge)
        return self.settings

    @property
    def settings(self) -> DatabaseSettings:
        return state_of(self.app).database.settings

    def close(self) -> None:
        if "sqlalchemy" in self.app.extensions:
            with self.app.app_context():
                for engine in self.db.engines.values():
                    engine.dispose()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.close()


# -- the address -------------------------------------------------------------------

ODD_NAME = "sqlite:///a%20b#c.sqlite"
FILES = [
    ("sqlite:///shop.sqlite", "shop.sqlite"),
    ("sqlite+pysqlite:///shop.sqlite", "shop.sqlite"),
    (ODD_NAME, str(make_url(ODD_NAME).database)),  # SQLAlchemy 2.0 decodes no path
    ("sqlite:///shop.sqlite?timeout=5&check_same_thread=false", "shop.sqlite"),
    ("sqlite:///file:shop.sqlite?mode=rwc&uri=true", "shop.sqlite"),
    (URL.create("sqlite", database="shop.sqlite"), "shop.sqlite"),
]


@either_order
@pytest.mark.parametrize(("url", "name"), FILES)
def test_jobs_are_in_the_file_of_flask_sqlalchemy(
    shop: Shop, tmp_path: Path, start: Start, url: object, name: str
) -> None:
    settings = shop.start(start, SQLALCHEMY_DATABASE_URI=url)

    assert settings.path == tmp_path / name
    assert settings.source == "SQLALCHEMY_DATABASE_URI"
    with shop.app.app_context():
        with shop.db.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE own (id INTEGER)")
        shop.forge.storage.open()
        found = contents(settings)
    assert found is not None
    assert found.others == ("own",)
    assert "forge_job" in found.tables


SERVER = "ann:p%40s%2Fs%25%23%3F%20x@db:6432/shop?sslmode=require"


@either_order
@pytest.mark.parametrize("driver", ["", "+psycopg2", "+psycopg", "+pg8000"])
def test_jobs_are_on_the_server_of_flask_sqlalchemy(
    shop: Shop, start: Start, driver: str
) -> None:
    settings = shop.start(
        start, SQLALCHEMY_DATABASE_URI=f"postgresql{driver}://{SERVER}"
    )

    assert settings.connect_parameters() == {
        "host": "db",
        "port": 6432,
        "user": "ann",
        "password": "p@s/s%#? x",
        "dbname": "shop",
        "sslmode": "require",
        "application_name": "flask-forge-jobs",
        "connect_timeout": 5,
    }


@either_order
def test_engine_options_count(shop: Shop, start: Start) -> None:
    shop.db = SQLAlchemy(engine_options={"connect_args": {"sslmode": "disable"}})
    settings = shop.start(
        start,
        SQLALCHEMY_DATABASE_URI="postgresql+psycopg2://db/shop",
        SQLALCHEMY_ENGINE_OPTIONS={
            "pool_size": 3,
            "connect_args": {
                "options": "-csearch_path=shop",
                "sslmode": "require",
                "connect_timeout": 3,
                "user": "ann",
                "cursor_factory": object,
            },
        },
    )

    assert settings.sslmode == "require"
    assert settings.connect_timeout_s == 3
    assert settings.username == "ann"
    assert settings.libpq == (("options", "-csearch_path=shop"),)
    assert settings.pool_size == 30  # that of the jobs


@either_order
@pytest.mark.parametrize(
    "config",
    [
        {"SQLALCHEMY_ENGINE_OPTIONS": {"url": "sqlite:///shop.sqlite"}},
        {"SQLALCHEMY_BINDS": {None: "sqlite:///shop.sqlite"}},
        {"SQLALCHEMY_BINDS": {None: {"url": "sqlite:///shop.sqlite"}}},
    ],
)
def test_the_url_may_be_in_other_settings_of_flask_sqlalchemy(
    shop: Shop, tmp_path: Path, start: Start, config: dict[str, object]
) -> None:
    assert shop.start(start, **config).path == tmp_path / "shop.sqlite"


def test_the_database_may_be_an_argument_of_the_class(tmp_path: Path) -> None:
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///shop.sqlite"
    db = SQLAlchemy(app)

    ForgeJobs(app, db=db)

    assert state_of(app).database.settings.path == tmp_path / "shop.sqlite"


@either_order
def test_in_tests_a_database_in_memory_goes_with_jobs_in_memory(
    shop: Shop, start: Start
) -> None:
    ran = []

    @shop.forge.task
    def send() -> None:
        ran.append(1)

    settings = shop.start(start, TESTING=True, SQLALCHEMY_DATABASE_URI="sqlite://")
    with shop.app.app_context():
        send.enqueue()
        with pytest.raises(InvalidInputError, match="name a file in "):
            send.options(connection=shop.db.session).enqueue()

    assert settings.is_memory
    assert ran == [1]


# -- what is refused ---------------------------------------------------------------


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"SQLALCHEMY_BINDS": {"other": "sqlite:///a.sqlite"}}, "is not set, but db="),
    ({"SQLALCHEMY_DATABASE_URI": "sqlite://"}, "in memory, which no connection"),
    ({"SQLALCHEMY_DATABASE_URI": "sqlite:///:memory:"}, "set TESTING before"),
    (
        {"SQLALCHEMY_DATABASE_URI": "sqlite:///file:a.sqlite?mode=ro&uri=true"},
        "opens the file read-only",
    ),
    (
        {
            "SQLALCHEMY_DATABASE_URI": "postgresql+pg8000://h/d",
            "SQLALCHEMY_ENGINE_OPTIONS": {"connect_args": {"ssl_context": object()}},
        },
        "name the same database, with sslmode and sslrootcert, by FORGE_JOBS_DATABASE",
    ),
    (
        {
            "SQLALCHEMY_DATABASE_URI": "postgresql+psycopg2://",
            "SQLALCHEMY_ENGINE_OPTIONS": {"creator": object},
        },
        "has a creator",
    ),
    ({"SQLALCHEMY_DATABASE_URI": "postgresql+psycopg2://h"}, "must name one database"),
    (
        {
            "SQLALCHEMY_DATABASE_URI": "sqlite:///a.sqlite",
            "FORGE_JOBS_DATABASE_URL": "sqlite:///b.sqlite",
        },
        "names another database than db=",
    ),
    (
        {
            "SQLALCHEMY_DATABASE_URI": "sqlite:///a.sqlite",
            "FORGE_JOBS_DATABASE_URL": "postgresql://h/a",
        },
        "names another database than db=",
    ),
    (
        {
            "SQLALCHEMY_DATABASE_URI": "postgresql+psycopg2://h/a",
            "FORGE_JOBS_DATABASE_URL": "postgresql://h/b",
        },
        "names another database than db=",
    ),
    (
        {
            "SQLALCHEMY_DATABASE_URI": "sqlite:///a.sqlite",
            "FORGE_JOBS_DATABASE_FILE": "a.toml",
        },
        "names a database, and so does db=",
    ),
]


@either_order
@pytest.mark.parametrize(("config", "part"), REFUSED)
def test_a_database_that_jobs_cannot_share_is_refused(
    shop: Shop, start: Start, config: dict[str, object], part: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        shop.start(start, **config)

    assert part in raised.value.message
    assert raised.value.key in (*config, "SQLALCHEMY_DATABASE_URI")


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "hunter2"])
def test_another_kind_of_database_is_refused(shop: Shop, url: str) -> None:
    """Before Flask-SQLAlchemy is initialised, which would miss the driver."""
    with pytest.raises(ConfigurationError) as raised:
        shop.start(jobs_first, SQLALCHEMY_DATABASE_URI=url)

    assert raised.value.key == "SQLALCHEMY_DATABASE_URI"
    assert "hunter2" not in str(raised.value)


def test_what_is_no_database_is_refused(shop: Shop) -> None:
    with pytest.raises(TypeError, match=r"takes the SQLAlchemy object .* not str"):
        ForgeJobs(shop.app, db="sqlite:///a.sqlite")  # type: ignore[arg-type]


def test_two_databases_are_refused(shop: Shop) -> None:
    database = ChosenDatabase(DatabaseSettings())

    with pytest.raises(TypeError, match="leave one out"):
        ForgeJobs(shop.app, database=database, db=shop.db)


def test_a_configuration_that_changes_between_the_two_is_an_error(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///a.sqlite"
    shop.forge.init_app(shop.app, db=shop.db)
    shop.app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///b.sqlite"
    shop.db.init_app(shop.app)

    for _ in range(2):
        with shop.app.app_context():
            pass

    (record,) = caplog.records
    assert "configure the application before that" in record.getMessage()


# -- our own setting beside it -------------------------------------------------------


@either_order
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("sqlite:///shop.sqlite", "sqlite:///a/../shop.sqlite"),
        ("postgresql+psycopg2://ann@pooler:6432/shop", "postgresql://bob@db/shop"),
    ],
)
def test_our_setting_may_name_another_way_to_the_database(
    shop: Shop, start: Start, theirs: str, ours: str
) -> None:
    settings = shop.start(
        start, SQLALCHEMY_DATABASE_URI=theirs, FORGE_JOBS_DATABASE_URL=ours
    )

    assert settings.source == "FORGE_JOBS_DATABASE_URL"


@either_order
def test_our_setting_may_name_a_bind(shop: Shop, tmp_path: Path, start: Start) -> None:
    settings = shop.start(
        start,
        SQLALCHEMY_DATABASE_URI="sqlite:///shop.sqlite",
        SQLALCHEMY_BINDS={"jobs": "sqlite:///jobs.sqlite"},
        FORGE_JOBS_DATABASE_URL="sqlite:///jobs.sqlite",
    )

    assert settings.path == tmp_path / "jobs.sqlite"
    with shop.app.app_context():
        assert checkpoints(shop.db.engines[None])
        assert not checkpoints(shop.db.engines["jobs"])


# -- the checkpoint rule -------------------------------------------------------------


def checkpoints(engine: Any) -> bool:
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar()
    return bool(found)


@pytest.fixture(autouse=True)
def _sqlite_has_the_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_file, "has_wal_reset_bug", lambda: True)


@pytest.mark.parametrize(
    "url", ["sqlite:///shop.sqlite", "sqlite:///file:shop.sqlite?uri=true"]
)
@either_order
def test_the_engine_leaves_checkpoints_to_the_jobs(
    shop: Shop, start: Start, url: str
) -> None:
    settings = shop.start(start, SQLALCHEMY_DATABASE_URI=url)

    with shop.app.app_context():
        assert not checkpoints(shop.db.engine)
        assert settings.path is not None
        assert not shared_file.engine_hazards(settings.path)
    assert not list(appcontext_pushed.receivers_for(shop.app))


def test_connections_that_were_open_before_leave_them_to_the_jobs_too(
    shop: Shop,
) -> None:
    shop.app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///shop.sqlite"
    shop.db.init_app(shop.app)
    with shop.app.app_context():
        assert checkpoints(shop.db.engine)

    shop.forge.init_app(shop.app, db=shop.db)

    with shop.app.app_context():
        assert not checkpoints(shop.db.engine)


def test_a_context_between_the_two_changes_nothing(shop: Shop) -> None:
    shop.app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///shop.sqlite"
    shop.forge.init_app(shop.app, db=shop.db)
    with shop.app.app_context():
        pass
    shop.db.init_app(shop.app)

    with shop.app.app_context():
        assert not checkpoints(shop.db.engine)


# -- an Alembic that loads no plug-ins -----------------------------------------------


@pytest.mark.parametrize(
    ("installed", "table", "extensions", "warnings"),
    [
        ("1.17.2", "alembic_version", {}, 1),
        ("1.18.0", "alembic_version", {}, 0),
        ("1.17.2", "orders", {}, 0),
        ("1.17.2", "alembic_version", {"migrate": object()}, 0),
        (None, "alembic_version", {}, 0),
    ],
)
def test_an_alembic_that_may_drop_the_tables_is_warned_of(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    installed: str | None,
    table: str,
    extensions: dict[str, object],
    warnings: int,
) -> None:
    def version(_name: str) -> str:
        if installed is None:
            raise PackageNotFoundError
        return installed

    settings = shop.start(SQLALCHEMY_DATABASE_URI="sqlite:///shop.sqlite")
    with shop.app.app_context(), shop.db.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {table} (id INTEGER)")
    shop.app.extensions |= extensions
    monkeypatch.setattr("importlib.metadata.version", version)

    sharing.warn_of_old_alembic(shop.app, settings)

    messages = [record.getMessage() for record in caplog.records]
    assert sum("Alembic 1.17.2 drops" in each for each in messages) == warnings
