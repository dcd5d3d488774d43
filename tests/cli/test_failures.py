from __future__ import annotations

from flask_forge_jobs.model.outcomes import Failed
from tests.cli.console import Console
from tests.support.jobs import enqueue, run


def test_a_line_a_signature(console: Console) -> None:
    assert console.text("errors") == "no job failed in this time\n"
    enqueue(console.storage, "charge")
    run(console.storage, Failed("CardError: card 17 was declined"))

    head, line = console.text("errors", "--range", "24h").splitlines()

    assert head.split() == [
        "FAILURES", "RETRYING", "DEAD", "FIRST", "LAST", "KINDS", "SIGNATURE",
    ]  # fmt: skip
    assert line.split()[:3] == ["1", "1", "0"]
    assert line.endswith("charge  CardError: card <n> was declined")
    (group,) = console.documents("errors", "--kind", "charge")
    listed = console.documents("jobs", "list", "--signature", group["signature"])
    assert [job["id"] for job in listed] == [group["sample_id"]]
    assert console.documents("errors", "--queue", "none") == []
