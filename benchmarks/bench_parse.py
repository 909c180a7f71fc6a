"""Messages a second that are parsed and read for 20 logical fields, beside `str.split` and beside HAPI.

Usage: bench_parse.py [ROUNDS]. The programs take turns within each round; nothing is pinned to a core. Figures are
microseconds of processor time a message, medians over the rounds; ratios are taken within a round. Ours and that of
`str.split` are of the whole process, HAPI's is of the thread that parses alone, without its collector and compiler.
`str.split` knows one character set, no escapes and no repetitions: the table says how many of its values are wrong.
HAPI runs with its validation off.
"""

import hashlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from floors import Floors
from hilum.hl7.acknowledgement import AcknowledgementConfig, acknowledge
from hilum.hl7.judge import Rules, judge
from hilum.hl7.message import parse
from hilum.hl7.paths import load_tables
from hilum.simulator.messages import omi_o23, orm_o01, oru_r01
from hilum.simulator.orders import example_order

_TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(_TESTS))  # the peers of the tests
from peers import hapi_v2  # noqa: E402

_AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
_FLOOR, _AIM, _HAPI = 0.35, 0.7, 8.0
_SLICE = 0.15  # seconds of processor time a program and round
_HAPI_SECONDS = 3.0

Place = tuple[str, int, int]
"""Segment, field and component, from 1."""

_PATIENT: dict[str, Place] = {
    "patient_id": ("PID", 3, 1),
    "patient_id.authority": ("PID", 3, 4),
    "patient_name.family": ("PID", 5, 1),
    "patient_name.given": ("PID", 5, 2),
    "birth_date": ("PID", 7, 1),
    "sex": ("PID", 8, 1),
    "patient_class": ("PV1", 2, 1),
    "visit_number": ("PV1", 19, 1),
}
_ORDER: dict[str, Place] = {
    **_PATIENT,
    "order_control": ("ORC", 1, 1),
    "placer_order_number": ("ORC", 2, 1),
    "filler_order_number": ("ORC", 3, 1),
    "procedure_code": ("OBR", 44, 1),
    "reason.text": ("OBR", 31, 2),
}
_ORM: dict[str, Place] = {
    **_ORDER,
    "accession_number": ("OBR", 18, 1),
    "requested_procedure_id": ("OBR", 19, 1),
    "scheduled_procedure_step_id": ("OBR", 20, 1),
    "study_instance_uid": ("ZDS", 1, 1),
    "modality": ("OBR", 24, 1),
    "priority": ("ORC", 7, 6),
    "scheduled_start": ("ORC", 7, 4),
}
_OMI: dict[str, Place] = {
    **_ORDER,
    "accession_number": ("IPC", 1, 1),
    "requested_procedure_id": ("IPC", 2, 1),
    "scheduled_procedure_step_id": ("IPC", 4, 1),
    "study_instance_uid": ("IPC", 3, 1),
    "modality": ("IPC", 5, 1),
    "priority": ("TQ1", 9, 1),
    "scheduled_start": ("TQ1", 7, 1),
}
_ORU: dict[str, Place] = {
    **_PATIENT,
    "assigned_location.point_of_care": ("PV1", 3, 1),
    "order_status": ("ORC", 5, 1),
    "placer_order_number": ("OBR", 2, 1),
    "filler_order_number": ("OBR", 3, 1),
    "universal_service": ("OBR", 4, 1),
    "universal_service.text": ("OBR", 4, 2),
    "universal_service.system": ("OBR", 4, 3),
    "study_time": ("OBR", 7, 1),
    "accession_number": ("OBR", 18, 1),
    "status_time": ("OBR", 22, 1),
    "diagnostic_service": ("OBR", 24, 1),
    "report_status": ("OBR", 25, 1),
}
_REST = (
    "PD1||||1234^Practice^North||||||||N\r"
    "NK1|1|Example^Bea|SPO^Spouse^HL70063|12 High Street^^Town^^AB1 2CD^GB|0123456789\r"
    "GT1|1||Example^Ada||12 High Street^^Town^^AB1 2CD^GB|0123456789|||||SEL^Self^HL70063\r"
    "IN1|1|A1^Basic^L|INS01|Example Insurance|1 Mutual Way^^Town^^EF3 4GH^GB|||G77||||20260101|20261231|||Example^Ada\r"
    "IN1|2|B2^Extra^L|INS02|Other Insurance|2 Mutual Way^^Town^^EF3 4GH^GB|||G78||||20260101|20261231|||Example^Ada\r"
    "AL1|1|DA|PEN^Penicillin^L|SV|Rash|20200101\r"
    "AL1|2|MA|IOD^Iodinated contrast^L|MO|Urticaria|20210101\r"
)
_NOTES = "DG1|1||R07.4^Chest pain, unspecified^I10|||A\rNTE|1|L|Portable. Patient cannot stand.\rNTE|2|L|Call ward 7.\r"


