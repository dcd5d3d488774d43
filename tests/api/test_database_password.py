"""S38: the password of the database is shown nowhere, however it was given."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs, ForgeJobsError
from flask_forge_jobs.config.files import FILE_NAME
from flask_forge_jobs.state import state_of
from flask_forge_jobs.storage.database import run_with_retries
from flask_forge_jobs.storage.postgres import database as postgres

# What stays of it when single characters are escaped, quoted or cut off.
CANARY = "unter2canar"
WORD = f"h{CANARY}y"
HERE = "127.0.0.1:1"
READ = [
    "postgresql+psycopg2://ada:{}@127.0.0.1:1/d",
    "postgresql://ada:{}@127.0.0.1:1/d",
    "postgres://ada:{}@127.0.0.1:1/d",
    "postgresql://:{}@127.0.0.1:1/d",
    "postgresql://ada:{}@[::1]:1/d",
    "postgresql://ada:{}@127.0.0.1:1,127.0.0.1:2/d",
    "postgresql://ada:{}@/d?host=/nowhere/at/all",
    "postgresql://ada:{}@%2Fnowhere%2Fat%2Fall/d",
    "postgresql://ada:{}@127.0.0.1:1/d?sslmode=require",
    "postgresql://ada:{}@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/no/ca",
    "postgresql://ada:{}@127.0.0.1:1/d?application_name=shop&connect_timeout=2",
    "postgresql://ada:{}%40x@127.0.0.1:1/d",
    "postgresql://ada:%40{}@127.0.0.1:1/d",
    "postgresql://ada:a%2Fb%3A{}%3F%23%25@127.0.0.1:1/d",
    "postgresql://ada:{}%20%20@127.0.0.1:1/d",
    "postgresql://ada:%27{}%27@127.0.0.1:1/d",
    "postgresql://ada:%22{}%22%5C@127.0.0.1:1/d",
    "postgresql://ada:{}%C3%A9@127.0.0.1:1/d",
    "postgresql://ada:%68{}@127.0.0.1:1/d",
    "postgresql://a%40b:{}@127.0.0.1:1/d",
    "postgresql://{}:{}@127.0.0.1:1/d",
    "postgresql:///d?host=127.0.0.1&port=1&user=ada&password={}",
    "postgresql://ada@127.0.0.1:1/d?password={}",
    "postgresql://ada:other@127.0.0.1:1/d?password={}",
    "postgresql://127.0.0.1:1/d?user=ada&password=%27{}%26",
]
REFUSED = [
    "postgresql://ada:a/{}@127.0.0.1:1/d",
    "postgresql://ada:{}/b@127.0.0.1:1/d",
    "postgresql://ada:{}#b@127.0.0.1:1/d",
    "postgresql://ada:[{}@127.0.0.1:1/d",
    "postgresql://ada:{}%zz@127.0.0.1:1/d",
    "postgresql://ada:{}%00@127.0.0.1:1/d",
    "postgresql://ada:{}@127.0.0.1:99999/d",
    "postgresql://ada:{}@127.0.0.1:{}/d",
    "postgresql://ada:{}@127.0.0.1:1,127.0.0.1:{}/d",
    "postgresql://ada:{}@127.0.0.1:1",
    "postgresql://ada:{}@127.0.0.1:1/d/e",
    "postgresql://ada@127.0.0.1:1/d?passwd={}",
    "postgresql://ada@127.0.0.1:1/d?password={}&password={}",
    "postgresql://ada:{}@127.0.0.1:1/d?sslmode={}",
    "mysql://ada:{}@127.0.0.1:1/d",
    " postgresql://ada:{}@127.0.0.1:1/d",
    "host=127.0.0.1 port=1 user=ada password={} dbname=d",
    "host=127.0.0.1 port=1 user=ada password='{}' dbname=d",
    "ada:{}@127.0.0.1:1/d",
]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try as often as always, without the waits in between."""

    def hastily(work: Callable[[int], object], _wait: object) -> object:
        return run_with_retries(work, lambda _seconds: None)

    monkeypatch.setattr(postgres, "run_with_retries", hastily)


