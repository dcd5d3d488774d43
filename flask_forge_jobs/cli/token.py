"""``flask forge-jobs token``: make bearer tokens."""

from __future__ import annotations

import json
import secrets

import click

from flask_forge_jobs.auth.permissions import ROLES
from flask_forge_jobs.auth.tokens import KEY, TokenSet, new_token, parse_expiry
from flask_forge_jobs.cli.failing import fails_clearly

RANDOM_ID_BYTES = 4


@click.group("token")
def token_group() -> None:
    """Make bearer tokens for the API."""


@token_group.command()
@click.option(
    "--role", required=True, type=click.Choice(list(ROLES)), help="What it may do."
)
@click.option(
    "--queue", "queues", multiple=True, help="A queue to limit it to; repeatable."
)
@click.option("--name", help="Its id in log and audit trail; random by default.")
@click.option(
    "--expires", help="When it ends: 2027-01-31, or 2027-01-31T12:00:00+00:00."
)
@fails_clearly
def new(
    *, role: str, queues: tuple[str, ...], name: str | None, expires: str | None
) -> None:
    """Print a new token, once, and the entry to configure.

    Nothing is stored: the entry goes into FORGE_JOBS_TOKENS, the token to whoever will
    send it as "Authorization: Bearer ...".
    """
    token, digest = new_token(name or secrets.token_hex(RANDOM_ID_BYTES))
    entry: dict[str, object] = {"id": token.split("_")[1], "sha256": digest}
    entry["role"] = role
    if queues:
        entry["queues"] = list(queues)
    if expires is not None:
        entry["expires_at"] = parse_expiry(expires).isoformat()
    TokenSet.from_config([entry])  # a wrong queue fails here and not at the next start
    click.echo(token)
    click.echo(f"Add this to {KEY}; the token is not shown again:", err=True)
    click.echo(json.dumps(entry))
