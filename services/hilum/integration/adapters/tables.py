"""Integration's tables: the projection of cases and policies, results, deliveries."""

import sqlalchemy as sa

METADATA = sa.MetaData()

CASES = sa.Table(
    "integration_cases",
    METADATA,
    sa.Column("case_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
)
POLICIES = sa.Table(
    "integration_policy_revisions",
    METADATA,
    sa.Column("algorithm", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)
# Of deliveries on their way: the object store gets them once they were sent.
DOCUMENTS = sa.Table(
    "integration_documents",
    METADATA,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
RESULTS = sa.Table(
    "integration_results",
    METADATA,
    sa.Column("result_id", sa.Text, primary_key=True),
    sa.Column("case_id", sa.Text, nullable=False, index=True),
    sa.Column("planned", sa.Boolean, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("result", sa.LargeBinary, nullable=False),
)
DELIVERIES = sa.Table(
    "integration_deliveries",
    METADATA,
    sa.Column("delivery_id", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("case_id", sa.Text, nullable=False, index=True),
    sa.Column("algorithm", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("result_id", sa.Text, nullable=False),
    sa.Column("site", sa.Text, nullable=False),
    sa.Column("study_instance_uid", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("urgency", sa.Integer, nullable=False),
    sa.Column("planned_us", sa.BigInteger, nullable=False),
    sa.Column("next_us", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("in_doubt", sa.Boolean, nullable=False),
    sa.Column("changes", sa.Integer, nullable=False),
    sa.Column("case_version", sa.BigInteger, nullable=False),
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Column("object_key", sa.Text, nullable=False),
    sa.Column("proofs", sa.Text, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.UniqueConstraint("destination", "case_id", "algorithm", "version", "kind", "revision"),
    sa.Index("integration_deliveries_due", "destination", "state", "next_us"),
)
