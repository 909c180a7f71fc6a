"""The MLLP listener over real sockets: answers in order, hostile bytes, one bad connection never another's end."""

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path

import hl7.client
import pytest

from hilum.contracts import topics
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import PatientEvent
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.errors import Rejected, Unavailable
from hilum.eventlog.consumer import replay
from hilum.hl7.acknowledgement import Acknowledgement, read_acknowledgement
from hilum.hl7.message import parse
from hilum.hl7.mllp import Frame, FrameDecoder, encode
from hilum.site import Feed, Site


async def talk(port: int, pieces: Iterable[bytes], answers: int, pause: float = 0.0) -> list[bytes]:
    """Send ``pieces`` on a connection of their own and return the payloads of so many answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        if pause:
            await asyncio.sleep(pause)
    found = await receive(reader, answers)
    writer.close()
    return found


async def receive(reader: asyncio.StreamReader, answers: int) -> list[bytes]:
    decoder, found = FrameDecoder(1 << 20), []
    async with asyncio.timeout(20):
        while len(found) < answers:
            data = await reader.read(65_536)
            assert data, f"closed after {len(found)} answers"
            found += [item.payload for item in decoder.feed(data) if isinstance(item, Frame)]
    return found


def read(answer: bytes) -> Acknowledgement:
    return read_acknowledgement(answer, "ASCII")


def numbered(raw: bytes, count: int) -> list[bytes]:
    return [raw.replace(b"|A001|", f"|N{number:04d}|".encode()) for number in range(count)]


async def test_python_hl7s_client_is_answered_and_the_message_is_kept(start, corpus) -> None:
    raw = corpus["orm-o01-2.3.1.hl7"]
    async with start() as ingest:

        def send() -> bytes:
            with hl7.client.MLLPClient("127.0.0.1", ingest.mllp_port) as client:
                answer: bytes = client.send(b"\x0b" + raw + b"\x1c\x0d")
                return answer

        answer = await asyncio.to_thread(send)
        assert read(answer.strip(b"\x0b\x1c\x0d")).code == "AA"
        (kept,) = await ingest.messages()
        assert (kept.payload, kept.transport, kept.acknowledgement_code) == (raw, "mllp", "AA")
        assert (kept.feed, kept.message_control_id) == ("north|RIS-A|NORTH", "A001")
        (record,) = await ingest.until(topics.ORDERS.name, 1)
        order = Order.FromString(record.event.value)
        assert (order.accession_number.value, order.order_status) == ("A3001", "SC")
        assert order.source_message == raw


async def test_every_corpus_message_is_answered_kept_and_accounted_for(start, corpus) -> None:
    async with start() as ingest:
        answers = await talk(ingest.mllp_port, [encode(raw) for raw in corpus.values()], len(corpus))
        codes = [parse(answer).get("MSA-1") for answer in answers]
        kept = await ingest.messages()
        assert sorted(raw.payload for raw in kept) == sorted(corpus.values())
        refused = [code for code in codes if code != "AA"]
        letters = await ingest.dead_letters(len(refused))
        assert len(letters) == len(refused)
        assert {letter.reason for letter in letters} >= {"header_missing", "uid_malformed", "version_unsupported"}
        facts = {
            "orders": (await ingest.until(topics.ORDERS.name, 8), Order),
            "reports": (await ingest.until(topics.REPORTS.name, 3), Report),
            "patients": (await ingest.until(topics.PATIENTS.name, 12), PatientEvent),
        }
        assert {name: len(records) for name, (records, _) in facts.items()} == {
            "orders": 8,
            "reports": 3,
            "patients": 13,
        }


async def test_split_and_glued_frames_are_answered_in_order(start, corpus) -> None:
    messages = numbered(corpus["orm-o01-2.3.1.hl7"], 50)
    stream = b"".join(encode(message) for message in messages)
    async with start() as ingest:
        for pieces in ([stream], [stream[at : at + 777] for at in range(0, len(stream), 777)]):
            answers = await talk(ingest.mllp_port, pieces, len(messages))
            assert [read(answer).message_control_id for answer in answers] == [f"N{n:04d}" for n in range(50)]


async def test_the_log_keeps_the_order_of_a_connection_also_behind_a_large_message(start, corpus) -> None:
    small = numbered(corpus["orm-o01-2.3.1.hl7"], 3)
    large = small[1].replace(b"ZDS|", b"NTE|2||" + b"x" * 400_000 + b"\rZDS|")
    async with start() as ingest:
        stream = encode(small[0]) + encode(large) + encode(small[2])
        answers = await talk(ingest.mllp_port, [stream], 3)
        assert [read(answer).message_control_id for answer in answers] == ["N0000", "N0001", "N0002"]
        kept = await ingest.messages()
        assert [message.message_control_id for message in kept] == ["N0000", "N0001", "N0002"]
        assert ingest.platform.objects.get(kept[1].object_key) == large
        assert kept[1].payload == b""
        records = await ingest.until(topics.ORDERS.name, 3)
        assert Order.FromString(records[1].event.value).source_message == large


async def test_a_repeated_message_gets_the_same_answer_and_one_order(start, corpus) -> None:
    raw = corpus["orm-o01-2.3.1.hl7"]
    async with start() as ingest:
        first, second = await talk(ingest.mllp_port, [encode(raw), encode(raw)], 2)
        assert (read(first).code, read(second).code) == ("AA", "AA")
        assert parse(first).get("MSH-10") == parse(second).get("MSH-10")
        await talk(ingest.mllp_port, [encode(raw.replace(b"A3001", b"A3999"))], 1)  # the ID again, other bytes
        orders = [Order.FromString(record.event.value) for record in await ingest.until(topics.ORDERS.name, 2)]
        assert [order.accession_number.value for order in orders] == ["A3001", "A3999"]
        assert len(await ingest.messages()) == 3


async def test_stray_bytes_are_dropped_and_an_interrupted_block_is_kept_without_an_answer(start, corpus) -> None:
    raw = corpus["adt-a01-2.3.hl7"]
    async with start() as ingest:
        (answer,) = await talk(ingest.mllp_port, [b"\r\nnoise\x0bMSH|^~\\&|half" + encode(raw) + b"\r\n"], 1)
        assert read(answer).message_control_id == "A020"
        (letter,) = await ingest.dead_letters(1)
        assert letter.reason == "block_interrupted"
        assert next(message.payload for message in await ingest.messages()) == b"MSH|^~\\&|half"


async def test_a_block_over_the_limit_is_answered_at_once_and_the_connection_goes_on(start, corpus) -> None:
    raw = corpus["adt-a01-2.3.hl7"]
    async with start(message_bytes=2048) as ingest:
        pieces = [b"\x0b" + raw + b"x" * 5000, b"y" * 5000 + b"\x1c\x0d", encode(raw)]
        first, second = await talk(ingest.mllp_port, pieces, 2, pause=0.05)
        assert (read(first).code, read(first).message_control_id) == ("AE", "A020")
        assert read(second).code == "AA"
        (letter,) = await ingest.dead_letters(1)
        assert letter.reason == "block_too_large"


async def test_a_block_without_an_end_is_refused_when_the_sender_stops(start, corpus) -> None:
    async with start() as ingest:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        writer.write(b"\x0b" + corpus["adt-a01-2.3.hl7"])
        writer.write_eof()
        (answer,) = await receive(reader, 1)
        assert read(answer).code == "AE"
        assert await reader.read() == b""
        writer.close()
        (letter,) = await ingest.dead_letters(1)
        assert letter.reason == "block_unfinished"


async def test_a_silent_connection_is_closed_and_others_live_on(start, corpus) -> None:
    async with start(idle_seconds=0.3) as ingest:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        assert len(await talk(ingest.mllp_port, [encode(corpus["adt-a01-2.3.hl7"])], 1)) == 1


async def test_what_is_not_mllp_is_closed(start) -> None:
    async with start(stray_bytes=1000) as ingest:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        writer.write(b"GET / HTTP/1.1\r\n" * 100)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_connections_over_the_limit_are_closed_and_those_within_it_served(start, corpus) -> None:
    raw = encode(corpus["adt-a01-2.3.hl7"])
    async with start(connections=2) as ingest:
        held = [await asyncio.open_connection("127.0.0.1", ingest.mllp_port) for _ in range(2)]
        for reader, writer in held:
            writer.write(raw)
            await receive(reader, 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        for reader, writer in held:
            writer.write(raw)
            assert len(await receive(reader, 1)) == 1
            writer.close()


async def test_connections_that_are_refused_in_numbers_leave_one_line_and_their_number(start, caplog) -> None:
    async with start(connections=1) as ingest:
        _, held = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        for _ in range(50):
            reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()
        held.close()
    told = [message for message in caplog.messages if "was refused" in message]
    assert len(told) == 2
    assert told[0] == "an MLLP connection was refused: 1 are open"
    assert told[1].startswith("49 more in ")


async def test_messages_are_answered_beside_two_hundred_silent_connections(start, corpus) -> None:
    async with start() as ingest:
        held = [await asyncio.open_connection("127.0.0.1", ingest.mllp_port) for _ in range(200)]
        for _, writer in held[::2]:
            writer.write(b"\x0bMSH|^~")
        async with asyncio.timeout(10):
            (answer,) = await talk(ingest.mllp_port, [encode(corpus["orm-o01-2.3.1.hl7"])], 1)
        assert read(answer).code == "AA"
        for _, writer in held:
            writer.close()


async def test_a_log_that_does_not_take_it_is_answered_ar_and_the_connection_is_kept(start, corpus) -> None:
    raw = encode(corpus["adt-a01-2.3.hl7"])
    async with start() as ingest:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        ingest.log.failing = True
        writer.write(raw)
        (refused,) = await receive(reader, 1)
        assert (read(refused).code, parse(refused).get("ERR-1.4.1")) == ("AR", "207")
        ingest.log.failing = False
        writer.write(raw)
        (taken,) = await receive(reader, 1)
        assert read(taken).code == "AA"
        writer.close()
        assert len(await ingest.messages()) == 1


async def test_a_peer_that_never_reads_is_dropped_and_others_are_served(start, corpus) -> None:
    raw = encode(corpus["orm-o01-2.3.1.hl7"])
    async with start(write_seconds=0.5) as ingest:
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", ingest.mllp_port))
        _, deaf = await asyncio.open_connection(sock=narrow)
        deaf.transport.pause_reading()  # type: ignore[attr-defined]

        async def flood() -> None:
            while True:
                deaf.write(raw * 50)
                await deaf.drain()

        with pytest.raises(ConnectionError):
            async with asyncio.timeout(60):
                await flood()
        deaf.transport.abort()
        assert len(await talk(ingest.mllp_port, [raw], 1)) == 1


async def test_what_a_sender_sent_whole_is_kept_though_it_did_not_wait_for_its_answers(start, corpus) -> None:
    messages = numbered(corpus["orm-o01-2.3.1.hl7"], 40)
    async with start() as ingest:
        _, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        writer.write(b"".join(encode(message) for message in messages) + b"\x0bMSH|half")
        writer.close()
        await ingest.until(topics.ORDERS.name, 40)
        kept = [message.message_control_id for message in await ingest.messages()]
    assert kept[:40] == [f"N{n:04d}" for n in range(40)]


async def test_a_connection_is_not_read_while_its_messages_are_being_kept(start, corpus) -> None:
    raw = encode(corpus["orm-o01-2.3.1.hl7"])
    async with start() as ingest:
        ingest.log.open_gate = gate = asyncio.Event()
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        writer.write(raw * 20_000)  # far more than the kernel holds
        sending = asyncio.create_task(writer.drain())
        done, _ = await asyncio.wait({sending}, timeout=0.5)
        assert not done
        gate.set()
        assert len(await receive(reader, 100)) >= 100
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await sending


async def test_stopping_does_not_wait_for_ever_for_a_log_that_does_not_answer(start, corpus) -> None:
    async with start(drain_seconds=0.2) as ingest:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        ingest.log.open_gate = asyncio.Event()
        writer.write(encode(corpus["orm-o01-2.3.1.hl7"]))
        async with asyncio.timeout(20):
            await ingest.log.reached.wait()
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < 5
    assert await _rest(reader) == b""  # nothing was kept, so nothing is acknowledged
    writer.close()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_hostile_bytes_end_in_an_answer_or_a_clean_close(start, corpus) -> None:
    raw = corpus["orm-o01-2.3.1.hl7"]
    hostile = [
        encode(b""),
        encode(bytes(range(256)).translate(None, b"\x0b\x1c\x0d")),
        encode(b"MSH|^~\\&|" + b"|" * 100_000),
        encode(b"MSH|^~\\&|A|B|||||ORM^O01|1|P|2.3\r" + b"\r" * 100_000),
        encode(b"MSH|^~\\&|A|B|||||ORM^O01|1|P|2.3\r" + b"ORC|NW|1\r" * 9_000),
        encode(b"\xff\xfe" + raw.decode("latin_1").encode("utf-16-le").translate(None, b"\x0b\x1c")),
        encode(raw.replace(b"\r", b"\x1c")),
        encode(b"\x06"),
    ]
    async with start() as ingest:
        for payload in hostile:
            (answer,) = await talk(ingest.mllp_port, [payload], 1)
            assert parse(answer).get("MSA-1") in {"AE", "AR"}
        assert len(await ingest.dead_letters(len(hostile))) == len(hostile)
        assert read((await talk(ingest.mllp_port, [encode(raw)], 1))[0]).code == "AA"


async def test_a_feed_has_its_own_character_set_and_paths(start, corpus) -> None:
    feed = Feed(sending_application="RIS-A", default_charset="ISO IR87", paths={"accession_number": ["ORC-3"]})
    raw = corpus["orm-o01-two-orders-2.4.hl7"].replace(b"Example", "山田".encode("iso2022_jp"))
    async with start(Site(site="north", feeds=[feed])) as ingest:
        await talk(ingest.mllp_port, [encode(raw)], 1)
        orders = [Order.FromString(record.event.value) for record in await ingest.until(topics.ORDERS.name, 2)]
        assert {order.accession_number.value for order in orders} == {"F2002"}
        assert orders[0].patient.family_name == "山田"


async def test_a_dead_letter_replayed_under_mended_configuration_becomes_an_order(start, corpus) -> None:
    raw = corpus["orm-o01-2.3.1.hl7"].replace(b"8859/1", b"").replace("Adèle".encode("latin_1"), "Adèle".encode())
    ascii_only = Site(site="north", feeds=[Feed(sending_application="RIS-A", default_charset="ASCII")])
    mended = Site(site="north", feeds=[Feed(sending_application="RIS-A", default_charset="UNICODE UTF-8")])
    async with start(ascii_only) as ingest:
        (answer,) = await talk(ingest.mllp_port, [encode(raw)], 1)
        assert read(answer).code == "AE"
        (letter,) = await ingest.dead_letters(1)
        assert letter.reason == "charset_undecodable"
    async with start(mended) as ingest:
        await replay(ingest.log, letter, ingest.platform.clock.now())
        (record,) = await ingest.until(topics.ORDERS.name, 1)
        assert Order.FromString(record.event.value).patient.given_name == "Adèle"


async def test_stopping_answers_what_is_in_hand(start, corpus) -> None:
    messages = numbered(corpus["orm-o01-2.3.1.hl7"], 20)
    async with start() as ingest:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        writer.write(b"".join(encode(message) for message in messages) + b"\x0bMSH|half")
        await receive(reader, 1)
    decoder = FrameDecoder(1 << 20)
    rest = [item for item in decoder.feed(await reader.read()) if isinstance(item, Frame)]
    assert len(rest) <= 19
    assert decoder.pending == 0
    writer.close()


async def test_a_taken_port_is_told(start) -> None:
    async with start() as ingest:
        with pytest.raises(ExceptionGroup) as caught:
            async with start(mllp_port=ingest.mllp_port):
                pass
        assert [type(error) for error in caught.value.exceptions] == [Unavailable]


async def test_a_bad_feed_stops_the_start_with_every_fault(start) -> None:
    feeds = [Feed(sending_application="A", default_charset="X"), Feed(sending_application="B", paths={"x": ["y"]})]
    with pytest.raises(Rejected) as caught:
        async with start(Site(site="north", feeds=feeds)):
            pass
    assert "feed A" in caught.value.text
    assert "feed B" in caught.value.text


@pytest.fixture
def published(shared_data: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(shared_data.glob("hl7/*/*"))]


@pytest.mark.shared
async def test_every_published_message_is_answered_and_accounted_for(start, published: list[bytes]) -> None:
    framed = [encode(raw.strip(b"\x0b\x1c")) for raw in published]
    async with start() as ingest:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        codes = []
        for frame in framed:
            writer.write(frame)
            (answer,) = await receive(reader, 1)
            codes.append(parse(answer).get("MSA-1"))
        writer.close()
        assert len(published) > 500
        assert set(codes) == {"AA", "AE", "AR"}
        assert len(await ingest.messages()) == len(published)
        refused = sum(code != "AA" for code in codes)
        assert len(await ingest.dead_letters(refused)) == refused
