"""The queue's table."""

import sqlalchemy as sa

METADATA = sa.MetaData()

TASKS = sa.Table(
    "inference_tasks",
    METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("task_id", sa.Text, nullable=False, unique=True),
    sa.Column("state", sa.Text, nullable=False),  # waiting, in_hand, done
    sa.Column("holder", sa.Text, nullable=False, server_default=""),  # who has it in hand
    sa.Column("held_until_us", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("urgency", sa.Integer, nullable=False),
    sa.Column("due_us", sa.BigInteger, nullable=False),
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("task", sa.LargeBinary, nullable=False),
    sa.Column("done_us", sa.BigInteger, nullable=True),
    sa.Index("inference_tasks_next", "state", "urgency", "due_us", "sequence"),
    sqlite_autoincrement=True,
)
