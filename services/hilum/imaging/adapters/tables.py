"""The index of what is held; a projection of the topic `instances`."""

import sqlalchemy as sa

METADATA = sa.MetaData()
HELD = sa.Table(
    "held",
    METADATA,
    sa.Column("sop_instance_uid", sa.Text, primary_key=True),
    sa.Column("sha256", sa.LargeBinary(32), primary_key=True),
    sa.Column("quarantined", sa.Boolean, nullable=False),
    sqlite_with_rowid=False,
)
