"""In which order the hosts of a URL are tried."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.storage.postgres.server_order import ServerOrder

GIVEN = {"host": "a,b,c", "port": "1,2,3", "user": "me"}


def reached(host: str | None, port: int, **parameters: str) -> Connection:
    info = SimpleNamespace(host=host, port=port, dsn_parameters=parameters)
    return cast("Connection", SimpleNamespace(info=info))


@pytest.mark.parametrize(
    ("given", "at", "host", "port"),
    [
        (GIVEN, ("b", 2), "b,a,c", "2,1,3"),
        (GIVEN | {"port": 7}, ("c", 7), "c,a,b", "7,7,7"),
        (GIVEN | {"host": "a,a,a"}, ("a", 3), "a,a,a", "3,1,2"),
        # One that is not among them, such as the directory of a socket.
        (GIVEN, ("/run", 2), "a,b,c", "1,2,3"),
        ({"host": "a", "port": 5432}, ("b", 2), "a", 5432),
        ({"port": 5432}, (None, 5432), None, 5432),
    ],
)
def test_the_host_that_was_reached_comes_first(
    given: dict[str, Any], at: tuple[str | None, int], host: str | None, port: object
) -> None:
    order = ServerOrder()
    assert order.applied_to(given) == given

    order.note_reached(reached(*at))

    applied = order.applied_to(given)
    assert (applied.get("host"), applied["port"]) == (host, port)
    assert applied.get("user") == given.get("user")


def test_hosts_stay_with_the_addresses_of_the_environment() -> None:
    order = ServerOrder()

    order.note_reached(reached("b", 2, hostaddr="192.0.2.1,192.0.2.2,192.0.2.3"))

    assert order.applied_to(GIVEN) == GIVEN


def test_what_was_reached_can_be_forgotten() -> None:
    order = ServerOrder()
    order.note_reached(reached("b", 2))

    order.forget()

    assert order.applied_to(GIVEN) == GIVEN
