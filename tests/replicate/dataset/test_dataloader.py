"""What a dataloader configuration comes to: folders, an archive at a URL, or a configuration without our paths."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daemon.errors import ConfigInvalid, DatasetEmpty, DatasetUnreadable, TunerdError
from daemon.replicate.dataset.dataloader import local_paths, read_dataloader

CATS = {"id": "cats", "type": "local", "instance_data_dir": "/home/me/cats"}


def test_folders_of_one_name_stay_apart() -> None:
    data = read_dataloader([CATS, {**CATS, "instance_data_dir": "/mnt/cats", "caption_strategy": "textfile"}])
    assert [(d.name, d.path, d.captions) for d in data.datasets] == [
        ("00-cats", "/home/me/cats", "filename"),
        ("01-cats", "/mnt/cats", "textfile"),
    ]
    assert data.dataloader is None


def test_a_single_object_and_no_type_will_do() -> None:
    (dataset,) = read_dataloader({"instance_data_dir": "/cats"}).datasets
    assert dataset.name == "00-dataset"


def test_a_disabled_backend_is_none() -> None:
    assert len(read_dataloader([CATS, {**CATS, "disabled": True}]).datasets) == 1


@pytest.mark.parametrize(
    "dataloader",
    [
        [],
        [{**CATS, "disabled": True}],
        [{"id": "cats", "type": "local"}],
        [{"id": "text", "type": "local", "dataset_type": "text_embeds", "cache_dir": "cache/text"}],
    ],
    ids=["nothing", "disabled", "no folder", "only caches"],
)
def test_nothing_to_train_on_is_refused(dataloader: Any) -> None:
    with pytest.raises(DatasetEmpty) as refused:
        read_dataloader(dataloader)
    assert refused.value.extra["field"] == "dataloader_config"


def test_what_the_trainer_takes_from_the_configuration_goes_there() -> None:
    data = read_dataloader([{**CATS, "resolution": 1024, "repeats": 3, "cache_dir_vae": "/home/me/vae", "crop": True}])
    assert data.settings == {"resolution": 1024}
    assert data.notes == (
        "cats: without effect, as the trainer makes its own dataloader for an archive: crop, repeats.",
    )
    differing = read_dataloader([{**CATS, "resolution": 1024}, {**CATS, "resolution": 512}])
    assert differing.settings == {}
    assert "differ in resolution" in differing.notes[0]


def test_caches_of_embeddings_stay_behind_with_local_data() -> None:
    data = read_dataloader([CATS, {"id": "t5", "type": "local", "dataset_type": "text_embeds", "cache_dir": "/c"}])
    assert len(data.datasets) == 1


def test_an_archive_at_a_url() -> None:
    url = "https://data.example.com/cats.zip?signature=abc"
    data = read_dataloader([{"id": "cats", "instance_data_dir": url, "caption_strategy": "textfile"}])
    assert (data.images, data.datasets, data.dataloader) == (url, (), None)
    assert "file names" in data.notes[0]


def test_s3_is_spelt_out_as_the_trainer_has_it() -> None:
    given = {"id": "cats", "instance_data_dir": "s3://bucket/pre/fix", "aws_access_key_id": "A"}
    (sent,) = read_dataloader([given]).dataloader or []
    assert (sent["type"], sent["aws_bucket_name"], sent["aws_data_prefix"]) == ("aws", "bucket", "pre/fix")
    assert sent["aws_access_key_id"] == "A"
    assert {"aws_region_name", "aws_endpoint_url", "aws_secret_access_key"} <= sent.keys()
    assert "instance_data_dir" not in sent
    assert "aws_access_key_id" in read_dataloader([{"instance_data_dir": "s3://bucket"}]).notes[0]


def test_remote_data_goes_without_this_machines_paths() -> None:
    remote = {
        "id": "hub",
        "type": "huggingface",
        "dataset_name": "a/b",
        "cache_dir": "~/cache",
        "cache_dir_vae": "C:\\cache\\vae",
        "huggingface": {"cache_dir": "/home/me/hf"},
    }
    embeds = {"id": "t5", "type": "local", "dataset_type": "text_embeds", "cache_dir": "/home/me/t5"}
    sent = read_dataloader([remote, embeds]).dataloader
    assert list(local_paths(sent)) == []
    assert sent == [
        {
            **remote,
            "cache_dir": "cache/00-hub/cache_dir",
            "cache_dir_vae": "cache/00-hub/cache_dir_vae",
            "huggingface": {"cache_dir": "cache/00-hub/cache_dir"},
        },
        {**embeds, "cache_dir": "cache/01-t5/cache_dir"},
    ]


@pytest.mark.parametrize(
    ("loader", "error", "words"),
    [
        ([{"instance_data_dir": "cats"}], DatasetUnreadable, "absolute path"),
        ([{"instance_data_dir": "~/cats"}], DatasetUnreadable, "absolute path"),
        ([{"instance_data_dir": 7}], DatasetUnreadable, "absolute path"),
        ([{**CATS, "caption_strategy": "parquet"}], DatasetUnreadable, "caption_strategy"),
        ([{**CATS, "caption_strategy": "instanceprompt"}], DatasetUnreadable, "instance_prompt"),
        ([{**CATS, "dataset_type": "conditioning"}], DatasetUnreadable, "conditioning"),
        ([{**CATS, "conditioning_data": "edges"}], DatasetUnreadable, "conditioning_data"),
        ([CATS, {"type": "aws", "aws_bucket_name": "x"}], DatasetUnreadable, "mixes"),
        ([CATS, {"instance_data_dir": "https://x.example/a.zip"}], DatasetUnreadable, "mixes"),
        ([{"instance_data_dir": "https://x.example/a.zip"}] * 2, DatasetUnreadable, "mixes"),
        ([{"instance_data_dir": "http://x.example/a.zip"}], DatasetUnreadable, "https://HOST"),
        ([{"instance_data_dir": "https://me:pw@x.example/a.zip"}], DatasetUnreadable, "https://HOST"),
        ([{"instance_data_dir": "https://"}], DatasetUnreadable, "https://HOST"),
        ([{"instance_data_dir": "s3://"}], DatasetUnreadable, "s3://BUCKET"),
        ([{"instance_data_dir": "gs://bucket/x"}], DatasetUnreadable, "only https:// and s3://"),
        ([{"instance_data_dir": "file:///home/me"}], DatasetUnreadable, "absolute path"),
        ([{"type": "csv", "csv_file": "/home/me/a.csv"}], DatasetUnreadable, "csv_file on this machine"),
        ([{"type": "aws", "parquet": {"path": "\\\\nas\\a.parquet"}}], DatasetUnreadable, "path on this machine"),
        ("x", ConfigInvalid, "list of objects"),
        (["x"], ConfigInvalid, "list of objects"),
    ],
)
def test_data_that_cannot_go_along(loader: Any, error: type[TunerdError], words: str) -> None:
    with pytest.raises(error, match=words.replace("\\", "\\\\")) as caught:
        read_dataloader(json.loads(json.dumps(loader)))
    assert caught.value.extra["field"] == "dataloader_config"
