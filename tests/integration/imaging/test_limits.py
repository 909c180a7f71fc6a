"""The port under peers that are unwelcome, slow, greedy or hostile; a well-behaved one goes on beside them."""

import asyncio
import random
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest
from pynetdicom.pdu import A_ASSOCIATE_RQ

from datasets.images import image
from datasets.requests import Request

ABORT = 0x07
REJECT = 0x03


def chest(uid: str = "1.2.3.3", side: int = 8) -> Request:
    values = np.zeros((side, side), dtype=np.uint8)
    return Request.of(image(values, bits_stored=8, SOPInstanceUID=uid, Modality="DX"))


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer_to(port: int, sent: bytes, seconds: float = 10.0) -> bytes:
    """What comes back until the peer closes; raises TimeoutError when it does not."""
    async with connected(port) as (reader, writer):
        writer.write(sent)
        try:
            await writer.drain()
            return await asyncio.wait_for(reader.read(), seconds)
        except ConnectionResetError:
            return b""


def associate_request(sop_class: str = "1.2.840.10008.5.1.4.1.1.1", syntax: str = "1.2.840.10008.1.2.1") -> bytes:
    """A-ASSOCIATE-RQ with one presentation context, numbered 1 (PS3.8 9.3.2)."""

    def item(kind: int, value: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(value)) + value

    context = item(0x20, b"\x01\x00\x00\x00" + item(0x30, sop_class.encode()) + item(0x40, syntax.encode()))
    user = item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3"))
    body = struct.pack(">HH", 1, 0) + b"HILUM".ljust(16) + b"HOSTILE".ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    pdu = struct.pack(">BBI", 1, 0, len(body)) + body
    A_ASSOCIATE_RQ().decode(pdu)  # the library agrees that this is one
    return pdu


