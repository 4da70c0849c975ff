"""What all tests share: an environment of their own, PostgreSQL where it is installed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.postgres import Cluster, PostgresMissing, running_cluster

# A developer's own settings, tokens and proxies must decide nothing here. Removed before anything is imported that
# reads them at import (huggingface_hub does).
FOREIGN = (
    "TUNERD_",
    "REPLICATE_",
    "HF_",
    "AWS_",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
)
for _name in [name for name in os.environ if name.startswith(FOREIGN)]:
    del os.environ[_name]

# A run in the background of a script ignores Ctrl-C, and what it starts inherits that: those have to hear it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As a daemon's: a line for each stored event is for those who ask for it.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))

# How fast an example is says something about the machine, not about the code.
settings.register_profile("tunerd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tunerd")


def skip_or_fail(reason: str) -> None:
    """Skip for the sake of a part that this machine lacks; in CI nothing may be lacking."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (CI=true: nothing is skipped)")
    pytest.skip(reason)


def system_program(name: str) -> str:
    """The path of a program that scripts/system-parts.sh installs; without it the test is skipped, or fails in CI."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        skip_or_fail(f"{name} is not installed: scripts/system-parts.sh installs it as root")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """One private cluster for the whole run (of a worker)."""
    try:
        with running_cluster() as cluster:
            yield cluster
    except PostgresMissing as missing:
        skip_or_fail(str(missing))


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> str:
    """The URL of an empty database of this test's own."""
    return postgres_cluster.new_database()
