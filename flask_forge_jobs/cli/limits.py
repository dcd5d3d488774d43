"""``flask forge-jobs limits``: rate limits, and the holders of concurrency keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from flask_forge_jobs.cli.completion import limit_scopes
from flask_forge_jobs.cli.errors import AppGroup
from flask_forge_jobs.cli.local_api import local_api
from flask_forge_jobs.cli.numbers import Number
from flask_forge_jobs.cli.output import (
    confirm,
    json_option,
    print_change,
    print_rows,
    yes_option,
)
from flask_forge_jobs.cli.tables import Column, Row, ago

_COLUMNS = (
    Column("SCOPE", "scope", is_elastic=True),
    Column("TOKENS", lambda limit: f"{limit['tokens']:.1f}", is_number=True),
    Column("CAPACITY", "capacity", is_number=True),
    Column("A SECOND", lambda limit: f"{limit['refill_per_sec']:g}", is_number=True),
    Column("REFILLED", ago("last_refilled_at")),
)
_HOLDERS = (
    Column("KEY", "key", is_elastic=True),
    Column("WAITING", "waiting", is_number=True),
    Column("HOLDER", "id"),
    Column("KIND", "kind", is_elastic=True),
    Column("QUEUE", "queue_name", is_elastic=True),
    Column("SINCE", ago("started_at")),
)


@click.group("limits", cls=AppGroup)
def limits_group() -> None:
    """List, set, drain and delete rate limits; list the holders of keys."""


@limits_group.command("list", example="limits list")
@json_option("each limit")
def list_command(*, as_json: bool) -> None:
    """List the rate limits with the tokens that are left."""
    limits = local_api().call("v1_rate_limits").document
    print_rows(_COLUMNS, limits, "there is no rate limit", as_json=as_json)


@limits_group.command("holders", example="limits holders")
@json_option("each key")
def holders_command(*, as_json: bool) -> None:
    """List the concurrency keys in use, with the jobs that hold them.

    Keys with waiting jobs come first.
    """
    keys = local_api().call("v1_concurrency").document
    rows = keys if as_json else list(_by_holder(keys))
    print_rows(_HOLDERS, rows, "no concurrency key is in use", as_json=as_json)


def _by_holder(keys: Sequence[Row]) -> Iterator[Row]:
    """Yield a row for each holder; the number of waiting jobs stands in the first."""
    for key in keys:
        first = {"key": key["key"], "waiting": key["waiting"]}
        holders = key["holders"] or [{}]
        yield first | holders[0]
        yield from holders[1:]


@limits_group.command("set", example="limits set mail --capacity 10 --refill 2")
@click.argument("scope", shell_complete=limit_scopes)
@click.option("--capacity", type=int, required=True, help="Most tokens at once.")
@click.option("--refill", type=Number(), required=True, help="New tokens a second.")
@json_option("the limit")
def set_command(*, scope: str, capacity: int, refill: float, as_json: bool) -> None:
    """Create or change a rate limit."""
    body = {"capacity": capacity, "refill_per_sec": refill}
    answer = local_api().call("v1_put_rate_limit", body=body, scope=scope)
    text = f"limit {scope}: {capacity:,} tokens, {refill:g} a second"
    print_change(answer.document, text, as_json=as_json)


@limits_group.command("drain", example="limits drain mail")
@click.argument("scope", shell_complete=limit_scopes)
def drain_command(*, scope: str) -> None:
    """Take all tokens of a rate limit."""
    local_api().call("v1_drain_rate_limit", scope=scope)
    click.echo(f"limit {scope} drained")


@limits_group.command("delete", example="limits delete mail")
@click.argument("scope", shell_complete=limit_scopes)
@yes_option
def delete_command(*, scope: str, is_sure: bool) -> None:
    """Delete a rate limit; jobs that take from it fail until it is made again."""
    api = local_api()
    api.call("v1_rate_limit", scope=scope)
    confirm(f"limit {scope} will be deleted; go on?", is_sure=is_sure)
    api.call("v1_delete_rate_limit", scope=scope)
    click.echo(f"limit {scope} deleted")
