"""Rendered documents: made once, kept, written down, and from then on always the same bytes.

What is made in no time (a priority) is kept in the state, by the transaction that claims its delivery, and stored once
it was sent. What takes longer is rendered between the claim and the sending, and stored before it is written down.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import chain, repeat

from hilum.errors import Fault, Unavailable
from hilum.integration.domain.attempt import DeliveryRecord
from hilum.integration.ports import Recorder
from hilum.objects.port import Objects

_LOG = logging.getLogger(__name__)
_BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


class Documents:
    """The bytes of deliveries in the object store, under ``deliveries/<delivery id>/<digest>``."""

    def __init__(self, objects: Objects, recorder: Recorder) -> None:
        self._objects = objects
        self._recorder = recorder

    async def of(
        self, record: DeliveryRecord, render: Callable[[], Awaitable[bytes]], kept: bytes | None = None
    ) -> tuple[DeliveryRecord, bytes]:
        """The record with its document. ``render`` is called only where nothing was rendered before.

        ``kept`` is the document where the state holds it.

        Raises what ``render`` raises; Unavailable, ``claim_passed_on`` where the delivery is another's by now; and
        Fault ``document_altered`` where the stored bytes are not the ones written down.
        """
        if record.object_key:
            data = await asyncio.to_thread(self._objects.get, record.object_key) if kept is None else kept
            if hashlib.sha256(data).digest() != record.sha256:
                raise Fault("document_altered", "a stored document is not the one that was rendered")
            return record, data
        data = await render()
        rendered = documented(record, data)
        await asyncio.to_thread(self._objects.put, rendered.object_key, data)
        if not await self._recorder.rendered(rendered):
            raise Unavailable("claim_passed_on", "another process took this delivery over: it sends its own")
        return rendered, data

    async def store(self, record: DeliveryRecord, data: bytes) -> None:
        """Put what was sent from the state into the object store, however long that takes."""
        for seconds in chain(_BACKOFF_SECONDS, repeat(_BACKOFF_SECONDS[-1])):
            try:
                await asyncio.to_thread(self._objects.put, record.object_key, data)
                break
            except Unavailable as error:
                _LOG.warning("a document that was sent waits: %s", error.code)
                await asyncio.sleep(seconds)


def documented(record: DeliveryRecord, data: bytes) -> DeliveryRecord:
    """``record`` with its document written down.

    The object is named by its content: another process that renders the same delivery writes over nothing.
    """
    digest = hashlib.sha256(data)
    key = f"deliveries/{record.id}/{digest.hexdigest()[:16]}"
    return replace(record, object_key=key, sha256=digest.digest())
