"""Where ingest does its work on a message."""

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from hilum.hl7.mllp import FramingFault
from hilum.hosting import RandomIds, SystemClock
from hilum.ingest.app import LARGE, Intake
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
