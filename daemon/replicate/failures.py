"""Why a connection failed, and what the user can do about it: proxy, certificate, name, silence. No secret is told.

aiohttp reads the environment as curl does: ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` (names and ``.suffixes``,
no networks); OpenSSL reads ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``. All of it when the process starts.
"""

from __future__ import annotations

import aiohttp

from ..connecting import explain_connection

_STATUS_PAGE = "Check the network, the proxy settings (`env | grep -i proxy`) and Replicate's status page."


def explain(problem: Exception) -> str:
    """One or two sentences: what happened, what to do."""
    match problem:
        case aiohttp.ClientHttpProxyError(status=407):
            return (
                "the proxy asks for a login (407). Write it into HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT and "
                "restart."
            )
        case aiohttp.ClientHttpProxyError():
            return (
                f"the proxy refused the connection ({problem.status}). It must let CONNECT to port 443 through; or "
                "name the host in NO_PROXY, and restart."
            )
        case aiohttp.ClientProxyConnectionError():
            return (
                f"the proxy {problem.host}:{problem.port} does not answer. Correct HTTPS_PROXY, or name the host in "
                "NO_PROXY, and restart."
            )
        case aiohttp.ClientConnectorCertificateError():
            return (
                f"its certificate is not trusted ({_certificate_words(problem)}). Where a company's own authority "
                "signs, name that authority's file in SSL_CERT_FILE and restart."
            )
        case aiohttp.ClientConnectorDNSError():
            return (
                f"the name {problem.host} cannot be resolved. Check DNS; where only a proxy leads out, set HTTPS_PROXY "
                "and restart."
            )
        case _:
            return f"{explain_connection(problem)}. {_STATUS_PAGE}"


def _certificate_words(problem: aiohttp.ClientConnectorCertificateError) -> str:
    inner = problem.certificate_error
    return str(getattr(inner, "verify_message", "") or inner)
