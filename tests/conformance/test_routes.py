"""Every route of the reference exists, and its answer follows the contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_forge_jobs.blueprint import BlueprintOptions, create_blueprint
from tests.api.faulty import faulty_storage
from tests.api.mounting import PREFIX
from tests.conformance.calls import UPSTREAM, call, path_of
from tests.conformance.contract import (
    Entry,
    assert_follows,
    is_shortest_instant,
    place_of,
)
from tests.support.backends import each_backend

IDS = [entry.id for entry in UPSTREAM]


def url_map() -> Iterator[tuple[str, str]]:
    """Yield method and path of every rule that an application really has."""
    app = Flask("host")
    options = BlueprintOptions(enable_demo=True)
    unasked = faulty_storage(AssertionError("the storage was asked"))
    blueprint = create_blueprint(unasked, options=options)
    app.register_blueprint(blueprint, url_prefix=PREFIX)
    for rule in app.url_map.iter_rules():
        for method in rule.methods or ():
            yield place_of(method, rule.rule.removeprefix(PREFIX))


def test_the_contract_has_35_routes_of_the_reference() -> None:
    assert len(UPSTREAM) == 35
    assert len({entry.place for entry in UPSTREAM}) == 35


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_every_route_of_the_reference_exists(prefix: str) -> None:
    built = set(url_map())
    missing = {
        entry.id
        for entry in UPSTREAM
        if (entry.method, prefix + entry.place[1]) not in built
    }

    assert missing == set()


@each_backend
@pytest.mark.parametrize("entry", UPSTREAM, ids=IDS)
def test_its_answer_follows_the_contract(client: FlaskClient, entry: Entry) -> None:
    assert_follows(entry, call(client, entry))


# What the twin of a list has behind the keys of the reference.
ADDED = {
    "cron_list": ["timezone", "catch_up", "catch_up_limit", "declared_by", "last_run"]
}


@pytest.mark.parametrize("entry", UPSTREAM, ids=IDS)
def test_its_twin_below_v1_does_the_same(client: FlaskClient, entry: Entry) -> None:
    twin = replace(entry, path=f"/v1{entry.path}")

    assert path_of(twin).startswith(f"{PREFIX}/v1/")
    answer = call(client, twin)
    if added := ADDED.get(entry.id, []):
        items = answer.json
        assert items
        assert all(list(each)[-len(added) :] == added for each in items)
        kept = [dict(list(each.items())[: -len(added)]) for each in items]
        answer.data = json.dumps(kept, separators=(",", ":"))
    assert_follows(twin, answer)


@pytest.mark.parametrize(
    ("text", "is_shortest"),
    [
        ("2026-09-16T09:30:11Z", True),
        ("2026-09-16T09:30:11.402Z", True),
        ("2026-09-16T09:30:11.402113Z", True),
        ("2026-09-16T09:30:11.000Z", False),
        ("2026-09-16T09:30:11.402000Z", False),
        ("2026-09-16T09:30:11.4Z", False),
        ("2026-09-16T09:30:11+00:00", False),
    ],
)
def test_the_check_of_instants_can_fail(text: str, *, is_shortest: bool) -> None:
    assert is_shortest_instant(text) is is_shortest
