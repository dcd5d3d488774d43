"""The ``flask forge-jobs`` group.

It is an entry point of the ``flask`` program, which therefore finds it before it loads
an application: one that does not load for a wrong setting is then reported by us.
"""

from __future__ import annotations

import click

from flask_forge_jobs.cli.audit import audit_group
from flask_forge_jobs.cli.database import db_group
from flask_forge_jobs.cli.token import token_group
from flask_forge_jobs.cli.worker import worker_command


@click.group("forge-jobs")
def forge_jobs_group() -> None:
    """Run and look after background jobs."""


forge_jobs_group.add_command(worker_command)
forge_jobs_group.add_command(db_group)
forge_jobs_group.add_command(token_group)
forge_jobs_group.add_command(audit_group)
