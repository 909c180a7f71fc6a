"""Where ingest does its work on a message."""

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from hilum.errors import Fault, Unavailable
from hilum.hl7.mllp import FramingFault
from hilum.hosting import RandomIds, SystemClock
from hilum.ingest import app
from hilum.ingest.app import LARGE, Intake, Receipt
from hilum.ingest.domain.feeds import Feeds
from hilum.ingest.ports import KeptMessage


class Kept:
    """A log that keeps one message."""

    message: KeptMessage

    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        (self.message,) = messages


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("large", [True, False])
async def test_a_large_message_is_hashed_beside_the_event_loop(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch, whole: bool, large: bool
) -> None:
    threads: list[int] = []
    real = hashlib.sha256

    def sha256(data: bytes) -> Any:
        if data == raw:
            threads.append(threading.get_ident())
        return real(data)

    raw = b"MSH|^~\\&|A|" + b"x" * (LARGE if large else 10)
    kept = Kept()
    intake = Intake(feeds, kept, SystemClock(), RandomIds())
    monkeypatch.setattr(hashlib, "sha256", sha256)
    if whole:
        await intake.receive(raw, "test")
    else:
        await intake.refuse(FramingFault("block_unfinished", "it was not ended", raw), "test")
    assert kept.message.sha256 == real(raw).digest()
    assert [thread == threading.get_ident() for thread in threads] == [not large]


class Batches:
    """A log that takes batches while ``gate`` is open, and refuses as it is told."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.tried: list[list[bytes]] = []
        self.kept: list[bytes] = []
        self.refusal: Exception | None = None
        self.poison = b""

    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        payloads = [message.payload for message in messages]
        self.tried.append(payloads)
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        if self.poison in payloads:
            raise Fault("event_malformed", "an event cannot be stored")
        self.kept += payloads


class Sender:
    """Hands messages to an intake and notes the answers, in the order in which they come."""

    def __init__(self, feeds: Feeds, log: Batches) -> None:
        self._intake = Intake(feeds, log, SystemClock(), RandomIds())
        self.answers: list[tuple[int, str]] = []
        self._sent = 0
        self._all = asyncio.Event()

    def send(self, *messages: bytes) -> None:
        for message in messages:
            self._intake.take(message, "test", partial(self._answered, self._sent))
            self._sent += 1

    def _answered(self, number: int, receipt: Receipt | None) -> None:
        self.answers.append((number, receipt.outcome.code if receipt else "defect"))
        if len(self.answers) == self._sent:
            self._all.set()

    async def all_answered(self) -> list[tuple[int, str]]:
        async with asyncio.timeout(10):
            await self._all.wait()
        return self.answers


ONE, TWO, THREE = (
    b"MSH|^~\\&|A|B|C|D|20260301||ADT^A01^ADT_A01|%d|P|2.5.1\rEVN||20260301\rPID|1||4711^^^N\r" % number
    for number in (1, 2, 3)
)


async def test_what_arrives_in_one_turn_is_kept_together_and_answered_in_order(feeds: Feeds) -> None:
    log = Batches()
    sender = Sender(feeds, log)
    sender.send(ONE, TWO, THREE)
    assert await sender.all_answered() == [(0, "AA"), (1, "AA"), (2, "AA")]
    assert log.tried == [[ONE, TWO, THREE]]


async def test_what_arrives_while_the_log_works_is_the_next_batch_and_nothing_is_answered_before_it_is_kept(
    feeds: Feeds,
) -> None:
    log = Batches()
    log.gate.clear()
    sender = Sender(feeds, log)
    sender.send(ONE)
    while not log.tried:
        await asyncio.sleep(0)
    sender.send(TWO, THREE)
    for _ in range(20):
        await asyncio.sleep(0)
    assert log.tried == [[ONE]]
    assert sender.answers == []
    log.gate.set()
    assert await sender.all_answered() == [(0, "AA"), (1, "AA"), (2, "AA")]
    assert log.tried == [[ONE], [TWO, THREE]]


async def test_a_log_that_is_away_is_said_to_every_sender_of_the_batch(feeds: Feeds) -> None:
    log = Batches()
    log.refusal = Unavailable("log_unavailable", "the disk is full")
    sender = Sender(feeds, log)
    sender.send(ONE, TWO)
    assert await sender.all_answered() == [(0, "AR"), (1, "AR")]
    log.refusal = None
    sender.send(THREE)
    while len(sender.answers) < 3:
        await asyncio.sleep(0)
    assert sender.answers[-1] == (2, "AA")


async def test_a_message_that_no_log_takes_harms_no_other_of_its_batch(feeds: Feeds) -> None:
    log = Batches()
    log.poison = TWO
    sender = Sender(feeds, log)
    sender.send(ONE, TWO, THREE)
    assert sorted(await sender.all_answered()) == [(0, "AA"), (1, "defect"), (2, "AA")]
    assert log.kept == [ONE, THREE]


@pytest.mark.parametrize(("step", "kept"), [("judge", [ONE, THREE]), ("acknowledge", [ONE, TWO, THREE])])
async def test_a_defect_of_ours_concerns_one_message(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch, step: str, kept: list[bytes]
) -> None:
    real = getattr(app, step)

    def broken(what: Any, *rest: Any) -> Any:
        if TWO in (what, bytes(getattr(what, "line", b"")) + TWO[TWO.index(b"\r") :]):
            raise RuntimeError
        return real(what, *rest)

    monkeypatch.setattr(app, step, broken)
    log = Batches()
    sender = Sender(feeds, log)
    sender.send(ONE, TWO, THREE)
    assert sorted(await sender.all_answered()) == [(0, "AA"), (1, "defect"), (2, "AA")]
    assert log.kept == kept


async def test_more_than_one_batch_holds_are_all_answered(feeds: Feeds) -> None:
    log = Batches()
    sender = Sender(feeds, log)
    sender.send(*[ONE] * 1000)
    assert await sender.all_answered() == [(number, "AA") for number in range(1000)]
    assert max(map(len, log.tried)) < 1000
