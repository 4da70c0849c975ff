"""``tunerd reload`` against the real daemon."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemon import running_daemon


async def test_reload(tunerd, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("max_body_mib = 3\n")
    async with running_daemon(tmp_path, TUNERD_CONFIG=str(file)) as daemon:
        unchanged = await tunerd("reload", TUNERD_URL=daemon.url)
        assert (unchanged.code, unchanged.out) == (0, "Read again; nothing has changed.\n")
        file.write_text("max_body_mib = 4\n")
        changed = await tunerd("reload", "--json", TUNERD_URL=daemon.url)
        assert changed.code == 0 and changed.json() == {"changed": ["max_body_mib"]}
        file.write_text('database_url = "sqlite:////tmp/x.sqlite3"\n')
        refused = await tunerd("reload", TUNERD_URL=daemon.url)
        assert refused.code == 1 and "database_url" in refused.err and "[restart_needed]" in refused.err
        file.write_text("max_body_mib = 'many'\n")
        invalid = await tunerd("reload", TUNERD_URL=daemon.url)
        assert invalid.code == 78 and "max_body_mib" in invalid.err and "config.toml" in invalid.err
    assert (await tunerd("reload", TUNERD_URL="http://127.0.0.1:9")).code == 3
