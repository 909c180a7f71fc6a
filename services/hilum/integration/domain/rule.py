"""A coded reason: why something is not sent, or not yet."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """``code`` is stable, snake_case and safe to count and show; ``text`` explains it to a person, without PHI."""

    code: str
    text: str
