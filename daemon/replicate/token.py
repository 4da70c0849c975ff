"""The Replicate API token: from the environment (or the file, or a flag), else the one saved encrypted in the store."""

from __future__ import annotations

import re
from typing import Any, Literal

from ..config import Settings
from ..errors import ProviderError, ProviderUnavailable, SettingPinned, TokenInvalidFormat, TokenNotStored
from ..store.secrets import Secrets
from .client import ReplicateClient

_NAME = "replicate_api_token"  # in Secrets
TOKENS_PAGE = "replicate.com/account/api-tokens"
_LEAST_HIDDEN = 7  # characters: the prefix and the four that are shown
_NOT_SET = "REPLICATE_API_TOKEN not set"
SET_ONE = (
    f"Make a token at {TOKENS_PAGE}; then export REPLICATE_API_TOKEN=r8_… and restart the daemon, or save it with "
    "`tunerd token set` or on the page of settings."
)
COPY_ANEW = f"Copy it anew from {TOKENS_PAGE}, without spaces or line ends around it, and set it again."
MAKE_ANOTHER = f"Make a new token at {TOKENS_PAGE} and set it instead: this one was revoked, or belongs to nobody."
_FORMAT = (
    "a Replicate API token begins with r8_ and holds no blanks. "
    "Copy it anew from replicate.com/account/api-tokens, without spaces or line ends."
)


class TokenSource:
    """One place that knows the token. The store is asked once; ``put`` and ``delete`` keep the answer current."""

    def __init__(self, settings: Settings, secrets: Secrets) -> None:
        self._settings = settings
        self._secrets = secrets
        self._stored: str | None = None
        self._loaded = False

    @property
    def _pinned(self) -> str | None:
        return (self._settings.replicate_api_token or "").strip() or None

    @property
    def known(self) -> str | None:
        """The token in force, where no store has to be asked for it any more."""
        return self._pinned or self._stored

    async def get(self) -> str | None:
        """The token in force."""
        if self._pinned is not None:
            return self._pinned
        if not self._loaded:
            stored = await self._secrets.get(_NAME)
            if not self._loaded:  # else a put or delete came in between
                self._stored, self._loaded = stored, True
        return self._stored

    async def source(self) -> Literal["environment", "stored"] | None:
        """Where the token in force comes from; a file or flag counts as the environment of this process."""
        if self._pinned is not None:
            return "environment"
        return "stored" if await self.get() else None

    async def hint(self) -> str | None:
        """The last four characters, all that is ever shown; ``None`` where that would be too much of it."""
        token = await self.get()
        return token[-4:] if token and len(token) > _LEAST_HIDDEN else None

    def _pinned_by(self) -> str:
        return self._settings.pinned("replicate_api_token") or "environment"

    async def put(self, value: object, *, now: float) -> None:
        """Save a token. Raises ``SettingPinned`` or ``TokenInvalidFormat``."""
        if self._pinned is not None:
            raise SettingPinned(
                f"The token comes from the {self._pinned_by()} and cannot be changed here. "
                "Unset REPLICATE_API_TOKEN there, restart, and save it again.",
                field="api_token",
            )
        token = value.strip() if isinstance(value, str) else ""
        if not well_formed(token):
            raise TokenInvalidFormat(f"Nothing was saved: {_FORMAT}", field="api_token")
        await self._secrets.put(_NAME, token, now=now)
        self._stored, self._loaded = token, True

    async def delete(self) -> None:
        """Forget the saved token. Raises ``TokenNotStored``."""
        deleted = await self._secrets.delete(_NAME)
        self._stored, self._loaded = None, True
        if not deleted:
            where = "" if self._pinned is None else f" The one in force comes from the {self._pinned_by()}."
            raise TokenNotStored(f"There is no saved token to delete.{where}")


def well_formed(token: str) -> bool:
    """Whether it can be a token at all: the prefix, something after it, and only what a header can carry."""
    return re.fullmatch(r"r8_[!-~]+", token) is not None


async def validate(tokens: TokenSource, client: ReplicateClient) -> dict[str, Any]:
    """The answer of ``GET …/replicate/validate``; ``fix`` says what to do about an ``error``.

    Raises ``ProviderUnavailable`` where Replicate cannot tell.
    """
    token = await tokens.get()
    if token is None:
        return {"valid": False, "error": _NOT_SET, "fix": SET_ONE}
    if not re.fullmatch(r"[!-~]+", token):  # no header carries it. Another prefix: Replicate knows
        return {"valid": False, "error": f"Invalid token: {_FORMAT}", "fix": COPY_ANEW}
    try:
        account = await client.account(patient=False)
    except ProviderError as refused:
        if refused.extra.get("provider_status") not in {401, 403}:
            raise ProviderUnavailable(f"{refused.detail}. Check REPLICATE_BASE_URL.") from refused
        words = refused.extra.get("provider_detail") or refused.detail
        return {"valid": False, "error": f"Invalid token: Replicate refused it ({words})", "fix": MAKE_ANOTHER}
    shown = ("username", "name", "type", "github_url", "avatar_url")
    user_info = {key: account[key] for key in shown if isinstance(account.get(key), str)}
    return {"valid": True, "user_info": user_info, "token_source": await tokens.source()}
