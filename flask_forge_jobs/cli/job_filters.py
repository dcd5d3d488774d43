"""The options that choose jobs, as ``GET /v1/jobs`` and the bulk actions take them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from flask_forge_jobs.cli.completion import batch_ids, kind_names, queue_names
from flask_forge_jobs.cli.local_api import given
from flask_forge_jobs.cli.output import Command, options
from flask_forge_jobs.cli.times import at_age, instant_or_age
from flask_forge_jobs.handlers.filters import SCHEDULED, STATUS_WORDS


@dataclass(frozen=True, slots=True)
class Choice:
    """The conditions of a command line; each holds what its option was given."""

    queues: Sequence[str] = ()
    kinds: Sequence[str] = ()
    statuses: Sequence[str] = ()
    enqueued_from: str | None = None
    enqueued_to: str | None = None
    search: str | None = None
    error: str | None = None
    signature: str | None = None
    dedupe_key: str | None = None
    schedule: str | None = None
    min_attempts: int | None = None
    ending: str | None = None
    batch: str | None = None
    waiting: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it matches every job."""
        return self == Choice()

    def as_query(self) -> Mapping[str, Any]:
        """Return the parameters of ``GET /v1/jobs``."""
        return {
            "queue": self.queues,
            "kind": self.kinds,
            "status": self.statuses,
            "q": self.search,
            "waiting": "1" if self.waiting else None,
            **self._same(),
        }

    def as_filter(self) -> Mapping[str, Any]:
        """Return the ``filter`` of ``POST /v1/jobs/actions``."""
        return given(
            queues=self.queues,
            kinds=self.kinds,
            statuses=self.statuses,
            payload_search=self.search,
            waiting=self.waiting or None,
            **self._same(),
        )

    def _same(self) -> Mapping[str, Any]:
        return {
            "from": at_age(self.enqueued_from),
            "to": at_age(self.enqueued_to),
            "error": self.error,
            "signature": self.signature,
            "dedupe_key": self.dedupe_key,
            "cron": self.schedule,
            "min_attempts": self.min_attempts,
            "ending": self.ending,
            "batch": self.batch,
        }

    def in_words(self) -> str:
        """Return the jobs that it means: ``dead jobs of send_mail in queue mail``."""
        words = [" or ".join(self.statuses), "jobs"]
        if self.kinds:
            words += ["of", " or ".join(self.kinds)]
        if self.queues:
            words += ["in", " or ".join(self.queues)]
        if self.batch:
            words += ["of batch", self.batch]
        if self.waiting:
            words.append("that wait for others")
        return " ".join(word for word in words if word)


def chosen_jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a choice; the command gets it as ``choice``."""

    @functools.wraps(command)
    def with_choice(**values: Any) -> None:
        flags = [word for word in STATUS_WORDS if values.pop(f"is_{word}")]
        chosen = {
            name: values.pop(name)
            for name in Choice.__dataclass_fields__
            if name in values
        }
        chosen["statuses"] = tuple(dict.fromkeys((*chosen["statuses"], *flags)))
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
        "queues",
        multiple=True,
        shell_complete=queue_names,
        help="Queue; repeatable.",
    ),
    click.option(
        "--kind",
        "-k",
        "kinds",
        multiple=True,
        shell_complete=kind_names,
        help="Kind; repeatable.",
    ),
    click.option(
        "--status",
        "-s",
        "statuses",
        multiple=True,
        type=click.Choice(STATUS_WORDS),
        help="State; repeatable.",
    ),
    *(_flag(word) for word in STATUS_WORDS),
    click.option(
        "--since",
        "enqueued_from",
        callback=instant_or_age,
        help="Enqueued since: 2h, 7d.",
    ),
    click.option(
        "--until", "enqueued_to", callback=instant_or_age, help="Enqueued until: 30m."
    ),
    click.option("--error", help="Text in the last error."),
    click.option("--signature", help="Signature of the last error; see `errors`."),
    click.option("--search", help="Text in the payload."),
    click.option("--dedupe-key", help="Exactly this dedupe key."),
    click.option("--schedule", help="Made by this schedule."),
    click.option("--min-attempts", type=int, help="At least this many attempts."),
    click.option("--ending", help="How they ended, such as cancelled."),
    click.option(
        "--batch", metavar="ID", shell_complete=batch_ids, help="Jobs of this batch."
    ),
    click.option("--waiting", is_flag=True, help="Jobs that wait for others."),
)
