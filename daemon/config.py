"""The settings of one process, frozen at start. What configures the daemon is read here and nowhere else.

Precedence: flag, environment, credential of the service manager, TOML file, default. What one of them gives is
*pinned*: it wins over what the API stored and cannot be changed there. (Stored values live in ``store/settings.py``.)
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from . import parsing
from .core.costs import Hardware, read_prices
from .core.stores import output_origins
from .core.versions import version
from .errors import Misconfigured

Origin = Literal["flag", "environment", "file", "default"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its value in force; ``origin`` tells where each came from."""

    listen: tuple[str, ...]
    role: str
    data_dir: Path
    database_url: str | None
    output_dir: Path
    webhook_url: str | None
    admin_token: str | None
    trusted_proxies: tuple[str, ...]
    webhook_secret: tuple[str, ...]
    webhook_allowed_ips: tuple[str, ...]
    webhook_ip_mode: str
    webhook_ip_scopes: tuple[str, ...]
    webhook_require_signature: bool
    webhook_rate_per_second: int
    output_origins: tuple[str, ...]
    downloads: int
    download_connections: int
    download_mib_per_second: float
    expiry_alert_minutes: float
    max_body_mib: int
    reconcile_seconds: float
    status_url: str
    ip_ranges_url: str
    replicate_api_token: str | None
    replicate_base_url: str
    model: str
    version_override: str | None
    hardware: str
    prices: tuple[Hardware, ...]  # the user's own: they add to the list and override it
    cost_limit_enabled: bool
    cost_limit_amount: float
    cost_limit_period: str
    cost_limit_action: str
    time_zone: ZoneInfo | None  # whose days a cost limit counts; None: the process' own
    keep_days: int | None  # of a finished job with all that belongs to it; None: for ever
    keep_bodies_days: int | None  # of a finished job's event bodies that nothing needs any more; None: for ever
    log_format: str
    log_level: str
    hf_token: str | None
    hf_endpoint: str | None
    origin: dict[str, Origin]

    def __repr__(self) -> str:  # shows where values come from, and no value: some are secret
        return f"Settings({', '.join(f'{key} from {origin}' for key, origin in self.origin.items())})"

    def pinned(self, key: str) -> str | None:
        """``flag``, ``environment`` or ``file`` where one of them gives ``key``; else ``None``."""
        origin = self.origin.get(key, "default")
        return None if origin == "default" else origin


class Option(msgspec.Struct, frozen=True):
    """One setting: its variable, how its text is read, and its default."""

    variable: str
    parse: Callable[[Any], Any]
    default: Any
    secret: bool = False  # the value is not shown in an error


def _home(environ: Mapping[str, str]) -> Path:
    """The user's home; a number without a name, as containers run programs, has none."""
    try:
        return Path(environ.get("HOME") or "~").expanduser()
    except RuntimeError:
        return Path("/nonexistent")