def _of(error: BaseException) -> list[str]:
    whole = "".join(traceback.format_exception(error))
    return [str(error), repr(error), whole, pickle.dumps(error).decode("latin-1")]


def _shown(app: Flask, caplog: pytest.LogCaptureFixture) -> tuple[bool, list[str]]:
    """Set an application up, use it, and return whether it ran and all it said."""
    app.testing = True
    try:
        ForgeJobs(app)
    except ForgeJobsError as error:
        return False, [caplog.text, *_of(error)]
    client = app.test_client()
    client.environ_base["HTTP_X_FORGE_JOBS"] = "1"
    answers = [
        client.get(f"/forge-jobs{path}")
        for path in ("/health", "/storage/info", "/v1/health/ready", "/metrics")
    ]
    answers.append(
        client.post("/forge-jobs/jobs/enqueue", json={"kind": "k", "payload": {}})
    )
    assert [answer.status_code for answer in answers] == [200, 503, 503, 503, 503]
    state = state_of(app)
    with pytest.raises(ForgeJobsError) as raised:
        state.storage.open()
    configured = app.test_cli_runner().invoke(args=["forge-jobs", "db", "status"])
    return True, [
        *(answer.text for answer in answers), configured.output, repr(state),
        repr(state.settings), repr(state.storage), repr(state.storage.database),
        *_of(raised.value), caplog.text,
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["DATABASE_URL", "LISTEN_URL"])
@pytest.mark.parametrize("url", READ + REFUSED)
def test_sec_S38_password_in_a_url_is_shown_nowhere(
    url: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    app = Flask("shop")
    app.config["FORGE_JOBS_DATABASE_URL"] = f"postgresql://{HERE}/d"
    app.config[f"FORGE_JOBS_{key}"] = url.replace("{}", WORD)

    has_run, shown = _shown(app, caplog)

    assert has_run is (url in READ)
    # As a user name it is none of our secrets.
    secret = f":{CANARY}" if url.startswith("postgresql://{}:") else CANARY
    assert not [text for text in shown if secret in text]
    told = (
        "cannot reach PostgreSQL at postgresql://" if has_run else f"FORGE_JOBS_{key}"
    )
    assert any(told in text for text in shown)


@pytest.mark.parametrize(
    "text",
    [
        'password = "{}"',
        'password_env = "SHOP_PASSWORD"',
        'password_env = "{}"',
        'password = "{}"\npassword = "{}"',
        'password = "{}',
        'pasword = "{}"',
        'password = "{}"\npassword_env = "{}"',
        'password = ["{}"]',
    ],
)
def test_sec_S38_password_in_a_file_is_shown_nowhere(
    text: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("SHOP_PASSWORD", WORD)
    file = tmp_path / FILE_NAME
    address = 'adapter = "postgres"\nhost = "127.0.0.1"\nport = 1\n'
    names = 'database = "d"\nusername = "ada"\n'
    file.write_text(address + names + text.replace("{}", WORD))
    app = Flask("shop")
    app.config["FORGE_JOBS_DATABASE_FILE"] = str(file)

    _, shown = _shown(app, caplog)

    assert not [each for each in shown if CANARY in each]


def test_sec_S38_password_that_libpq_finds_itself_is_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG")
    service = tmp_path / "service.conf"
    service.write_text(f"[shop]\nhost=127.0.0.1\nport=1\npassword={WORD}\n")
    keys = tmp_path / "pgpass"
    keys.write_text(f"127.0.0.1:1:*:*:{WORD}\n")
    keys.chmod(0o600)
    for variables in (
        {"PGPASSWORD": WORD},
        {"PGPASSFILE": str(keys)},
        {"PGSERVICE": "shop", "PGSERVICEFILE": str(service)},
    ):
        app = Flask("shop")
        app.config["FORGE_JOBS_DATABASE_URL"] = f"postgresql://{HERE}/d"
        with monkeypatch.context() as patched:
            for name, value in variables.items():
                patched.setenv(name, value)
            has_run, shown = _shown(app, caplog)

        assert has_run
        assert not [text for text in shown if CANARY in text], variables
