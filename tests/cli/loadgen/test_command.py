from __future__ import annotations

import json
import re

from tests.cli.console import Console
from tests.support.jobs import enqueue


def test_a_drain_is_reported_and_cleaned_up(console: Console) -> None:
    kept = enqueue(console.storage, queue_name="mail")

    text = console.text("loadgen", "--jobs", "200", "--yes")

    assert re.fullmatch(
        r"enqueued: 200, [\d,]+ a second\nran:      200, [\d,]+ a second\n", text
    )
    assert [each["id"] for each in console.documents("jobs", "list")] == [kept]
    assert [each["name"] for each in console.documents("queues", "list")] == ["mail"]


def test_waits_are_reported(console: Console) -> None:
    result = console.run(
        "loadgen", "--rate", "50", "--seconds", "0.2", "--yes", "--json"
    )

    document = json.loads(result.stdout)
    assert (document["enqueued"], document["ran"]) == (10, 10)
    assert list(document["wait_ms"]) == ["p50", "p95", "p99", "max"]


def test_it_asks_first_and_refuses_bad_numbers(console: Console) -> None:
    assert "add --yes" in console.refusal("loadgen", "--jobs", "10")
    assert "--jobs" in console.refusal("loadgen", "--jobs", "0", "--yes")
    assert console.documents("jobs", "list") == []