def _options(environ: Mapping[str, str]) -> dict[str, Option]:
    home = _home(environ)
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd may give several, joined by ":"
    data_dir = Path(state) if state else home / ".local/share/tunerd"
    path = lambda value: parsing.path(value, home)  # noqa: E731 - one place, one line
    return {
        "listen": Option("TUNERD_LISTEN", parsing.listeners, ("127.0.0.1:8080",)),
        "role": Option("TUNERD_ROLE", parsing.one_of("all", "ingest", "worker"), "all"),
        "data_dir": Option("TUNERD_DATA_DIR", path, data_dir),
        "database_url": Option("TUNERD_DATABASE_URL", parsing.database_url, None, secret=True),
        "output_dir": Option("TUNERD_OUTPUT_DIR", path, home / ".simpletuner/cloud_outputs"),
        "webhook_url": Option("TUNERD_WEBHOOK_URL", parsing.webhook_url, None),
        "admin_token": Option("TUNERD_ADMIN_TOKEN", parsing.admin_token, None, secret=True),
        "trusted_proxies": Option("TUNERD_TRUSTED_PROXIES", parsing.networks, ("127.0.0.1", "::1")),
        "webhook_secret": Option("TUNERD_WEBHOOK_SECRET", parsing.webhook_secrets, (), secret=True),
        "webhook_allowed_ips": Option("TUNERD_WEBHOOK_ALLOWED_IPS", parsing.networks, ()),
        "webhook_ip_mode": Option("TUNERD_WEBHOOK_IP_MODE", parsing.one_of("off", "log-only", "enforce"), "off"),
        "webhook_ip_scopes": Option("TUNERD_WEBHOOK_IP_SCOPES", parsing.scopes, ("us-west1",)),
        "webhook_require_signature": Option("TUNERD_WEBHOOK_REQUIRE_SIGNATURE", parsing.boolean, True),
        # Requests a second from one address, sustained; 0 = no limit. A few hundred jobs send about 600.
        "webhook_rate_per_second": Option("TUNERD_WEBHOOK_RATE_PER_SECOND", parsing.integer(0, 1_000_000), 1000),
        "output_origins": Option("TUNERD_OUTPUT_ORIGINS", output_origins, ()),
        "downloads": Option("TUNERD_DOWNLOADS", parsing.integer(1, 64), 4),
        "download_connections": Option("TUNERD_DOWNLOAD_CONNECTIONS", parsing.integer(1, 32), 8),
        # Of all downloads together; 0 = no limit.
        "download_mib_per_second": Option("TUNERD_DOWNLOAD_MIB_PER_SECOND", parsing.number(0, 1e6), 0.0),
        # An output lives for an hour: an alert in its last quarter leaves time to act, and a slow line time to deliver.
        "expiry_alert_minutes": Option("TUNERD_EXPIRY_ALERT_MINUTES", parsing.number(0, 1440), 15.0),
        "max_body_mib": Option("TUNERD_MAX_BODY_MIB", parsing.integer(1, 1024), 32),
        "reconcile_seconds": Option("TUNERD_RECONCILE_SECONDS", parsing.number(0.05, 86_400), 30.0),
        "status_url": Option("TUNERD_STATUS_URL", parsing.http_url, "https://www.replicatestatus.com/api/v1/summary"),
        "ip_ranges_url": Option(
            "TUNERD_IP_RANGES_URL", parsing.http_url, "https://www.gstatic.com/ipranges/cloud.json"
        ),
        "replicate_api_token": Option("REPLICATE_API_TOKEN", parsing.text, None, secret=True),
        "hf_token": Option("HF_TOKEN", parsing.text, None, secret=True),
        "hf_endpoint": Option("HF_ENDPOINT", parsing.http_url, None),
        "replicate_base_url": Option("REPLICATE_BASE_URL", parsing.base_url, "https://api.replicate.com"),
        "model": Option("TUNERD_MODEL", parsing.model, "simpletuner/advanced-trainer"),
        "version_override": Option("TUNERD_VERSION_OVERRIDE", version, None),
        "hardware": Option("TUNERD_HARDWARE", parsing.text, "gpu-l40s"),
        "prices": Option("TUNERD_PRICES", read_prices, ()),
        "cost_limit_enabled": Option("TUNERD_COST_LIMIT_ENABLED", parsing.boolean, False),
        "cost_limit_amount": Option("TUNERD_COST_LIMIT_AMOUNT", parsing.number(0, 1e9), 0.0),
        "cost_limit_period": Option(
            "TUNERD_COST_LIMIT_PERIOD", parsing.one_of("daily", "weekly", "monthly"), "monthly"
        ),
        "cost_limit_action": Option("TUNERD_COST_LIMIT_ACTION", parsing.one_of("warn", "block"), "warn"),
        "time_zone": Option("TUNERD_TIME_ZONE", parsing.time_zone, None),
        # A cost limit may count a month's jobs (store/care/prune.py): they are there for so long at least.
        "keep_days": Option("TUNERD_KEEP_DAYS", parsing.integer(31, 36_500), None),
        "keep_bodies_days": Option("TUNERD_KEEP_BODIES_DAYS", parsing.integer(1, 36_500), None),
        "log_format": Option("TUNERD_LOG_FORMAT", parsing.one_of("auto", "json", "console"), "auto"),
        "log_level": Option("TUNERD_LOG_LEVEL", parsing.one_of("debug", "info", "warning"), "info"),
    }


def variables() -> dict[str, tuple[str, bool]]:
    """Setting → (its environment variable, whether its value is a secret)."""
    return {key: (option.variable, option.secret) for key, option in _options({}).items()}


# Variables that are ours without being a setting of the daemon.
_OTHER_VARIABLES = frozenset({"TUNERD_CONFIG", "TUNERD_URL"})


