"""Unique identifiers as PS3.5 9.1 allows them."""

import re

from hilum.errors import Rejected

# PS3.5 9.1 forbids leading zeros in a component; devices in the field write them, and what they made still has
# one name. Digits and dots alone also make the name safe in an object's key.
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LENGTH = 64


def is_uid(value: str) -> bool:
    """Whether ``value`` can name something: at most 64 characters, two or more numeric components."""
    return len(value) <= _LENGTH and _UID.fullmatch(value) is not None


def require_uid(value: str, name: str, invalid: str = "uid_invalid") -> str:
    """``value`` when it can name something. Raises `Rejected` ``uid_missing`` or ``invalid``, without the value."""
    if not value:
        raise Rejected("uid_missing", f"{name} is absent")
    if not is_uid(value):
        raise Rejected(invalid, f"{name} is not a UID (PS3.5 9.1)")
    return value
