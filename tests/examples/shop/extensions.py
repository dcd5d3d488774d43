"""What the modules of the shop share; the factory binds it to an application."""

from __future__ import annotations

from pathlib import Path

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from flask_forge_jobs import ForgeJobs


class Model(DeclarativeBase):
    """The base of the models."""


db = SQLAlchemy(model_class=Model)
migrate = Migrate(directory=str(Path(__file__).with_name("migrations")))
forge = ForgeJobs(db=db)  # in one database with the orders
