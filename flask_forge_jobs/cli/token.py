"""``flask forge-jobs token``: create bearer tokens."""

from __future__ import annotations

import json
import secrets
import sys
from typing import TextIO, cast

import click

from flask_forge_jobs.auth.permissions import ROLES
from flask_forge_jobs.auth.tokens import KEY, TokenSet, new_token, parse_expiry
from flask_forge_jobs.cli.errors import AppCommand, fails_clearly
from flask_forge_jobs.cli.group import WordyGroup
from flask_forge_jobs.state import current

RANDOM_ID_BYTES = 4
# More than any token has.
_MAX_BYTES = 4096


@click.group("token", cls=WordyGroup)
def token_group() -> None:
    """Create and check bearer tokens for the API."""


@token_group.command(
    epilog="Example: flask forge-jobs token new --role viewer --name grafana"
)
@click.option(
    "--role", required=True, type=click.Choice(list(ROLES)), help="What it allows."
)
@click.option(
    "--queue", "queues", multiple=True, help="Limit it to this queue; repeatable."
)
@click.option("--name", help="Id in log and audit trail. Default: random.")
@click.option(
    "--expires", help="End of validity: 2027-01-31 or 2027-01-31T12:00:00+00:00."
)
@fails_clearly
def new(
    *, role: str, queues: tuple[str, ...], name: str | None, expires: str | None
) -> None:
    """Print a new token and its entry for FORGE_JOBS_TOKENS.

    Nothing is stored. Clients send the token as "Authorization: Bearer ...".
    """
    token, digest = new_token(
        secrets.token_hex(RANDOM_ID_BYTES) if name is None else name
    )
    entry: dict[str, object] = {"id": token.split("_")[1], "sha256": digest}
    entry["role"] = role
    if queues:
        entry["queues"] = list(queues)
    if expires is not None:
        entry["expires_at"] = parse_expiry(expires).isoformat()
    TokenSet.from_config([entry])  # a wrong queue fails here, not at the next start
    click.echo(token)
    click.echo(f"Add this to {KEY}; the token is not shown again:", err=True)
    click.echo(json.dumps(entry))


@token_group.command(cls=AppCommand, example="token check < ada.token")
def check() -> None:
    """Say whether the API accepts a token, and what it allows.

    The token is read from the standard input, or asked for without being shown. The
    exit status is 1 if it is unknown or has expired.
    """
    token = _given_token()
    state = current()
    tokens = TokenSet.from_config(state.settings.tokens, state.clock)
    principal = tokens.principal(token)
    if principal is None:
        raise click.ClickException("unknown or expired; the API answers 401")
    roles = ", ".join(principal.roles) or "no role"
    queues = "all queues"
    if principal.queues is not None:
        queues = f"queues {', '.join(sorted(principal.queues)) or 'none'}"
    click.echo(f"{principal.id}: {roles}; {queues}")


def _given_token() -> str:
    """Return the token on the standard input; ask for it on a terminal."""
    stdin: TextIO | None = cast("TextIO | None", sys.stdin)  # None: it is closed
    if stdin is not None and stdin.isatty():
        return str(click.prompt("Token", hide_input=True, err=True)).strip()
    # A prompt would read the terminal instead, and leave this alone.
    given = b"" if stdin is None else stdin.buffer.read(_MAX_BYTES).strip()
    if not given:
        raise click.UsageError("there is no token on the standard input")
    return given.decode("utf-8", "replace")
