"""The ledger's tables. Times are microseconds since the epoch, UTC; lists are JSON."""

import sqlalchemy as sa

METADATA = sa.MetaData()


def _text(name: str, *, key: bool = False, index: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, primary_key=key, index=index, nullable=False)


def _time(name: str, *, nullable: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _count(name: str, *, key: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, primary_key=key, nullable=False)


def _bytes(name: str) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary, nullable=False)


MESSAGES = sa.Table(
    "messages",
    METADATA,
    _text("event_id", key=True),
    _text("feed"),
    _text("message_control_id"),
    _bytes("sha256"),
    _time("received_at"),
    _text("acknowledgement_code"),
    _text("reason"),
    _text("kind"),
    _text("no_effect"),
    sa.Index("messages_by_control_id", "feed", "message_control_id"),
)
# One row for each order, report or patient event that was made of a raw message.
EFFECTS = sa.Table(
    "effects",
    METADATA,
    _text("event_id", key=True),
    _text("message_id", index=True),
    _text("topic"),
)
ORDERS = sa.Table(
    "orders",
    METADATA,
    _text("event_id", key=True),
    _text("message_id"),
    _count("ordinal"),
    _time("at"),
    _time("stamp"),
    _text("message_type"),
    _text("order_control"),
    _text("order_status"),
    _text("priority"),
    _text("study_instance_uid", index=True),
    _text("keys"),
    sa.Index("orders_by_message", "message_id", "ordinal"),
)
REPORTS = sa.Table(
    "reports",
    METADATA,
    _text("event_id", key=True),
    _time("at"),
    _text("result_status"),
    _text("study_instance_uid", index=True),
    _text("keys"),
)
# The numbers of orders and reports, to find them by.
KEYS = sa.Table(
    "order_keys",
    METADATA,
    _text("event_id", key=True),
    _text("kind", key=True),
    _text("value", key=True),
    _text("authority", key=True),
    sa.Index("order_keys_by_value", "kind", "value"),
)
INSTANCES = sa.Table(
    "instances",
    METADATA,
    _text("event_id", key=True),
    _text("study_instance_uid", index=True),
    _text("sop_instance_uid"),
    _text("object_key"),
    _bytes("sha256"),
    _count("size_bytes"),
    _time("received_at"),
    _text("accession_number"),
    _text("accession_authority"),
    _text("reason"),
)
CASES = sa.Table(
    "cases",
    METADATA,
    _text("case_id", key=True),
    _count("version"),
    _text("site"),
    _text("study_instance_uid", index=True),
    _text("patient_id"),
    _text("accession_number", index=True),
    _text("modality"),
    _text("procedure"),
    _text("ordered_priority"),
    _count("instance_count"),
    sa.Column("complete", sa.Boolean, nullable=False),
    _text("evidence"),
    _text("evidence_detail"),
    _time("completed_at", nullable=True),
    _text("report_status"),
    _text("conflict"),
    sa.Column("cancelled", sa.Boolean, nullable=False),
    _time("opened_at"),
    _time("changed_at"),
    _text("order_ids"),
    _text("order_keys"),
    sa.Index("cases_by_opening", "opened_at", "case_id"),
)


def _algorithm_columns() -> list["sa.Column[str] | sa.Column[int]"]:
    return [
        _count("place"),
        _text("disposition"),
        _text("rules"),
        _time("due_at", nullable=True),
        _text("result_id"),
        _count("revision"),
        _time("changed_at"),
    ]


ALGORITHMS = sa.Table(
    "case_algorithms",
    METADATA,
    _text("case_id", key=True),
    _text("algorithm", key=True),
    _text("version", key=True),
    *_algorithm_columns(),
)
# Every state that an algorithm of a case passed through.
HISTORY = sa.Table(
    "case_algorithm_history",
    METADATA,
    _text("case_id", key=True),
    _text("algorithm", key=True),
    _text("version", key=True),
    _count("case_version", key=True),
    *_algorithm_columns(),
)
TASKS = sa.Table(
    "tasks",
    METADATA,
    _text("task_id", key=True),
    _text("case_id", index=True),
    _text("algorithm"),
    _text("version"),
    _text("urgency"),
    _count("revision"),
    _count("inputs"),
    _time("at"),
)
RESULTS = sa.Table(
    "results",
    METADATA,
    _text("result_id", key=True),
    _text("task_id"),
    _text("case_id", index=True),
    _text("algorithm"),
    _text("version"),
    _text("outcome"),
    _text("reason"),
    _text("engine"),
    _text("findings"),
    _time("at"),
)
DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
    _text("delivery_id", key=True),
    _text("destination"),
    _text("kind"),
    _text("case_id", index=True),
    _text("algorithm"),
    _text("version"),
    _count("revision"),
    _text("state"),
    _text("reason"),
    _count("attempts"),
    _time("at"),
    _text("proof"),
    _bytes("sha256"),
    _text("object_key"),
    _text("priority"),
)
DELIVERY_STATES = sa.Table(
    "delivery_states",
    METADATA,
    _text("event_id", key=True),
    _text("delivery_id", index=True),
    _time("at"),
    _text("state"),
    _text("reason"),
)
POLICIES = sa.Table(
    "policies",
    METADATA,
    _text("algorithm", key=True),
    _text("version"),
    _text("state"),
    _count("revision"),
    _time("first_at"),
)
DEAD_LETTERS = sa.Table(
    "dead_letters",
    METADATA,
    _text("dead_letter_id", key=True),
    _text("group_name"),
    _text("topic"),
    _text("type"),
    _text("reason"),
    _text("text"),
    _time("at"),
    _text("state"),
    _count("attempts"),
    _text("cause_event_id", index=True),
    # The whole letter as it stands in the log, to replay it from.
    _bytes("letter"),
)
ALARMS = sa.Table(
    "alarms",
    METADATA,
    _text("alarm_id", key=True),
    _text("kind"),
    _text("case_id", index=True),
    _text("algorithm"),
    _text("detail"),
    _time("raised_at"),
    _time("cleared_at", nullable=True),
)
