"""``tunerd serve``: flags in, settings out, the daemon runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def serve(
    *,
    listen: Annotated[
        list[str] | None,
        Parameter(help="HOST:PORT, [::1]:PORT or unix:/path, proxy:// before it for PROXY headers; repeatable."),
    ] = None,
    role: Annotated[
        Literal["all", "ingest", "worker"] | None, Parameter(help="Which half of the work this process does.")
    ] = None,
    config: Annotated[Path | None, Parameter(help="TOML file with settings.")] = None,
    data_dir: Annotated[Path | None, Parameter(help="Embedded databases and saved secrets.")] = None,
    database_url: Annotated[
        str | None, Parameter(help="postgresql://… instead of SQLite in the data directory.")
    ] = None,
    output_dir: Annotated[Path | None, Parameter(help="Where the local destination puts models.")] = None,
    webhook_url: Annotated[str | None, Parameter(help="Public URL of this daemon, without the path.")] = None,
    log_format: Annotated[
        Literal["auto", "json", "console"] | None, Parameter(help="auto: readable lines on a terminal, else JSON.")
    ] = None,
) -> int:
    """Run the daemon: receiver, API, web page and delivery workers.

    Settings come from flags, then the environment (TUNERD_…, REPLICATE_API_TOKEN), then the TOML file. It prints
    "tunerd ready on http://HOST:PORT" on standard output once it answers; logs go to standard error. SIGTERM drains
    and ends it; SIGHUP reads the configuration again (tunerd reload).

    For example:

      tunerd serve
      tunerd serve --listen 127.0.0.1:8080 --listen unix:/run/tunerd/socket
      tunerd serve --webhook-url https://tuner.example.com
    """
    from ..config import Settings, load_settings

    given = {
        "listen": listen or None,
        "role": role,
        "data_dir": _absolute(data_dir),
        "database_url": database_url,
        "output_dir": _absolute(output_dir),
        "webhook_url": webhook_url,
        "log_format": log_format,
    }
    flags = {key: value for key, value in given.items() if value is not None}

    def read() -> Settings:
        return load_settings(flags, config_file=config)

    settings = read()
    from ..serve import run  # after the settings: a wrong one is told without waiting for these imports

    return run(settings, read)


def _absolute(path: Path | None) -> str | None:
    """A path on the command line is relative to where the command was typed."""
    return None if path is None else str(path.expanduser().absolute())
