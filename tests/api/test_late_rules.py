"""A rule that builds late matches and builds as the application's own."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.routing import Map, Rule

from flask_forge_jobs.api.late_rules import late
from tests.api.mounting import PREFIX, mount
from tests.dashboard.sites import UNASKED

VALUES: tuple[dict[str, object], ...] = (
    {"name": "a"},
    {"name": "a b/ä", "more": "x&y"},
    {"name": "a", "more": ["1", "2"]},
)


@pytest.mark.parametrize("append_unknown", [True, False])
@pytest.mark.parametrize("values", VALUES, ids=str)
def test_urls_are_the_same(values: dict[str, object], append_unknown: bool) -> None:
    built = []
    for rule_class in (Rule, late(Rule)):
        rule = rule_class("/queues/<path:name>/x", endpoint="e", defaults={"page": 1})
        adapter = Map([rule]).bind("host", "/mounted")
        assert adapter.match("/queues/a/x") == ("e", {"name": "a", "page": 1})
        for _ in range(2):
            url = adapter.build("e", values, append_unknown=append_unknown)
        built.append(url)

    assert built[0] == built[1]


def test_an_application_compiles_no_way_back_of_ours() -> None:
    compiled: list[str] = []

    class Own(Rule):
        def _compile_builder(self, *arguments: Any) -> Any:
            compiled.append(self.rule)
            return super()._compile_builder(*arguments)

    class Host(Flask):
        url_rule_class = Own

    app = Host("host")
    compiled.clear()

    mount(UNASKED, app=app)

    assert compiled == []
    assert app.url_rule_class is Own
    assert all(isinstance(rule, Own) for rule in app.url_map.iter_rules())
    with app.test_request_context():
        url = app.url_for("forge_jobs.v1_queue", name="mail")
    assert url == f"{PREFIX}/v1/queues/mail"
    assert compiled == [f"{PREFIX}/v1/queues/<forge_queue:name>"]
