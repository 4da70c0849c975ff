from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.config import Settings, _options, load_settings
from daemon.errors import Misconfigured

CONTRACT = {
    "TUNERD_LISTEN", "TUNERD_DATA_DIR", "TUNERD_DATABASE_URL", "TUNERD_OUTPUT_DIR", "TUNERD_WEBHOOK_URL",
    "TUNERD_ADMIN_TOKEN", "TUNERD_TRUSTED_PROXIES", "TUNERD_WEBHOOK_SECRET", "TUNERD_WEBHOOK_ALLOWED_IPS",
    "TUNERD_OUTPUT_ORIGINS", "TUNERD_MAX_BODY_MIB", "TUNERD_RECONCILE_SECONDS", "TUNERD_STATUS_URL",
    "TUNERD_IP_RANGES_URL", "REPLICATE_API_TOKEN", "REPLICATE_BASE_URL",
}  # fmt: skip


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def refusal(environ: dict[str, str], flags: dict[str, Any] | None = None, file: Path | None = None) -> str:
    with pytest.raises(Misconfigured) as refused:
        load_settings(flags, environ, file)
    return refused.value.detail


def test_defaults(environ: dict[str, str], tmp_path: Path) -> None:
    settings = load_settings(environ=environ)
    assert settings.listen == ("127.0.0.1:8080",)
    assert settings.data_dir == tmp_path / ".local/share/tunerd"
    assert settings.output_dir == tmp_path / ".simpletuner/cloud_outputs"
    assert settings.replicate_base_url == "https://api.replicate.com"
    assert (settings.max_body_mib, settings.reconcile_seconds) == (32, 30.0)
    assert set(settings.origin.values()) == {"default"}
    assert settings.pinned("listen") is None


def test_every_variable_of_the_table_exists_and_every_field_is_an_option(environ: dict[str, str]) -> None:
    options = _options(environ)
    assert {option.variable for option in options.values()} >= CONTRACT
    assert {field.name for field in msgspec.structs.fields(Settings)} == {*options, "origin"}


def test_every_default_reads_as_its_own_text(environ: dict[str, str]) -> None:
    for key, option in _options(environ).items():
        if option.default in (None, ()):
            continue
        listed = isinstance(option.default, tuple)
        text = ",".join(option.default) if listed else str(option.default)
        assert option.parse(text) == option.default, key


