"""The exchange of one request is never that of another."""

from __future__ import annotations

from flask import Flask

from flask_forge_jobs.api.exchange import Exchange, Exchanges, present_exchange
from flask_forge_jobs.api.table import all_routes


def test_an_exchange_ends_with_its_request() -> None:
    exchanges = Exchanges(all_routes(enable_demo=False))
    app = Flask("host")
    found: list[Exchange] = []

    @app.get("/", endpoint="forge_jobs.queue_overview")
    def view() -> str:
        assert present_exchange() is None
        begun = exchanges.present()
        assert exchanges.present() is begun
        assert present_exchange() is begun
        found.append(begun)
        return begun.route.path

    client = app.test_client()
    # An outer context outlives the requests within it, and what is kept in it too.
    with app.app_context():
        assert client.get("/").text == "/queue/overview"
        assert client.get("/").text == "/queue/overview"

    assert found[0] is not found[1]