@dataclass(frozen=True)
class Kind:
    """A message and where the 20 values stand in it."""

    name: str
    raw: bytes
    places: Mapping[str, Place]
    headline: bool = False


def kinds() -> Iterator[Kind]:
    """The simulator's own messages, a long order, a report of 100 observations, and one with everything in it."""
    order = example_order(1, _AT)
    orm = orm_o01(order, "C1", _AT)
    yield Kind("ORM^O01 of the simulator", orm, _ORM, headline=True)
    yield Kind("OMI^O23 of the simulator", omi_o23(order, "C1", _AT), _OMI, headline=True)
    yield Kind("ORU^R01 of the simulator", oru_r01(order, "C1", _AT, ["No pneumothorax.", "Normal."]), _ORU)
    patient, orc, zds = orm.index(b"PV1|"), orm.index(b"ORC|"), orm.index(b"ZDS|")
    parts = (orm[:patient], orm[patient:orc], _REST.encode(), orm[orc:zds], _NOTES.encode(), orm[zds:])
    yield Kind("ORM^O01 with insurance and notes", b"".join(parts), _ORM)
    oru = oru_r01(order, "C1", _AT, ["Normal."])
    observation = oru[oru.index(b"OBX|") :]
    yield Kind("ORU^R01 of 100 observations", oru + observation * 99, _ORU)
    yield Kind("ORM^O01, repeats, escapes, 8859/1", (_TESTS / "corpus/hl7/orm-o01-2.3.1.hl7").read_bytes(), _ORM)


def split_fields(raw: bytes, places: Sequence[tuple[str, str, int, int]]) -> dict[str, str]:
    """The plain program: `str.split`, the first segment of each name, the component asked for, no more."""
    segments: dict[str, list[str]] = {}
    for line in raw.decode("utf-8", "replace").split("\r"):
        fields = line.split("|")
        segments.setdefault(fields[0], fields)
    values = {}
    for name, segment, field, component in places:
        fields = segments.get(segment, [])
        if field < len(fields):
            components = fields[field].split("^")
            if component <= len(components) and components[component - 1]:
                values[name] = components[component - 1]
    return values


def split_trusting(raw: bytes) -> dict[str, str]:
    """The same for one kind, written out, failing where a segment or field is missing: the least that can be done."""
    segments = {}
    for line in raw.decode("utf-8").split("\r"):
        fields = line.split("|")
        segments[fields[0]] = fields
    pid, pv1, orc, obr, zds = (segments[name] for name in ("PID", "PV1", "ORC", "OBR", "ZDS"))
    identifier, name, timing = pid[3].split("^"), pid[5].split("^"), orc[7].split("^")
    return {
        "patient_id": identifier[0],
        "patient_id.authority": identifier[3],
        "patient_name.family": name[0],
        "patient_name.given": name[1],
        "birth_date": pid[7],
        "sex": pid[8],
        "patient_class": pv1[2],
        "visit_number": pv1[19].split("^")[0],
        "order_control": orc[1],
        "placer_order_number": orc[2].split("^")[0],
        "filler_order_number": orc[3].split("^")[0],
        "procedure_code": obr[44].split("^")[0],
        "reason.text": obr[31].split("^")[1],
        "accession_number": obr[18].split("^")[0],
        "requested_procedure_id": obr[19].split("^")[0],
        "scheduled_procedure_step_id": obr[20].split("^")[0],
        "study_instance_uid": zds[1].split("^")[0],
        "modality": obr[24],
        "priority": timing[5],
        "scheduled_start": timing[3],
    }


