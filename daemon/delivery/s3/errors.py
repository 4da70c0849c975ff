"""What goes wrong at an S3 server, as ``Retry`` or ``Permanent`` with what to do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from ...core import retry_after
from .. import judging
from ..errors import Permanent, Retry
from ..judging import answered, file_gone, one_line

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_DENIED = frozenset({"403", "AccessDenied", "Forbidden", "AllAccessDisabled"})
_UNKNOWN = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405"})

_ADVICE = {
    "NoSuchBucket": "the bucket does not exist: make it, or correct its name, endpoint and region",
    "InvalidAccessKeyId": "the server does not know this access key",
    "SignatureDoesNotMatch": "the secret does not belong to the access key, or the region is another",
    "InvalidSecurity": "the credentials are not valid",
    "ExpiredToken": "the temporary credentials have expired",
    "InvalidToken": "the session token is not valid",
    "AccessDenied": "this access key may not do that: it needs s3:PutObject, s3:GetObject, s3:DeleteObject and "
    "s3:AbortMultipartUpload on the bucket's objects",
    "AllAccessDisabled": "all access to the bucket is disabled",
    "AccountProblem": "there is a problem with the account",
    "PermanentRedirect": "the bucket is in another region: set `region`",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set `region`",
    "IllegalLocationConstraintException": "the bucket is in another region: set `region`",
    "InvalidBucketName": "the bucket's name is not valid",
    "EntityTooLarge": "the file is larger than the server takes",
    "KeyTooLongError": "the key is too long: shorten the prefix",
    "InvalidRequest": "the server refuses the request",
    "MethodNotAllowed": "this is no S3 server, or not its address",
}
_RETRY_STATUS = frozenset({408, 409, 425, 429})
# Refused for now, though their status says otherwise.
_RETRY_CODES = frozenset(
    {"RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "BadDigest", "NoSuchUpload", "InvalidPart"}
)


class Missing(Permanent):
    """There is no such object."""


class Denied(Permanent):
    """This access key may not do that. Without the right to list the bucket, what is missing is denied, too."""


class UnknownCall(Permanent):
    """The server has no such operation."""


def judged(what: str) -> AbstractContextManager[None]:
    """What goes wrong inside becomes an outcome of the delivery that names ``what``."""
    return judging.judged(what, _outcome)


def _outcome(problem: Exception, what: str) -> Exception:
    """For a problem of botocore's, or of a file; any other stays what it is."""
    from botocore.exceptions import (  # noqa: PLC0415 - where it was raised, it is loaded
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    if isinstance(problem, (Retry, Permanent)):
        return problem
    if isinstance(problem, ClientError):
        return _answered(problem, what)
    if isinstance(problem, (NoCredentialsError, PartialCredentialsError)):
        return Permanent(
            f"{what}: no credentials: give access_key_id and secret_access_key, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the daemon's environment"
        )
    if isinstance(problem, ParamValidationError):
        return Permanent(f"{what}: {one_line(problem)}")
    if isinstance(problem, FileNotFoundError):
        return file_gone(what)
    if isinstance(problem, (BotoCoreError, OSError)):
        return Retry(f"{what}: {one_line(problem)}")
    return problem


def _answered(problem: Any, what: str) -> Retry | Permanent:
    code = str(problem.response.get("Error", {}).get("Code", ""))  # of an answer without a body: its HTTP status
    answer = problem.response.get("ResponseMetadata", {})
    status = int(answer.get("HTTPStatusCode") or 0)
    advice = _ADVICE.get("AccessDenied" if code in _DENIED else code)
    text = answered(what, code or status, advice, problem.response.get("Error", {}).get("Message"))
    if (status >= 500 and code not in _UNKNOWN) or status in _RETRY_STATUS or code in _RETRY_CODES:
        after = str(answer.get("HTTPHeaders", {}).get("retry-after", ""))
        return Retry(text, after=retry_after.seconds(after))
    for kind, codes in ((Missing, _MISSING), (Denied, _DENIED), (UnknownCall, _UNKNOWN)):
        if code in codes:
            return kind(text)
    return Permanent(text)
