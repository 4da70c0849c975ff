"""SimpleTuner's configuration and the files that it names, as they lie on a user's disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daemon.cli.exits import Usage
from daemon.cli.training_files import read_training


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("dashes", ["", "--"])
@pytest.mark.parametrize("folder", ["config", "config/cats"])
def test_files_are_found_from_simpletuner_s_own_folder(tmp_path: Path, dashes: str, folder: str) -> None:
    written(tmp_path / folder / "multidatabackend.json", [{"type": "local", "instance_data_dir": "datasets/cats"}])
    written(tmp_path / folder / "lycoris.json", {"algo": "lokr"})
    config = written(
        tmp_path / folder / "config.json",
        {
            f"{dashes}data_backend_config": f"{folder}/multidatabackend.json",
            f"{dashes}lycoris_config": f"{folder}/lycoris.json",
            f"{dashes}max_train_steps": 10,
        },
    )
    training, data = read_training(config, with_data=True)
    assert training[f"{dashes}lycoris_config"] == {"algo": "lokr"}
    assert data == [{"type": "local", "instance_data_dir": str(tmp_path / "datasets/cats")}]


@pytest.mark.usefixtures("elsewhere")
def test_files_beside_the_configuration_and_paths_that_are_whole(tmp_path: Path) -> None:
    backends = [
        {"type": "local", "instance_data_dir": "/mnt/cats"},
        {"instance_data_dir": "cats"},
        {"type": "local", "instance_data_dir": "https://example.com/cats.zip"},
        {"type": "aws", "instance_data_dir": "prefix"},
        "odd",
    ]
    written(tmp_path / "data.json", backends)
    _, data = read_training(written(tmp_path / "c.json", {"data_backend_config": "data.json"}), with_data=True)
    shown = [entry["instance_data_dir"] if isinstance(entry, dict) else entry for entry in data]
    assert shown == ["/mnt/cats", str(tmp_path / "cats"), "https://example.com/cats.zip", "prefix", "odd"]


@pytest.mark.usefixtures("elsewhere")
def test_what_is_not_there_is_told_with_the_places(tmp_path: Path) -> None:
    config = written(tmp_path / "c.json", {"--data_backend_config": "config/none.json"})
    with pytest.raises(Usage, match=r"names 'config/none.json' in --data_backend_config.*looked for in"):
        read_training(config, with_data=True)
    assert read_training(config, with_data=False) == ({"--data_backend_config": "config/none.json"}, None)
    with pytest.raises(Usage, match="cannot be read: No such file"):
        read_training(tmp_path / "none.json", with_data=True)
    assert read_training(written(tmp_path / "list.json", [1]), with_data=True) == ([1], None)


@pytest.mark.usefixtures("elsewhere")
def test_a_lycoris_configuration_that_is_there_already_stays(tmp_path: Path) -> None:
    config = written(tmp_path / "c.json", {"lycoris_config": {"algo": "lokr"}, "data_backend_config": ""})
    assert read_training(config, with_data=True) == (
        {"lycoris_config": {"algo": "lokr"}, "data_backend_config": ""},
        None,
    )
