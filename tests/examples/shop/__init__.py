"""A shop: Flask-SQLAlchemy, Flask-Migrate, four blueprints and durable jobs.

``extensions`` holds what the modules share, each blueprint stands beside its tasks, and
``create_app`` puts them together; no import runs in a circle.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

from .exports import exports
from .extensions import db, forge, migrate
from .orders import orders
from .reports import reports
from .yearly import yearly


def create_app(
    config: Mapping[str, object] | None = None, *, instance_path: str | None = None
) -> Flask:
    """Return a shop whose jobs are in the database of its orders."""
    app = Flask(__name__, instance_path=instance_path)
    app.config.from_mapping(
        SECRET_KEY="dev", SQLALCHEMY_DATABASE_URI="sqlite:///shop.sqlite"
    )
    app.config.from_prefixed_env()
    app.config.update(config or {})

    db.init_app(app)
    migrate.init_app(app, db)
    forge.init_app(app)

    app.register_blueprint(orders)
    app.register_blueprint(exports)
    app.register_blueprint(reports)
    app.register_blueprint(yearly)
    return app
