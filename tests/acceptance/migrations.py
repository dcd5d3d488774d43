"""Migrates an application that has jobs, with several versions of Alembic.

Each pair of versions gets a virtual environment of its own, with the wheel of this
checkout. There the application of ``docs/howto/factory.rst`` runs ``flask db migrate``
and ``upgrade`` as a user types them, and a program with Alembic alone generates a
revision, once importing the application and once not. No job may be lost and no
migration may name a table of the jobs; only an Alembic before 1.18 that never sees the
application may, and then ``db migrate`` and ``doctor`` must warn of it.

Run it with ``python -m tests.acceptance.migrations``; it needs a package index and some
minutes. It prints a line for each trial; the exit status is 1 when something did not
hold.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.administration import contents
from tests.examples.pages import write_files
from tests.support.backends import tables_of
from tests.support.commands import ROOT
from tests.support.postgres import fresh_database, running_server

# The lowest, the last Alembic without plug-ins, the first with them, the last that
# iterates over an entry point, the newest.
VERSIONS = (
    (
        "alembic==1.13.0",
        "Flask-Migrate==4.0.2",
        "SQLAlchemy==2.0.30",
        "Flask-SQLAlchemy==3.1.0",
        "Flask==3.0.0",
        "Werkzeug==3.0.0",
    ),
    ("alembic==1.17.2", "Flask-Migrate==4.0.7", "SQLAlchemy<2.1"),
    ("alembic==1.18.0", "Flask-Migrate==4.0.2", "SQLAlchemy<2.1"),
    ("alembic==1.20.0", "Flask-Migrate==4.1.0", "SQLAlchemy"),
    ("alembic", "Flask-Migrate", "SQLAlchemy"),
)
WITHOUT_PLUGINS = ("alembic==1.13.0", "alembic==1.17.2")
ENQUEUE = """
from app import create_app, send_receipt
with create_app().app_context():
    send_receipt.enqueue(1)
"""
# Initialised last, and imported after the jobs.
LATE = """
def create_late():
    from flask import Flask
    app = Flask("app")
    app.config.from_prefixed_env()
    forge.init_app(app)
    db.init_app(app)
    from flask_migrate import Migrate
    Migrate(app, db)
    return app
