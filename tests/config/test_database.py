from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from flask_forge_jobs.config.database import ChosenDatabase, DatabaseSettings, Tuning
from flask_forge_jobs.config.files import FILE_NAME
from flask_forge_jobs.config.paths import FixedPaths
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.errors import ConfigurationError, InvalidInputError

SECRET = "hunter2"
SECRET_URL = f"postgresql://app:{SECRET}@db:6432/jobs"


@pytest.fixture
def start_dir(tmp_path: Path) -> Path:
    """A directory so deep that nothing of the machine is found above it."""
    directory = tmp_path / "1/2/3/4"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def paths(tmp_path: Path) -> FixedPaths:
    (tmp_path / "config").mkdir()
    return FixedPaths(tmp_path / "config", tmp_path / "data")


def write_file(directory: Path, name: str) -> Path:
    file = directory / FILE_NAME
    file.write_text(f'adapter = "sqlite"\npath = "{name}"\n')
    return file


def test_settings_from_url_read_sqlite(tmp_path: Path) -> None:
    settings = DatabaseSettings.from_url("sqlite:///q.db", base_dir=tmp_path)

    assert settings.backend == "sqlite"
    assert settings.path == tmp_path / "q.db"
    assert not settings.is_memory


def test_settings_from_url_start_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert DatabaseSettings.from_url("sqlite:///q.db").path == tmp_path / "q.db"


@pytest.mark.parametrize("url", ["sqlite://:memory:", "sqlite:///:memory:"])
def test_settings_from_url_read_memory(url: str) -> None:
    settings = DatabaseSettings.from_url(url)

    assert settings.is_memory
    assert settings.dsn_for_display == "sqlite:///:memory:"


def test_settings_have_the_contracts_defaults() -> None:
    settings = DatabaseSettings.from_url("postgresql://h/d")

    assert settings.port == 5432
    assert settings.pool_size == 30
    assert settings.connect_timeout_s == 5
    assert settings.statement_timeout_s == 10
    assert settings.synchronous == "FULL"
    assert settings.busy_timeout_s == 30
    assert settings.application_name == "flask-forge-jobs"


def test_settings_take_a_url_before_a_tuning() -> None:
    tuning = Tuning(connect_timeout_s=7, pool_size=3, application_name="t")

    settings = DatabaseSettings.from_url(
        "postgresql://h/d?connect_timeout=2", tuning=tuning
    )

    assert settings.connect_timeout_s == 2
    assert settings.pool_size == 3
    assert settings.application_name == "t"


def test_settings_never_show_a_password() -> None:
    tuning = Tuning(listen_url=SECRET_URL)
    settings = DatabaseSettings.from_url(SECRET_URL, tuning=tuning)
    config = ChosenDatabase(settings)

    for text in (repr(tuning), repr(settings), str(settings), repr(config)):
        assert SECRET not in text
        assert "***" in text


def test_repr_names_what_differs_from_the_default() -> None:
    settings = DatabaseSettings.from_url(SECRET_URL)

    assert repr(settings) == (
        "DatabaseSettings(backend='postgres', host='db', port=6432, database='jobs', "
        "username='app', password=***)"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (SECRET_URL, "postgresql://app:***@db:6432/jobs"),
        ("postgresql://app@db/jobs", "postgresql://app@db:5432/jobs"),
        ("postgresql://[::1]/jobs", "postgresql://[::1]:5432/jobs"),
        ("postgresql://a:1,b/jobs", "postgresql://a:1,b:5432/jobs"),
        ("postgresql://a,b/jobs", "postgresql://a:5432,b:5432/jobs"),
        ("postgresql:///jobs?host=/run/pg", "postgresql://%2Frun%2Fpg:5432/jobs"),
        ("postgresql://a%40b:x@/j%20s", "postgresql://a%40b:***@:5432/j%20s"),
        ("sqlite:////srv/q.db", "sqlite:////srv/q.db"),
    ],
)
def test_dsn_for_display_is_the_address_without_its_password(
    url: str, shown: str
) -> None:
    assert DatabaseSettings.from_url(url).dsn_for_display == shown


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("postgresql://a/jobs", {}),
        ("postgresql://a,b/jobs", {"target_session_attrs": "read-write"}),
        (
            "postgresql://a,b/jobs?target_session_attrs=any&keepalives_idle=5",
            {"target_session_attrs": "any", "keepalives_idle": "5"},
        ),
    ],
)
def test_of_several_hosts_the_one_that_takes_writes_is_wanted(
    url: str, more: dict[str, str]
) -> None:
    settings = DatabaseSettings.from_url(url)

    plain = DatabaseSettings.from_url("postgresql://a/jobs").connect_parameters()
    assert settings.connect_parameters() == plain | more | {"host": settings.host}


