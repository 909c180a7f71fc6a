"""HL7 tables that the grammar itself needs: versions, table 0357, the kinds of acknowledging messages."""

VERSIONS: tuple[str, ...] = ("2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8")
"""Versions accepted in MSH-12 (table 0104)."""
_NUMBERS = {version: tuple(int(part) for part in version.split(".")) for version in VERSIONS}

CONDITIONS: dict[str, str] = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
"""Table 0357, message error condition codes."""

ACKNOWLEDGING: frozenset[str] = frozenset({"ACK", "MCF", "ORR", "ORG", "ORI", "ORL", "RRA", "RRD", "RRE", "RRG"})
"""MSH-9.1 of the messages that answer another one (table 0076) and carry an MSA."""


def version_number(version: str) -> tuple[int, ...]:
    """``2.5.1`` as (2, 5, 1), for comparing; () when it is no version."""
    known = _NUMBERS.get(version)
    if known is not None:
        return known
    parts = version.split(".")
    return tuple(int(part) for part in parts) if all(part.isascii() and part.isdigit() for part in parts) else ()
