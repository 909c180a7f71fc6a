"""`hilum.imaging.ports.Journal` on the event log."""

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from hilum import telemetry
from hilum.contracts import topics
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.eventlog.port import Event, event_of
from hilum.ids import derived_id, event_id
from hilum.imaging.domain import Arrival, Refusal

GROUP = "imaging"


class Log(Protocol):
    """Of `hilum.eventlog.port.EventLog`, what is used here."""

    def append(self, events: Sequence[Event]) -> Coroutine[Any, Any, None]: ...


class EventJournal:
    """Event IDs derive from what was received, so that an instance sent again after a crash is the same event."""

    def __init__(self, log: Log, site: str) -> None:
        self._log = log
        self._site = site

    async def stored(self, arrival: Arrival, object_key: str, reason: str) -> None:
        instance = Instance.FromString(arrival.statement)
        instance.object_key, instance.reason = object_key, reason
        event = event_of(
            topics.INSTANCES, arrival.study_instance_uid, instance, self.identity(arrival), arrival.received_at
        )
        await self._append(event)

    def identity(self, arrival: Arrival) -> str:
        cause = derived_id("instance", self._site, arrival.sop_instance_uid, arrival.sha256.hex())
        return event_id(cause, "stored")

    async def refused(self, refusal: Refusal, object_key: str) -> str:
        instance = Instance(
            site=self._site,
            sop_class_uid=refusal.sop_class_uid,
            sop_instance_uid=refusal.sop_instance_uid,
            transfer_syntax_uid=refusal.transfer_syntax_uid,
            object_key=object_key,
            sha256=refusal.sha256,
            size_bytes=len(refusal.file),
            calling_ae_title=refusal.calling_ae_title,
            reason=refusal.code,
        )
        instance.received_at.FromDatetime(refusal.received_at)
        cause = derived_id("refused instance", self._site, refusal.sop_instance_uid, refusal.sha256.hex(), refusal.code)
        letter = DeadLetter(
            dead_letter_id=derived_id("dead-letter", GROUP, cause),
            group=GROUP,
            topic=topics.INSTANCES.name,
            key=refusal.sop_instance_uid,
            type=topics.INSTANCES.type,
            event_id=event_id(cause, "refused"),
            value=instance.SerializeToString(deterministic=True),
            reason=refusal.code,
            text=refusal.text,
            attempts=1,
            state="kept",
        )
        letter.at.FromDatetime(refusal.received_at)
        kept = derived_id(letter.dead_letter_id, "kept")
        await self._append(event_of(topics.DEAD_LETTERS, letter.dead_letter_id, letter, kept, refusal.received_at))
        return kept

    async def _append(self, event: Event) -> None:
        headers = telemetry.headers_of_current_context()
        await self._log.append([event._replace(headers=headers)])