def test_connect_parameters_are_libpqs() -> None:
    settings = DatabaseSettings.from_url(f"{SECRET_URL}?sslmode=require")

    assert settings.connect_parameters() == {
        "host": "db",
        "port": 6432,
        "dbname": "jobs",
        "user": "app",
        "password": SECRET,
        "sslmode": "require",
        "connect_timeout": 5,
        "application_name": "flask-forge-jobs",
    }


def test_listener_is_the_database_itself_by_default() -> None:
    settings = DatabaseSettings.from_url(SECRET_URL)

    assert settings.listener() is settings


def test_listener_has_an_address_of_its_own() -> None:
    tuning = Tuning(listen_url="postgresql://direct/jobs", connect_timeout_s=2)

    listener = DatabaseSettings.from_url(SECRET_URL, tuning=tuning).listener()

    assert listener.host == "direct"
    assert listener.password is None
    assert listener.connect_timeout_s == 2
    assert listener.listener() is listener


def test_tuning_takes_every_key_that_is_one() -> None:
    settings = Settings(
        listen_url="postgresql://h/d",
        sqlite_synchronous="NORMAL",
        sqlite_busy_timeout_s=1.5,
        pool_size=3,
        connect_timeout_s=2,
        statement_timeout_s=2.5,
        max_queues=9,
    )

    assert dataclasses.asdict(Tuning.from_settings(settings)) == {
        "pool_size": 3,
        "connect_timeout_s": 2,
        "statement_timeout_s": 2.5,
        "application_name": "flask-forge-jobs",
        "synchronous": "NORMAL",
        "busy_timeout_s": 1.5,
        "listen_url": "postgresql://h/d",
        "max_queues": 9,
    }


def test_tuning_of_default_settings_is_the_default() -> None:
    assert Tuning.from_settings(Settings()) == Tuning()


def test_default_is_sqlite_with_no_explicit_path(
    paths: FixedPaths, start_dir: Path
) -> None:
    config = ChosenDatabase.load(paths, start_dir=start_dir)

    assert config.source == "default"
    assert config.settings.backend == "sqlite"
    assert config.settings.path == paths.data / "queue.sqlite"


def test_load_from_missing_path_returns_default(
    paths: FixedPaths, start_dir: Path
) -> None:
    missing = FixedPaths(paths.config / "missing", paths.data)

    assert ChosenDatabase.load(missing, start_dir=start_dir / "missing") == (
        ChosenDatabase.load(paths, start_dir=start_dir)
    )


def test_load_creates_nothing(paths: FixedPaths, start_dir: Path) -> None:
    ChosenDatabase.load(paths, start_dir=start_dir)

    assert not paths.data.exists()


def test_load_looks_at_four_directories_and_then_at_the_configuration(
    paths: FixedPaths, start_dir: Path, tmp_path: Path
) -> None:
    """The nearest file wins; one more level up is out of reach."""
    write_file(tmp_path, "unreachable")
    places = [start_dir, *start_dir.parents[:3], paths.config]
    files = [write_file(place, f"q{number}") for number, place in enumerate(places)]

    found = []
    for file in files:
        config = ChosenDatabase.load(paths, start_dir=start_dir)
        assert config.source == str(file)
        assert config.settings.path is not None
        found.append(config.settings.path.name)
        file.unlink()

    assert found == ["q0", "q1", "q2", "q3", "q4"]
    assert ChosenDatabase.load(paths, start_dir=start_dir).source == "default"


