from __future__ import annotations

import json
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path

import pytest

from flask_forge_jobs.config.environment import VARIABLES, ServerEnvironment
from flask_forge_jobs.config.files import FILE_NAME
from flask_forge_jobs.config.option import Option
from flask_forge_jobs.config.paths import FixedPaths
from flask_forge_jobs.config.settings import options
from flask_forge_jobs.errors import ConfigurationError
from tests.config.services import service_links

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
    names = {variable.name for variable in VARIABLES}
    names |= {option.key for option in options()} - {"FORGE_JOBS_TOKENS"}
    blank = dict.fromkeys(names, "  ")

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
        "JOBS_API_THREADS": "3",
        "WEB_CONCURRENCY": "5",
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
        "FORGE_JOBS_REDACT_DEFAULT_KEYS": "[]",
        "FORGE_JOBS_MAX_BODY_BYTES": "2048",
    }
    ours = {name for name in environ if name.startswith("FORGE_JOBS_")}
    known = {variable.name for variable in VARIABLES}
    assert set(environ) == known | ours

    environment = ServerEnvironment.from_environ(environ, base_dir)
    chosen = environment.database(base_dir)

    assert (environment.host, environment.port) == ("0.0.0.0", 80)
    assert not environment.is_loopback
    assert (environment.workers, environment.threads) == (5, 3)
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
    assert environment.settings.redact_default_keys == ()
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
        *(("WEB_CONCURRENCY", value) for value in ("0", "65", "auto")),
        *(("JOBS_API_THREADS", value) for value in ("0", "65", "many")),
        ("FORGE_JOBS_TOKENS", ""),
        ("FORGE_JOBS_TOKENS", " "),
        ("FORGE_JOBS_TOKENS", "[]"),
        ("FORGE_JOBS_TOKEN", '[{"id": "ci"}]'),
        ("FORGE_JOBS_READONLY", ""),
        ("FORGE_JOBS_LEASE_S", "soon"),
        ("FORGE_JOBS_AUTH", "basic"),
        ("FORGE_JOBS_REDACT", "shop.redact"),
        *(("DATABASE_URL", value) for value in ("jobs.db", "mysql://h/d")),
    ],
)
def test_environment_refuses_a_bad_value_and_names_the_variable(
    name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        ServerEnvironment.from_environ({name: value})

    assert raised.value.key == name


@pytest.mark.parametrize("service", ["forge-jobs", "forge-jobs-web", "jobs-api"])
def test_environment_passes_over_what_kubernetes_sets_for_a_service(
    service: str, base_dir: Path
) -> None:
    links = service_links(service)

    assert ServerEnvironment.from_environ(links, base_dir) == (
        ServerEnvironment.from_environ({}, base_dir)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FORGE_JOBS_PORT", "8787"),
        ("FORGE_JOBS_HOST", "10.0.0.1"),
        ("FORGE_JOBS_SERVICE", "tcp://10.0.0.1:80"),
        ("JOBS_API_PORT", "http://10.0.0.1:80"),
    ],
)
def test_environment_refuses_what_kubernetes_does_not_set(
    name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match=name):
        ServerEnvironment.from_environ({name: value})


def test_environment_hints_at_a_near_match() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'postgres'"):
        ServerEnvironment.from_environ({"QUEUE_BACKEND": "postgresql"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FORGE_JOBS_TOKEN", "FORGE_JOBS_TOKENS"),
        ("FORGE_JOBS_LOGLEVEL", "FORGE_JOBS_LOG_LEVEL"),
        ("FORGE_JOB_TOKENS", "FORGE_JOBS_TOKENS"),
    ],
)
def test_environment_hints_at_the_key_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}.*did you mean '{meant}'"):
        ServerEnvironment.from_environ({name: SECRET})


# A value that is not the default, as the environment spells it.
_AS_TEXT = {
    "DATABASE_URL": "sqlite:///q.db",
    "DATABASE_FILE": "/srv/queue_database.toml",
    "LISTEN_URL": "postgresql://h/d",
    "READ_DATABASE_URL": "postgresql://h/d",
    "URL_PREFIX": "/jobs",
    "AUTH": "bearer",
    "TOKENS": '[{"id": "ci"}]',
    "METRICS_AUTH": "token",
    "DASHBOARD_TITLE": "Shop jobs",
    "DASHBOARD_BADGE": "production",
    "DASHBOARD_COLOUR": "amber",
    "DASHBOARD_LOGO": "/static/logo.svg",
    "DASHBOARD_HOME": "https://shop.example.org/",
    "DASHBOARD_LOGIN": "/sign-in",
    "DASHBOARD_LINKS": '{"Runbook": "/runbook"}',
    "DASHBOARD_STREAMS": "2",
    "BEHIND_S": "60",
    "STATUS_TEMPLATE": "export.html",
    "SQLITE_SYNCHRONOUS": "NORMAL",
    "RATE_LIMITS": '{"read": "5/second"}',
    "REDACT_KEYS": '["iban"]',
    "REDACT_DEFAULT_KEYS": "[]",
    "ALLOWED_HOSTS": '["jobs.example"]',
    "CORS_ORIGINS": '["https://ops.example"]',
    "LINK_SECRETS": '["0123456789abcdef0123456789abcdef"]',
    "LOG_LINES": "off",
    "INLINE": "off",
    "EMBEDDED_WORKER": "off",
}


@pytest.mark.parametrize(
    "option",
    [each for each in options() if each.key != "FORGE_JOBS_REDACT"],
    ids=lambda option: option.key,
)
def test_environment_takes_every_setting(option: Option) -> None:
    """But the one that can only be a function."""
    name = option.key.removeprefix("FORGE_JOBS_")
    default = option.default
    if isinstance(default, bool):
        text = json.dumps(not default)
    elif isinstance(default, int | float):
        text = json.dumps(default * 2 or 7)
    else:
        text = _AS_TEXT[name]

    unset = ServerEnvironment.from_environ({}).settings
    settings = ServerEnvironment.from_environ({option.key: text}).settings

    changed = {
        each.name
        for each in fields(settings)
        if getattr(settings, each.name) != getattr(unset, each.name)
    }
    assert changed == {name.lower()}


@pytest.mark.parametrize(
    ("variable", "key", "one", "other"),
    [
        (
            "DATABASE_URL",
            "FORGE_JOBS_DATABASE_URL",
            "sqlite:////srv/a.db",
            "sqlite:////srv/b.db",
        ),
        ("DATABASE_MAX_CONNECTIONS", "FORGE_JOBS_POOL_SIZE", "7", "8"),
    ],
)
def test_a_variable_and_the_key_that_it_stands_for_must_agree(
    variable: str, key: str, one: str, other: str
) -> None:
    alone = ServerEnvironment.from_environ({key: one}).settings
    both = ServerEnvironment.from_environ({key: one, variable: one}).settings

    assert alone == both
    with pytest.raises(ConfigurationError, match=key) as raised:
        ServerEnvironment.from_environ({key: one, variable: other})
    assert raised.value.key == variable


def test_the_database_of_the_key_is_named_by_the_key(base_dir: Path) -> None:
    given = {"FORGE_JOBS_DATABASE_URL": "sqlite:////srv/a.db"}

    chosen = ServerEnvironment.from_environ(given, base_dir).database(base_dir)

    assert chosen.source == "FORGE_JOBS_DATABASE_URL"
    assert chosen.settings.path == Path("/srv/a.db")


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
    """All programs read one file, so none ends up on another database."""
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
