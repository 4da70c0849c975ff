"""The whole tree of errors that people and programs see.

Each class carries a stable ``code``, the HTTP ``status`` it is answered with and a short ``title``;
the instance carries ``detail``: what happened and what to do next. Nothing secret goes into ``detail``.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TunerdError(Exception):
    """Base of every expected failure. ``detail`` says what happened and what to do next."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after  # seconds; becomes the Retry-After header
        self.extra = extra  # further members of the problem object, e.g. field="version"


# -- general -------------------------------------------------------------------------------


class InvalidJson(TunerdError):
    code, status, title = "invalid_json", 400, "The body is not valid JSON"


class InvalidRequest(TunerdError):
    code, status, title = "invalid_request", 400, "The request is not valid"


class NotFound(TunerdError):
    code, status, title = "not_found", 404, "Nothing is here"


class MethodNotAllowed(TunerdError):
    code, status, title = "method_not_allowed", 405, "This method is not allowed here"


class BodyTooLarge(TunerdError):
    code, status, title = "body_too_large", 413, "The body is too large"


class Unauthorized(TunerdError):
    code, status, title = "unauthorized", 401, "An admin token is needed"


class CrossSite(TunerdError):
    code, status, title = "cross_site", 403, "Requests from other sites are refused"


class ForwardedInvalid(TunerdError):
    code, status, title = "forwarded_invalid", 400, "The proxy's forwarding header is malformed"


class RangeNotSatisfiable(TunerdError):
    code, status, title = "range_not_satisfiable", 416, "The range begins after the end"


class ProviderUnavailable(TunerdError):
    code, status, title = "provider_unavailable", 502, "Replicate could not be reached"


# -- webhook receiver ----------------------------------------------------------------------


class IpNotAllowed(TunerdError):
    code, status, title = "ip_not_allowed", 403, "This address is not allowed"


class SignatureMissing(TunerdError):
    code, status, title = "signature_missing", 401, "The signature headers are missing"


class SignatureInvalid(TunerdError):
    code, status, title = "signature_invalid", 401, "The signature does not match"


class TimestampOutOfTolerance(TunerdError):
    code, status, title = "timestamp_out_of_tolerance", 401, "The timestamp is out of tolerance"


class RateLimited(TunerdError):
    code, status, title = "rate_limited", 429, "Too many requests from one address"


class NotReady(TunerdError):
    """Whatever may be a good event gets this and never a 4xx: the sender tries again."""

    code, status, title = "not_ready", 503, "Not ready"


# -- settings and token --------------------------------------------------------------------


class UnknownSetting(TunerdError):
    code, status, title = "unknown_setting", 400, "There is no such setting"


class InvalidSetting(TunerdError):
    code, status, title = "invalid_setting", 400, "The setting's value is not valid"


class SettingPinned(TunerdError):
    code, status, title = "setting_pinned", 409, "The setting is pinned"


class TokenInvalidFormat(TunerdError):
    code, status, title = "token_invalid_format", 400, "This is not a Replicate API token"


class TokenNotStored(TunerdError):
    code, status, title = "token_not_stored", 404, "No token is stored"


class TokenMissing(TunerdError):
    code, status, title = "token_missing", 409, "No Replicate API token is configured"


# -- jobs ----------------------------------------------------------------------------------


class JobNotFound(TunerdError):
    code, status, title = "job_not_found", 404, "There is no such job"


class JobFinished(TunerdError):
    code, status, title = "job_finished", 409, "The job has finished"


class NothingToDeliver(TunerdError):
    code, status, title = "nothing_to_deliver", 409, "There is nothing to deliver"


class NothingToCancel(TunerdError):
    code, status, title = "nothing_to_cancel", 409, "There is nothing to cancel"


class DestinationNotFound(TunerdError):
    code, status, title = "destination_not_found", 404, "There is no such destination"


class EndpointNotFound(TunerdError):
    code, status, title = "endpoint_not_found", 404, "There is no such endpoint"


class ConfigInvalid(TunerdError):
    code, status, title = "config_invalid", 400, "The training configuration is not valid"


class CostLimitExceeded(TunerdError):
    code, status, title = "cost_limit_exceeded", 403, "The cost limit would be exceeded"


class IdempotencyConflict(TunerdError):
    code, status, title = "idempotency_conflict", 409, "This key was used with another request"


class ArchiveTooLarge(TunerdError):
    code, status, title = "archive_too_large", 413, "The packaged dataset is too large"


class DatasetUnreadable(TunerdError):
    code, status, title = "dataset_unreadable", 400, "The dataset cannot be read"


class DatasetEmpty(TunerdError):
    code, status, title = "dataset_empty", 400, "The dataset is empty"


class WebhookUrlInvalid(TunerdError):
    code, status, title = "webhook_url_invalid", 400, "The webhook URL is not valid"


class ProviderError(TunerdError):
    code, status, title = "provider_error", 502, "Replicate refused or failed the request"


# -- start and storage ---------------------------------------------------------------------


class BodyPruned(TunerdError):
    code, status, title = "body_pruned", 410, "The body was pruned"


class JournalDamaged(TunerdError):
    """A stored body is not what was received: the disk or the file is damaged."""

    title = "The journal is damaged"


class Misconfigured(TunerdError):
    """The daemon cannot start as configured; the command line exits with 78 (EX_CONFIG)."""

    code, status, title = "misconfigured", 500, "The configuration is not valid"


class ConfigurationInvalid(TunerdError):
    """A reload found a configuration that is not valid; the one in force stays."""

    code, status, title = "misconfigured", 400, "The configuration is not valid"


class ReloadRefused(TunerdError):
    """A reload would change what only a restart can change; ``settings`` names it."""

    code, status, title = "restart_needed", 409, "This needs a restart"


class DatabaseInUse(Misconfigured):
    title = "Another process has this database open"


class DatabaseTooNew(Misconfigured):
    title = "The database was written by a newer tunerd"
