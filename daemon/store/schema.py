"""The tables, one definition for SQLite and PostgreSQL. Each column says when it changes.

Times are unix seconds (double precision). Money is US dollars. JSON is kept as text: nothing queries inside it.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

# SQLite gives an AUTOINCREMENT rowid only to the exact type INTEGER; PostgreSQL needs 64 bits.
_Seq = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

events = sa.Table(
    "events",
    metadata,
    # Nothing in a row changes after the insert, except job_id when two rows of one job are merged, and how or whether
    # the body is kept when a finished job is pruned.
    sa.Column("seq", _Seq, primary_key=True, autoincrement=True),
    sa.Column("webhook_id", sa.Text, nullable=False, unique=True),  # polls make their own: poll_…
    sa.Column("webhook_timestamp", sa.Text),  # as received, so that anyone can verify again
    sa.Column("webhook_signature", sa.Text),
    sa.Column("job_id", sa.Text),  # null: unrecognized
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("received_at", sa.Double, nullable=False),
    sa.Column("source", sa.Text, nullable=False),  # webhook | poll
    sa.Column("source_ip", sa.Text),
    sa.Column("verified", sa.Boolean, nullable=False),
    # The body, stored as growth: base_seq's first `head` bytes + unzstd(middle) + base_seq's last `tail` bytes.
    # base_seq null: `middle` is the whole body.
    sa.Column("body_bytes", sa.BigInteger, nullable=False),
    sa.Column("base_seq", sa.BigInteger),
    sa.Column("whole_seq", sa.BigInteger),  # the whole body this chain begins at; null: this one is whole
    sa.Column("head", sa.BigInteger, nullable=False),
    sa.Column("tail", sa.BigInteger, nullable=False),
    sa.Column("middle", sa.LargeBinary, nullable=False),
    sa.Column("body_crc32", sa.BigInteger, nullable=False),  # of the whole body: `events verify`
    sa.Column("traceparent", sa.Text),  # W3C Trace Context: the span that took it in, else the sender's
    sa.Column("pruned_at", sa.Double),  # the body was thrown away then (care/prune.py); null: it is here
    sa.Column("webhook_id_sent", sa.LargeBinary),  # the header's bytes, where they are too long or too odd for a key
    sa.Index("events_job_seq", "job_id", "seq"),
    sqlite_autoincrement=True,  # a sequence number is never used again, whatever is pruned
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("provider", sa.Text, nullable=False),  # "replicate"
    sa.Column("provider_job_id", sa.Text, unique=True),  # set once, by the create call's answer or the first event
    sa.Column("api_kind", sa.Text, nullable=False),  # prediction | training: which API path answers for it
    sa.Column("submitted", sa.Boolean, nullable=False),  # by this daemon; false: first seen in an event
    sa.Column("status", sa.Text, nullable=False),  # core.jobs.JobStatus
    sa.Column("provider_status", sa.Text),  # the provider's word, each event
    sa.Column("model", sa.Text),
    sa.Column("version", sa.Text),
    sa.Column("hardware", sa.Text),
    sa.Column("config_name", sa.Text),
    sa.Column("created_at", sa.Double, nullable=False),  # ours: intent written, or first event received
    sa.Column("queued_at", sa.Double),  # the provider accepted it
    sa.Column("started_at", sa.Double),  # first event that tells; the provider's clock
    sa.Column("completed_at", sa.Double),  # the final event; the provider's clock, else ours
    sa.Column("updated_at", sa.Double, nullable=False),  # every event
    sa.Column("predict_time", sa.Double),  # seconds billed, from the final event's metrics
    sa.Column("cost_usd", sa.Double),  # at the final event
    sa.Column("cost_estimate", sa.Text),  # JSON {low_usd, expected_usd, high_usd, basis}, at submit
    sa.Column("error", sa.Text),
    sa.Column("output", sa.Text),  # JSON; the last that was not null (the provider removes it after an hour)
    sa.Column("progress", sa.Text),  # JSON {step,total_steps,percent,eta_seconds}, each event with logs
    sa.Column("metadata", sa.Text, nullable=False),  # JSON object, from the submit
    # What deriving the next event's kind needs (core.events.Seen), each event:
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("logs_chars", sa.BigInteger, nullable=False),
    sa.Column("output_digest", sa.Text),
    sa.Column("last_seq", sa.BigInteger),  # the job's newest event: the next body's base
    sa.Column("logs_seq", sa.BigInteger),  # the event with the longest log: where the log is read from
    # Submit's outbox:
    sa.Column("idempotency_key", sa.Text, unique=True),  # with the intent; null again where it failed and went nowhere
    sa.Column("request_digest", sa.Text),  # of the submitted body: same key, another body is a conflict
    sa.Column("request", sa.Text),  # JSON: what is to be sent to the provider, secrets excluded; with the intent
    sa.Column("destinations", sa.Text),  # JSON list of names; null: every configured one
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    # Reconciliation:
    sa.Column("checked_at", sa.Double),  # last answered poll
    sa.Column("check_after", sa.Double),  # backoff after a 404 or an error
    sa.Column(
        "delivery_generation", sa.Integer, nullable=False
    ),  # +1 with each redeliver, or an output that comes late
    # Which daemon works on the intent (`claims.py`); with the intent, renewed while it is being sent:
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_until", sa.Double),
    sa.Column("traceparent", sa.Text),  # the submit's, else that of the event that completed it: its delivery goes on
    sa.Column("cost_limit_warning", sa.Text),  # what a limit that only warns said, with the intent
    sa.Column("usd_per_second", sa.Double),  # the hardware's price at submit; null: unknown, or not submitted here
    # With each create call, before it goes out, and taken back where that certainly had no effect: null, Replicate
    # cannot have it; more than once, it may have it twice.
    sa.Column("sent_at", sa.Double),
    sa.Column("sends", sa.Integer),
    sa.Index("jobs_created", "created_at", "job_id"),
    sa.Index("jobs_status", "status"),
    sa.Index("jobs_completed", "completed_at"),  # what was spent since a day began
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    # One row per job and destination, made in the transaction that completes the job.
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, primary_key=True),  # its name
    sa.Column("type", sa.Text, nullable=False),  # local | huggingface | s3
    sa.Column("generation", sa.Integer, nullable=False),  # the workflow run it belongs to; +1 with each redeliver
    sa.Column("status", sa.Text, nullable=False),  # pending | running | delivered | failed
    sa.Column("url", sa.Text),  # where the result is, when delivered
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),  # why it failed or is being retried
    sa.Column("bytes_done", sa.BigInteger, nullable=False),
    sa.Column("bytes_total", sa.BigInteger),
    sa.Column("deadline", sa.Double),  # the output is gone after this
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("fetched_at", sa.Double),  # every file is staged: what expires at the provider is lost no more
    sa.Column("expiring_at", sa.Double),  # the alert before the deadline was raised; once in a generation
    sa.Column("delivered_before", sa.Text),  # "URL at TIME", where an earlier generation was delivered
    sa.Index("deliveries_status", "status"),
)

artifacts = sa.Table(
    "artifacts",
    metadata,
    # Written when a file was fetched whole; replaced by a redeliver.
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("source_url", sa.Text),  # data: URIs are shortened
)

settings = sa.Table(
    "settings",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),  # JSON
    sa.Column("updated_at", sa.Double, nullable=False),
)

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("ciphertext", sa.LargeBinary, nullable=False),  # Fernet; the key is outside the database
    sa.Column("updated_at", sa.Double, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    # One row per login of the web page.
    sa.Column("digest", sa.Text, primary_key=True),  # of the cookie, keyed with the admin token (web/sessions.py)
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),  # with last_used_at
    sa.Column("last_used_at", sa.Double, nullable=False),  # with use, once a minute at most
    sa.Column("address", sa.Text),  # of the login
    sa.Column("user_agent", sa.Text, nullable=False),  # of the login
)

notification_endpoints = sa.Table(
    "notification_endpoints",
    metadata,
    # Who is told of what happens here. Its URL and its key are among the secrets.
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("shown_url", sa.Text, nullable=False),  # the URL without what may be a credential
    sa.Column("events", sa.Text),  # JSON list of event types; null: every one
    sa.Column("allow_private", sa.Boolean, nullable=False),  # may be in a private network
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.Text),  # why the daemon itself stopped sending there
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("delivered_at", sa.Double),  # each success
    sa.Column("failing_since", sa.Double),  # the first failure after the last success
    sa.Column("last_error", sa.Text),  # each failure; null after a success
)

notifications = sa.Table(
    "notifications",
    metadata,
    # The outbox: one row per message and endpoint, written in the transaction of what it tells, gone once it is taken.
    sa.Column("message_id", sa.Text, primary_key=True),  # webhook-id: the same at every attempt
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),  # the body, as it is signed and sent
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", sa.Double),  # of the next attempt; null: given up
    sa.Column("last_error", sa.Text),
    sa.Column("claimed_by", sa.Text),  # the process that is sending it
    sa.Column("claimed_until", sa.Double),
    sa.Index("notifications_next", "endpoint", "next_at"),
)
