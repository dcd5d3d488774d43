from __future__ import annotations

import dataclasses
import math
import re
import traceback
from pathlib import Path

import flask
import pytest

from flask_forge_jobs.config.checks import is_service_link
from flask_forge_jobs.config.settings import PREFIX, Settings, options
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.model.masking import DEFAULT_REDACT_KEYS
from tests.config.services import service_links

SECRET = "hunter2"
LINK_SECRET = "0123456789abcdef0123456789abcdef"
SECRET_URL = f"postgresql://jobs:{SECRET}@db.example/jobs"


def test_settings_have_the_documented_defaults() -> None:
    settings = Settings.from_mapping({})

    assert settings == Settings()
    assert {option.key: option.default for option in options()} == {
        "FORGE_JOBS_DATABASE_URL": None,
        "FORGE_JOBS_DATABASE_FILE": None,
        "FORGE_JOBS_LISTEN_URL": None,
        "FORGE_JOBS_READ_DATABASE_URL": None,
        "FORGE_JOBS_READ_MAX_LAG_S": 5.0,
        "FORGE_JOBS_URL_PREFIX": "/forge-jobs",
        "FORGE_JOBS_AUTH": None,
        "FORGE_JOBS_TOKENS": (),
        "FORGE_JOBS_MAX_BODY_BYTES": 2_097_152,
        "FORGE_JOBS_BULK_MAX": 50_000,
        "FORGE_JOBS_STRICT_QUEUES": False,
        "FORGE_JOBS_MAX_QUEUE_DEPTH": 0,
        "FORGE_JOBS_MAX_KINDS": 1000,
        "FORGE_JOBS_MAX_QUEUES": 1000,
        "FORGE_JOBS_ENABLE_DEMO": False,
        "FORGE_JOBS_REDACT_KEYS": (),
        "FORGE_JOBS_REDACT_DEFAULT_KEYS": DEFAULT_REDACT_KEYS,
        "FORGE_JOBS_REDACT": None,
        "FORGE_JOBS_LINK_SECRETS": (),
        "FORGE_JOBS_METRICS_AUTH": "same",
        "FORGE_JOBS_READ_ONLY": False,
        "FORGE_JOBS_ALLOWED_HOSTS": (),
        "FORGE_JOBS_CORS_ORIGINS": (),
        "FORGE_JOBS_RATE_LIMITS": {},
        "FORGE_JOBS_DASHBOARD": True,
        "FORGE_JOBS_DASHBOARD_TITLE": "Forge Jobs",
        "FORGE_JOBS_DASHBOARD_BADGE": None,
        "FORGE_JOBS_DASHBOARD_COLOUR": "red",
        "FORGE_JOBS_DASHBOARD_LOGO": None,
        "FORGE_JOBS_DASHBOARD_HOME": None,
        "FORGE_JOBS_DASHBOARD_LOGIN": None,
        "FORGE_JOBS_DASHBOARD_LINKS": {},
        "FORGE_JOBS_STATUS_TEMPLATE": None,
        "FORGE_JOBS_DASHBOARD_STREAMS": None,
        "FORGE_JOBS_BEHIND_S": 300.0,
        "FORGE_JOBS_SQLITE_SYNCHRONOUS": "FULL",
        "FORGE_JOBS_SQLITE_BUSY_TIMEOUT_S": 30.0,
        "FORGE_JOBS_POOL_SIZE": 30,
        "FORGE_JOBS_CONNECT_TIMEOUT_S": 5,
        "FORGE_JOBS_STATEMENT_TIMEOUT_S": 10.0,
        "FORGE_JOBS_LEASE_S": 60.0,
        "FORGE_JOBS_BATCH_OPEN_S": 3600.0,
        "FORGE_JOBS_SHUTDOWN_GRACE_S": 30.0,
        "FORGE_JOBS_CANCEL_GRACE_S": 10.0,
        "FORGE_JOBS_LOG_LINES": "INFO",
        "FORGE_JOBS_LOG_PRINT": False,
        "FORGE_JOBS_MIGRATE": True,
        "FORGE_JOBS_INLINE": "auto",
        "FORGE_JOBS_EMBEDDED_WORKER": "auto",
    }


def test_every_default_passes_its_own_check() -> None:
    config = {option.key: option.default for option in options()}

    assert Settings.from_mapping(config) == Settings()


def test_every_option_is_explained() -> None:
    for option in options():
        assert option.meaning.endswith("."), option.key
        assert option.accepts, option.key
        prose = re.sub("``[^`]+``", "", option.accepts)
        assert not set("'\"") & set(prose), option.key  # Sphinx would make them smart


def test_options_in_a_unit_say_so_in_their_name() -> None:
    units = {option.key: option.unit for option in options()}

    for key, unit in units.items():
        assert key.endswith("_S") == (unit == "seconds")
        assert key.endswith("_MS") == (unit == "milliseconds")
        assert key.endswith("_BYTES") == (unit == "bytes")


