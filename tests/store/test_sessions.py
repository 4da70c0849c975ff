"""Logins: kept until they end, forgotten when they have."""

from __future__ import annotations

from daemon.store.sessions import Session
from daemon.store.store import Store
from tests.support.events import NOW


def session(digest: str, *, created_at: float = NOW, lasts: float = 100) -> Session:
    return Session(digest, created_at, created_at + lasts, created_at, "192.0.2.1", "Browser/1.0")


async def test_kept_until_it_ends(store: Store) -> None:
    await store.sessions.add(session("a"))
    assert await store.sessions.get("a", now=NOW + 99) == session("a")
    assert await store.sessions.get("a", now=NOW + 100) is None
    assert await store.sessions.get("b", now=NOW) is None
    await store.sessions.touch("a", now=NOW + 50, expires_at=NOW + 150)
    found = await store.sessions.get("a", now=NOW + 149)
    assert found is not None and found.last_used_at == NOW + 50


async def test_listed_by_use_and_ended(store: Store) -> None:
    for place, digest in enumerate("abc"):
        await store.sessions.add(session(digest, created_at=NOW + place))
    assert [one.digest for one in await store.sessions.all(now=NOW + 3)] == ["c", "b", "a"]
    assert await store.sessions.delete("b")
    assert not await store.sessions.delete("b")
    await store.sessions.add(session("d"))
    assert await store.sessions.delete_others("d") == 2
    assert [one.digest for one in await store.sessions.all(now=NOW)] == ["d"]
    assert await store.sessions.delete_others(None) == 1


async def test_a_new_one_clears_away_what_has_ended(store: Store) -> None:
    await store.sessions.add(session("old"))
    await store.sessions.add(session("new", created_at=NOW + 100))
    assert [one.digest for one in await store.sessions.all(now=0)] == ["new"]


async def test_what_a_browser_calls_itself_is_only_text(store: Store) -> None:
    odd = Session("a", NOW, NOW + 1, NOW, None, "x\x00\ud800")
    await store.sessions.add(odd)
    assert (await store.sessions.all(now=NOW))[0].user_agent == "x\\x00\\ud800"
