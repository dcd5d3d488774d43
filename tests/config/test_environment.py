from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from flask_forge_jobs.config.environment import VARIABLES, ServerEnvironment
from flask_forge_jobs.config.files import FILE_NAME
from flask_forge_jobs.config.paths import FixedPaths
from flask_forge_jobs.errors import ConfigurationError

SECRET = "hunter2"


@pytest.fixture
def base_dir(tmp_path: Path) -> Path:
    """A directory so deep that nothing of the machine is found above it."""
    directory = tmp_path / "1/2/3/4"
    directory.mkdir(parents=True)
    return directory


def test_environment_defaults(base_dir: Path) -> None:
    environment = ServerEnvironment.from_environ({}, base_dir)

    assert (environment.host, environment.port) == ("127.0.0.1", 8787)
    assert environment.is_loopback
    assert environment.log_level == "INFO"
    assert environment.backend is None
    assert environment.settings.pool_size == 30
    assert environment.paths == FixedPaths(
        base_dir / "jobs/config", base_dir / "jobs/data"
    )
    chosen = environment.database(base_dir).settings
    assert chosen.path == base_dir / "jobs/data/queue.sqlite"


def test_environment_blank_counts_as_unset(base_dir: Path) -> None:
    blank = {variable.name: "  " for variable in VARIABLES}

    assert ServerEnvironment.from_environ(blank, base_dir) == (
        ServerEnvironment.from_environ({}, base_dir)
    )


def test_environment_takes_every_variable(base_dir: Path) -> None:
    environ = {
        "QUEUE_BACKEND": "postgres",
        "DATABASE_URL": f"postgresql://app:{SECRET}@db/jobs",
        "DATABASE_MAX_CONNECTIONS": "7",
        "JOBS_API_BIND": "0.0.0.0:80",
        "JOBS_API_PORT": "1234",
        "JOBS_CONFIG_DIR": "etc",
        "JOBS_DATA_DIR": "/srv/data",
        "FORGE_JOBS_LOG_LEVEL": "debug",
        "FORGE_JOBS_TOKENS": '[{"id": "ci"}]',
        "FORGE_JOBS_METRICS_AUTH": "token",
        "FORGE_JOBS_READ_ONLY": "true",
        "FORGE_JOBS_ALLOWED_HOSTS": '["jobs.example"]',
        "FORGE_JOBS_CORS_ORIGINS": '["https://ops.example"]',
        "FORGE_JOBS_RATE_LIMITS": '{"read": "5/second"}',
        "FORGE_JOBS_REDACT_KEYS": '["iban"]',
        "FORGE_JOBS_MAX_BODY_BYTES": "2048",
    }
    assert set(environ) == {variable.name for variable in VARIABLES}

    environment = ServerEnvironment.from_environ(environ, base_dir)
    chosen = environment.database(base_dir)

    assert (environment.host, environment.port) == ("0.0.0.0", 80)
    assert not environment.is_loopback
    assert environment.paths == FixedPaths(base_dir / "etc", Path("/srv/data"))
    assert environment.log_level == "DEBUG"
    assert chosen.settings.dsn_for_display == "postgresql://app:***@db:5432/jobs"
    assert chosen.settings.pool_size == 7
    assert environment.settings.tokens == ({"id": "ci"},)
    assert environment.settings.metrics_auth == "token"
    assert environment.settings.read_only is True
    assert environment.settings.allowed_hosts == ("jobs.example",)
    assert environment.settings.cors_origins == ("https://ops.example",)
    assert environment.settings.rate_limits == {"read": "5/second"}
    assert environment.settings.redact_keys == ("iban",)
    assert environment.settings.max_body_bytes == 2048
    assert SECRET not in repr(environment)


@pytest.mark.parametrize(
    ("bind", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:1", "127.0.0.1", 1, True),
        ("127.9.9.9:0", "127.9.9.9", 0, True),
        ("localhost:8787", "localhost", 8787, True),
        ("[::1]:8787", "::1", 8787, True),
        ("[0:0::0:1]:8787", "::1", 8787, True),
        ("[::]:8787", "::", 8787, False),
        ("0.0.0.0:8787", "0.0.0.0", 8787, False),
        ("example.org:8787", "example.org", 8787, False),
        ("192.0.2.7:0", "192.0.2.7", 0, False),
        # Python 3.13 writes it with dots, as it came.
        ("[::ffff:192.0.2.7]:0", str(ip_address("::ffff:192.0.2.7")), 0, False),
        ("[2001:db8::1]:0", "2001:db8::1", 0, False),
        ("10.0.0.1:0", "10.0.0.1", 0, False),
        ("128.0.0.1:0", "128.0.0.1", 0, False),
        ("[fe80::1]:0", "fe80::1", 0, False),
        ("0:0", "0", 0, False),
        ("localhost.example:0", "localhost.example", 0, False),
        ("ip6-localhost:0", "ip6-localhost", 0, False),
    ],
)
def test_bind_is_address_and_port(
    bind: str, host: str, port: int, is_loopback: bool
) -> None:
    environment = ServerEnvironment.from_environ({"JOBS_API_BIND": bind})

    assert (environment.host, environment.port) == (host, port)
    assert environment.is_loopback is is_loopback


