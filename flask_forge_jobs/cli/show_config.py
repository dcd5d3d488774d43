"""``flask forge-jobs show-config``: ready files for monitoring and deployment."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import click

from flask_forge_jobs.cli.errors import fails_clearly

# The file in the folder configs, and its purpose.
CONFIGS: Mapping[str, tuple[str, str]] = {
    "alerts": ("alerts.yml", "alerts of Prometheus"),
    "compose": ("compose.yaml", "web, worker and PostgreSQL in Docker Compose"),
    "grafana": ("grafana.json", "a board of Grafana, to import"),
    "gunicorn": ("gunicorn.conf", "settings of gunicorn, as gunicorn.conf.py"),
    "keda": ("keda.yaml", "scales workers in Kubernetes by the jobs that wait"),
    "procfile": ("Procfile", "processes of a platform such as Heroku"),
    "systemd-web": ("web.service", "the web processes under systemd"),
    "systemd-worker": ("worker.service", "the worker under systemd"),
}


@click.command(
    "show-config", epilog="Example: flask forge-jobs show-config grafana > board.json"
)
@click.argument("name", required=False, type=click.Choice(list(CONFIGS)))
@fails_clearly
def show_config_command(*, name: str | None) -> None:
    """Print a ready configuration file; without a name, list them."""
    if name is not None:
        click.echo(config_text(name), nl=False)
        return
    width = max(map(len, CONFIGS))
    for each, (_, purpose) in CONFIGS.items():
        click.echo(f"{each:<{width}}  {purpose}")


def config_text(name: str) -> str:
    """Return the text of a file."""
    folder = files("flask_forge_jobs.cli") / "configs"
    return (folder / CONFIGS[name][0]).read_text("utf-8")
