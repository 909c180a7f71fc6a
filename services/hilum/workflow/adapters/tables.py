"""The tables of workflow's state."""

import sqlalchemy as sa

METADATA = sa.MetaData()

FACTS = sa.Table(
    "facts",
    METADATA,
    sa.Column("fact_id", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # order, instance, report, patient or result
    sa.Column("study_instance_uid", sa.Text, nullable=False, server_default=""),
    sa.Column("document", sa.LargeBinary, nullable=False),  # the event as the contract carries it
    sa.Index("facts_by_study", "site", "study_instance_uid", "kind"),
)

# Under which identifiers a fact can be found. Kinds: placer, filler, accession, study, patient, case.
IDENTIFIERS = sa.Table(
    "identifiers",
    METADATA,
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("authority", sa.Text, primary_key=True),
    sa.Column("fact_id", sa.Text, primary_key=True),
    sa.Column("fact_kind", sa.Text, nullable=False),
    sa.Column("study_instance_uid", sa.Text, nullable=False, server_default=""),
)

MERGES = sa.Table(
    "merges",
    METADATA,
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("retired", sa.Text, primary_key=True),
    sa.Column("retired_authority", sa.Text, primary_key=True),
    sa.Column("surviving", sa.Text, primary_key=True),
    sa.Column("surviving_authority", sa.Text, primary_key=True),
)

CASES = sa.Table(
    "cases",
    METADATA,
    sa.Column("case_id", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, nullable=False),
    sa.Column("study_instance_uid", sa.Text),  # null while only an order is known
    sa.Column("opened_us", sa.BigInteger, nullable=False),
    sa.Column("look_us", sa.BigInteger),
    sa.Column("cause", sa.Text, nullable=False, server_default="{}"),
    sa.Column("superseded_by", sa.Text, nullable=False, server_default=""),
    sa.Column("document", sa.LargeBinary),
    sa.UniqueConstraint("site", "study_instance_uid"),
    sa.Index("cases_by_look", "look_us"),
)

CASE_ORDERS = sa.Table(
    "case_orders",
    METADATA,
    sa.Column("fact_id", sa.Text, primary_key=True),
    sa.Column("case_id", sa.Text, nullable=False),
)

POLICIES = sa.Table(
    "policies",
    METADATA,
    sa.Column("algorithm", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