def test_port_alone_keeps_the_loopback_address() -> None:
    environment = ServerEnvironment.from_environ({"JOBS_API_PORT": "0"})

    assert (environment.host, environment.port) == ("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("JOBS_API_BIND", value)
            for value in (
                "8787",
                "127.0.0.1",
                ":8787",
                "127.0.0.1:",
                "127.0.0.1:http",
                "127.0.0.1:65536",
                "::1:8787",
                "[::g]:8787",
                "[127.0.0.1]:8787",
                "unix:/run/jobs.sock",
                "http://127.0.0.1:8787",
            )
        ),
        *(("JOBS_API_PORT", value) for value in ("x", "-1", "65536", "8787.0", "٣")),
        *(("DATABASE_MAX_CONNECTIONS", value) for value in ("0", "-1", "1001", "many")),
        *(("QUEUE_BACKEND", value) for value in ("mysql", "postgresql")),
        *(("FORGE_JOBS_LOG_LEVEL", value) for value in ("verbose", "10")),
        *(("DATABASE_URL", value) for value in ("jobs.db", "mysql://h/d")),
    ],
)
def test_environment_refuses_a_bad_value_and_names_the_variable(
    name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        ServerEnvironment.from_environ({name: value})

    assert raised.value.key == name


def test_environment_hints_at_a_near_match() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'postgres'"):
        ServerEnvironment.from_environ({"QUEUE_BACKEND": "postgresql"})


def test_environment_never_repeats_a_password() -> None:
    with pytest.raises(ConfigurationError) as raised:
        ServerEnvironment.from_environ(
            {"DATABASE_URL": f"postgresql://u:{SECRET}/@h/d"}
        )

    assert SECRET not in str(raised.value)


def test_postgres_without_an_address_names_the_variable(base_dir: Path) -> None:
    environment = ServerEnvironment.from_environ(
        {"QUEUE_BACKEND": "postgres"}, base_dir
    )

    with pytest.raises(ConfigurationError) as raised:
        environment.database(base_dir)

    assert raised.value.key == "DATABASE_URL"
    assert "required" in raised.value.message


def test_backend_must_agree_with_the_url(base_dir: Path) -> None:
    environment = ServerEnvironment.from_environ(
        {"QUEUE_BACKEND": "sqlite", "DATABASE_URL": "postgresql://h/d"}, base_dir
    )

    with pytest.raises(ConfigurationError, match="but DATABASE_URL names 'postgres'"):
        environment.database(base_dir)


def test_backend_must_agree_with_the_file(base_dir: Path) -> None:
    """All programs read one file, so none ends up on another database (D50)."""
    (base_dir / FILE_NAME).write_text('url = "postgresql://h/d"')
    environment = ServerEnvironment.from_environ({"QUEUE_BACKEND": "sqlite"}, base_dir)

    with pytest.raises(
        ConfigurationError, match=r"queue_database\.toml names 'postgres'"
    ):
        environment.database(base_dir)


def test_database_reads_the_file_when_no_variable_names_one(base_dir: Path) -> None:
    directory = base_dir / "jobs/config"
    directory.mkdir(parents=True)
    (directory / FILE_NAME).write_text(
        'url = "postgresql://u@h/d"\npassword_env = "PW"\n'
    )
    environment = ServerEnvironment.from_environ({}, base_dir)

    chosen = environment.database(base_dir, environ={"PW": SECRET})

    assert chosen.source == str(directory / FILE_NAME)
    assert chosen.settings.password == SECRET


def test_a_relative_url_starts_in_the_data_directory(base_dir: Path) -> None:
    environment = ServerEnvironment.from_environ(
        {"DATABASE_URL": "sqlite:///q.db", "JOBS_DATA_DIR": "data"}, base_dir
    )

    assert environment.database(base_dir).settings.path == base_dir / "data/q.db"
