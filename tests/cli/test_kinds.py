from __future__ import annotations

from tests.cli.console import Console
from tests.support.figures import PastProcess

SINCE = ("--since", "2025-06-01T00:00:00Z")


def test_a_line_a_kind(console: Console) -> None:
    console.storage.queues.ensure("mail")
    PastProcess(console.storage).runs("mail", "send", [10, 20], dead=1)

    head, line = console.text("kinds", *SINCE).splitlines()

    assert head.split() == [
        "KIND", "DONE", "RETRIED", "DEAD", "CANCELLED", "SUCCESS", "P50", "P95", "P99",
    ]  # fmt: skip
    assert line.split()[:6] == ["send", "2", "0", "1", "0", "66.7%"]
    PastProcess(console.storage).runs("mail", "never", dead=1)
    assert console.text("kinds", *SINCE).splitlines()[1].split() == [
        "never", "0", "0", "1", "0", "0.0%", "-", "-", "-",
    ]  # fmt: skip
    assert console.documents("kinds", "--queue", "none", *SINCE) == []
    assert console.text("kinds") == "no job ended in this time\n"
