"""One route with its documentation: the router and OpenAPI are both made from it, so they cannot disagree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from ..errors import TunerdError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """One successful answer. ``schema`` is a msgspec type, several of them (one or the other), or a JSON Schema."""

    description: str
    schema: Any = None
    content: str | None = JSON
    headers: Mapping[str, str] = field(default_factory=dict)  # name → what it says
    also: tuple[str, ...] = ()  # further content types


@dataclass(frozen=True)
class Param:
    """One parameter outside the body. ``schema`` is a JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    where: Literal["query", "header"] = "query"
    required: bool = False


@dataclass(frozen=True, eq=False)  # each is itself
class Endpoint:
    """A method and path, the handler, and what it takes and answers.

    Parameters of the path are read off ``path``. ``errors`` are the errors of its own; those that any request can meet
    (no admin, body too large, …) are added by ``openapi.py``.
    """

    method: Literal["GET", "PUT", "POST", "DELETE"]
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, Answer]
    body: Any = None
    body_required: bool = True
    body_content: str = JSON
    params: tuple[Param, ...] = ()
    errors: tuple[type[TunerdError], ...] = ()
    description: str = ""
    public: bool = False  # answered without being the admin
    route: str | None = None  # the router's pattern, where ``path`` would take a sibling's path as well

    @property
    def tag(self) -> str:
        """The group that it is shown in: the module that answers it; all that makes the web page is one."""
        module = getattr(self.handler, "__module__", "")
        return "pages" if ".pages." in module else module.rpartition(".")[2] or "web"
