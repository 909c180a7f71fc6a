"""What a seeded world is told: the orders, images, reports and merges of a day, and what must come of each study.

The ending follows from the facts alone. In whatever order they arrive, and however often, it is the same.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random

from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.ids import derived_uid
from hilum.imaging.domain import Arrival
from hilum.simulator.messages import adt, omi_o23, orm_o01, oru_r01
from hilum.simulator.orders import Order, example_order
from hilum.simulator.world.clock import BEGINNING

SPREAD = 60.0  # seconds over which the studies of a world begin
_DX = "1.2.840.10008.5.1.4.1.1.1.1"
_HEADER = b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00"
_POSITIVE = {"alpha": 3, "beta": 2}  # one study in so many
_TAGS = {
    "Modality": "DX",
    "ManufacturerModelName": "Hilum phantom",
    "BodyPartExamined": "CHEST",
    "ViewPosition": "PA",
    "PatientAgeYears": "50",
}


class Course(StrEnum):
    """What is special about a study."""

    PLAIN = "plain"
    LATE_IMAGE = "late image"
    UPDATED = "updated"  # the order comes again, with another priority
    REPORTED = "reported"  # finally, at some time
    READ_FIRST = "read first"  # the final report is there long before the images
    CANCELLED = "cancelled"
    MERGED = "merged"  # the images carry the surviving patient ID, the order the retired one
    CONFLICT = "conflict"  # another patient's images under this order
    UNORDERED = "unordered"
    IMAGELESS = "imageless"
    OTHER_VIEW = "other view"
    TWO_CONTENTS = "two contents"  # one SOP Instance UID comes with two data sets


_COURSES = {
    Course.PLAIN: 8,
    Course.LATE_IMAGE: 4,
    Course.UPDATED: 3,
    Course.REPORTED: 4,
    Course.READ_FIRST: 2,
    Course.CANCELLED: 2,
    Course.MERGED: 3,
    Course.CONFLICT: 1,
    Course.UNORDERED: 1,
    Course.IMAGELESS: 1,
    Course.OTHER_VIEW: 1,
    Course.TWO_CONTENTS: 2,
}


@dataclass(frozen=True)
class Telling:
    """One HL7 message and when it is first sent. ``refused``: it cannot be taken, and must be kept all the same."""

    at: float
    message_control_id: str
    payload: bytes
    refused: bool = False


@dataclass(frozen=True)
class Imaging:
    """One data set and when the modality first sends it."""

    at: float
    arrival: Arrival


@dataclass(frozen=True)
class Study:
    """All that is said of one study, and its ending: ``disposition`` of the algorithms, and what the case says."""

    order: Order
    course: Course
    tellings: tuple[Telling, ...]
    images: tuple[Imaging, ...]
    disposition: str
    patient_id: str
    report_status: str = ""
    final_at: float | None = None  # when the final report was first sent

    @property
    def ordered(self) -> bool:
        return self.course is not Course.UNORDERED

    @property
    def image_uids(self) -> frozenset[str]:
        return frozenset(image.arrival.sop_instance_uid for image in self.images)


@dataclass(frozen=True)
class Story:
    studies: tuple[Study, ...]
    strays: tuple[Telling, ...] = field(default=())

    @property
    def tellings(self) -> list[Telling]:
        return sorted(
            [one for study in self.studies for one in study.tellings] + list(self.strays), key=lambda one: one.at
        )

    @property
    def images(self) -> list[Imaging]:
        return sorted((one for study in self.studies for one in study.images), key=lambda one: one.at)


def story(chance: Random, count: int) -> Story:
    """``count`` studies within `SPREAD` seconds, and a few messages that nobody can take."""
    studies = tuple(_study(chance, number) for number in range(count))
    return Story(studies, tuple(_stray(chance, number) for number in range(1 + count // 20)))


def positive(algorithm: str, study_instance_uid: str) -> bool:
    """Whether the engine finds something."""
    digest = hashlib.sha256(f"{algorithm} {study_instance_uid}".encode()).digest()
    return digest[0] % _POSITIVE[algorithm] == 0


def at(seconds: float) -> datetime:
    return BEGINNING + timedelta(seconds=seconds)


def _study(chance: Random, number: int) -> Study:
    course = chance.choices([*_COURSES], weights=[*_COURSES.values()])[0]
    begins = chance.random() * SPREAD
    order = replace(example_order(number, at(begins)), priority=chance.choice("RRRRRA"))
    imaged = begins + 1 + chance.random() * 10
    compose = chance.choice([orm_o01, omi_o23])
    tellings: list[Telling] = []
    reported, final_at, disposition, patient_id = "", None, "resulted", order.patient_id

    def tell(when: float, payload: bytes, name: str) -> None:
        tellings.append(Telling(when, name, payload))

    def name(kind: str) -> str:
        return f"{kind}{number:05d}"

    if course is not Course.UNORDERED:
        tell(begins, compose(order, name("NEW"), at(begins)), name("NEW"))
    match course:
        case Course.UPDATED:
            after = replace(order, priority=chance.choice("RAS"), reason="Shortness of breath")
            when = begins + 2 + chance.random() * 3
            tell(when - 2, compose(after, name("UPD"), at(when), control="XO"), name("UPD"))
        case Course.REPORTED | Course.READ_FIRST:
            first = begins + 1 if course is Course.READ_FIRST else imaged + chance.random() * 30
            for status, wait in (("P", 0.0), ("F", 2.0)):
                when = first + wait
                report = oru_r01(order, name(f"RE{status}"), at(when), ["Seen."], status=status)
                tell(when, report, name(f"RE{status}"))
            reported, final_at = "F", first + 2
        case Course.CANCELLED:
            when = begins + 2 + chance.random() * 4
            tell(when - 2, compose(order, name("CAN"), at(when), control="CA", status="CA"), name("CAN"))
            disposition = "cancelled"
        case Course.MERGED:
            patient_id = f"{order.patient_id}M"
            survivor = replace(order, patient_id=patient_id)
            when = begins + chance.random() * 20
            merge = adt(survivor, "A40", name("MRG"), at(when), retired_patient_id=order.patient_id)
            tell(when, merge, name("MRG"))
        case Course.CONFLICT:
            disposition = "conflict:identity"
        case Course.UNORDERED:
            disposition = "unmatched"
        case Course.IMAGELESS:
            disposition = "never_arrived"
        case Course.OTHER_VIEW:
            disposition = "ineligible:view"
        case _:
            pass
    pictured = {
        Course.CONFLICT: replace(order, patient_id=f"{order.patient_id}X"),
        Course.MERGED: replace(order, patient_id=patient_id),
    }.get(course, order)
    images = (
        []
        if course is Course.IMAGELESS
        else _images(chance, pictured, course, imaged + 15 * (course is Course.READ_FIRST))
    )
    return Study(order, course, tuple(tellings), tuple(images), disposition, patient_id, reported, final_at)


def _images(chance: Random, order: Order, course: Course, begin: float) -> list[Imaging]:
    tags = _TAGS | ({"ViewPosition": "LL"} if course is Course.OTHER_VIEW else {})
    count = 1 + (chance.random() < 0.3) + (course is Course.LATE_IMAGE)
    times = [begin + number * 0.2 for number in range(count)]
    if course is Course.LATE_IMAGE:
        times[-1] += 12 + chance.random() * 10
    images = [_image(order, number, when, tags) for number, when in enumerate(times)]
    if course is Course.TWO_CONTENTS:
        images.append(_image(order, 0, begin + 30, tags, edition=1))
    return images


def _image(order: Order, number: int, when: float, tags: dict[str, str], edition: int = 0) -> Imaging:
    study = order.study_instance_uid
    sop = derived_uid("image", study, str(number))
    body = f"{sop} edition {edition}".encode()
    meta = b"\x02\x00\x03\x00UI" + len(sop).to_bytes(2, "little") + sop.encode()
    file = _HEADER + len(meta).to_bytes(4, "little") + meta + body
    digest = hashlib.sha256(body).digest()
    statement = Instance(
        site="world",
        study_instance_uid=study,
        series_instance_uid=derived_uid("series", study),
        sop_instance_uid=sop,
        sop_class_uid=_DX,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=digest,
        size_bytes=len(body),
        calling_ae_title="MODALITY",
        study_date=f"{at(when):%Y%m%d}",
        study_time=f"{at(when):%H%M%S}",
        tags=tags,
    )
    statement.patient.identifiers.add(value=order.patient_id, authority=order.authority, type_code="MR")
    statement.accession_number.value = order.accession_number
    statement.received_at.FromDatetime(at(when))
    arrival = Arrival(sop, study, digest, file, "MODALITY", at(when), statement.SerializeToString(deterministic=True))
    return Imaging(when, arrival)


def _stray(chance: Random, number: int) -> Telling:
    """A message that HL7 does not allow: without a patient."""
    control_id = f"BAD{number:05d}"
    whole = orm_o01(example_order(9000 + number, at(0)), control_id, at(0))
    maimed = b"\r".join(segment for segment in whole.split(b"\r") if not segment.startswith((b"PID", b"ORC", b"OBR")))
    return Telling(chance.random() * SPREAD, control_id, maimed, refused=True)
