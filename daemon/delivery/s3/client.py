"""A boto3 client for one destination. Blocks (imports, reads files): belongs in a thread."""

from __future__ import annotations

import ssl
import threading
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ... import garbage
from ..errors import Permanent

if TYPE_CHECKING:
    from ..destinations.s3 import Options

CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0  # of silence: putting a large object's parts together takes a server a while
MAX_ATTEMPTS = 4  # of one call, the first included, by botocore; what fails then is tried again as a whole, later

_making = threading.Lock()  # making clients is not thread-safe, using them is


def make_client(options: Options, *, connections: int = 4) -> Any:
    """A client; credentials and region as AWS's own tools find them where the options give none."""
    if (options.access_key_id is None) != (options.secret_access_key is None):
        raise Permanent("access_key_id and secret_access_key go together: give both, or neither to use AWS_* variables")
    with _making:
        if options.addressing_style != "auto":
            return _make(options, options.addressing_style, connections)
        client = _make(options, "virtual", connections)  # botocore's own "auto" makes links that name no region
        if not _is_aws(client.meta.endpoint_url):
            client = _make(options, "path", connections)  # MinIO and its like have no host name for each bucket
        return client


def _make(options: Options, addressing_style: str, connections: int) -> Any:
    from botocore.config import Config  # noqa: PLC0415 - see the package's docstring
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415

    session = _session()
    try:
        return session.client(
            "s3",
            region_name=options.region or session.region_name or "us-east-1",
            endpoint_url=options.endpoint_url,
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            verify=_authorities(session),
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": addressing_style},
                # Anything else is refused by servers that do not know AWS's newer checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                max_pool_connections=connections,
                user_agent_extra="tunerd",
            ),
        )
    except (BotoCoreError, ValueError) as problem:  # an endpoint or a profile that makes no sense
        raise Permanent(str(problem)) from None


@cache
def _session() -> Any:
    """One for the process: each reads 10 MB of service descriptions into memory."""
    import boto3  # noqa: PLC0415

    session = boto3.session.Session()
    garbage.keep_loaded()
    return session


def _is_aws(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _authorities(session: Any) -> str | None:
    """``SSL_CERT_FILE``, which botocore does not know, unless AWS's own ``AWS_CA_BUNDLE`` says otherwise."""
    if session._session.get_config_variable("ca_bundle"):  # noqa: SLF001 - boto3 has no other way to ask
        return None
    paths = ssl.get_default_verify_paths()
    return paths.cafile if paths.cafile != paths.openssl_cafile else None
