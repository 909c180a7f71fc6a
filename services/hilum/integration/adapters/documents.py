"""Rendered documents: made once, stored, written down, and from then on always the same bytes."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from hilum.errors import Fault, Unavailable
from hilum.integration.domain.attempt import DeliveryRecord
from hilum.integration.ports import Recorder
from hilum.objects.port import Objects


class Documents:
    """The bytes of deliveries in the object store, under ``deliveries/<delivery id>/<digest>``."""

    def __init__(self, objects: Objects, recorder: Recorder) -> None:
        self._objects = objects
        self._recorder = recorder

    async def of(self, record: DeliveryRecord, render: Callable[[], Awaitable[bytes]]) -> tuple[DeliveryRecord, bytes]:
        """The record with its document. ``render`` is called only where nothing was rendered before.

        Raises what ``render`` raises; Unavailable, ``claim_passed_on`` where the delivery is another's by now; and
        Fault ``document_altered`` where the stored bytes are not the ones written down.
        """
        if record.object_key:
            data = await asyncio.to_thread(self._objects.get, record.object_key)
            if hashlib.sha256(data).digest() != record.sha256:
                raise Fault("document_altered", "a stored document is not the one that was rendered")
            return record, data
        data = await render()
        digest = hashlib.sha256(data)
        # Named by its content: another process that renders the same delivery writes over nothing.
        key = f"deliveries/{record.id}/{digest.hexdigest()[:16]}"
        await asyncio.to_thread(self._objects.put, key, data)
        rendered = replace(record, object_key=key, sha256=digest.digest())
        if not await self._recorder.rendered(rendered):
            raise Unavailable("claim_passed_on", "another process took this delivery over: it sends its own")
        return rendered, data
