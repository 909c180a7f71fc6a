"""Imaging orders and the patients of the simulated hospital."""

from dataclasses import dataclass
from datetime import date, datetime

from hilum.ids import derived_uid


@dataclass(frozen=True)
class Order:
    """One imaging order of one patient. ``priority`` is of table 0485; times are timezone-aware."""

    accession_number: str
    placer_order_number: str
    filler_order_number: str
    study_instance_uid: str
    patient_id: str
    patient_name: str  # Family^Given
    birth_date: date
    sex: str
    requested_at: datetime
    authority: str = "HOSPITAL"
    priority: str = "R"
    modality: str = "DX"
    procedure_code: str = "CHEST1V"
    procedure_name: str = "Chest radiograph, one view"
    reason: str = "Chest pain"


def example_order(number: int, requested_at: datetime) -> Order:
    """The ``number``-th order of a day at the simulated hospital; the same number gives the same identifiers."""
    family, given, sex = _PATIENTS[number % len(_PATIENTS)]
    return Order(
        accession_number=f"A{requested_at:%y%m%d}{number:04d}",
        placer_order_number=f"P{number:06d}",
        filler_order_number=f"F{number:06d}",
        study_instance_uid=derived_uid("simulated study", requested_at.isoformat(), str(number)),
        patient_id=f"MRN{number:05d}",
        patient_name=f"{family}^{given}",
        birth_date=date(1938 + (number * 17) % 66, 1 + (number * 5) % 12, 1 + (number * 11) % 28),
        sex=sex,
        requested_at=requested_at,
    )


_PATIENTS = [
    ("Okafor", "Ada", "F"),
    ("Lindström", "Erik", "M"),
    ("García Núñez", "María", "F"),
    ("O'Brien", "Sean", "M"),
    ("Müller", "Jürgen", "M"),
    ("Kowalska", "Zofia", "F"),
    ("Nguyen", "Minh", "M"),
    ("Petrova", "Irina", "F"),
    ("Haddad", "Samir", "M"),
    ("Smith", "Jane", "F"),
    ("Rossi", "Paolo", "M"),
    ("Tanaka", "Yuki", "F"),
    ("van den Berg", "Anouk", "F"),
    ("Silva", "João", "M"),
    ("Yilmaz", "Elif", "F"),
    ("Cohen", "Daniel", "M"),
    ("Dubois", "Chloé", "F"),
    ("Andersen", "Lars", "M"),
    ("Mensah", "Kofi", "M"),
    ("Novák", "Eva", "F"),
]
