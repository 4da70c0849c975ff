"""The three ways in which Replicate's parts write JSON. A signature holds for one of them only.

``go``      compact, keys sorted (a map), ``<``, ``>``, ``&``, U+2028 and U+2029 escaped, other non-ASCII raw
``django``  compact, keys in order, only U+2028 and U+2029 escaped, other non-ASCII raw
``python``  ``requests(json=…)``: blanks after ``,`` and ``:``, keys in order, non-ASCII escaped
"""

from __future__ import annotations

import json
from typing import Any

from .faults import Style

_LINE_ENDS = {"\u2028": "\\u2028", "\u2029": "\\u2029"}
_GO = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", **_LINE_ENDS}


def encode(value: Any, style: Style, *, sort_keys: bool | None = None) -> bytes:
    """``value`` as that backend's JSON, without a trailing newline. ``sort_keys`` overrides the style's own."""
    if style == "python":
        return json.dumps(value, sort_keys=bool(sort_keys)).encode()
    sort = style == "go" if sort_keys is None else sort_keys
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort)
    # These characters occur inside strings only, so replacing them in the whole text is safe.
    for character, escape in (_GO if style == "go" else _LINE_ENDS).items():
        text = text.replace(character, escape)
    return text.encode("utf-8", "surrogatepass")
