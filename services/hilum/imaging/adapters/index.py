"""`hilum.imaging.ports.Index`: rows that the consumer keeps up, and in memory what it has not seen yet."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.errors import Overloaded
from hilum.eventlog.port import Record
from hilum.imaging.adapters.tables import HELD
from hilum.imaging.app import CONFLICT
from hilum.imaging.domain import Held
from hilum.store.sql import SqlStore, SqlTransaction

_AHEAD = 5_000
_IN_ONE_QUERY = 500


class SqlIndex:
    """Used from the event loop, except `project`, which the consumer calls in the store's thread."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        # SOP Instance UID -> data sets whose events are in the log, and perhaps not yet in the table.
        self._ahead: dict[str, list[Held]] = {}

    async def held(self, sop_instance_uid: str) -> Sequence[Held]:
        rows = await self._store.transact(lambda transaction: _select(transaction.connection, [sop_instance_uid]))
        return [*rows.get(sop_instance_uid, ()), *self._ahead.get(sop_instance_uid, ())]

    def note(self, sop_instance_uid: str, held: Held) -> None:
        self._ahead.setdefault(sop_instance_uid, []).append(held)

    async def make_room(self) -> None:
        """Forget what the table holds by now. Raises `Overloaded` (`index_behind`) when that does not suffice."""
        if len(self._ahead) < _AHEAD:
            return
        waiting = list(self._ahead)
        rows = await self._store.transact(lambda transaction: _select(transaction.connection, waiting))
        for uid, held in rows.items():
            left = [known for known in self._ahead.get(uid, ()) if known not in held]
            if left:
                self._ahead[uid] = left
            else:
                self._ahead.pop(uid, None)
        if len(self._ahead) >= _AHEAD:
            raise Overloaded("index_behind", "the index of what is held has fallen behind the log")

    @staticmethod
    def project(transaction: SqlTransaction, record: Record) -> None:
        """Apply one record of the topic `instances`."""
        instance = Instance.FromString(record.event.value)
        row = {
            "sop_instance_uid": instance.sop_instance_uid,
            "sha256": instance.sha256,
            "quarantined": instance.reason == CONFLICT,
        }
        transaction.connection.execute(insert(HELD).values(row).on_conflict_do_nothing())


def _select(connection: sa.Connection, sop_instance_uids: Sequence[str]) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = {}
    for start in range(0, len(sop_instance_uids), _IN_ONE_QUERY):
        some = sop_instance_uids[start : start + _IN_ONE_QUERY]
        for row in connection.execute(sa.select(HELD).where(HELD.c.sop_instance_uid.in_(some))):
            found.setdefault(row.sop_instance_uid, []).append(Held(row.sha256, row.quarantined))
    return found