def load_settings(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    config_file: Path | None = None,
) -> Settings:
    """Read flags, environment and file into frozen settings.

    ``flags`` holds key → text (or list of texts) for the flags that were given. An unknown or invalid key raises
    ``Misconfigured`` naming the key, the value and its source.
    """
    environ = os.environ if environ is None else environ
    options = _options(environ)
    _refuse_unknown_variables(environ, options)
    file, in_file = _read_file(config_file, environ)
    values: dict[str, Any] = {}
    origin: dict[str, Origin] = {}
    for key, option in options.items():
        values[key], origin[key] = option.default, "default"
        credential = _credential(environ, key) if option.secret else None
        given: list[tuple[Origin, str, Any]] = [
            ("flag", f"flag --{key.replace('_', '-')}", (flags or {}).get(key)),
            ("environment", f"environment variable {option.variable}", _from_here(key, environ.get(option.variable))),
            ("file", f"credential tunerd.{key}", credential),
            ("file", f"{file}, key {key}", in_file.get(key)),
        ]
        for where, source, raw in given:
            if raw is None or (where == "environment" and raw.strip() == ""):
                continue  # an empty variable is an unset one, as compose files and unit files write it
            value = _parse(key, option, raw, source)  # also where a stronger one wins: it is wrong all the same
            if origin[key] == "default":
                values[key], origin[key] = value, where
    for key in in_file.keys() - options.keys():
        raise Misconfigured(
            f"{file}: there is no setting {key!r} (value {_shown(key, in_file[key])}). Remove it or correct its name."
        )
    return Settings(**values, origin=origin)


def _from_here(key: str, value: str | None) -> str | None:
    """A directory in a variable is relative to where the process was started, as one in a flag is."""
    if key not in {"data_dir", "output_dir"} or value is None or not value.strip() or value.strip().startswith("~"):
        return value
    return str(Path(value.strip()).absolute())


def _credential(environ: Mapping[str, str], key: str) -> str | None:
    """A secret that the service manager passed in (``LoadCredential=tunerd.KEY``); ``None`` where it did not."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        return (Path(folder) / f"tunerd.{key}").read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise Misconfigured(f"credential tunerd.{key}: cannot be read: {problem}") from None


_SHOWN_CHARS = 200  # of a value that is not valid
_NOT_SHOWN = "(not shown: it is a secret)"
# A misspelt name may carry a secret all the same: TUNERD_ADMIN_TOKN, a URL with a password, a table [replicate].
_MAY_BE_SECRET = re.compile(r"TOK|SECR|KEY|PASS|CRED|DATABASE", re.IGNORECASE)


def _shown(name: str, value: Any) -> str:
    plain = isinstance(value, (str, int, float)) and not _MAY_BE_SECRET.search(name) and "@" not in str(value)
    return repr(value) if plain else _NOT_SHOWN


def _parse(key: str, option: Option, raw: Any, source: str) -> Any:
    try:
        return option.parse(raw)
    except (ValueError, TypeError) as problem:
        shown = _NOT_SHOWN if option.secret else _cut(repr(raw))
        raise Misconfigured(f"{source}: {shown} is not valid for {key!r}: {problem}") from None


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _refuse_unknown_variables(environ: Mapping[str, str], options: Mapping[str, Option]) -> None:
    known = {option.variable for option in options.values()} | _OTHER_VARIABLES
    for name in sorted(environ):
        if name.startswith("TUNERD_") and name not in known:
            raise Misconfigured(
                f"environment variable {name}: there is no such setting (value {_shown(name, environ[name])}). "
                "Unset it or correct its name."
            )


def _read_file(explicit: Path | None, environ: Mapping[str, str]) -> tuple[Path | None, dict[str, Any]]:
    home = _home(environ)
    named = explicit or (Path(environ["TUNERD_CONFIG"]) if environ.get("TUNERD_CONFIG") else None)
    if named is not None:
        candidates, must_exist = [named], True
    else:
        config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        candidates, must_exist = [config_home / "tunerd/config.toml", Path("/etc/tunerd/config.toml")], False
    for candidate in candidates:
        try:
            return candidate, tomllib.loads(candidate.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):  # the latter: HOME=/dev/null, as some services have it
            if must_exist:
                raise Misconfigured(f"{candidate}: there is no such configuration file.") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
            raise Misconfigured(f"{candidate}: cannot be read: {problem}") from None
        except RecursionError:
            raise Misconfigured(f"{candidate}: cannot be read: it is nested too deep.") from None
    return None, {}
