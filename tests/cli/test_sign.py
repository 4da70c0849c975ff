"""``sign`` and ``verify`` against the published vectors, and against each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of the reference libraries' tests
ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
GIVEN = ("--id", ID, "--timestamp", TIMESTAMP)


@pytest.fixture
def body(tmp_path: Path) -> str:
    (tmp_path / "body.json").write_bytes(BODY)
    return str(tmp_path / "body.json")


async def test_the_published_vector_is_signed(tunerd, body: str) -> None:
    result = await tunerd("sign", "--secret", SECRET, *GIVEN, body)
    assert (result.code, result.out) == (
        0,
        f"webhook-id: {ID}\nwebhook-timestamp: {TIMESTAMP}\nwebhook-signature: {SIGNATURE}\n",
    )
    piped = await tunerd("sign", *GIVEN, "-", "--json", given=BODY, TUNERD_WEBHOOK_SECRET=SECRET)
    assert piped.json() == {"webhook-id": ID, "webhook-timestamp": TIMESTAMP, "webhook-signature": SIGNATURE}


@pytest.mark.parametrize(
    ("signature", "more", "code", "verdict"),
    [
        (SIGNATURE, (), 0, "ok"),
        (f"v2,AAAA malformed {SIGNATURE}", (), 0, "ok"),
        (SIGNATURE, ("--tolerance", "300"), 1, "stale"),
        (SIGNATURE.replace("OE=", "OA="), (), 1, "invalid"),
        ("", (), 1, "missing"),
    ],
)
async def test_verify(tunerd, body: str, signature: str, more: tuple[str, ...], code: int, verdict: str) -> None:
    arguments = ("verify", "--secret", SECRET, *GIVEN, f"--signature={signature}", *more, body)
    result = await tunerd(*arguments, "--json")
    assert (result.code, result.json()["verdict"], result.json()["valid"]) == (code, verdict, code == 0)
    assert (await tunerd(*arguments)).code == code


async def test_one_of_several_secrets_is_enough(tunerd, body: str) -> None:
    other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    result = await tunerd("verify", *GIVEN, "--signature", SIGNATURE, body, TUNERD_WEBHOOK_SECRET=f"{other} {SECRET}")
    assert result.code == 0


async def test_sign_makes_a_new_id_for_now(tunerd, body: str) -> None:
    first, second = [json.loads((await tunerd("sign", "--secret", SECRET, body, "--json")).out) for _ in range(2)]
    assert first["webhook-id"] != second["webhook-id"]
    given = [f"--{name}={first[f'webhook-{name}']}" for name in ("id", "timestamp", "signature")]
    result = await tunerd("verify", "--secret", SECRET, *given, "--tolerance", "60", body)
    assert (result.code, result.err) == (0, "")
