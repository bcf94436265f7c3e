"""Tables of the history store. One schema for SQLite and MySQL/MariaDB; migrations stand in ``migrations``.

Every instant is a column ending in ``_at`` (or ``deadline``): seconds since the Unix epoch, UTC, as a double, because
windows of samples are arithmetic. Run records leave the store with ISO 8601 again. JSON columns hold what the
architecture calls by the same name.
"""

from __future__ import annotations

import sqlalchemy as sa

REVISION = "0003"  # head of the migrations; a test compares the two

metadata = sa.MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s"})

_HOST = sa.String(255)
_PROCEDURE = sa.String(64)
_RUN_ID = sa.String(64)
_WORD = sa.String(32)
_NAME = sa.String(255)
_JSON = sa.JSON(none_as_null=True)
# MySQL's BLOB ends at 64 KB: of this length it is a MEDIUMBLOB.
_BYTES = sa.LargeBinary(length=(1 << 24) - 1)
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER PRIMARY KEY counts up by itself there

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", _RUN_ID, primary_key=True),
    sa.Column("procedure", _PROCEDURE, nullable=False),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("operator", _NAME),
    sa.Column("check_mode", sa.Boolean(), nullable=False, default=False),
    sa.Column("started_at", sa.Double(), nullable=False),
    sa.Column("deadline", sa.Double()),
    sa.Column("ended_at", sa.Double()),
    sa.Column("budget_s", sa.Double()),
    sa.Column("outcome", _WORD),
    sa.Column("steps", _JSON),
    sa.Column("verdict_before", _JSON),
    sa.Column("verdict_after", _JSON),
    sa.Column("escalated_to", _NAME),
    sa.Column("previous_run", _JSON),
    sa.Column("reports", _JSON),
    sa.Index(None, "host", "procedure", "started_at"),
    sa.Index(None, "started_at"),
)

samples = sa.Table(
    "samples",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("at", sa.Double(), nullable=False),
    sa.Column("source", _PROCEDURE, nullable=False),
    sa.Column("run_id", _RUN_ID),  # of the run that took it, if one did
    sa.Column("ok", sa.Boolean(), nullable=False),  # the application answered as it should
    sa.Column("latency_ms", sa.Double()),
    sa.Column("overall", _WORD, nullable=False),
    sa.Column("status", sa.Integer()),  # HTTP
    sa.Column("memory_bytes", sa.BigInteger()),
    sa.Column("cpu_percent", sa.Double()),
    sa.Column("restarts", sa.Integer()),
    sa.Column("data", _JSON),
    sa.Index(None, "host", "at"),
    sa.Index(None, "run_id", unique=True),
)

# Raw samples of one hour (UTC) of one host, packed: see orquestrador_ops.sla.data.series. A sample is either here or a
# row of samples; one that is in both is the same one.
sample_blocks = sa.Table(
    "sample_blocks",
    metadata,
    sa.Column("host", _HOST, primary_key=True),
    sa.Column("start_at", sa.Double(), primary_key=True),
    sa.Column("layout", sa.Integer(), nullable=False),
    sa.Column("count", sa.Integer(), nullable=False),
    sa.Column("good", sa.Integer(), nullable=False),  # of which the application answered as it should
    sa.Column("errors_day", sa.Integer()),  # as the last probe of the hour reported it
    sa.Column("data", _BYTES, nullable=False),
)

# What is left of one day (UTC) of one host once its samples are gone: see orquestrador_ops.sla.data.rollups. Where
# there is a row, it alone speaks for the day.
sample_rollups = sa.Table(
    "sample_rollups",
    metadata,
    sa.Column("host", _HOST, primary_key=True),
    sa.Column("start_at", sa.Double(), primary_key=True),
    sa.Column("resolution_s", sa.Integer(), nullable=False),
    sa.Column("layout", sa.Integer(), nullable=False),
    sa.Column("count", sa.Integer(), nullable=False),
    sa.Column("good", sa.Integer(), nullable=False),
    sa.Column("data", _BYTES, nullable=False),
)

# What was counted in a host's logs: requests and those that were answered with an error.
log_counts = sa.Table(
    "log_counts",
    metadata,
    sa.Column("host", _HOST, primary_key=True),
    sa.Column("start_at", sa.Double(), primary_key=True),
    sa.Column("source", _PROCEDURE, primary_key=True),
    sa.Column("seconds", sa.Double(), nullable=False),
    sa.Column("requests", sa.BigInteger(), nullable=False),
    sa.Column("errors", sa.BigInteger(), nullable=False),
)

memories = sa.Table(
    "memories",
    metadata,
    sa.Column("host", _HOST, primary_key=True),
    sa.Column("procedure", _PROCEDURE, primary_key=True),
    sa.Column("taken_at", sa.Double(), nullable=False),
    sa.Column("data", _JSON, nullable=False),
)

