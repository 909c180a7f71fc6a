"""The first data set of a SOP Instance UID is the instance; what comes after is known or put aside."""

import pytest

from hilum.imaging.domain import Decision, Held, decide

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32


@pytest.mark.parametrize(
    ("sha256", "held", "decision"),
    [
        (A, [], Decision.STORE),
        (A, [Held(A, quarantined=False)], Decision.KNOWN),
        (B, [Held(A, quarantined=False)], Decision.QUARANTINE),
        (B, [Held(A, quarantined=False), Held(B, quarantined=True)], Decision.KNOWN_QUARANTINED),
        (A, [Held(B, quarantined=True), Held(A, quarantined=False)], Decision.KNOWN),
        (C, [Held(A, quarantined=False), Held(B, quarantined=True)], Decision.QUARANTINE),
    ],
)
def test_what_becomes_of_a_data_set(sha256: bytes, held: list[Held], decision: Decision) -> None:
    assert decide(sha256, held) is decision
