"""Says so when a password and payloads travel to a server that nobody has checked."""

from __future__ import annotations

from ipaddress import ip_address

from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.logs import get_logger

logger = get_logger(__name__)

SAFE_MODE = "verify-full"


def warn_of_unchecked_server(connection: Connection) -> None:
    """Log it when another machine's certificate and name were not checked.

    What counts is what libpq made of the settings, the environment and its own files.
    """
    info = connection.info
    mode = info.dsn_parameters.get("sslmode", "unset")
    if mode == SAFE_MODE or is_here(info.host or ""):
        return
    logger.warning(
        "PostgreSQL on %s is reached with sslmode=%s; only %s keeps others from "
        "reading along or answering in its place",
        info.host,
        mode,
        SAFE_MODE,
    )


def is_here(host: str) -> bool:
    """Tell whether a host is a Unix socket or this machine."""
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
