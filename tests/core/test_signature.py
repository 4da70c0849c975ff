"""The signature check: published vectors, the reference libraries' signatures, and any bytes at all."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
import standardwebhooks
import svix
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.signature import Verdict, sign, verify
from daemon.parsing import decode_webhook_secret

KEY_1 = decode_webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
KEY_5 = decode_webhook_secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
ID_1, TIME_1, BODY_1 = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
GOOD_1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
BODY_5 = '{"id":"ufawqhfynnddngldkgtslldrkq","status":"starting","logs":"café ✓\\n","output":null}\n'.encode()


def judge(signature: str | None, body: bytes = BODY_1, *, keys: tuple[bytes, ...] = (KEY_1,)) -> Verdict:
    return verify(keys, ID_1, TIME_1, signature, body, now=float(TIME_1))


@pytest.mark.parametrize(
    ("key", "webhook_id", "timestamp", "body", "signature"),
    [
        pytest.param(KEY_1, ID_1, TIME_1, BODY_1, GOOD_1, id="1 published by every client library"),
        pytest.param(
            KEY_1,
            ID_1,
            TIME_1,
            b'{"test":2432232314}',
            "v1,Vif40peJBP7Iyl0XGmu61n4MwdrcHov5CFREBpE0svs=",
            id="4 other white space, other signature",
        ),
        pytest.param(
            KEY_5,
            "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
            "1674087231",
            BODY_5,
            "v1,yY+Byda8KwINSIunZFKg/sU5AjzyDFkuhnG+5ENE5d8=",
            id="5 UTF-8",
        ),
        pytest.param(KEY_5, "msg_0", "0", b"", "v1,qVRD3zxqbclekwmd6MoF+JIHQQ0Z3NZPlRkC+5rmCj8=", id="6 empty body"),
    ],
)
def test_vectors(key: bytes, webhook_id: str, timestamp: str, body: bytes, signature: str) -> None:
    assert sign(key, webhook_id, timestamp, body) == signature
    assert verify((key,), webhook_id, timestamp, signature, body, now=float(timestamp)) is Verdict.OK


def test_the_utf8_vector_has_91_bytes() -> None:
    assert len(BODY_5) == 91


def test_vector_2_one_of_several_signatures_is_enough() -> None:
    assert judge(f"v1,{OTHER} v2,{OTHER} {GOOD_1} v1,{OTHER}") is Verdict.OK


def test_vector_3_one_character_off() -> None:
    assert judge(GOOD_1.replace("1OE=", "1OA=")) is Verdict.INVALID


def test_vector_4_a_body_written_anew_fails() -> None:
    assert judge(GOOD_1, b'{"test":2432232314}') is Verdict.INVALID


@pytest.mark.parametrize("key", [KEY_1, KEY_5])
def test_any_live_key_is_enough(key: bytes) -> None:
    assert judge(sign(key, ID_1, TIME_1, BODY_1), keys=(KEY_1, KEY_5)) is Verdict.OK


@pytest.mark.parametrize(
    "entry",
    [
        "",
        ",",
        "v1",
        "v1,",
        "v1,,",
        "v1,==",
        "v1,*",
        "v2," + OTHER,
        "v1a," + OTHER,
        "V1," + OTHER,
        "nonsense",
        "v1,é\udcff",
    ],
)
def test_entries_that_say_nothing_are_skipped(entry: str) -> None:
    assert judge(f"{entry} {GOOD_1}") is Verdict.OK
    assert judge(entry) in {Verdict.INVALID, Verdict.MISSING}


@pytest.mark.parametrize("version", ["v2", "v9", "v1a", "V1", "", "v11"])
def test_only_version_1_counts(version: str) -> None:
    assert judge(GOOD_1.replace("v1", version)) is Verdict.INVALID


def test_header_lines_that_a_proxy_joined() -> None:
    assert judge(f"v1,{OTHER}, {GOOD_1}") is Verdict.OK
    assert judge(f"{GOOD_1}, v1,{OTHER}") is Verdict.OK


@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("value", [None, ""])
def test_missing(missing: int, value: str | None) -> None:
    headers: list[str | None] = [ID_1, TIME_1, GOOD_1]
    headers[missing] = value
    assert verify((KEY_1,), *headers, BODY_1, now=float(TIME_1)) is Verdict.MISSING


def test_without_a_key_nothing_matches() -> None:
    assert judge(GOOD_1, keys=()) is Verdict.INVALID


@pytest.mark.parametrize(
    ("off", "verdict"),
    [(0, Verdict.OK), (300, Verdict.OK), (-300, Verdict.OK), (301, Verdict.STALE), (-301, Verdict.STALE)],
)
def test_tolerance_either_way(off: float, verdict: Verdict) -> None:
    assert verify((KEY_1,), ID_1, TIME_1, GOOD_1, BODY_1, now=float(TIME_1) + off) is verdict


@pytest.mark.parametrize(
    "timestamp",
    [
        "nan",
        "inf",
        "1e3",
        " 12",
        "12 ",
        "12.0",
        "0x10",
        "1_0",
        "+1",
        "--1",
        "-",
        "١٢",
        "1²",
        "9" * 400,
        "\udcff",
    ],
)
def test_a_signed_time_that_is_none_is_stale(timestamp: str) -> None:
    signature = sign(KEY_1, ID_1, timestamp, BODY_1)
    assert verify((KEY_1,), ID_1, timestamp, signature, BODY_1, now=12.0) is Verdict.STALE


def test_the_signature_is_judged_before_the_time() -> None:
    assert verify((KEY_5,), ID_1, TIME_1, GOOD_1, BODY_1, now=0.0) is Verdict.INVALID
    assert verify((KEY_1,), ID_1, TIME_1, GOOD_1, BODY_1, now=0.0) is Verdict.STALE


def test_header_bytes_that_are_no_utf8() -> None:
    webhook_id = b"msg_\xff\xfe".decode("utf-8", "surrogateescape")  # as aiohttp hands it on
    signature = sign(KEY_1, webhook_id, "12", b"x")
    assert verify((KEY_1,), webhook_id, "12", signature, b"x", now=12.0) is Verdict.OK


SECRETS = [base64.b64encode(bytes(range(size))).decode() for size in (24, 32, 64)]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.Webhook])
def test_the_reference_libraries_and_we_agree(library: type, secret: str) -> None:
    now = dt.datetime.now(tz=dt.UTC)
    timestamp, body, key = str(int(now.timestamp())), BODY_5, decode_webhook_secret(f"whsec_{secret}")
    theirs = library(f"whsec_{secret}").sign("msg_1", now, body.decode())
    assert verify((key,), "msg_1", timestamp, theirs, body, now=now.timestamp()) is Verdict.OK
    prefix = "svix" if library is svix.Webhook else "webhook"
    ours = {"id": "msg_1", "timestamp": timestamp, "signature": sign(key, "msg_1", timestamp, body)}
    library(f"whsec_{secret}").verify(body, {f"{prefix}-{name}": value for name, value in ours.items()})


ANY_TEXT = st.none() | st.text() | st.text(st.characters(categories=("Cs", "Nd", "Zs", "Ll", "Po")))


@given(
    keys=st.lists(st.binary(max_size=80), max_size=3),
    headers=st.tuples(ANY_TEXT, ANY_TEXT, ANY_TEXT | st.just(f"v1,{OTHER}")),
    body=st.binary(max_size=300),
    now=st.floats(),
    tolerance=st.floats(),
)
def test_any_input_gives_a_verdict(
    keys: list[bytes], headers: tuple[str | None, ...], body: bytes, now: float, tolerance: float
) -> None:
    webhook_id, timestamp, signature = headers
    assert isinstance(verify(keys, webhook_id, timestamp, signature, body, now=now, tolerance=tolerance), Verdict)


@given(
    key=st.binary(min_size=1, max_size=80), webhook_id=st.text(min_size=1), at=st.integers(0, 10**12), body=st.binary()
)
def test_what_we_sign_we_accept(key: bytes, webhook_id: str, at: int, body: bytes) -> None:
    signature = sign(key, webhook_id, str(at), body)
    assert verify((key,), webhook_id, str(at), signature, body, now=float(at)) is Verdict.OK
    assert verify((key,), webhook_id, str(at), signature, body + b"x", now=float(at)) is Verdict.INVALID
