"""A radiology information system: takes results and priorities over MLLP and keeps the reading list."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from hilum.errors import HilumError
from hilum.hl7 import mllp
from hilum.hl7.compose import MessageBuilder
from hilum.hl7.escapes import unescape
from hilum.hl7.message import Group, Message, parse
from hilum.hl7.segment import Segment
from hilum.ids import control_id
from hilum.simulator.reading_list import ReadingList
from hilum.simulator.receipts import Receipt, Receipts
from hilum.simulator.script import Act, Script, Step

_LARGEST = 1 << 20
# The rule engine of this RIS: what an abnormal flag (OBX-8, table 0078) means for the reading list.
_FLAG_PRIORITY = {"AA": "S", "A": "A"}


class Ris:
    """Listens on loopback; the port is known after `start`. ``script`` says what it does wrong."""

    def __init__(
        self,
        *,
        receipts: Path | None = None,
        script: Script | None = None,
        kept: Path | None = None,
        on_change: Callable[[], None] = lambda: None,
        on_arrival: Callable[[bytes], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``receipts`` is the file of its receipts, ``kept`` a folder for each message as it came.

        ``on_arrival`` is told of each message that comes, before the script has its way with it.
        """
        self.reading_list = ReadingList()
        self.receipts = Receipts("ris", receipts, now)
        self._on_arrival = on_arrival
        self._now = now
        self.script = script or Script()
        self._kept = kept
        self._on_change = on_change
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        decoder = mllp.FrameDecoder(_LARGEST)
        try:
            while data := await reader.read(65536):
                for found in decoder.feed(data):
                    if isinstance(found, mllp.FramingFault) or not await self._exchange(found.payload, writer):
                        return
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _exchange(self, payload: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one message; False ends the connection."""
        self._on_arrival(payload)
        step = self.script.next()
        await asyncio.sleep(step.delay_seconds)
        if step.act is Act.DROP_BEFORE:
            return False
        answer = self._answer(payload, step)
        if step.act is Act.DROP_AFTER:
            return False
        if step.act is not Act.SILENT:
            writer.write(mllp.encode(answer))
            await writer.drain()
        return True

    def _answer(self, payload: bytes, step: Step) -> bytes:
        try:
            message = parse(payload)
        except HilumError as error:
            return _acknowledge(None, "AR", self._now(), error.code)
        if step.act is Act.REFUSE:
            return _acknowledge(message, step.code or "AE", self._now(), "refused by script")
        self._take(message, payload)
        return _acknowledge(message, "AA", self._now(), wrong_id=step.act is Act.WRONG_ID)

    def _take(self, message: Message, payload: bytes) -> None:
        identity, kind = message.get("MSH-10"), message.get("MSH-9.1")
        groups = message.groups(("ORC", "OBR"))
        accessions = {accession for group in groups if (accession := _accession(group))}
        facts = {"message_type": kind, "accession_number": ",".join(sorted(accessions))}
        receipt = self.receipts.record("message", identity, payload, facts)
        if receipt.outcome == "effect":
            self._keep(receipt, payload)
            for group in groups:
                self._rank(group)
            self._on_change()

    def _rank(self, group: Group) -> None:
        accession, now = _accession(group), self._now()
        explicit = group.get("TQ1-9.1") or group.get("ORC-7.6") or group.get("OBR-27.6")
        if explicit:
            self.reading_list.raise_priority(accession, explicit, "", now)
        for row in group.every("OBX"):
            priority = _FLAG_PRIORITY.get(row.raw(8))
            if priority:
                self.reading_list.raise_priority(accession, priority, _name_of(row, group), now)

    def _keep(self, receipt: Receipt, payload: bytes) -> None:
        if self._kept is not None:
            name = f"{receipt.facts['accession_number'] or 'none'}-{receipt.identity}.hl7"
            (self._kept / name.replace("/", "_")).write_bytes(payload)


def _accession(group: Group) -> str:
    return group.get("IPC-1.1") or group.get("OBR-18")


def _name_of(row: Segment, group: Group) -> str:
    """The text of what was observed (OBX-3.2)."""
    parts = row.raw(3).split(group.delimiters.component)
    return unescape(parts[1], group.delimiters, group.codec) if len(parts) > 1 else ""


def _acknowledge(message: Message | None, code: str, at: datetime, text: str = "", *, wrong_id: bool = False) -> bytes:
    """An original-mode acknowledgement (HL7 v2.5.1 2.9.2)."""
    asked = message.get("MSH-10") if message else ""
    sender = (message.get("MSH-3"), message.get("MSH-4")) if message else ("", "")
    version = (message.get("MSH-12.1") if message else "") or "2.5.1"
    answer = MessageBuilder(
        ("ACK",),
        control_id("simulated acknowledgement", asked, code),
        at,
        sender=("RIS", "HOSPITAL"),
        receiver=sender,
        version=version,
    )
    return answer.add("MSA", {1: code, 2: "ANOTHER" if wrong_id else asked, 3: text}).to_bytes()
