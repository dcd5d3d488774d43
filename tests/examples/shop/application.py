"""create_app: the factory."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

from tests.examples.shop.carrier import Carrier
from tests.examples.shop.extensions import forge
from tests.examples.shop.orders import orders


def create_app(
    config: Mapping[str, object], *, instance_path: str, busy_for_s: float | None = None
) -> Flask:
    """Return a shop.

    Args:
        config: Keys that differ from the defaults.
        instance_path: Absolute path of the instance folder.
        busy_for_s: What the carrier answers the first time, in seconds.
    """
    app = Flask(__name__, instance_path=instance_path)
    app.config.update(SHOP_ORDERS={1, 2, 3}, SHOP_LETTERS=[])
    app.config.update(config)
    forge.init_app(app)
    Carrier(app, busy_for_s)
    app.register_blueprint(orders)
    return app