planned_restarts = sa.Table(
    "planned_restarts",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("app", _NAME, nullable=False),
    sa.Column("at", sa.Double(), nullable=False),
    sa.Column("run_id", _RUN_ID),
    sa.Column("count", sa.Integer(), nullable=False),
    sa.Index(None, "host", "at"),
)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("procedure", _PROCEDURE, nullable=False),
    sa.Column("severity", _WORD, nullable=False),
    sa.Column("opened_at", sa.Double(), nullable=False),  # when it was detected
    sa.Column("acted_at", sa.Double()),
    sa.Column("closed_at", sa.Double()),  # when recovery was proven
    sa.Column("run_id", _RUN_ID),
    sa.Column("escalated_to", _NAME),
    sa.Column("data", _JSON),  # symptom, reasons, evidence, what was tried, what is proposed, timeline
    sa.Column("key", _NAME),  # of what is the same incident: host and alert
    sa.Column("level", _WORD),  # of the matrix of escalation: L1 to L4
    sa.Column("next_at", sa.Double()),  # when it goes to the next level, unless acknowledged
    sa.Column("acknowledged_at", sa.Double()),
    sa.Column("acknowledged_by", _NAME),
    sa.Column("updated_at", sa.Double()),
    sa.Index(None, "host", "opened_at"),
    sa.Index(None, "key", "closed_at"),
)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("incident_id", _ID),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("at", sa.Double(), nullable=False),
    sa.Column("level", _WORD, nullable=False),
    sa.Column("channel", _NAME, nullable=False),  # kind and name, never an address with its secret
    sa.Column("outcome", _WORD, nullable=False),  # sent, failed
    sa.Column("reason", sa.Text()),
    sa.Column("key", _NAME),  # a message of this key was told already
    sa.Column("run_id", _RUN_ID),
    sa.Index(None, "incident_id", "at"),
    sa.Index(None, "key", "at"),
)

recoveries = sa.Table(
    "recoveries",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("procedure", _PROCEDURE, nullable=False),
    sa.Column("started_at", sa.Double(), nullable=False),
    sa.Column("ended_at", sa.Double()),  # none: it never came to an end
    sa.Column("outcome", _WORD),  # recovered, failed, nothing
    sa.Column("automatic", sa.Boolean(), nullable=False, default=False),
    sa.Column("trial", sa.Boolean(), nullable=False, default=False),  # the one that an open breaker lets through
    sa.Column("run_id", _RUN_ID),
    sa.Index(None, "host", "procedure", "started_at"),
    sa.Index(None, "run_id", unique=True),
)

breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("host", _HOST, primary_key=True),
    sa.Column("procedure", _PROCEDURE, primary_key=True),
    sa.Column("opened_at", sa.Double()),
    sa.Column("trial_at", sa.Double()),  # when the trial after the cool-down was let through
    sa.Column("closed_at", sa.Double()),
    sa.Column("closed_by", _NAME),
    sa.Column("data", _JSON),
)

watch_cycles = sa.Table(
    "watch_cycles",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("started_at", sa.Double(), nullable=False),
    sa.Column("ended_at", sa.Double()),
    sa.Column("outcome", _WORD, nullable=False),  # done, skipped, late
    sa.Column("hosts", sa.Integer()),
    sa.Column("acted", sa.Integer()),
    sa.Column("data", _JSON),
    sa.Index(None, "started_at"),
)

maintenance_windows = sa.Table(
    "maintenance_windows",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("starts_at", sa.Double(), nullable=False),
    sa.Column("ends_at", sa.Double(), nullable=False),
    sa.Column("ended_at", sa.Double()),  # when it was closed early
    sa.Column("operator", _NAME),
    sa.Column("reason", sa.Text()),
    sa.Column("run_id", _RUN_ID),
    sa.Index(None, "host", "starts_at"),
)

drills = sa.Table(
    "drills",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("host", _HOST, nullable=False),
    sa.Column("scenario", _PROCEDURE, nullable=False),
    sa.Column("operator", _NAME),
    sa.Column("started_at", sa.Double(), nullable=False),
    sa.Column("detected_at", sa.Double()),
    sa.Column("recovered_at", sa.Double()),
    sa.Column("ended_at", sa.Double()),
    sa.Column("outcome", _WORD),
    sa.Column("run_id", _RUN_ID),
    sa.Column("data", _JSON),
    sa.Index(None, "host", "started_at"),
)

certifications = sa.Table(
    "certifications",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("operator", _NAME, nullable=False),
    sa.Column("skill", _PROCEDURE, nullable=False),
    sa.Column("granted_at", sa.Double(), nullable=False),
    sa.Column("expires_at", sa.Double()),
    sa.Column("granted_by", _NAME),
    sa.Column("run_id", _RUN_ID),
    sa.Column("data", _JSON),
    sa.Index(None, "operator", "skill"),
)
