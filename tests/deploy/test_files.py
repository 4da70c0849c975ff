"""The files in deploy/, what ``tunerd deploy`` prints, and what their own programs say about both."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from daemon.deploy import caddy, nginx, traefik, units
from daemon.deploy.facts import INTERNAL, Facts, upstream_of
from tests.conftest import system_program
from tests.support.daemon import running_daemon

DEPLOY = Path(__file__).parents[2] / "deploy"
RANGES = ("34.82.0.0/16", "35.185.0.0/16")
MOST_EXPOSED = 1.2

COPIES = {
    "nginx/tunerd.conf": nginx.render,
    "caddy/Caddyfile": caddy.render,
    "traefik/tunerd.yaml": traefik.render,
    "traefik/compose.yaml": traefik.render_labels,
}


@pytest.mark.parametrize("name", COPIES)
def test_the_file_to_copy_is_the_rendered_one(name: str) -> None:
    assert (DEPLOY / name).read_text() == COPIES[name](Facts())


def test_the_units_to_copy_are_the_rendered_ones() -> None:
    rendered = units.render(Facts())
    assert {path.name: path.read_text() for path in (DEPLOY / "systemd").glob("tunerd*")} == rendered


@pytest.mark.parametrize("folder", ["nginx", "caddy", "traefik", "systemd"])
def test_a_readme_says_how(folder: str) -> None:
    text = (DEPLOY / folder / "README.md").read_text()
    assert f"tunerd deploy {folder}" in text


def test_nothing_is_left_to_fill_and_ranges_are_where_they_belong() -> None:
    facts = Facts(ranges=RANGES, server_name="t.example", max_body_mib=8, upstream="unix:/run/tunerd.sock")
    for render in COPIES.values():
        text = render(facts)
        assert not re.search(r"@[a-z_]+@", text) and "t.example" in text
        assert all(network in text for network in (*RANGES, *INTERNAL))
    found = nginx.render(facts)
    assert "server unix:/run/tunerd.sock;" in found and "client_max_body_size 9m;" in found
    assert re.search(r"webhooks/ \{\n +allow 34\.82\.0\.0/16;\n +allow 35\.185\.0\.0/16;\n +deny all;", found)
    assert "reverse_proxy unix//run/tunerd.sock {" in caddy.render(facts)


def test_caddy_reads_the_file_to_copy_and_would_not_format_it() -> None:
    program, file = system_program("caddy"), str(DEPLOY / "caddy" / "Caddyfile")
    adapted = subprocess.run([program, "adapt", "--config", file], capture_output=True, text=True, check=True)
    assert "warn" not in adapted.stderr.lower(), adapted.stderr
    formatted = subprocess.run([program, "fmt", file], capture_output=True, text=True, check=False)
    assert formatted.stdout == Path(file).read_text()


def test_traefik_options_are_documented_ones() -> None:
    """Traefik itself is not run here; its option names are those of its reference (version 3)."""
    http = yaml.safe_load(traefik.render(Facts(ranges=RANGES)))["http"]
    assert set(http) == {"routers", "middlewares", "services"}
    for router in http["routers"].values():
        assert set(router) == {"rule", "priority", "entryPoints", "middlewares", "service", "tls"}
        assert set(router["middlewares"]) <= set(http["middlewares"]) and router["service"] in http["services"]
    kinds = {name: set(options) for name, options in http["middlewares"].items()}
    assert kinds == {
        "tunerd-ranges": {"ipAllowList"},
        "tunerd-internal": {"ipAllowList"},
        "tunerd-clean": {"headers"},
        "tunerd-body": {"buffering"},
    }
    assert http["middlewares"]["tunerd-ranges"]["ipAllowList"] == {"sourceRange": list(RANGES)}
    assert http["middlewares"]["tunerd-internal"]["ipAllowList"] == {"sourceRange": list(INTERNAL)}
    assert http["middlewares"]["tunerd-body"]["buffering"] == {"maxRequestBodyBytes": 33 * 1024 * 1024}
    assert http["services"]["tunerd"]["loadBalancer"]["servers"] == [{"url": "http://127.0.0.1:8080"}]


def test_traefik_labels_say_what_the_file_says() -> None:
    facts = Facts(ranges=RANGES)
    labels = dict(
        label.split("=", 1) for label in yaml.safe_load(traefik.render_labels(facts))["services"]["tunerd"]["labels"]
    )
    http = yaml.safe_load(traefik.render(facts))["http"]
    for name, router in http["routers"].items():
        prefix = f"traefik.http.routers.{name}."
        assert labels[prefix + "rule"] == router["rule"]
        assert labels[prefix + "middlewares"].split(",") == router["middlewares"]
        assert labels[prefix + "priority"] == str(router["priority"])
    for name in ("tunerd-ranges", "tunerd-internal"):
        wanted = http["middlewares"][name]["ipAllowList"]["sourceRange"]
        assert labels[f"traefik.http.middlewares.{name}.ipallowlist.sourcerange"].split(",") == wanted


@pytest.mark.parametrize(
    ("listening", "upstream"),
    [
        (["http://127.0.0.1:8080"], "127.0.0.1:8080"),
        (["http://0.0.0.0:80"], "127.0.0.1:80"),
        (["http://[::]:80"], "127.0.0.1:80"),
        (["http://[::1]:80"], "[::1]:80"),
        (["http://127.0.0.1:1", "unix:/run/t.sock"], "unix:/run/t.sock"),
        (["proxy://127.0.0.1:1"], None),
    ],
)
def test_the_upstream_is_a_listener_that_speaks_http(listening: list[str], upstream: str | None) -> None:
    assert upstream_of(listening) == upstream


def made_units(tmp_path: Path, **facts: object) -> Path:
    program = tmp_path / "bin" / "tunerd"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    folder = tmp_path / "units"
    folder.mkdir()
    for name, text in units.render(Facts(program=program, **facts)).items():  # type: ignore[arg-type]
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("listen", [("127.0.0.1:8080",), ("unix:/run/tunerd.sock", "proxy://127.0.0.1:8081")])
def test_systemd_finds_nothing_to_complain_about(tmp_path: Path, listen: tuple[str, ...]) -> None:
    folder = made_units(tmp_path, listen=listen)
    result = subprocess.run(
        [system_program("systemd-analyze"), "verify", *map(str, sorted(folder.iterdir()))],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{folder}:"},
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", ["tunerd.service", "tunerd-backup.service"])
def test_the_services_are_confined(tmp_path: Path, unit: str) -> None:
    folder = made_units(tmp_path)
    command = [system_program("systemd-analyze"), "security", "--offline=true", "--no-pager", str(folder / unit)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert found is not None, shown
    assert float(found[1]) <= MOST_EXPOSED, shown


async def test_the_running_daemon_is_asked(tunerd, tmp_path: Path) -> None:
    given = {
        "TUNERD_WEBHOOK_URL": "https://live.example/sub",
        "TUNERD_WEBHOOK_ALLOWED_IPS": ",".join(RANGES),
        "TUNERD_MAX_BODY_MIB": "5",
    }
    async with running_daemon(tmp_path, **given) as daemon:
        result = await tunerd("deploy", "nginx", TUNERD_URL=daemon.url)
        address = daemon.url.removeprefix("http://")
        expected = Facts(server_name="live.example", upstream=address, ranges=RANGES, max_body_mib=5)
        assert (result.code, result.out, result.err) == (0, nginx.render(expected), "")
        printed = await tunerd("deploy", "systemd", TUNERD_URL=daemon.url)
        assert f"ListenStream={address}\n" in printed.out and "tunerd-backup.timer" in printed.out
    told = await tunerd("deploy", "caddy", TUNERD_URL=daemon.url, TUNERD_LISTEN="unix:/run/x.sock", **given)
    assert told.code == 0 and "No daemon answers" in told.err
    assert "live.example {" in told.out and "unix//run/x.sock" in told.out and " ".join(RANGES) in told.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nginx", "--server-name", "x; include /etc/passwd"),
        ("nginx", "--upstream", "127.0.0.1"),
        ("caddy", "--allow", "10.0.0.1/8"),
        ("caddy", "--internal", "everybody"),
        ("haproxy",),
    ],
)
async def test_what_would_end_up_in_a_configuration_is_checked(tunerd, arguments: tuple[str, ...]) -> None:
    result = await tunerd("deploy", *arguments, TUNERD_URL="http://127.0.0.1:9")
    assert result.code == 2 and result.out == ""
