"""What peers provoke in the log stays bounded, and nothing is left out untold."""

import logging

import pytest

from hilum.logs import BoundedWarnings


class Hand:
    """A clock's `monotonic`, moved by hand."""

    at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hand() -> Hand:
    return Hand()


def bounded(hand: Hand, lines: int = 1) -> BoundedWarnings:
    return BoundedWarnings(logging.getLogger("hilum.test"), hand, lines=lines, seconds=10)


def test_a_message_is_written_once_in_its_window_and_then_counted(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    warnings = bounded(hand)
    for number in range(1000):
        warnings.warning("refused: %d are open", number)
    assert caplog.messages == ["refused: 0 are open"]
    hand.at += 10
    warnings.settle()
    assert caplog.messages[1:] == ["999 more in 10 s: refused: %d are open"]


def test_after_its_window_a_message_is_written_again_behind_the_number(
    hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    warnings = bounded(hand)
    warnings.warning("refused")
    warnings.warning("refused")
    hand.at += 25
    warnings.warning("refused")
    assert caplog.messages == ["refused", "1 more in 25 s: refused", "refused"]


def test_as_many_lines_as_allowed_are_written(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    warnings = bounded(hand, lines=3)
    for number in range(5):
        warnings.warning("refused %d", number)
    warnings.settle(at_end=True)
    assert caplog.messages == ["refused 0", "refused 1", "refused 2", "2 more in 0 s: refused %d"]


def test_one_message_does_not_silence_another(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    warnings = bounded(hand)
    warnings.warning("refused")
    warnings.warning("lost")
    assert caplog.messages == ["refused", "lost"]


def test_where_nothing_was_left_out_nothing_is_told(hand: Hand, caplog: pytest.LogCaptureFixture) -> None:
    warnings = bounded(hand)
    warnings.warning("refused")
    hand.at += 60
    warnings.settle()
    warnings.settle(at_end=True)
    assert caplog.messages == ["refused"]