def test_load_starts_in_the_current_directory(
    paths: FixedPaths, start_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_file(start_dir, "q")
    monkeypatch.chdir(start_dir)

    assert ChosenDatabase.load(paths).source == str(file)


def test_load_takes_the_explicit_file_first(
    paths: FixedPaths, start_dir: Path, tmp_path: Path
) -> None:
    write_file(start_dir, "near")
    explicit = tmp_path / "other.toml"
    explicit.write_text('adapter = "sqlite"\npath = "explicit"')

    config = ChosenDatabase.load(paths, explicit, start_dir)

    assert config.settings.path == tmp_path / "explicit"


def test_load_refuses_an_explicit_file_that_is_missing(
    paths: FixedPaths, start_dir: Path
) -> None:
    write_file(start_dir, "near")

    with pytest.raises(InvalidInputError, match="is missing") as raised:
        ChosenDatabase.load(paths, Path("missing.toml"), start_dir)

    assert raised.value.field == "explicit_file"


def test_load_uses_the_default_path_for_a_file_without_one(
    paths: FixedPaths, start_dir: Path
) -> None:
    (start_dir / FILE_NAME).write_text('adapter = "sqlite"')

    config = ChosenDatabase.load(paths, start_dir=start_dir)

    assert config.settings.path == paths.data / "queue.sqlite"
    assert config.source == str(start_dir / FILE_NAME)


def test_load_stops_at_a_malformed_file(paths: FixedPaths, start_dir: Path) -> None:
    """A file that was meant is never passed over for one further up."""
    (start_dir / FILE_NAME).write_text("adapter =")
    write_file(start_dir.parent, "up")

    with pytest.raises(InvalidInputError, match="not valid TOML"):
        ChosenDatabase.load(paths, start_dir=start_dir)


def test_load_lays_the_file_over_the_tuning(paths: FixedPaths, start_dir: Path) -> None:
    (start_dir / FILE_NAME).write_text(
        f'url = "{SECRET_URL}"\nmax_connections = 4\nconnect_timeout = 2\n'
    )
    tuning = Tuning(pool_size=9, connect_timeout_s=9, statement_timeout_s=9)

    settings = ChosenDatabase.load(paths, start_dir=start_dir, tuning=tuning).settings

    assert settings.pool_size == 4
    assert settings.connect_timeout_s == 2
    assert settings.statement_timeout_s == 9


def test_load_reads_the_password_from_the_environment(
    paths: FixedPaths, start_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (start_dir / FILE_NAME).write_text(
        'url = "postgresql://u@h/d"\npassword_env = "FORGE_TEST_PASSWORD"\n'
    )
    monkeypatch.setenv("FORGE_TEST_PASSWORD", "process")

    config = ChosenDatabase.load(paths, start_dir=start_dir)
    given = ChosenDatabase.load(
        paths, start_dir=start_dir, environ={"FORGE_TEST_PASSWORD": "given"}
    )

    assert config.settings.password == "process"
    assert given.settings.password == "given"


def test_resolve_names_the_setting_that_the_url_was_read_from(
    paths: FixedPaths, start_dir: Path
) -> None:
    settings = Settings(database_url=SECRET_URL)

    config = ChosenDatabase.resolve(settings, paths, start_dir, url_key="DATABASE_URL")

    assert config.source == config.settings.source == "DATABASE_URL"


@pytest.mark.parametrize(
    ("text", "part"),
    [("adapter =", "not valid TOML"), ('adapter = "mysql"', "adapter: must be one of")],
)
def test_resolve_names_the_file_that_does_not_pass(
    paths: FixedPaths, start_dir: Path, text: str, part: str
) -> None:
    """By its key where one named it, and by its name where it was found."""
    file = start_dir / FILE_NAME
    file.write_text(text)

    for settings, key in (
        (Settings(), FILE_NAME),
        (Settings(database_file=file), "FORGE_JOBS_DATABASE_FILE"),
    ):
        with pytest.raises(ConfigurationError) as raised:
            ChosenDatabase.resolve(settings, paths, start_dir)
        assert raised.value.key == key
        assert part in raised.value.message
        assert str(file) in raised.value.message


def test_an_error_says_where_the_address_comes_from() -> None:
    settings = DatabaseSettings.from_url(SECRET_URL)

    assert settings.named == ""
    assert dataclasses.replace(settings, source="X").named == " (from X)"
    assert (
        dataclasses.replace(settings, source="default").named
        == " (by default; FORGE_JOBS_DATABASE_URL names another)"
    )
    assert dataclasses.replace(settings, source="X") == settings


def test_the_listener_is_named_by_its_own_key() -> None:
    listening = DatabaseSettings(listen_url=SECRET_URL, source="DATABASE_URL")

    assert listening.listener().source == "FORGE_JOBS_LISTEN_URL"


def test_resolve_takes_the_url_before_any_file(
    paths: FixedPaths, start_dir: Path
) -> None:
    write_file(start_dir, "near")
    settings = Settings(
        database_url="sqlite:///by-url.db", database_file=Path("missing.toml")
    )

    config = ChosenDatabase.resolve(settings, paths, start_dir)

    assert config.settings.path == paths.data / "by-url.db"
    assert config.source == "FORGE_JOBS_DATABASE_URL"


def test_resolve_takes_the_named_file_before_a_found_one(
    paths: FixedPaths, start_dir: Path
) -> None:
    write_file(start_dir, "near")
    named = write_file(paths.config, "named")

    config = ChosenDatabase.resolve(Settings(database_file=named), paths, start_dir)

    assert config.source == str(named)


def test_resolve_names_the_key_of_a_missing_file(
    paths: FixedPaths, start_dir: Path
) -> None:
    settings = Settings(database_file=paths.config / "missing.toml")

    with pytest.raises(ConfigurationError) as raised:
        ChosenDatabase.resolve(settings, paths, start_dir)

    assert raised.value.key == "FORGE_JOBS_DATABASE_FILE"


# Root may search every folder, so it becomes nobody.
SEARCHES = """
import os, sys
from pathlib import Path
from flask_forge_jobs.config.database import ChosenDatabase
from flask_forge_jobs.config.paths import FixedPaths
from flask_forge_jobs.errors import InvalidInputError
if sys.argv[1] == "closed":
    os.chmod(".", 0)
    if os.geteuid() == 0:
        os.seteuid(65534)
else:
    os.rmdir(os.getcwd())
paths = FixedPaths(Path("/"), Path("/data"))
print(ChosenDatabase.load(paths).settings.path)
if sys.argv[1] == "closed":
    try:
        ChosenDatabase.load(paths, Path("queue_database.toml"))
    except InvalidInputError as error:
        print(error.message)
"""


def test_a_current_directory_that_is_closed_to_us_is_not_searched(
    tmp_path: Path,
) -> None:
    """A service that dropped its rights starts in root's home, for instance."""
    folder = tmp_path / "closed"
    folder.mkdir()

    try:
        printed = printed_in(folder, "closed")
    finally:
        folder.chmod(0o700)

    file = folder / FILE_NAME
    assert printed.splitlines() == [
        "/data/queue.sqlite",
        f"cannot read {str(file)!r}: Permission denied",
    ]


def test_a_current_directory_that_is_gone_is_not_searched(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()

    assert printed_in(folder, "gone") == "/data/queue.sqlite\n"


def printed_in(folder: Path, how: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", SEARCHES, how],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_resolve_ends_at_the_default_and_applies_the_keys(
    paths: FixedPaths, start_dir: Path
) -> None:
    settings = Settings(sqlite_synchronous="NORMAL")

    config = ChosenDatabase.resolve(settings, paths, start_dir)

    assert config.settings.path == paths.data / "queue.sqlite"
    assert config.settings.synchronous == "NORMAL"
