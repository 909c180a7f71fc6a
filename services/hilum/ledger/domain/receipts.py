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
class Sent:
    """What one delivery put, or may have put, at its peer; with the digest where bytes may not change."""

    delivery: DeliveryFact
    identities: Mapping[tuple[str, str], str]  # (kind, identity) -> sha256 in hex, empty where any will do


def identities_of(delivery: DeliveryFact, stored: bytes | None) -> Sent:
    """``stored``: the bytes as rendered; they name themselves, whether or not the peer has answered yet."""
    found: dict[tuple[str, str], str] = {}
    proof = delivery.proof
    if proof.get("message_control_id"):
        found["message", proof["message_control_id"]] = delivery.sha256.hex()
    if proof.get("sop_instance_uid"):
        found["instance", proof["sop_instance_uid"]] = ""
    if stored is None:
        return Sent(delivery, found)
    if stored.startswith(b"MSH"):
        fields = stored.split(b"\r", 1)[0].split(stored[3:4])
        if len(fields) > 9:
            found["message", fields[9].decode("ascii", "replace")] = hashlib.sha256(stored).hexdigest()
    elif uid := sop_instance_uid(stored):
        found["instance", uid] = ""
    else:
        found |= dict.fromkeys((("resource", name) for name in bundle_identities(stored)), "")
    return Sent(delivery, found)


def bundle_identities(bundle: bytes) -> list[str]:
    """``Type?system|value`` of every resource that a FHIR bundle writes; empty when it is no bundle."""
    try:
        entries = json.loads(bundle).get("entry", [])
        written = [entry for entry in entries if entry.get("request", {}).get("method", "PUT") in ("PUT", "POST")]
        return [name for entry in written for name in _names(entry.get("resource") or {})]
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
    """Each landed delivery was received as sent, nothing arrived that was not sent, nothing arrived altered."""
    received: dict[tuple[str, str], set[str]] = {}
    for receipt in receipts:
        received.setdefault((receipt.kind, receipt.identity), set()).add(receipt.sha256)
    unmatched: list[str] = []
    altered: list[str] = []
    known: set[tuple[str, str]] = set()
    landed = [one for one in sent if one.delivery.state == "landed"]
    for one in sent:
        known |= one.identities.keys()
    for one in landed:
        hits = [identity for identity in one.identities if identity in received]
        if not hits:
            unmatched.append(one.delivery.delivery_id)
        for identity in hits:
            digest = one.identities[identity]
            if digest and digest not in received[identity]:
                altered.append(one.delivery.delivery_id)
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
