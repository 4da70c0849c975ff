"""GET over a blocking socket, for threads: what comes is read straight into a buffer of the caller's.

An event loop would copy every piece twice and hold up everything else of the daemon meanwhile. Connecting is the
caller's matter (``opening.py``): so the address that was checked is the one that is talked to.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from functools import cache

import msgspec

from ..connecting import explain_connection


class Broken(Exception):
    """The connection failed, or what came was not HTTP."""


class Tunnel(msgspec.Struct, frozen=True):
    """An HTTP proxy that is asked for a connection to ``host:port`` first."""

    host: str
    port: int
    headers: dict[str, str]


class Connection:
    """One connection, used by one thread at a time; ``abort`` may come from any."""

    def __init__(self, connected: socket.socket, *, seconds: float) -> None:
        """``seconds`` without a single byte are the end: ``TimeoutError``."""
        connected.setblocking(True)
        connected.settimeout(seconds)
        self._raw = connected  # what abort() shuts, however many layers are on it
        self._http = http.client.HTTPConnection("unused.invalid")
        self._http.auto_open = 0  # it never connects by itself
        self._http.sock = connected
        self._answer: http.client.HTTPResponse | None = None
        self.aborted = threading.Event()

    def tunnel(self, tunnel: Tunnel) -> None:
        """Through a proxy: afterwards the other end is ``tunnel``'s."""
        where = f"[{tunnel.host}]" if ":" in tunnel.host else tunnel.host
        lines = [f"CONNECT {where}:{tunnel.port} HTTP/1.1", f"Host: {where}:{tunnel.port}"]
        lines += [f"{name}: {value}" for name, value in tunnel.headers.items()]
        with self.failures():
            self._http.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            answer = http.client.HTTPResponse(self._http.sock, method="CONNECT")
            answer.begin()
            if answer.status != 200:
                raise Broken(f"the proxy answered {answer.status} {answer.reason}".rstrip())

    def encrypt(self, name: str) -> None:
        """Speak TLS from now on, with somebody who can prove to be ``name``."""
        with self.failures():
            layer = _context().wrap_socket(self._http.sock, server_hostname=name, do_handshake_on_connect=False)
            self._raw = self._http.sock = layer  # before the handshake: it too can be aborted
            if self.aborted.is_set():
                raise Broken("given up")
            layer.do_handshake()

    def get(self, target: str, headers: Mapping[str, str]) -> Reply:
        """Ask for ``target`` (a path, or the whole address where a proxy is to fetch it); the answer's head."""
        with self.failures():
            self._http.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                self._http.putheader(name, value)
            self._http.endheaders()
            self._answer = self._http.getresponse()
            return Reply(self, self._answer)

    def abort(self) -> None:
        """End whatever a thread is doing with it."""
        self.aborted.set()
        with contextlib.suppress(OSError):
            # Not SSLSocket's own: that takes the TLS off, and the reader would take ciphertext for the file.
            socket.socket.shutdown(self._raw, socket.SHUT_RDWR)

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._http.close()
        self._raw.close()

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """What goes wrong on the connection as ``Broken`` with the reason; ``TimeoutError`` stays what it is."""
        try:
            yield
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as problem:  # the latter: closed meanwhile
            raise Broken(explain_connection(problem)) from None


class Reply:
    """An answer whose body has not been read yet."""

    def __init__(self, connection: Connection, answer: http.client.HTTPResponse) -> None:
        self.connection = connection
        self._answer = answer
        self._left = None if answer.chunked else answer.length
        self.status = answer.status
        self.reason = answer.reason
        self.length = self._left  # bytes of the body, where the server says so

    def header(self, name: str) -> str | None:
        return self._answer.headers.get(name)

    def headers(self, name: str) -> list[str]:
        return self._answer.headers.get_all(name, [])

    def read_into(self, view: memoryview) -> int:
        """What has come, at most ``view`` and at least one byte; 0 at the end of the body, or where it was cut."""
        if self._left == 0 or self._answer.fp is None:
            return 0
        with self.connection.failures():
            if self._answer.chunked:
                return self._read_chunked(view)
            wanted = view if self._left is None else view[: self._left]
            count = self._answer.fp.readinto1(wanted)
            if self.connection.aborted.is_set():
                raise Broken("given up")
            if self._left is not None:
                self._left -= count
            return count

    def _read_chunked(self, view: memoryview) -> int:
        block = self._answer.read1(len(view))
        view[: len(block)] = block
        return len(block)

    def finished(self) -> bool:
        """Whether the body has been read to its end and the connection takes another request: then it is freed."""
        if self._left != 0 or self._answer.will_close:
            return False
        self._answer.close()
        return True


@cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()  # the system's authorities, or those of SSL_CERT_FILE
    context.set_alpn_protocols(["http/1.1"])
    return context
