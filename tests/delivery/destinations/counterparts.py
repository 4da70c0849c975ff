"""The other side of each destination, as the conformance suite needs it: options that reach it, and a look into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import boto3

from daemon.delivery.destinations import huggingface, local, s3
from daemon.delivery.destinations.base import Destination, Package
from tests.support.hub import TOKEN, Hub


class Counterpart(Protocol):
    destination: Destination
    options: Any
    wrong: Any  # options that lead to a refusal for good
    says: str  # what that refusal says

    def contents(self, package: Package) -> dict[str, bytes]:
        """What is there of ``package`` under final names, by name."""

    def stamps(self, package: Package) -> dict[str, Any]:
        """Something about each file that changes when it is written again."""

    def spoil(self, package: Package, name: str) -> None:
        """Change a delivered file behind our back."""

    def everything(self) -> list[str]:
        """All names there, also those that belong to no package."""


class Disk:
    def __init__(self, folder: Path) -> None:
        self.destination: Destination = local  # type: ignore[assignment]
        self.folder = folder
        self.options = local.Options(path=str(folder))
        blocked = folder.with_name("blocked")
        blocked.mkdir()
        blocked.chmod(0o500)
        self.wrong = local.Options(path="not/absolute")
        self.says = "not absolute"

    def _files(self, package: Package) -> list[Path]:
        folder = self.folder / package.job_id
        return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []

    def contents(self, package: Package) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self._files(package)}

    def stamps(self, package: Package) -> dict[str, Any]:
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in self._files(package)}

    def spoil(self, package: Package, name: str) -> None:
        path = self.folder / package.job_id / name
        path.unlink()  # it may be the staged file under a second name
        path.write_bytes(b"spoiled")

    def everything(self) -> list[str]:
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*")]


class Bucket:
    """A fresh bucket of an S3 server."""

    def __init__(self, url: str, name: str, access_key: str, secret_key: str, says: str) -> None:
        self.destination: Destination = s3  # type: ignore[assignment]
        self.name = name
        keys = {"access_key_id": access_key, "secret_access_key": secret_key}
        self.options = s3.Options(bucket=name, endpoint_url=url, **keys)
        self.wrong = s3.Options(bucket=f"{name}-not-there", endpoint_url=url, **keys)
        self.says = says
        self.client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
        )
        self.client.create_bucket(Bucket=name)

    def _objects(self, prefix: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix).get("Contents", [])
        return found

    def contents(self, package: Package) -> dict[str, bytes]:
        prefix = f"{package.job_id}/"
        return {key.removeprefix(prefix): self.read(key) for key in (found["Key"] for found in self._objects(prefix))}

    def read(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def stamps(self, package: Package) -> dict[str, Any]:
        return {found["Key"]: (found["LastModified"], found["ETag"]) for found in self._objects(f"{package.job_id}/")}

    def spoil(self, package: Package, name: str) -> None:
        self.client.put_object(Bucket=self.name, Key=f"{package.job_id}/{name}", Body=b"spoiled")

    def everything(self) -> list[str]:
        return [found["Key"] for found in self._objects("")]

    def uploads(self) -> list[str]:
        """Keys of unfinished uploads."""
        return [found["Key"] for found in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]


class Repos:
    """The repositories of a stub Hub, one for each job; LFS, since there is no Xet behind it."""

    def __init__(self, hub: Hub) -> None:
        self.destination: Destination = huggingface  # type: ignore[assignment]
        self.hub = hub
        self.options = huggingface.Options(repo_id="me/{job_id}", token=TOKEN, endpoint=hub.url, xet=False)
        self.wrong = huggingface.Options(repo_id="somebody/{job_id}", token=TOKEN, endpoint=hub.url, xet=False)
        self.says = "may not write there|no member of it"

    def contents(self, package: Package) -> dict[str, bytes]:
        repo = self.hub.repos.get(f"me/{package.job_id}")
        return {name: content for name, content in repo.files().items() if name != ".gitattributes"} if repo else {}

    def stamps(self, package: Package) -> dict[str, Any]:
        return {commit["oid"]: commit["title"] for commit in self.hub.repos[f"me/{package.job_id}"].commits}

    def spoil(self, package: Package, name: str) -> None:
        self.hub.repos[f"me/{package.job_id}"].commit("by hand", {name: (False, b"spoiled")})

    def everything(self) -> list[str]:
        return list(self.hub.repos)
