"""Writing a row for an event: the same event twice leaves one row."""

from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from google.protobuf.message import DecodeError, Message
from sqlalchemy.dialects.sqlite import Insert, insert

from hilum.errors import Rejected
from hilum.eventlog.port import Record
from hilum.ids import derived_id
from hilum.ledger.adapters import tables
from hilum.store.sql import SqlTransaction

_MessageT = TypeVar("_MessageT", bound=Message)


def raise_alarm(transaction: SqlTransaction, kind: str, subject: str, detail: str, raised_at: int) -> None:
    """An alarm that concerns no case; it stands until a person has seen to it."""
    put(
        transaction,
        tables.ALARMS,
        alarm_id=derived_id("alarm", kind, subject),
        kind=kind,
        case_id="",
        algorithm="",
        detail=detail,
        raised_at=raised_at,
        cleared_at=None,
    )


def read(kind: type[_MessageT], record: Record) -> _MessageT:
    """The event's message. Raises `Rejected` (`event_undecodable`)."""
    try:
        return kind.FromString(record.event.value)
    except DecodeError as error:
        raise Rejected("event_undecodable", f"an event of {record.event.topic} is no {kind.__name__}") from error


def put(transaction: SqlTransaction, table: sa.Table, **values: Any) -> None:
    """Insert the row, or replace the one with its primary key: the same event twice leaves one row."""
    transaction.connection.execute(_put(table, tuple(values)), values)


@cache
def _put(table: sa.Table, names: tuple[str, ...]) -> Insert:
    """The statement for these columns, built once: building it costs more than running it."""
    keys = [column.name for column in table.primary_key]
    statement = insert(table).values({name: sa.bindparam(name) for name in names})
    change = {name: statement.excluded[name] for name in names if name not in keys}
    if change:
        return statement.on_conflict_do_update(index_elements=keys, set_=change)
    return statement.on_conflict_do_nothing(index_elements=keys)