"""
ENVIRONMENT = """
import os
from alembic import context
import sqlalchemy
{imports}
engine = sqlalchemy.create_engine(os.environ["FLASK_SQLALCHEMY_DATABASE_URI"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata={metadata})
    with context.begin_transaction():
        context.run_migrations()
"""
WITH_APPLICATION = ENVIRONMENT.format(imports="import app", metadata="app.db.metadata")
ALONE = ENVIRONMENT.format(imports="", metadata="sqlalchemy.MetaData()")


class Trial:
    """An application on one database, in the environment of one set of versions."""

    def __init__(self, python: Path, folder: Path, url: str) -> None:
        self._python = python
        self._folder = folder
        self._url = url
        write_files("factory.rst", folder)
        # Flask-Migrate comes late in the second factory only if nobody imports it.
        text = (folder / "app.py").read_text("utf-8")
        late = text.replace("from flask_migrate import Migrate\n", "")
        late = late.replace("migrate = Migrate()\n", "").partition("def create_app")[0]
        (folder / "late.py").write_text(late + LATE, encoding="utf-8")

    def run(self, *arguments: str, may_fail: bool = False) -> str:
        """Run the Python of the environment, and return what it said."""
        theirs = self._url.replace("postgresql:", "postgresql+psycopg2:")
        own = {"FLASK_APP": "app", "FLASK_SQLALCHEMY_DATABASE_URI": theirs}
        done = subprocess.run(
            [self._python, *arguments],
            cwd=self._folder,
            env={**os.environ, **own, "PYTHONPATH": str(self._folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode and not may_fail:
            raise RuntimeError(f"{' '.join(arguments)}\n{done.stderr}")
        return done.stdout + done.stderr

    def flask_db(self, app: str) -> Iterator[str]:
        """Migrate twice, and yield what did not hold."""
        flask = ("-m", "flask", "--app", app, "db")
        folder = f"migrations-{app.partition(':')[0]}"
        options = ("--directory", folder)
        for command in ("init", "migrate", "upgrade"):
            self.run(*flask, command, *options)
        if "No changes in schema" not in self.run(*flask, "migrate", *options):
            yield f"{app}: the second migration is not empty"
        yield from self._named(folder)
        self.run(*flask, "downgrade", *options)
        yield from self._missing()

    def alembic(self, name: str, environment: str) -> Iterator[str]:
        """Generate a revision with Alembic alone, and yield what did not hold."""
        self.run("-m", "alembic", "init", name)
        (self._folder / name / "env.py").write_text(environment, encoding="utf-8")
        self.run("-m", "alembic", "revision", "--autogenerate", "-m", "first")
        (self._folder / "alembic.ini").unlink()
        yield from self._named(name)

    def warns(self) -> set[bool]:
        """Tell whether ``db migrate`` and ``doctor`` warn of an old Alembic."""
        with_table = (
            "import os, sqlalchemy as s\n"
            "url = os.environ['FLASK_SQLALCHEMY_DATABASE_URI']\n"
            "with s.create_engine(url).begin() as c:\n"
            " c.execute(s.text('CREATE TABLE IF NOT EXISTS alembic_version (v TEXT)'))"
        )
        self.run("-c", with_table)
        alone = (self._folder / "late.py").read_text("utf-8")
        alone = alone.replace("    from flask_migrate import Migrate\n", "")
        alone = alone.replace("    Migrate(app, db)\n", "")
        (self._folder / "alone.py").write_text(alone, encoding="utf-8")
        flask = ("-m", "flask", "--app", "alone:create_late", "forge-jobs")
        migrated = self.run(*flask, "db", "migrate")
        found = self.run(*flask, "doctor", may_fail=True)
        return {"drops the tables of the jobs" in said for said in (migrated, found)}

    def _named(self, folder: str) -> Iterator[str]:
        scripts = (self._folder / folder / "versions").glob("*.py")
        if any("forge_" in each.read_text("utf-8") for each in scripts):
            yield f"{folder}: a migration names our tables"

    def _missing(self) -> Iterator[str]:
        settings = DatabaseSettings.from_url(self._url)
        found = contents(settings)
        if found is None or set(found.tables) != tables_of(settings.backend):
            yield "tables of the jobs are gone"
        elif found.jobs != {"pending": 1}:
            yield "the job is gone"


def violations(trial: Trial, *, has_plugins: bool) -> Iterator[str]:
    """Yield what did not hold with one set of versions on one database."""
    trial.run("-c", ENQUEUE)
    yield from trial.flask_db("app")
    yield from trial.flask_db("late:create_late")
    yield from trial.alembic("with_application", WITH_APPLICATION)
    alone = list(trial.alembic("alone", ALONE))
    warns = trial.warns()
    if has_plugins:
        yield from alone
        if True in warns:
            yield "a warning of an Alembic that has plug-ins"
    elif alone and False in warns:
        yield "no warning of an old Alembic"


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the URL of an empty database of each backend."""
    with ExitStack() as stack:
        server = stack.enter_context(running_server(is_durable=False))
        yield {
            "sqlite": f"sqlite:///{folder / 'shop.sqlite'}",
            "postgres": stack.enter_context(fresh_database(server)),
        }


def install(folder: Path, wheel: Path, versions: tuple[str, ...]) -> Path:
    """Make an environment with these versions and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    needed = [f"{wheel}[postgres]", "Flask-SQLAlchemy>=3.1", *versions]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *needed], check=True)
    return python


def main() -> int:
    """Run every trial; return 1 if something did not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.acceptance.migrations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="versions with this in their names")
    chosen = parser.parse_args().only
    status = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        subprocess.run([*build, f"--wheel-dir={folder}", ROOT], check=True)
        (wheel,) = folder.glob("*.whl")
        for number, versions in enumerate(VERSIONS):
            if chosen not in " ".join(versions):
                continue
            python = install(folder / f"venv{number}", wheel, versions)
            place = folder / f"trial{number}"
            place.mkdir()
            with databases(place) as urls:
                for backend, url in urls.items():
                    home = place / backend
                    home.mkdir()
                    has_plugins = versions[0] not in WITHOUT_PLUGINS
                    trial = Trial(python, home, url)
                    found = list(violations(trial, has_plugins=has_plugins))
                    status |= bool(found)
                    print(backend, *versions, found or "holds")  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main())
