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

# Where an identifier leads: to orders, reports, patients and results by fact_id; to images by study UID.
# Kinds: placer, filler, accession, study, patient, case.
IDENTIFIERS = sa.Table(
    "identifiers",
    METADATA,
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("leads_to", sa.Text, primary_key=True),
    sa.Column("authority", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
)

MERGES = sa.Table(
    "merges",
    METADATA,
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("retired", sa.Text, primary_key=True),
    sa.Column("retired_authority", sa.Text, primary_key=True),
    sa.Column("surviving", sa.Text, primary_key=True),
    sa.Column("surviving_authority", sa.Text, primary_key=True),
    sa.Index("merges_by_surviving", "site", "surviving"),
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
    sa.Column("superseded_by", sa.Text, nullable=False, server_default=""),  # as decided last
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),  # decisions in a row that failed
    sa.Column("document", sa.LargeBinary),
    sa.UniqueConstraint("site", "study_instance_uid"),
    sa.Index("cases_by_look", "look_us"),
)

CASE_ORDERS = sa.Table(
    "case_orders",
    METADATA,
    sa.Column("fact_id", sa.Text, primary_key=True),
    sa.Column("case_id", sa.Text, nullable=False, index=True),
)

POLICIES = sa.Table(
    "policies",
    METADATA,
    sa.Column("algorithm", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
