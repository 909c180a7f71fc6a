"""Oversight's tables: the registry of versions, and what the site file last wanted."""

import sqlalchemy as sa

METADATA = sa.MetaData()
REGISTRY = sa.Table(
    "registry",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("registered_at", sa.BigInteger, nullable=False),
)
WISHES = sa.Table(
    "wishes",
    METADATA,
    sa.Column("algorithm", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("listed", sa.Boolean, nullable=False),
)
