"""How facts stand in the tables: JSON lists, microseconds, and the contracts' own pieces."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import Identifier, Patient
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.ledger.domain.facts import FindingFact, Key, RuleFact


def at(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, UTC)


def at_or_none(micros: int | None) -> datetime | None:
    return None if micros is None else at(micros)


def micros(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)


def micros_of(stamp: Timestamp) -> int | None:
    """None for a stamp that was never set."""
    return stamp.ToMicroseconds() if stamp.seconds or stamp.nanos else None


def keys_of(stated: Order | Report) -> tuple[Key, ...]:
    """The numbers by which an order or a report can be found again."""
    named = {
        "placer": stated.placer_order_number,
        "filler": stated.filler_order_number,
        "accession": stated.accession_number,
    }
    return tuple(key for kind, number in named.items() if (key := key_of(kind, number)))


def key_of(kind: str, number: Identifier) -> Key | None:
    return Key(kind, number.value, number.authority) if number.value else None


def patient_id(patient: Patient) -> str:
    """The medical record number (table 0203 MR) when one is marked, else the first identifier."""
    marked = [one.value for one in patient.identifiers if one.type_code == "MR"]
    return next(iter([*marked, *(one.value for one in patient.identifiers)]), "")


def dump_keys(keys: Iterable[Key]) -> str:
    return json.dumps([[key.kind, key.value, key.authority] for key in keys])


def load_keys(text: str) -> tuple[Key, ...]:
    return tuple(Key(*parts) for parts in json.loads(text))


def load_rules(text: str) -> tuple[RuleFact, ...]:
    return tuple(RuleFact(*parts) for parts in json.loads(text))


def load_findings(text: str) -> tuple[FindingFact, ...]:
    return tuple(FindingFact(*parts) for parts in json.loads(text))
