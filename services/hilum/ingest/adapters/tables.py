"""Ingest's state: which messages were processed."""

import sqlalchemy as sa

METADATA = sa.MetaData()
SIGHTINGS = sa.Table(
    "sightings",
    METADATA,
    sa.Column("feed", sa.Text, primary_key=True),
    sa.Column("message_control_id", sa.Text, primary_key=True),
    sa.Column("sha256", sa.LargeBinary, primary_key=True),
    sa.Column("seen_us", sa.BigInteger, nullable=False, index=True),
)
