"""What the contract suites are given: ways to open one adapter again and again."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import sqlalchemy as sa

from hilum.eventlog.port import EventLog
from hilum.objects.port import Objects
from hilum.store.sql import SqlStore

OpenLog = Callable[[], EventLog]
OpenStore = Callable[[], SqlStore]
OpenObjects = Callable[[], Objects]
FullDisk = Callable[[], AbstractContextManager[None]]

TABLES = sa.MetaData()
NOTES = sa.Table("notes", TABLES, sa.Column("text", sa.Text, primary_key=True))
