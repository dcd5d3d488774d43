"""Views that enqueue in the transaction of their Flask-SQLAlchemy session."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import orm

from flask_forge_jobs import ForgeJobs, InvalidInputError, JobStatus
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.base import Storage
from tests.support.applications import worker
from tests.support.sql import Sql
from tests.support.waiting import wait_until


class Base(orm.DeclarativeBase):
    """The application's tables."""


class User(Base):
    __tablename__ = "customer"
    name: orm.Mapped[str] = orm.mapped_column(primary_key=True)


db = SQLAlchemy(model_class=Base)
forge = ForgeJobs()


@forge.task
def greet(name: str) -> str:
    return f"{name}: {db.session.get_one(User, name).name}"


@pytest.fixture
def app(
    database_settings: DatabaseSettings,
    storage: Storage,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Flask]:
    """An application whose users and jobs are in one database."""
    storage.open()
    url = f"sqlite:///{database_settings.path}"
    if database_settings.backend == "postgres":
        url = request.getfixturevalue("postgres_database")
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["SQLALCHEMY_DATABASE_URI"] = url.replace("sql:", "sql+psycopg2:")
    app.config["FORGE_JOBS_DATABASE_URL"] = url
    app.config["FORGE_JOBS_INLINE"] = "off"
    app.config["SQLALCHEMY_BINDS"] = {"other": "sqlite://"}
    app.testing = True
    db.init_app(app)
    forge.init_app(app)

    @app.post("/signup/<name>")
    def sign_up(name: str) -> dict[str, str]:
        db.session.add(User(name=name))
        job = greet.options(connection=db.session).enqueue(name)
        many = forge.enqueue_many([greet.job(name)], connection=db.session)
        other = forge.enqueue("greet", {"name": name}, connection=db.session)
        db.session.commit()
        return {"job": job.id, "many": many[0].id, "other": other.id}

    with app.app_context():
        db.create_all(bind_key=None)
    with contextlib.closing(state_of(app).storage):
        yield app
    with app.app_context():
        db.session.remove()
        db.drop_all(bind_key=None)
        for engine in db.engines.values():
            engine.dispose()


def test_a_view_stores_its_row_and_its_jobs_together(app: Flask, sql: Sql) -> None:
    def jobs() -> set[tuple[JobStatus, str | None]]:
        found = map(state_of(app).storage.job_reader.get, ids.values())
        return {(job.status, job.result) for job in found}

    with worker(app):
        ids = app.test_client().post("/signup/ann").json or {}
        assert len(set(ids.values())) == 3
        wait_until(lambda: jobs() == {(JobStatus.DONE, '"ann: ann"')}, "all done")

    assert sql.run("SELECT name FROM customer") == [("ann",)]


def test_a_view_that_fails_stores_neither(app: Flask, sql: Sql) -> None:
    client = app.test_client()
    assert client.post("/signup/ann").status_code == 200

    with pytest.raises(Exception, match=r"(?i)unique"):
        client.post("/signup/ann")

    assert sql.value("SELECT COUNT(*) FROM customer") == 1
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 3


def test_a_view_that_waits_for_its_own_flush_is_told_so(
    app: Flask, storage: Storage
) -> None:
    """PostgreSQL has no lock of all writers, so there it stores the job."""
    told = pytest.raises(InvalidInputError, match=r"connection=db\.session")
    with app.test_request_context():
        db.session.add(User(name="ann"))
        db.session.flush()

        with told if storage.backend == "sqlite" else contextlib.nullcontext():
            greet.enqueue("ann")

        greet.options(connection=db.session).enqueue("ann")
        db.session.commit()


def test_another_bind_is_refused(app: Flask) -> None:
    with (
        app.app_context(),
        db.engines["other"].connect() as connection,
        pytest.raises(InvalidInputError, match="connection"),
    ):
        forge.enqueue("greet", {"name": "ann"}, connection=connection)


def test_only_options_takes_the_connection_of_a_task(app: Flask) -> None:
    """What ``enqueue`` takes are the arguments of the function."""
    with (
        app.app_context(),
        pytest.raises(InvalidInputError, match=r"options\(connection=\.\.\."),
    ):
        greet.enqueue("ann", connection=db.session)  # type: ignore[call-arg]  # the point
