"""A check: its name, whether it holds, and what was counted."""

from collections.abc import Sequence
from dataclasses import dataclass

_NAMED = 5  # how many culprits a detail names


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    holds: bool
    detail: str


def check(name: str, culprits: Sequence[str], when_it_holds: str, otherwise: str) -> Check:
    """Holds when there are no ``culprits``; the detail counts them and names the first ones."""
    if not culprits:
        return Check(name, True, when_it_holds)
    named = ", ".join(culprits[:_NAMED])
    more = f" and {len(culprits) - _NAMED} more" if len(culprits) > _NAMED else ""
    return Check(name, False, f"{len(culprits)} {otherwise}: {named}{more}")
