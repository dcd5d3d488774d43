from __future__ import annotations

import json

from tests.cli.console import Console


def test_the_document_is_that_of_the_route(console: Console) -> None:
    printed = json.loads(console.text("openapi"))

    console.app.testing = True
    answer = console.app.test_client().get("/forge-jobs/v1/openapi.json")
    assert printed == answer.get_json()
