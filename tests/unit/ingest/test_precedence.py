"""Digestion gives way to acknowledgement, for a while and not for ever."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hilum.ingest.adapters.precedence import Precedence

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Clock:
    """Stands still, but for the pauses that are counted."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.pauses = 0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("digestion waits in its own thread")

    def pause(self, seconds: float) -> None:
        self.passed += seconds
        self.pauses += 1


def elsewhere(work: Callable[[datetime], None], at: datetime) -> None:
    """In a thread of its own, as digestion is."""
    thread = threading.Thread(target=work, args=(at,))
    thread.start()
    thread.join()


def test_in_quiet_there_is_no_pause() -> None:
    clock = Clock()
    Precedence(clock, clock.pause).give_way(NOW)
    assert clock.pauses == 0


def test_it_pauses_until_the_last_answer_is_a_moment_ago() -> None:
    clock = Clock()
    precedence = Precedence(clock, clock.pause)
    with precedence:
        pass
    elsewhere(precedence.give_way, NOW)
    assert clock.pauses == 1


def test_it_goes_on_after_a_while_however_many_messages_are_in_hand() -> None:
    clock = Clock()
    precedence = Precedence(clock, clock.pause)
    with precedence, precedence:
        elsewhere(precedence.give_way, NOW)
        assert 0.01 < clock.passed < 0.05


def test_a_message_that_has_waited_long_is_digested_at_once() -> None:
    clock = Clock()
    precedence = Precedence(clock, clock.pause)
    with precedence:
        elsewhere(precedence.give_way, NOW - timedelta(minutes=1))
    assert clock.pauses == 0


def test_a_message_that_could_not_be_kept_is_in_hand_no_more() -> None:
    clock = Clock()
    precedence = Precedence(clock, clock.pause)
    try:
        with precedence:
            raise OSError
    except OSError:
        clock.passed += 1
    elsewhere(precedence.give_way, clock.now())
    assert clock.pauses == 0


def test_in_the_thread_that_answers_it_does_not_pause() -> None:
    clock = Clock()
    precedence = Precedence(clock, clock.pause)
    with precedence:
        precedence.give_way(NOW)
    assert clock.pauses == 0


def test_time_that_passed_without_a_message_is_no_quiet_when_one_comes_in_the_pause() -> None:
    """The event loop may have waited that long for the lock that digestion held: nothing could arrive."""
    clock = Clock()
    arriving = 3

    def pause(seconds: float) -> None:
        nonlocal arriving
        clock.pause(seconds)
        if arriving:
            arriving -= 1
            with precedence:
                pass

    precedence = Precedence(clock, pause)
    with precedence:
        pass
    clock.passed += 0.02
    elsewhere(precedence.give_way, NOW)
    assert clock.pauses == 4


def test_long_after_the_last_message_there_is_no_pause() -> None:
    clock = Clock()
    precedence = Precedence(clock, clock.pause)
    with precedence:
        pass
    clock.passed += 0.2
    elsewhere(precedence.give_way, NOW)
    assert clock.pauses == 0
