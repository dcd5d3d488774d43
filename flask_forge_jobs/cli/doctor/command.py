"""The command."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict
from typing import Any

import click
from flask import current_app

from flask_forge_jobs.cli.doctor import application, storage
from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.output import json_option, print_json_lines
from flask_forge_jobs.config import variables
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.sentences import count
from flask_forge_jobs.state import current
from flask_forge_jobs.storage import standby
from flask_forge_jobs.storage.sqlite import files

_LONGEST = 4000
# Their warnings are findings. The last is not imported: its driver may be missing.
_LOGGERS = (
    variables.logger.logger,
    files.logger.logger,
    standby.logger.logger,
    logging.getLogger("flask_forge_jobs.storage.postgres.listener"),
)


class _Doctor(AppCommand):
    """Leaves out warnings that the findings repeat."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, which loads the application."""
        with contextlib.ExitStack() as stack:
            for logger in _LOGGERS:
                logger.addFilter(_nothing)
                stack.callback(logger.removeFilter, _nothing)
            return super().invoke(ctx)


def _nothing(_: logging.LogRecord) -> bool:
    return False


@click.command("doctor", cls=_Doctor, example="doctor")
@json_option("each finding")
def doctor_command(*, as_json: bool) -> None:
    """Check this deployment, and name the remedy of each fault.

    Reads settings, environment, files, database and workers, and changes nothing. Run
    it where and as the workers run, since rights and variables may differ elsewhere.
    The exit status is 1 if there is a finding.
    """
    state = current()
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    findings = [*application.findings_of(app, state), *storage.findings_of(state)]
    if as_json:
        print_json_lines(map(asdict, findings))
    elif not findings:
        click.echo("no fault: settings, environment, database, queues and workers")
    else:
        for finding in findings:
            click.echo(f"- {one_line(finding.text, _LONGEST)}")
            click.echo(f"    {one_line(finding.remedy, _LONGEST)}")
        click.echo(count(len(findings), "finding"))
    if findings:
        raise SystemExit(1)