def test_from_mapping_takes_every_key() -> None:
    def authenticate(_request: object) -> str:
        return "somebody"

    settings = Settings.from_mapping(
        {
            "FORGE_JOBS_DATABASE_URL": "sqlite:///jobs.db",
            "FORGE_JOBS_DATABASE_FILE": "etc/db.toml",
            "FORGE_JOBS_LISTEN_URL": "postgresql://h/d",
            "FORGE_JOBS_READ_DATABASE_URL": "postgresql://r/d",
            "FORGE_JOBS_READ_MAX_LAG_S": 2,
            "FORGE_JOBS_URL_PREFIX": "/",
            "FORGE_JOBS_AUTH": authenticate,
            "FORGE_JOBS_TOKENS": [{"id": "ci"}],
            "FORGE_JOBS_MAX_BODY_BYTES": 1024,
            "FORGE_JOBS_BULK_MAX": 500,
            "FORGE_JOBS_STRICT_QUEUES": True,
            "FORGE_JOBS_MAX_QUEUE_DEPTH": 100,
            "FORGE_JOBS_MAX_KINDS": 50,
            "FORGE_JOBS_MAX_QUEUES": 20,
            "FORGE_JOBS_ENABLE_DEMO": True,
            "FORGE_JOBS_REDACT_KEYS": ["iban"],
            "FORGE_JOBS_REDACT_DEFAULT_KEYS": [],
            "FORGE_JOBS_REDACT": authenticate,
            "FORGE_JOBS_LINK_SECRETS": [LINK_SECRET],
            "FORGE_JOBS_METRICS_AUTH": "token",
            "FORGE_JOBS_READ_ONLY": True,
            "FORGE_JOBS_ALLOWED_HOSTS": ["jobs.example.org"],
            "FORGE_JOBS_CORS_ORIGINS": ["https://ops.example.org:8443"],
            "FORGE_JOBS_RATE_LIMITS": {"read": "5/second"},
            "FORGE_JOBS_DASHBOARD": False,
            "FORGE_JOBS_DASHBOARD_TITLE": "Shop jobs",
            "FORGE_JOBS_DASHBOARD_BADGE": "production",
            "FORGE_JOBS_DASHBOARD_COLOUR": "amber",
            "FORGE_JOBS_DASHBOARD_LOGO": "/static/logo.svg",
            "FORGE_JOBS_DASHBOARD_HOME": "https://shop.example.org/",
            "FORGE_JOBS_DASHBOARD_LOGIN": "/sign-in",
            "FORGE_JOBS_DASHBOARD_LINKS": {"Runbook": "/runbook"},
            "FORGE_JOBS_STATUS_TEMPLATE": "export.html",
            "FORGE_JOBS_DASHBOARD_STREAMS": 2,
            "FORGE_JOBS_BEHIND_S": 60,
            "FORGE_JOBS_SQLITE_SYNCHRONOUS": "NORMAL",
            "FORGE_JOBS_SQLITE_BUSY_TIMEOUT_S": 1,
            "FORGE_JOBS_POOL_SIZE": 4,
            "FORGE_JOBS_CONNECT_TIMEOUT_S": 2,
            "FORGE_JOBS_STATEMENT_TIMEOUT_S": 0.5,
            "FORGE_JOBS_LEASE_S": 1.5,
            "FORGE_JOBS_BATCH_OPEN_S": 60.0,
            "FORGE_JOBS_SHUTDOWN_GRACE_S": 0,
            "FORGE_JOBS_CANCEL_GRACE_S": 0.5,
            "FORGE_JOBS_LOG_LINES": "off",
            "FORGE_JOBS_LOG_PRINT": True,
            "FORGE_JOBS_MIGRATE": False,
            "FORGE_JOBS_INLINE": "off",
            "FORGE_JOBS_EMBEDDED_WORKER": "on",
        }
    )

    assert dataclasses.astuple(settings) == (
        "sqlite:///jobs.db",
        Path("etc/db.toml"),
        "postgresql://h/d",
        "postgresql://r/d",
        2.0,
        "",
        authenticate,
        ({"id": "ci"},),
        1024,
        500,
        True,
        100,
        20,
        50,
        True,
        ("iban",),
        (),
        authenticate,
        (LINK_SECRET,),
        "token",
        True,
        ("jobs.example.org",),
        ("https://ops.example.org:8443",),
        {"read": "5/second"},
        False,
        "Shop jobs",
        "production",
        "amber",
        "/static/logo.svg",
        "https://shop.example.org/",
        "/sign-in",
        {"Runbook": "/runbook"},
        "export.html",
        2,
        60.0,
        "NORMAL",
        1.0,
        4,
        2,
        0.5,
        1.5,
        60.0,
        0.0,
        0.5,
        "off",
        True,
        False,
        "off",
        "on",
    )


