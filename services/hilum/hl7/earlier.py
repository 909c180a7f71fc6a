"""Which lines of a message are earlier results sent along with its orders (PRIOR_RESULT of OMG^O19, 2.5.1 4.4.4).

They lie inside ORDER, which repeats, and have an ORC and an OBR of their own: an ORC behind them belongs to one more
of them, or begins the next order. ORC-1 says which.
"""

from collections.abc import Sequence
from typing import NamedTuple

from hilum.hl7.fieldpath import component_of
from hilum.hl7.message import Message

_OF_A_RESULT = frozenset({"RE"})
"""Values of ORC-1 (table 0119) that no order begins with."""


class Earlier(NamedTuple):
    """``lines`` by number from 0; ``unclear`` is which ORC (from 1) may be an order or a result, 0 if none."""

    lines: frozenset[int] = frozenset()
    unclear: int = 0


NONE = Earlier()


def earlier_results(message: Message, anchors: Sequence[str], prior: Sequence[str]) -> Earlier:
    """The lines that are earlier results. ``prior`` are the segments that begin them behind one of ``anchors``.

    The first ORC or OBR behind such a segment is the earlier result's, as the grammar says. Of the ORC after that, one
    with a result's ORC-1 belongs to one more, any other begins an order. It cannot be told where the earlier results
    have an order's ORC-1, too, nor where the first has one and no OBX, which the grammar requires of a result.
    """
    whole = message.layout.whole
    starts = [lines[0] for name in anchors if (lines := whole.lines_of(name))]
    if not starts or not any(lines[-1] > min(starts) for name in prior if (lines := whole.lines_of(name))):
        return NONE
    names = [line[:3] for line in message.lines]
    earlier: set[int] = set()
    unclear = orders = 0
    opened = within = expected = mixed = False
    for number, name in enumerate(names):
        orders += name == "ORC"
        if opened and name in prior:
            within = expected = True
        elif within and name == "ORC":
            says_order = not _is_result(message, names, number, prior)
            if expected:
                mixed = mixed or says_order
                if says_order and not _has_observations(names, number, prior):
                    unclear = unclear or orders
            elif says_order and mixed:
                unclear = unclear or orders
            elif says_order:
                within = False
            expected = False
        elif name in anchors:
            expected, opened = False, True
        if within:
            earlier.add(number)
        elif name == "ORC":
            mixed = False
    return Earlier(frozenset(earlier), unclear)


def _is_result(message: Message, names: Sequence[str], number: int, prior: Sequence[str]) -> bool:
    """Whether the ORC on that line says that it is a result's; one that says nothing is where results follow."""
    marks = message.delimiters
    text = "".join(message.lines[number].split(marks.field, 2)[1:2])
    control = component_of(text.split(marks.repetition, 1)[0], marks, 1, 1).strip()
    return control in _OF_A_RESULT if control else _has_observations(names, number, prior)


def _has_observations(names: Sequence[str], number: int, prior: Sequence[str]) -> bool:
    for name in names[number + 1 :]:
        if name == "OBX":
            return True
        if name == "ORC" or name in prior:
            return False
    return False
