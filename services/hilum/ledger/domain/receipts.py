"""What the peers say they took, against what the ledger says landed.

A receipt is one JSON line: ``peer`` (ris, ehr, pacs), ``kind`` (message, resource, instance), ``identity`` (message
control ID, ``Type?system|value``, SOP Instance UID), ``sha256`` of what came, and ``outcome`` (effect, update,
repeat or conflict).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hilum.errors import Rejected
from hilum.ledger.domain.checks import Check, check
from hilum.ledger.domain.facts import DeliveryFact
from hilum.ledger.domain.part10 import sop_instance_uid

_FIELDS = ("peer", "kind", "identity", "sha256", "outcome")


@dataclass(frozen=True, slots=True)
class Receipt:
    peer: str
    kind: str
    identity: str
    sha256: str
    outcome: str


def parse_receipts(lines: Iterable[str]) -> list[Receipt]:
    """Raises `Rejected` (`receipts_unreadable`) with the number of the first line that is no receipt."""
    receipts = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            values = [document[field] for field in _FIELDS]
        except (ValueError, KeyError, TypeError) as error:
            raise Rejected("receipts_unreadable", f"line {number} is no receipt ({type(error).__name__})") from error
        if not all(isinstance(value, str) for value in values):
            raise Rejected("receipts_unreadable", f"line {number} is no receipt (a field is not text)")
        receipts.append(Receipt(*values))
    return receipts


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing that was sent: the names by which its peer may know it, each with its kind."""

    names: frozenset[tuple[str, str]]
    sha256: str = ""  # in hex; empty where the peer may hold it under other bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """What one delivery put, or may have put, at its peer."""

    delivery: DeliveryFact
    things: tuple[Thing, ...]


def things_of(delivery: DeliveryFact, stored: bytes | None) -> Sent:
    """``stored``: the bytes as rendered; they name themselves, whether or not the peer has answered yet."""
    proof = delivery.proof
    found: list[Thing] = []
    if control_id := proof.get("message_control_id", ""):
        found.append(Thing(frozenset({("message", control_id)}), delivery.sha256.hex()))
    if uid := proof.get("sop_instance_uid", ""):
        found.append(Thing(frozenset({("instance", uid)})))
    if stored is None:
        return Sent(delivery, tuple(found))
    if stored.startswith(b"MSH"):
        fields = stored.split(b"\r", 1)[0].split(stored[3:4])
        control_id = fields[9].decode("ascii", "replace") if len(fields) > 9 else ""
        found.append(Thing(frozenset({("message", control_id)}), hashlib.sha256(stored).hexdigest()))
    elif uid := sop_instance_uid(stored):
        found.append(Thing(frozenset({("instance", uid)})))
    else:
        found += [Thing(frozenset(("resource", name) for name in names)) for names in bundle_names(stored)]
    return Sent(delivery, tuple(found))


def bundle_names(bundle: bytes) -> list[list[str]]:
    """``Type?system|value``, every one of each resource that a FHIR bundle writes; empty when it is no bundle."""
    try:
        entries = json.loads(bundle).get("entry", [])
        written = [entry for entry in entries if entry.get("request", {}).get("method", "PUT") in ("PUT", "POST")]
        return [names for entry in written if (names := _names(entry.get("resource") or {}))]
    except (ValueError, AttributeError, TypeError):
        return []


def _names(resource: Mapping[str, Any]) -> list[str]:
    """A resource type without identifiers (Provenance) is known by its tag."""
    identifiers = resource.get("identifier") or []
    listed = identifiers if isinstance(identifiers, list) else [identifiers]
    tags = (resource.get("meta") or {}).get("tag") or []
    return [
        f"{resource.get('resourceType', '')}?{one.get('system', '')}|{one.get('value') or one.get('code', '')}"
        for one in (*listed, *tags)
    ]


def compare(sent: Sequence[Sent], receipts: Sequence[Receipt]) -> list[Check]:
    """Each landed delivery was received, whole and as sent; nothing arrived that was not sent, nothing in two forms."""
    received: dict[tuple[str, str], set[str]] = {}
    for receipt in receipts:
        received.setdefault((receipt.kind, receipt.identity), set()).add(receipt.sha256)
    unmatched: list[str] = []
    altered: list[str] = []
    landed = [one for one in sent if one.delivery.state == "landed"]
    for one in landed:
        digests = [set().union(*(received.get(name, set()) for name in thing.names)) for thing in one.things]
        if not digests or not all(digests):
            unmatched.append(one.delivery.delivery_id)
        if any(
            thing.sha256 and found and thing.sha256 not in found
            for thing, found in zip(one.things, digests, strict=True)
        ):
            altered.append(one.delivery.delivery_id)
    known = {name for one in sent for thing in one.things for name in thing.names}
    strangers = [receipt for receipt in receipts if (receipt.kind, receipt.identity) not in known]
    conflicts = [receipt for receipt in receipts if receipt.outcome == "conflict"]
    repeats = sum(receipt.outcome == "repeat" for receipt in receipts)
    return [
        check(
            "receipts_match_landed",
            unmatched,
            f"{len(landed)} landed deliveries, each with its receipt; {repeats} identical retransmissions",
            "landed without a receipt",
        ),
        check("receipts_match_bytes", altered, "what arrived is what was sent", "other bytes arrived than were sent"),
        check(
            "nothing_else_arrived",
            [f"{receipt.peer} {receipt.kind}" for receipt in strangers],
            f"{len(receipts)} receipts, each of a delivery of ours",
            "arrived without a delivery of ours",
        ),
        check(
            "one_content_an_identity",
            [f"{receipt.peer} {receipt.kind}" for receipt in conflicts],
            "no identity arrived with two contents",
            "arrived again with another content",
        ),
    ]
