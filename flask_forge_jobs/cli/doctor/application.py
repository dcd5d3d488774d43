"""Findings on the settings of an application and on its environment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder

from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.cli.worker import SPARE_CONNECTIONS, debug_reason
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.config.variables import ignored_variables
from flask_forge_jobs.model.findings import Finding
from flask_forge_jobs.runtime.plan import DEFAULT_THREADS
from flask_forge_jobs.sharing import alembic_hazard
from flask_forge_jobs.state import ApplicationState

# An address of no host (RFC 5737).
_STRANGER = "192.0.2.1"


def findings_of(app: Flask, state: ApplicationState) -> Iterator[Finding]:
    """Yield the findings on an application; within its context."""
    yield from _of_variables(app.config, os.environ)
    if reason := debug_reason():
        yield Finding(
            "debug_mode",
            f"Debug mode is on: {reason}.",
            "turn it off in production; there it lets this machine in without a token",
        )
    yield from _of_access(app, state.settings)
    yield from _of_secrets(app, state.settings)
    yield from _of_pool(state)
    if hazard := alembic_hazard(app, state.database.settings):
        text, _, remedy = hazard.rpartition("; ")
        yield Finding("alembic_drops_tables", f"{text}.", remedy)


def _of_variables(
    config: Mapping[str, object], environ: Mapping[str, str]
) -> Iterator[Finding]:
    for _, sentence in ignored_variables(config, environ):
        text, _, remedy = sentence.partition("; ")
        yield Finding("variable_ignored", f"{text}.", remedy)


def _of_access(app: Flask, settings: Settings) -> Iterator[Finding]:
    if settings.auth is None and not settings.tokens:
        yield Finding(
            "no_access",
            "The API and the dashboard refuse everybody outside debug mode.",
            "set FORGE_JOBS_TOKENS (flask forge-jobs token new) or FORGE_JOBS_AUTH",
        )
    elif callable(settings.auth) and _lets_in(app, settings):
        yield Finding(
            "open_to_everybody",
            "FORGE_JOBS_AUTH lets in a request that carries no credential.",
            "return None from it for unknown callers",
        )


def _lets_in(app: Flask, settings: Settings) -> bool:
    """Return whether the authenticator accepts a stranger's request."""
    environ = EnvironBuilder(environ_overrides={"REMOTE_ADDR": _STRANGER}).get_environ()
    with app.request_context(environ) as context:
        try:
            return callable(settings.auth) and bool(settings.auth(context.request))
        except HTTPException:
            return False
        except Exception:  # noqa: BLE001  # the application's own; it refuses
            return False


def _of_secrets(app: Flask, settings: Settings) -> Iterator[Finding]:
    if not Signer(settings.link_secrets).secrets(app):
        yield Finding(
            "secret_missing",
            "There is no secret, so status links and signing in do not work.",
            "set SECRET_KEY or FORGE_JOBS_LINK_SECRETS",
        )


def _of_pool(state: ApplicationState) -> Iterator[Finding]:
    database = state.database.settings
    needed = DEFAULT_THREADS + SPARE_CONNECTIONS
    if database.backend == "postgres" and database.pool_size < needed:
        yield Finding(
            "pool_too_small",
            f"FORGE_JOBS_POOL_SIZE is {database.pool_size}, too small for a worker of "
            f"{DEFAULT_THREADS} threads: its tasks wait for connections.",
            f"set it to {needed} or more, or start workers with fewer --threads",
        )