def test_from_mapping_leaves_other_keys_alone() -> None:
    settings = Settings.from_mapping({"FORGE_JOB": 1, "SECRET_KEY": "x", "DEBUG": True})

    assert settings == Settings()


def test_from_mapping_reads_a_flask_config_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = flask.Flask(__name__)
    monkeypatch.setenv("FLASK_FORGE_JOBS_POOL_SIZE", "7")
    monkeypatch.setenv("FLASK_FORGE_JOBS_REDACT_KEYS", '["iban"]')
    monkeypatch.setenv("FLASK_FORGE_JOBS_DATABASE_URL", "sqlite:///jobs.db")
    app.config.from_prefixed_env()

    settings = Settings.from_mapping(app.config)

    assert settings.pool_size == 7
    assert settings.redact_keys == ("iban",)
    assert settings.database_url == "sqlite:///jobs.db"


def test_from_mapping_passes_over_what_kubernetes_sets_for_a_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in service_links("flask-forge-jobs").items():
        monkeypatch.setenv(name, value)
    app = flask.Flask(__name__)
    app.config.from_prefixed_env()

    assert app.config["FORGE_JOBS_SERVICE_HOST"] == "10.0.0.11"
    assert Settings.from_mapping(app.config) == Settings()


def test_no_setting_looks_like_what_kubernetes_sets() -> None:
    assert not any(is_service_link(each.key, "tcp://h:1") for each in options())


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("FORGE_JOBS_DATABSE_URL", "; did you mean 'FORGE_JOBS_DATABASE_URL'"),
        ("FORGE_JOBS_LEASE", "; did you mean 'FORGE_JOBS_LEASE_S'"),
        ("FORGE_JOBS_TASK_ALWAYS_EAGER", ""),
        ("FORGE_JOBS_REDIS_URL", ""),
        ("FORGE_JOB_DATABASE_URL", "; did you mean 'FORGE_JOBS_DATABASE_URL'"),
        ("FORGEJOBS_POOL_SIZE", "; did you mean 'FORGE_JOBS_POOL_SIZE'"),
    ],
)
def test_from_mapping_refuses_an_unknown_key(key: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_mapping({key: SECRET})

    assert raised.value.key == key
    assert str(raised.value) == f"{key}: unknown setting{hint}"


def test_from_mapping_takes_no_mapping_of_all_settings() -> None:
    with pytest.raises(ConfigurationError, match=r"^FORGE_JOBS: write a key for each"):
        Settings.from_mapping({"FORGE_JOBS": {"POOL_SIZE": 7}})


# Empty, wrong type, wrong unit, negative, out of range: one row each (Q12).
WRONG: list[tuple[str, list[object]]] = [
    ("DATABASE_URL", ["", 1, b"sqlite:///a", "mysql://h/d", "sqlite:///", "jobs.db"]),
    ("DATABASE_FILE", ["", 1, ["a"]]),
    ("LISTEN_URL", ["", 1, "sqlite:///a.db"]),
    ("READ_DATABASE_URL", ["", 1, "sqlite:///a.db"]),
    ("READ_MAX_LAG_S", [0, 0.5, -1, 3601, "5", None]),
    ("URL_PREFIX", ["jobs", "/jobs/", None, 1, "/<name>"]),
    ("AUTH", ["basic", "", 1, {}]),
    ("TOKENS", [None, "", "fj_a_b", {}, ["fj_a_b"], [None], 1]),
    ("MAX_BODY_BYTES", ["2MB", "1024", 0, -1, 1023, 2**31, 1e6, True, None]),
    ("BULK_MAX", ["50000", 0, -1, 10_000_001, 1e3, True, None]),
    ("STRICT_QUEUES", ["", "true", 1, 0, None]),
    ("MAX_QUEUE_DEPTH", ["100", -1, 10**9 + 1, 1e3, True, None]),
    ("MAX_QUEUES", ["100", 0, -1, 10**6 + 1, 1e3, True, None]),
    ("MAX_KINDS", ["100", 0, -1, 10**6 + 1, 1e3, True, None]),
    ("ENABLE_DEMO", ["", "true", 1, 0, None]),
    ("REDACT_KEYS", ["", "token", None, [1], [""], {"a": 1}]),
    ("REDACT_DEFAULT_KEYS", ["", "token", None, [1], [""], {"a": 1}]),
    ("REDACT", ["x", 1, []]),
    (
        "LINK_SECRETS",
        [
            LINK_SECRET,
            [""],
            [1],
            None,
            [None],
            ["a"],
            ("kkk",),
            [LINK_SECRET.encode()],
            f'["{LINK_SECRET}"]',
            [LINK_SECRET[:31]],
            ["changeme" * 8],
            [LINK_SECRET, "old"],
        ],
    ),
    ("METRICS_AUTH", ["", "all", None, True]),
    ("READ_ONLY", ["yes", 1, None]),
    ("ALLOWED_HOSTS", ["a.example", None, [""], [1]]),
    (
        "CORS_ORIGINS",
        [
            "*",
            None,
            ["*"],
            ["null"],
            ["ops.example"],
            ["https://ops.example/"],
            ["https://Ops.example"],
            ["https://*.example"],
            ["ftp://a"],
            [1],
        ],
    ),
    ("RATE_LIMITS", [None, "5/second", ["5/second"], {"read": 5}, {1: "5/second"}]),
    ("DASHBOARD", [1, "yes", None]),
    ("DASHBOARD_TITLE", ["", "a\nb", 1, None]),
    ("DASHBOARD_BADGE", ["", "a\x00b", 1]),
    ("DASHBOARD_COLOUR", ["", "pink", "#f00", None]),
    ("DASHBOARD_LOGO", ["", "javascript:x", "//evil.test/x", 1]),
    ("DASHBOARD_HOME", ["", "data:text/html,x", "/a b", []]),
    ("DASHBOARD_LOGIN", ["", "javascript:x", []]),
    ("DASHBOARD_LINKS", [None, "/x", ["/x"], {"": "/x"}, {"x": "javascript:y"}]),
    ("STATUS_TEMPLATE", ["", "a\nb", 1]),
    ("DASHBOARD_STREAMS", [-1, 65, True, "2"]),
    ("BEHIND_S", [0, -1, 2_592_001, "60", True, None, math.nan]),
    ("SQLITE_SYNCHRONOUS", ["", "full", "OFF", 2, None, []]),
    ("SQLITE_BUSY_TIMEOUT_S", ["30", -1, 601, 30_000, math.nan, True, None]),
    ("POOL_SIZE", ["30", 0, -1, 1001, 3.0, True, None]),
    ("CONNECT_TIMEOUT_S", ["5s", 0, -1, 5_000, 2.5, True, None]),
    ("STATEMENT_TIMEOUT_S", ["10s", 0, 0.05, -1, 10_000, True, None]),
    ("LEASE_S", ["60", 0, -1, 60_000, math.inf, True, None]),
    ("BATCH_OPEN_S", ["60", 0.5, -1, 3_000_000, math.inf, True, None]),
    ("SHUTDOWN_GRACE_S", ["", -1, 30_000, True, None]),
    ("CANCEL_GRACE_S", ["", -1, 10_000, True, None]),
    ("LOG_LINES", ["", "info", "NOTSET", 20, False, None]),
    ("LOG_PRINT", ["", "yes", 0, 1, None]),
    ("MIGRATE", ["", "no", 0, 1, None]),
    ("INLINE", ["", "yes", True, False, 0, None]),
    ("EMBEDDED_WORKER", ["", "yes", True, False, 0, None]),
]


def test_wrong_values_are_listed_for_every_key() -> None:
    assert [PREFIX + name for name, _ in WRONG] == [option.key for option in options()]


@pytest.mark.parametrize(
    ("key", "value"),
    [(PREFIX + name, value) for name, values in WRONG for value in values],
)
def test_from_mapping_refuses_a_wrong_value_and_names_the_key(
    key: str, value: object
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_mapping({key: value})

    assert raised.value.key == key
    assert str(raised.value).startswith(f"{key}: ")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://jobs:{SECRET}%@db/jobs",
        f"postgresql://jobs:{SECRET}/@db/jobs",
        f"postgresql://jobs:{SECRET}#@db/jobs",
        f"postgresql://jobs:{SECRET}?x=@db/jobs",
        f"postgresql://jobs:[{SECRET}@db/jobs",
        f"postgresql://jobs:{SECRET}@db:port/jobs",
        f"postgresql://jobs:{SECRET}@db/jobs?sslmod=require",
        f"postgresql://jobs:{SECRET}",
        f"{SECRET}://jobs",
        f"jobs:{SECRET}@db/jobs",
        SECRET,
    ],
)
@pytest.mark.parametrize(
    "key",
    [
        "FORGE_JOBS_DATABASE_URL",
        "FORGE_JOBS_LISTEN_URL",
        "FORGE_JOBS_READ_DATABASE_URL",
    ],
)
def test_from_mapping_never_repeats_a_secret(key: str, url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings.from_mapping({key: url})

    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_repr_masks_secrets() -> None:
    settings = Settings(database_url=SECRET_URL, listen_url=SECRET_URL)

    assert SECRET not in repr(settings)
    assert "database_url='***'" in repr(settings)
    assert "pool_size=30" in repr(settings)
    assert "listen_url=None" in repr(Settings())