async def associate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Propose, and wait for A-ASSOCIATE-AC."""
    writer.write(associate_request())
    kind, _, length = struct.unpack(">BBI", await asyncio.wait_for(reader.readexactly(6), 5))
    assert kind == 0x02
    await reader.readexactly(length)


async def after_associating(port: int, sent: bytes, seconds: float = 10.0) -> bytes:
    """What comes back on an association until the peer closes."""
    async with connected(port) as (reader, writer):
        await associate(reader, writer)
        writer.write(sent)
        try:
            return await asyncio.wait_for(reader.read(), seconds)
        except ConnectionResetError:
            return b""


def p_data(fragment: bytes, control: int) -> bytes:
    """P-DATA-TF with one presentation data value (PS3.8 9.3.5, E.2)."""
    value = struct.pack(">IBB", len(fragment) + 2, 1, control) + fragment
    return struct.pack(">BBI", 4, 0, len(value)) + value


def store_command(sop_class: str = "1.2.840.10008.5.1.4.1.1.1", sop_instance: str = "1.2.3.3") -> bytes:
    """The command set of C-STORE-RQ (PS3.7 9.3.1), implicit little endian."""

    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHI", 0, number, len(value)) + value

    body = element(0x0002, sop_class.encode()) + element(0x0100, b"\x01\x00") + element(0x0110, b"\x01\x00")
    body += element(0x0700, b"\x00\x00") + element(0x0800, b"\x01\x00") + element(0x1000, sop_instance.encode())
    return element(0x0000, struct.pack("<I", len(body))) + body


async def test_random_bytes_end_in_an_abort_or_a_close_and_others_are_served(imaging) -> None:
    chance = random.Random(7)
    async with imaging(association_seconds=1.0, idle_seconds=1.0) as running:
        noise = [chance.randbytes(chance.choice([1, 6, 7, 100, 5000])) for _ in range(30)]
        noise += [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" + bytes(200), b"\x0bMSH|^~\\&|\x1c\r"]
        answers = await asyncio.gather(*(answer_to(running.port, each) for each in noise))
        assert {answer[0] for answer in answers if answer} <= {ABORT}
        assert (await running.send(chest())).status == 0


@pytest.mark.parametrize("kind", [1, 4])
async def test_a_pdu_that_states_gigabytes_is_aborted_before_it_is_read(imaging, kind: int) -> None:
    async with imaging() as running:
        answer = await answer_to(running.port, struct.pack(">BBI", kind, 0, 0xFFFFFFF0) + bytes(1000))
        assert answer[:1] == bytes([ABORT])


async def test_half_a_pdu_is_not_waited_for_longer_than_allowed(imaging) -> None:
    async with imaging(idle_seconds=1.0, association_seconds=1.0) as running:
        whole = associate_request()
        await answer_to(running.port, whole[: len(whole) // 2], seconds=8)


async def test_a_connection_that_says_nothing_is_closed(imaging) -> None:
    async with imaging(association_seconds=0.5) as running:
        assert await answer_to(running.port, b"", seconds=8) == b""


async def test_an_association_that_says_nothing_is_aborted(imaging) -> None:
    async with imaging(idle_seconds=0.5) as running:
        assert (await after_associating(running.port, b"", seconds=8))[0] == ABORT


async def test_a_data_set_beyond_the_limit_is_aborted_and_not_kept(imaging) -> None:
    async with imaging(max_data_set_bytes=2**20) as running:
        answer = await running.send(chest(side=1200))
        assert answer.status is None
        assert not await running.instances()
        assert (await running.send(chest())).status == 0


async def send_for_ever(writer: asyncio.StreamWriter) -> None:
    for _ in range(1000):
        writer.write(p_data(bytes(16000), 0))
        await asyncio.wait_for(writer.drain(), 5)
        await asyncio.sleep(0.001)


async def test_a_data_set_that_never_ends_is_aborted(imaging) -> None:
    async with imaging(max_data_set_bytes=2**20) as running, connected(running.port) as (reader, writer):
        await associate(reader, writer)
        writer.write(p_data(store_command(), 3))
        with pytest.raises(ConnectionError):
            await send_for_ever(writer)


async def test_all_data_sets_together_have_a_limit(imaging) -> None:
    async with imaging(max_receiving_bytes=2**20) as running, connected(running.port) as (reader, writer):
        await associate(reader, writer)
        writer.write(p_data(store_command(), 3))
        for _ in range(60):
            writer.write(p_data(bytes(16000), 0))
        await writer.drain()
        await asyncio.sleep(0.5)
        assert (await running.send(chest(side=600))).status is None
        assert (await running.send(chest())).status == 0


async def test_requests_sent_ahead_of_answers_are_answered_one_by_one(imaging) -> None:
    data_set = chest().data_set
    async with imaging() as running, connected(running.port) as (reader, writer):
        await associate(reader, writer)
        for _ in range(20):
            writer.write(p_data(store_command(), 3) + p_data(data_set, 2))
        await writer.drain()
        read = b""
        while read.count(struct.pack("<HHI", 0, 0x0900, 2)) < 20:
            read += await asyncio.wait_for(reader.read(65536), 10)
        assert read.count(struct.pack("<HHIH", 0, 0x0900, 2, 0)) == 20
        assert len(await running.instances()) == 1


async def test_a_deflated_data_set_that_bursts_is_refused_without_inflating_it(imaging) -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = compressor.compress(bytes(50_000_000)) + compressor.flush()
    request = Request(bomb, syntax="1.2.840.10008.1.2.1.99")
    async with imaging(max_data_set_bytes=2**20) as running:
        answer = await running.send(request)
        assert (answer.status, answer.comment.partition(":")[0]) == (0xC000, "data_set_too_large")
        assert (await running.dead_letters())[0].reason == "data_set_too_large"


async def test_sequences_nested_beyond_all_measure_are_refused(imaging) -> None:
    deep = (b"\x08\x00\x15\x11SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 20_000
    async with imaging() as running:
        answer = await running.send(Request(deep))
        assert answer.status is not None
        assert answer.status >> 12 == 0xC
        assert (await running.send(chest())).status == 0


async def test_a_command_that_is_no_request_of_ours_ends_the_association_alone(imaging) -> None:
    async with imaging(idle_seconds=1.0) as running:
        hostile = [
            bytes(20),
            random.Random(3).randbytes(200),
            store_command(sop_instance="9" * 70),
            store_command()[:30],
        ]
        for command in hostile:
            await after_associating(running.port, p_data(command, 3))
        assert (await running.send(chest())).status == 0


async def test_callers_that_are_not_listed_are_rejected(imaging) -> None:
    async with imaging(calling_ae_titles=("MODALITY",)) as running:
        # PS3.8 9.3.4: permanent, by the service user, calling AE title not recognised.
        assert (await running.send(chest())).rejected == (1, 1, 3)
        assert (await running.storescu([], "-aet", "MODALITY")).statuses == {}
        assert await running.echoscu("-aet", "MODALITY") == 0


async def test_another_called_ae_title_is_rejected_where_ours_is_required(imaging) -> None:
    async with imaging(require_called_ae_title=True) as running:
        assert await running.echoscu("-aec", "HILUM") == 0
        assert await running.echoscu("-aec", "OTHER") != 0


async def test_associations_beyond_the_limit_are_rejected_as_passing(imaging) -> None:
    async with imaging(max_associations=1) as running, connected(running.port) as (reader, writer):
        await associate(reader, writer)
        # Transient, by the presentation service provider, local limit exceeded.
        assert (await running.send(chest())).rejected == (2, 3, 2)


async def test_connections_without_end_are_closed(imaging) -> None:
    async with imaging(max_associations=2, association_seconds=2.0) as running:
        answers = await asyncio.gather(*(answer_to(running.port, b"", seconds=10) for _ in range(40)))
        assert answers == [b""] * 40
        for _ in range(50):  # the last threads of those that were waited for are just ending
            if (await running.send(chest())).status == 0:
                return
            await asyncio.sleep(0.1)
        pytest.fail("connections that were closed still take places")


async def test_an_unknown_sop_class_is_not_accepted_and_a_listed_private_one_is(imaging) -> None:
    private = Request(chest().data_set, sop_class="1.3.12.2.1107.5.9.1")
    async with imaging() as running:
        assert (await running.send(private)).status is None
    dataset = image([[0]], SOPClassUID="1.3.12.2.1107.5.9.1")
    async with imaging(additional_sop_classes=("1.3.12.2.1107.5.9.1",)) as running:
        assert (await running.send(Request.of(dataset))).status == 0


async def test_bad_settings_stop_the_start_with_every_fault() -> None:
    from pydantic import ValidationError

    from hilum.imaging.settings import Settings

    with pytest.raises(ValidationError) as caught:
        Settings(dicom_port=70000, ae_title="A" * 17, max_pdu_bytes=1)
    assert caught.value.error_count() == 3
