from __future__ import annotations

from typing import Any

import flask_forge_jobs
from flask_forge_jobs.handlers.me import Caller, Change, describe_caller

RETRY = Change("POST", "/v1/jobs/{job_id}/retry", "jobs.retry", is_of_all=False)
CREATE = Change("POST", "/v1/cron", "cron.edit", is_of_all=True)
ADMIN = Change("POST", "/v1/retention", "admin", is_of_all=True)


def described(**more: Any) -> Caller:
    rights: dict[str, Any] = {
        "roles": ["operator"],
        "permissions": {"jobs.retry", "cron.edit"},
        "queues": None,
        "changes": [RETRY, CREATE, ADMIN],
        "read_only": False,
    }
    return describe_caller("deploy", **(rights | more))


def test_a_caller_may_change_what_it_has_the_permission_for() -> None:
    caller = described()

    assert caller == Caller(
        "deploy",
        ["operator"],
        ["cron.edit", "jobs.retry"],
        None,
        read_only=False,
        may_change=[RETRY, CREATE],
        version=flask_forge_jobs.__version__,
    )


def test_a_limited_caller_may_change_only_what_knows_queues() -> None:
    caller = described(queues={"mail", "bulk"})

    assert caller.queues == ["bulk", "mail"]
    assert caller.may_change == [RETRY]


def test_nobody_may_change_a_service_that_is_read_only() -> None:
    assert described(read_only=True).may_change == []
