"""``flask forge-jobs openapi``: the description of the API."""

from __future__ import annotations

import json

import click

from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.local_api import local_api


@click.command("openapi", cls=AppCommand, example="openapi > openapi.json")
def openapi_command() -> None:
    """Print the OpenAPI 3.1 document of the API."""
    document = local_api().call("v1_openapi").document
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
