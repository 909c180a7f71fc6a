"""The checks of `reconcile`: each compares two sources that did not learn from one another."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hilum.ledger.domain.checks import Check, check
from hilum.ledger.domain.facts import DeliveryFact, ImageFact, MessageFact
from hilum.ledger.domain.identity import AlgorithmIdentity, Standing, Unit

_SUCCESS = {"0000", "0000H", "0X0000", "0"}


def identity_checks(identities: Iterable[AlgorithmIdentity]) -> list[Check]:
    return [_identity(one) for one in identities]


def _identity(one: AlgorithmIdentity) -> Check:
    parts = [f"{one.resulted} resulted", *(f"{count} {reason}" for reason, count in one.reasons.items())]
    detail = f"{one.expected} expected = {' + '.join(parts)} + {one.in_progress} in progress"
    if one.expected != one.accounted:
        detail = f"{one.expected} expected, {one.accounted} accounted for: {' + '.join(parts)} + {one.in_progress}"
        detail += " in progress"
    if one.overdue_without_alarm:
        detail += f"; {one.overdue_without_alarm} overdue without an alarm"
    elif one.overdue:
        detail += f"; {one.overdue} overdue, each with its alarm"
    return Check(f"identity:{one.algorithm}", one.holds, detail)


def messages_accounted(messages: Sequence[MessageFact]) -> Check:
    """Every accepted message became something, is known to change nothing, is a repeat, or is a dead letter."""
    accepted = [message for message in messages if message.acknowledgement_code in ("AA", "CA")]
    done = {_identity_of(message) for message in accepted if _accounted(message)}
    lost: list[str] = []
    counts = {"with effect": 0, "without effect by kind": 0, "dead letters": 0, "repeats": 0}
    for message in accepted:
        if message.effects:
            counts["with effect"] += 1
        elif message.dead_letter:
            counts["dead letters"] += 1
        elif message.no_effect:
            counts["without effect by kind"] += 1
        elif _identity_of(message) in done:
            counts["repeats"] += 1
        else:
            lost.append(f"{message.kind or 'unreadable'} of {message.received_at.isoformat(timespec='seconds')}")
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "none"
    return check(
        "messages_accounted",
        lost,
        f"{len(accepted)} accepted messages: {told}",
        "accepted messages without a trace",
    )


def refusals_kept(messages: Sequence[MessageFact]) -> Check:
    """Every refused message stands among the dead letters with its reason."""
    refused = [message for message in messages if message.acknowledgement_code not in ("AA", "CA")]
    bare = [
        f"{message.reason or 'no reason'} of {message.received_at.isoformat(timespec='seconds')}"
        for message in refused
        if not (message.dead_letter and message.reason)
    ]
    return check(
        "refusals_kept",
        bare,
        f"{len(refused)} refused messages, each a dead letter with its reason",
        "refused, not kept",
    )


def _accounted(message: MessageFact) -> bool:
    return bool(message.effects) or message.dead_letter


def _identity_of(message: MessageFact) -> tuple[str, str, bytes]:
    return (message.feed, message.message_control_id, message.sha256)


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One object under ``instances/`` as it was found; the digest of its data set when it is a DICOM file."""

    object_key: str
    size_bytes: int
    data_set_bytes: int
    sha256: bytes


def images_stored(images: Sequence[ImageFact], stored: Mapping[str, StoredImage]) -> Check:
    """Every image that imaging told of is in the object store, whole and unchanged."""
    wrong: list[str] = []
    for image in images:
        found = stored.get(image.object_key)
        if found is None:
            wrong.append(f"{image.object_key} is missing")
        elif image.size_bytes not in (found.size_bytes, found.data_set_bytes):
            wrong.append(f"{image.object_key} has {found.size_bytes} bytes")
        elif found.sha256 != image.sha256:
            wrong.append(f"{image.object_key} has another digest")
    return check(
        "images_stored", wrong, f"{len(images)} images, each stored with its size and digest", "images not as received"
    )


def objects_known(images: Sequence[ImageFact], stored: Iterable[str]) -> Check:
    known = {image.object_key for image in images}
    unknown = sorted(key for key in stored if key not in known)
    return check("objects_known", unknown, "every stored image is known", "stored objects that no event names")


def in_cases(units: Sequence[Unit], stands: Standing) -> list[Check]:
    studies = [unit for unit in units if unit.study_instance_uid]
    orders = [unit for unit in units if not unit.study_instance_uid]
    return [
        check(
            "studies_in_cases",
            [unit.study_instance_uid for unit in stands.missing if unit.study_instance_uid],
            f"{len(studies)} studies seen or announced, each in a case",
            "studies in no case",
        ),
        check(
            "orders_in_cases",
            [_order(unit) for unit in stands.missing if not unit.study_instance_uid],
            f"{len(orders)} orders without a study, each in a case",
            "orders in no case",
        ),
        check(
            "one_case_each",
            [unit.study_instance_uid or _order(unit) for unit in stands.doubled],
            "no study and no order stands in two cases",
            "in more than one case",
        ),
        check(
            "cases_explained",
            [case.case_id for case in stands.unexplained],
            "every case has an order or an image behind it",
            "cases that nothing accounts for",
        ),
    ]


def _order(unit: Unit) -> str:
    message, ordinal = min(unit.messages)
    return f"message {message} group {ordinal}"


def landed_has_proof(deliveries: Sequence[DeliveryFact]) -> Check:
    """`landed` stands on the peer's own words: MSA-1, a DIMSE status, or a FHIR reference answered or read back."""
    landed = [delivery for delivery in deliveries if delivery.state == "landed"]
    bare = [
        f"{delivery.destination} {delivery.kind} {delivery.delivery_id}"
        for delivery in landed
        if not is_proved(delivery.proof)
    ]
    return check("landed_has_proof", bare, f"{len(landed)} landed deliveries, each with proof", "landed without proof")


def is_proved(proof: Mapping[str, str]) -> bool:
    if proof.get("message_control_id"):
        return proof.get("acknowledgement_code") in ("AA", "CA")
    if proof.get("sop_instance_uid"):
        status = proof.get("dimse_status", "").upper()
        return status in _SUCCESS or status.removeprefix("0X").startswith("B")  # B000H ...: stored with a warning
    answered = proof.get("http_status", "").startswith("2") or proof.get("read_back") == "identifier"
    return bool(proof.get("fhir_reference")) and answered


def caught_up(positions: Mapping[tuple[str, int], int], heads: Mapping[tuple[str, int], int]) -> Check:
    """The ledger has read the log to its end."""
    behind = {place: head - positions.get(place, 0) for place, head in heads.items()}
    culprits = [f"{count} of {topic}/{partition}" for (topic, partition), count in behind.items() if count > 0]
    read = sum(positions.get(place, 0) for place in heads)
    return check("ledger_caught_up", culprits, f"{read} events read, none left", "partitions not read to their end")
