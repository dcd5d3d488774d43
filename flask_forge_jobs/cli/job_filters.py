"""The options that choose jobs, as ``GET /v1/jobs`` and the bulk actions take them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import click

from flask_forge_jobs.cli.completion import batch_ids, kind_names, queue_names
from flask_forge_jobs.cli.local_api import given
from flask_forge_jobs.cli.output import Command, options
from flask_forge_jobs.cli.times import at_age, instant_or_age
from flask_forge_jobs.handlers.filters import SCHEDULED, STATUS_WORDS

# The parameters of ``GET /v1/jobs``, and those that have another name in a filter.
_PARAMETERS = (
    "queue", "kind", "status", "from", "to", "error", "signature", "q", "dedupe_key",
    "cron", "min_attempts", "ending", "batch", "waiting",
)  # fmt: skip
_IN_FILTER = {
    "queue": "queues", "kind": "kinds", "status": "statuses", "q": "payload_search",
}  # fmt: skip


class Choice:
    """The conditions of a command line, by their parameter of ``GET /v1/jobs``."""

    def __init__(self, **conditions: Any) -> None:
        self._conditions = given(**conditions)

    @property
    def is_empty(self) -> bool:
        """Whether it matches every job."""
        return not self._conditions

    def as_query(self) -> Mapping[str, Any]:
        """Return the parameters of ``GET /v1/jobs``."""
        waiting = {"waiting": "1"} if "waiting" in self._conditions else {}
        return self._now() | waiting

    def as_filter(self) -> Mapping[str, Any]:
        """Return the ``filter`` of ``POST /v1/jobs/actions``."""
        return {_IN_FILTER.get(key, key): value for key, value in self._now().items()}

    def _now(self) -> dict[str, Any]:
        return {
            key: at_age(value) if key in ("from", "to") else value
            for key, value in self._conditions.items()
        }

    def in_words(self) -> str:
        """Return the jobs that it means: ``dead jobs of send_mail in queue mail``."""
        named = self._conditions.get
        words = [" or ".join(named("status", ())), "jobs"]
        for key, word in (("kind", "of"), ("queue", "in")):
            if key in self._conditions:
                words += [word, " or ".join(named(key, ()))]
        if named("batch"):
            words += ["of batch", self._conditions["batch"]]
        if named("waiting"):
            words.append("that wait for others")
        return " ".join(word for word in words if word)


def chosen_jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a choice; the command gets it as ``choice``."""

    @functools.wraps(command)
    def with_choice(**values: Any) -> None:
        flags = [word for word in STATUS_WORDS if values.pop(f"is_{word}")]
        chosen = {name: values.pop(name) for name in _PARAMETERS}
        chosen["status"] = tuple(dict.fromkeys((*chosen["status"], *flags)))
        chosen["waiting"] = chosen["waiting"] or None
        command(choice=Choice(**chosen), **values)

    return options(*_OPTIONS)(with_choice)


def _flag(word: str) -> Callable[[Command], Command]:
    help_ = "Jobs that wait for a later start." if word == SCHEDULED else None
    return click.option(
        f"--{word.replace('_', '-')}",
        f"is_{word}",
        is_flag=True,
        help=help_ or f"--status {word}.",
    )


_OPTIONS = (
    click.option(
        "--queue",
        "-q",
        multiple=True,
        shell_complete=queue_names,
        help="Queue; repeatable.",
    ),
    click.option(
        "--kind",
        "-k",
        multiple=True,
        shell_complete=kind_names,
        help="Kind; repeatable.",
    ),
    click.option(
        "--status",
        "-s",
        multiple=True,
        type=click.Choice(STATUS_WORDS),
        help="State; repeatable.",
    ),
    *(_flag(word) for word in STATUS_WORDS),
    click.option(
        "--since", "from", callback=instant_or_age, help="Enqueued since: 2h, 7d."
    ),
    click.option("--until", "to", callback=instant_or_age, help="Enqueued until: 30m."),
    click.option("--error", help="Text in the last error."),
    click.option("--signature", help="Signature of the last error; see `errors`."),
    click.option("--search", "q", help="Text in the payload."),
    click.option("--dedupe-key", help="Exactly this dedupe key."),
    click.option("--schedule", "cron", help="Made by this schedule."),
    click.option("--min-attempts", type=int, help="At least this many attempts."),
    click.option("--ending", help="How they ended, such as cancelled."),
    click.option(
        "--batch", metavar="ID", shell_complete=batch_ids, help="Jobs of this batch."
    ),
    click.option("--waiting", is_flag=True, help="Jobs that wait for others."),
)
