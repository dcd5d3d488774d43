"""What the modules of the shop share; the factory binds it to an application."""

from __future__ import annotations

from pathlib import Path

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from flask_forge_jobs import ForgeJobs, alembic


class Model(DeclarativeBase):
    """The base of the models."""


db = SQLAlchemy(model_class=Model)
migrate = Migrate(
    directory=str(Path(__file__).with_name("migrations")),
    include_name=alembic.include_name,  # the tables of the jobs are not Alembic's
)
forge = ForgeJobs()
