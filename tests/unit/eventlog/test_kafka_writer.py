"""The writer of the Kafka log against a producer that a test drives."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, OutOfOrderSequenceNumber

from hilum.errors import HilumError, Unavailable
from hilum.eventlog.kafka.records import Outgoing
from hilum.eventlog.kafka.writer import Append, Writer
from hilum.eventlog.port import TopicPartition
from hilum.hosting import SystemClock


class FakeBatch:
    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, *, timestamp: None, key: bytes, value: bytes, headers: object) -> object:
        if len(self.values) == 3:
            return None
        self.values.append(value)
        return self.values

    def close(self) -> None:
        pass


class FakeProducer:
    """Keeps each batch until the test says what becomes of it."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, list[bytes], asyncio.Future[Any]]] = []
        self.stopped = False
        self._sender = SimpleNamespace(close=self._nothing)

    create_batch = staticmethod(FakeBatch)

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        assert topic == "p-orders"
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent.append((partition, batch.values, done))
        return done

    async def stop(self) -> None:
        self.stopped = True

    async def _nothing(self) -> None:
        pass


class Bench:
    """A writer, and every producer that it made."""

    def __init__(self, seconds: float = 5.0, room: int = 1000) -> None:
        self.producers: list[FakeProducer] = []
        self.refuse = 0
        self.writer = Writer(
            asyncio.get_running_loop(), self._new, lambda topic: f"p-{topic}", SystemClock(), seconds, room
        )

    async def _new(self) -> Any:
        if self.refuse:
            self.refuse -= 1
            raise KafkaConnectionError
        self.producers.append(FakeProducer())
        return self.producers[-1]

    def append(self, *values: str, partition: int = 0) -> "asyncio.Future[None]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        place = TopicPartition("orders", partition)
        records = [Outgoing(place, b"", value.encode(), []) for value in values]
        self.writer.put(Append(records, done, loop, sum(record.size for record in records), len(records)))
        return done

    async def sent(self, count: int, producer: int = 0) -> "list[tuple[int, list[bytes], asyncio.Future[Any]]]":
        async with asyncio.timeout(5):
            while len(self.producers) <= producer or len(self.producers[producer].sent) < count:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        sent = self.producers[producer].sent
        assert len(sent) == count
        return sent


def landed(batch: "tuple[int, list[bytes], asyncio.Future[Any]]", offset: int = 0) -> None:
    batch[2].set_result(SimpleNamespace(offset=offset))


async def code(done: "asyncio.Future[None]") -> str:
    with pytest.raises(HilumError) as raised:
        await asyncio.wait_for(done, 5)
    return raised.value.code


async def test_what_came_meanwhile_is_the_next_batch_and_a_full_one_is_followed_by_another() -> None:
    bench = Bench()
    first = bench.append("a")
    (batch,) = await bench.sent(1)
    others = [bench.append("b", "c"), bench.append("d", "e")]
    await asyncio.sleep(0.01)
    landed(batch)
    await first
    sent = await bench.sent(2)
    assert sent[1][1] == [b"b", b"c", b"d"]
    landed(sent[1])
    await others[0]
    assert not others[1].done()  # half of it is still to come
    sent = await bench.sent(3)
    assert sent[2][1] == [b"e"]
    landed(sent[2])
    await others[1]
    await bench.writer.close()
    assert bench.producers[0].stopped


async def test_a_partition_that_hangs_holds_up_no_other() -> None:
    bench = Bench(seconds=0.2)
    hung, free = bench.append("a"), bench.append("b", partition=1)
    sent = await bench.sent(2)
    landed(sent[1])
    await free
    assert await code(hung) == "log_slow"
    await bench.writer.close()


async def test_whose_time_ran_out_is_told_and_what_was_not_sent_is_never_sent() -> None:
    bench = Bench(seconds=0.2)
    on_its_way = bench.append("a")
    (batch,) = await bench.sent(1)
    waiting = bench.append("b")
    assert await code(on_its_way) == await code(waiting) == "log_slow"
    later = bench.append("c")
    landed(batch)  # it arrived after all
    sent = await bench.sent(2)
    assert sent[1][1] == [b"c"]
    landed(sent[1])
    await later
    assert len(bench.producers) == 1
    await bench.writer.close()


async def test_an_error_that_is_not_retried_ends_the_producer_and_another_goes_on() -> None:
    bench = Bench()
    failed, other = bench.append("a"), bench.append("b", partition=1)
    sent = await bench.sent(2)
    waiting = bench.append("c")
    sent[0][2].set_exception(OutOfOrderSequenceNumber())
    assert await code(failed) == "log_unavailable"
    (again,) = await bench.sent(1, producer=1)
    assert again[1] == [b"c"]
    assert not bench.producers[0].stopped  # one of its batches is still on its way
    landed(sent[1])
    await other
    await asyncio.sleep(0.01)
    assert bench.producers[0].stopped
    landed(again)
    await waiting
    await bench.writer.close()


async def test_a_batch_whose_place_nobody_knows_is_not_acknowledged() -> None:
    bench = Bench()
    done = bench.append("a")
    (batch,) = await bench.sent(1)
    landed(batch, -1)
    assert await code(done) == "log_unsure"
    await bench.writer.close()


async def test_a_cluster_that_comes_back_takes_what_waited() -> None:
    bench = Bench()
    bench.refuse = 2
    done = bench.append("a")
    (batch,) = await bench.sent(1)
    landed(batch)
    await done
    await bench.writer.close()


async def test_the_room_is_bounded_and_given_back() -> None:
    bench = Bench(seconds=0.2, room=10)
    first = bench.append("12345678")
    with pytest.raises(Unavailable) as busy:
        bench.append("123")
    assert busy.value.code == "log_busy"
    assert await code(first) == "log_slow"
    assert await code(bench.append("a" * 100)) == "log_slow"  # alone it is taken, however large
    await bench.writer.close()


async def test_a_writer_that_closes_sends_what_waits_and_tells_the_rest() -> None:
    bench = Bench(seconds=0.5)
    first = bench.append("a")
    (batch,) = await bench.sent(1)
    waiting = bench.append("b")
    closing = asyncio.create_task(bench.writer.close())
    await asyncio.sleep(0)
    landed(batch)
    await first
    sent = await bench.sent(2)
    assert not waiting.done()
    await closing
    assert await code(waiting) in ("log_closed", "log_slow")
    assert not sent[1][2].done() or sent[1][2].cancelled()
    with pytest.raises(Unavailable) as closed:
        bench.append("c")
    assert closed.value.code == "log_closed"
    assert bench.producers[0].stopped