def test_flag_before_environment_before_file(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text('max_body_mib = 1\nmodel = "a/b"\nlisten = ["127.0.0.1:1", "[::1]:1"]\nhardware = "cpu"\n')
    environ |= {"TUNERD_MAX_BODY_MIB": "2", "TUNERD_MODEL": "c/d"}
    settings = load_settings({"max_body_mib": "3", "role": None}, environ, file)
    assert (settings.max_body_mib, settings.pinned("max_body_mib")) == (3, "flag")
    assert (settings.model, settings.pinned("model")) == ("c/d", "environment")
    assert (settings.hardware, settings.pinned("hardware")) == ("cpu", "file")
    assert settings.listen == ("127.0.0.1:1", "[::1]:1")
    assert settings.pinned("role") is None


def test_repeated_flag(environ: dict[str, str]) -> None:
    assert load_settings({"listen": ["127.0.0.1:1", "127.0.0.1:2"]}, environ).listen == ("127.0.0.1:1", "127.0.0.1:2")


def test_an_empty_variable_is_an_unset_one(environ: dict[str, str]) -> None:
    environ |= {"TUNERD_WEBHOOK_SECRET": "", "TUNERD_ROLE": " "}
    settings = load_settings(environ=environ)
    assert settings.webhook_secret == ()
    assert settings.pinned("role") is None


def test_state_directory_of_systemd(environ: dict[str, str]) -> None:
    environ |= {"STATE_DIRECTORY": "/var/lib/tunerd:/var/lib/other"}
    assert load_settings(environ=environ).data_dir == Path("/var/lib/tunerd")


def test_an_invalid_value_is_named_with_its_source(environ: dict[str, str], tmp_path: Path) -> None:
    assert "environment variable TUNERD_MAX_BODY_MIB: 'lots'" in refusal(environ | {"TUNERD_MAX_BODY_MIB": "lots"})
    assert "flag --webhook-url: 'ftp://x'" in refusal(environ, {"webhook_url": "ftp://x"})
    file = tmp_path / "t.toml"
    file.write_text("reconcile_seconds = true\n")
    assert f"{file}, key reconcile_seconds: True" in refusal(environ, file=file)


def test_what_is_nested_deeper_than_can_be_read_is_refused_as_well(environ: dict[str, str], tmp_path: Path) -> None:
    said = refusal(environ | {"TUNERD_PRICES": "[" * 200_000})
    assert said.startswith("environment variable TUNERD_PRICES: '[[[[")
    assert "is not valid for 'prices': a table of prices by SKU is expected" in said
    assert len(said) < 600
    file = tmp_path / "t.toml"
    file.write_text("prices = " + "[" * 20_000)
    assert refusal(environ, file=file) == f"{file}: cannot be read: it is nested too deep."


def test_an_invalid_value_that_a_stronger_one_hides_is_named_all_the_same(
    environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "t.toml"
    file.write_text('max_body_mib = "abc"\n')
    environ |= {"TUNERD_MAX_BODY_MIB": "32"}
    assert f"{file}, key max_body_mib: 'abc'" in refusal(environ, file=file)
    assert "TUNERD_ROLE: 'none'" in refusal(environ | {"TUNERD_ROLE": "none"}, {"role": "all"})


def test_a_directory_in_a_variable_is_relative_to_here_as_one_in_a_flag_is(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ=environ | {"TUNERD_DATA_DIR": "data", "TUNERD_OUTPUT_DIR": " ~/models "})
    assert (settings.data_dir, settings.output_dir) == (tmp_path / "data", tmp_path / "models")
    assert load_settings(environ=environ | {"TUNERD_DATA_DIR": " "}).pinned("data_dir") is None
    file = tmp_path / "t.toml"
    file.write_text('data_dir = "data"\n')  # relative to what? A file has no place that it was typed in.
    assert "an absolute path is expected" in refusal(environ, file=file)


def test_an_unknown_key_is_named_with_its_value(environ: dict[str, str], tmp_path: Path) -> None:
    found = refusal(environ | {"TUNERD_LISTN": "x:1"})
    assert "TUNERD_LISTN" in found and "'x:1'" in found
    file = tmp_path / "t.toml"
    file.write_text("lisen = 5\n")
    found = refusal(environ, file=file)
    assert str(file) in found and "'lisen'" in found and "5" in found


def test_other_programs_variables_are_not_ours(environ: dict[str, str]) -> None:
    load_settings(environ=environ | {"TUNERD_URL": "http://x", "TUNERDX": "1", "REPLICATE_OTHER": "1"})


@pytest.mark.parametrize(
    "given",
    [
        {"TUNERD_WEBHOOK_SECRET": "hunter2"},
        {"TUNERD_ADMIN_TOKEN": "hunter2 hunter2"},
        {"TUNERD_DATABASE_URL": "mysql://u:hunter2@h"},
        {"TUNERD_ADMIN_TOKN": "hunter2"},
        {"TUNERD_DB_URL": "postgresql://u:hunter2@h"},
    ],
)
def test_no_refusal_shows_a_secret(environ: dict[str, str], given: dict[str, str]) -> None:
    found = refusal(environ | given)
    assert "hunter2" not in found
    assert next(iter(given)) in found


def test_no_refusal_shows_a_secret_of_a_table(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_text('[replicate]\napi_token = "hunter2"\n')
    assert "hunter2" not in refusal(environ, file=file)


def test_printed_settings_show_no_value(environ: dict[str, str]) -> None:
    settings = load_settings(environ=environ | {"TUNERD_ADMIN_TOKEN": "hunter2", "REPLICATE_API_TOKEN": "r8_hunter2"})
    assert "hunter2" not in repr(settings)
    assert "admin_token from environment" in str(settings)


def test_which_file_is_read(environ: dict[str, str], tmp_path: Path) -> None:
    home_file = tmp_path / ".config/tunerd/config.toml"
    home_file.parent.mkdir(parents=True)
    home_file.write_text('role = "worker"\n')
    assert load_settings(environ=environ).role == "worker"
    named = tmp_path / "named.toml"
    named.write_text('role = "ingest"\n')
    assert load_settings(environ=environ | {"TUNERD_CONFIG": str(named)}).role == "ingest"
    assert load_settings(None, environ | {"TUNERD_CONFIG": "/missing"}, named).role == "ingest"
    assert load_settings(environ=environ | {"XDG_CONFIG_HOME": str(tmp_path / "empty")}).role == "all"


def test_a_named_file_must_be_there_and_be_toml(environ: dict[str, str], tmp_path: Path) -> None:
    assert "no such configuration file" in refusal(environ, file=tmp_path / "missing.toml")
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"role = \xff")
    assert "cannot be read" in refusal(environ, file=broken)
    broken.write_text("role = all")
    assert "cannot be read" in refusal(environ, file=broken)
    assert "cannot be read" in refusal(environ, file=tmp_path)


def test_a_home_that_is_none(environ: dict[str, str]) -> None:
    assert load_settings(environ={"HOME": "/dev/null"}).role == "all"


def test_a_user_without_name_and_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)  # nobody has it
    settings = load_settings(environ={"TUNERD_DATA_DIR": "/data"})
    assert settings.data_dir == Path("/data") and settings.output_dir.is_absolute()


def test_credentials_of_the_service_manager(tmp_path: Path) -> None:
    (tmp_path / "tunerd.admin_token").write_text("from-a-credential\n")
    (tmp_path / "tunerd.replicate_api_token").write_text("r8_of_credential")
    given = {"HOME": "/nowhere", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    settings = load_settings(environ=given)
    assert (settings.admin_token, settings.pinned("admin_token")) == ("from-a-credential", "file")
    assert load_settings(environ=given | {"REPLICATE_API_TOKEN": "r8_other"}).replicate_api_token == "r8_other"
    (tmp_path / "tunerd.webhook_secret").write_text("whsec_!")
    with pytest.raises(Misconfigured, match=r"credential tunerd\.webhook_secret: \(not shown"):
        load_settings(environ=given)