def cost(work: Callable[[], object]) -> float:
    """Microseconds of processor time a call, over about `_SLICE`."""
    done, began = 0, time.process_time()
    while (took := time.process_time() - began) < _SLICE:
        for _ in range(200):
            work()
        done += 200
    return took / done * 1e6


class Programs:
    """Everything that is measured on one kind of message."""

    def __init__(self, kind: Kind) -> None:
        raw, tables = kind.raw, load_tables()
        rules = Rules(tables, default_charset="8859/1")
        verdict = judge(raw, lambda _: rules)
        structure, config = verdict.structure, AcknowledgementConfig()
        if verdict.outcome.code != "AA" or structure is None:
            raise SystemExit(f"{kind.name}: {verdict.outcome}")
        selection, whole = structure.select(kind.places), structure.all
        places = [(name, *place) for name, place in kind.places.items()]
        digest = hashlib.sha256(raw).digest()
        self.kind = kind
        self.work: dict[str, Callable[[], object]] = {
            "ours": lambda: [*selection.read(parse(raw, "8859/1"))],
            "split": lambda: split_fields(raw, places),
            "all": lambda: [*whole.read(parse(raw, "8859/1"))],
            "judge": lambda: judge(raw, lambda _: rules),
            "acknowledge": lambda: acknowledge(verdict.header, digest, verdict.outcome, _AT, config, "8859/1"),
        }
        if kind.places is _ORM and kind.headline:
            self.work["trusting"] = lambda: split_trusting(raw)
        (ours,) = selection.read(parse(raw, "8859/1"))
        theirs = split_fields(raw, places)
        self.wrong = sum(theirs.get(name) != ours.get(name) for name in kind.places)
        if len(ours) != 20 or (kind.headline and self.wrong):
            raise SystemExit(f"{kind.name}: {len(ours)} values, of which the programs differ in {self.wrong}")
        self.times: dict[str, list[float]] = {name: [] for name in (*self.work, "hapi")}

    def round(self, scratch: Path) -> None:
        """One turn of each."""
        for name, work in self.work.items():
            self.times[name].append(cost(work))
        file = scratch / "message.hl7"
        file.write_bytes(self.kind.raw)
        places = [f"/.{segment}-{field}-{component}" for segment, field, component in self.kind.places.values()]
        figures = hapi_v2.bench(file, _HAPI_SECONDS, places)
        self.times["hapi"].append(1e6 / figures.per_cpu_second)

    def median(self, name: str) -> float:
        return statistics.median(self.times[name])

    def ratio(self, name: str) -> float:
        """How much of the speed of ``name`` ours reaches."""
        return statistics.median(
            theirs / ours for theirs, ours in zip(self.times[name], self.times["ours"], strict=True)
        )


def report(measured: Sequence[Programs], rounds: int) -> Floors:
    """The table, then the headline beside its floor and aim."""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {rounds} rounds; "
        "microseconds of processor time a message, HAPI's of its one thread"
    )
    print(f"{'kind':34s} bytes  ours split ratio wrong   HAPI times  all fields  judge  acknowledge")
    for each in measured:
        print(
            f"{each.kind.name:34s} {len(each.kind.raw):5d} {each.median('ours'):5.1f} {each.median('split'):5.1f} "
            f"{each.ratio('split'):5.2f} {each.wrong:5d} {each.median('hapi'):6.1f} {each.ratio('hapi'):5.1f} "
            f"{each.median('all'):11.1f} {each.median('judge'):6.1f} {each.median('acknowledge'):12.1f}"
        )
    floors = Floors()
    for each in measured:
        if "trusting" in each.work:
            print(
                f"{each.kind.name}: {each.ratio('trusting'):.2f} of a str.split that trusts every message to be whole"
            )
        if each.kind.headline:
            floors.at_least(f"{each.kind.name}, of the speed of str.split", each.ratio("split"), _FLOOR, _AIM)
            floors.at_least(f"{each.kind.name}, times HAPI", each.ratio("hapi"), _HAPI)
    return floors


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    measured = [Programs(kind) for kind in kinds()]
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(rounds):
            for programs in measured:
                programs.round(Path(scratch))
    report(measured, rounds).settle()


if __name__ == "__main__":
    main()
