"""Where the search begins: inputs of our own simulator, all synthetic. ``python -m fuzz.seeds`` writes them."""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from io import BytesIO
from itertools import product

import numpy as np
import yaml
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pynetdicom.dsutils import encode

from datasets.images import image, item
from fuzz.fuzz_instances import SYNTAXES
from fuzz.fuzz_packages import ENGINE
from fuzz.targets import TARGETS
from hilum.contracts.policies.v1 import policies_pb2
from hilum.hl7 import mllp
from hilum.simulator.messages import adt, omi_o23, orm_o01, oru_r01
from hilum.simulator.orders import example_order
from hilum.simulator.radiographs import radiograph

_AT = datetime(2026, 3, 29, 9, 0, tzinfo=UTC)
_ORDERS = [example_order(number, _AT) for number in (2, 5)]


def messages() -> Iterator[bytes]:
    order, other = _ORDERS
    yield orm_o01(order, "C1", _AT)
    yield orm_o01(other, "C2", _AT, control="CA", status="CA").replace(b"\r", b"\n")
    yield omi_o23(order, "C3", _AT)
    yield adt(order, "A08", "C4", _AT)
    yield adt(order, "A40", "C5", _AT, retired_patient_id="MRN99999")
    yield oru_r01(other, "C6", _AT, ["No pneumothorax.", "Heart \\ normal"])
    yield b"MSH|^~\\&|RIS|H|||2026||ACK^A01|C7|P|2.3.1\rMSA|AE|C1|text\rERR|PID^1^3^101&Missing&HL70357\r"
    yield b"MSH$%~?*$LAB$H$$$2026$$ORM%O01$C8$P$2.5.1\rPID$$$1%%%H*1.2*ISO\rORC$NW$1\rOBR$1$X$2%A\r"
    yield "MSH|^~\\&|RIS|H|||2026||ORU^R01|C9|P|2.4||||||ISO IR14~ISO IR87\rPID|||1||森^太郎\r".encode("iso2022_jp")
    yield "MSH|^~\\&|OLD|H|||2026||ADT^A01|C10|P|2.4||||||BIG-5\rEVN|A01\rPID|||1||功^蓋\rPV1||E\r".encode("big5")


def framer() -> Iterator[bytes]:
    first, second = list(messages())[:2]
    for limit, cuts in product((1, 3), (0, 7, 77)):
        yield (
            bytes([limit, cuts])
            + mllp.encode(b"A\x1cB")
            + b"\r\n"
            + mllp.encode(b"")
            + b"\x0bC\x0b"
            + mllp.encode(b"DE")
        )
        yield bytes([limit, cuts]) + mllp.encode(first[:60]) + b"\x0b" + second[:70] + b"\x0b\x0b\x1c"


def paths() -> Iterator[bytes]:
    for number, text in enumerate(
        (
            "OBR-3.2\nOBR-18",
            "PID-3[4=MR].1\nPID-3",
            "OBX[3.1=113014]-5\nOBR-31[*].2",
            "ZDS-1.1.1\nMSH-1",
            "ORC[*]-2[2].4.2",
        )
    ):
        yield bytes([number]) + text.encode()


def texts() -> Iterator[bytes]:
    for number, text in enumerate(
        ("20260329023000.1234-0330", "a\\F\\b\\.sp12\\\\XC3A9\\\\H\\", "Müller|^~\\&\n", "森 太郎", "功蓋")
    ):
        for charset, codec in ((0, "ascii"), (12, "utf_8"), (14, "gb18030"), (16, "big5"), (17, "iso2022_jp")):
            yield bytes([charset, number]) + text.encode(codec, "replace")


SITE = """\
site: riverside
timezone: Europe/Stockholm
identifier_authority: HOSPITAL
feeds:
  - {sending_application: RIS, sending_facility: HOSPITAL, default_charset: UNICODE UTF-8,
     paths: {accession_number: [OBR-3.1, "ORC[1=NW]-3.1"], ORM_O01.modality: ["OBR-24"]}}
ris: {port: 2576, strategy: omi, overwrite_priorities: ["", R]}
ehr: {url: "http://127.0.0.1/fhir", patient_identifier_system: {HOSPITAL: "urn:oid:1.2"}}
pacs: {port: 11113, ae_title: ARCHIVE}
completeness: {settle_seconds: 0, quiet_seconds: 5}
matching: {require_order: false}
algorithms:
  - {name: chest, version: 1.0.0, state: off}
"""


def site_file() -> Iterator[bytes]:
    yield SITE.encode()
    for line in SITE.splitlines(keepends=True)[:3]:
        yield line.encode()
    yield b"site: a\ntimezone: Mars/Olympus\nfeeds: [{sending_application: A}, {sending_application: A}]\nport: 1\n"
    yield b"site: &a [x, x]\nfeeds: [*a, *a]\nris: {<<: {port: 1}}\n"
    yield b"site: a\nris: {port: 0x10, retry_seconds: .inf}\npacs: {port: 1:1, ae_title: 2026-01-01}\n"


def manifest() -> dict[str, object]:
    """A small package's manifest that holds, with `fuzz.fuzz_packages.ENGINE` beside it."""
    engine = {
        "file": "model.onnx",
        "sha256": hashlib.sha256(ENGINE).hexdigest(),
        "input": "image",
        "shape": [1, 1, 64, 64],
        "outputs": {"probability": "prob", "activation": "cam"},
    }
    rule = {"id": "age", "field": "dicom.PatientAgeYears", "op": "at_least", "value": 18, "missing": "fail"}
    finding = {
        "id": "air",
        "index": 0,
        "code": {"system": "urn:x", "code": "1", "display": "Air"},
        "threshold": 0.5,
        "absent_below": 0.2,
        "priority": "S",
    }
    return {
        "schema": 1,
        "name": "example",
        "version": "1.0.0",
        "title": "An example",
        "use": "detection",
        "outputs": ["priority", "finding", "probability", "absent", "localisation"],
        "notice": "Demonstration. Not for clinical use.",
        "card": "CARD.md",
        "device": {"manufacturer": "Hilum", "model_name": "example", "uid": "2.25.1"},
        "engine": engine,
        "preprocessing": {"rows": 64, "columns": 64, "fit": "pad", "mean": 0.5, "std": 0.25},
        "eligibility": {"study": [], "instance": [rule]},
        "findings": [finding],
        "useful_minutes": 720,
    }


def packages() -> Iterator[bytes]:
    whole = manifest()
    yield yaml.safe_dump(whole, sort_keys=False).encode()
    yield yaml.safe_dump(whole, sort_keys=False, default_flow_style=True).encode()
    rules = [
        {"id": "modality", "field": "order.modality", "op": "in", "value": ["CR", "DX"], "missing": "pass"},
        {"id": "body", "field": "study.body", "op": "contains", "value": "CHEST", "missing": "pass"},
        {"id": "there", "field": "order.reason", "op": "present", "missing": "fail"},
    ]
    others = {"version": "0.0.1-rc.1", "use": "triage", "outputs": ["priority"], "eligibility": {"study": rules}}
    yield yaml.safe_dump(whole | others, sort_keys=False).encode()


def policies() -> Iterator[bytes]:
    for state, reason in (("live", "site_file"), ("off", "package_changed"), ("silent", "too many"), ("odd", "")):
        message = policies_pb2.Policy(
            algorithm="chest", algorithm_version="1.0.0", package_digest="a", state=state, revision=7, reason=reason
        )
        message.at.FromDatetime(_AT)
        yield message.SerializeToString()


def _encoded(dataset: Dataset, syntax: str) -> bytes:
    implicit, little = syntax == SYNTAXES[0], syntax != SYNTAXES[2]
    whole = encode(dataset, implicit, little, deflated=syntax == SYNTAXES[3])
    assert whole is not None
    return bytes([SYNTAXES.index(syntax)]) + whole


def _data_sets() -> Iterator[bytes]:
    order = _ORDERS[0]
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 64
    whole = radiograph(order, ramp, _AT, bits_stored=12)
    for syntax in SYNTAXES[:4]:
        yield _encoded(whole, syntax)
    grey = image(ramp % 256, bits_stored=8, PatientAge="018M", SpecificCharacterSet=["", "ISO 2022 IR 87"])
    grey.PatientName = "Yamada^Tarou"
    grey.IssuerOfPatientIDQualifiersSequence = item(UniversalEntityID="1.2.3")
    grey.AnatomicRegionSequence = item(
        CodeMeaning="Chest", CodeValue="51185008", PurposeOfReferenceCodeSequence=item(CodeValue="1")
    )
    yield _encoded(grey, SYNTAXES[1])
    for syntax, frame in _frames(ramp.astype(np.uint8)):
        coded = image(ramp % 256, bits_stored=8, NumberOfFrames=1) if not frame else image(ramp % 256, bits_stored=8)
        coded.PixelData = encapsulate([frame])
        coded["PixelData"].VR = "OB"
        coded["PixelData"].is_undefined_length = True
        yield _encoded(coded, syntax)
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 16])
    table.add_new("LUTData", "US", [0, 20000, 40000, 65535])
    yield _encoded(
        image(ramp % 4, ModalityLUTSequence=[table], WindowCenter=[100, 5], WindowWidth=[0, 10]), SYNTAXES[1]
    )
    yield _encoded(_padded(ramp), SYNTAXES[1])
    yield _encoded(image(np.stack([ramp, ramp, ramp], -1) % 256, bits_stored=8), SYNTAXES[1])
    coloured = image(ramp % 4, bits_stored=8, PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        coloured.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [4, 0, 16])
        coloured.add_new(f"{colour}PaletteColorLookupTableData", "OW", b"\0\0\0\x40\0\x80\xff\xff")
    yield _encoded(coloured, SYNTAXES[1])
    enhanced = image(np.stack([ramp, ramp]), NumberOfFrames=2)
    enhanced.PerFrameFunctionalGroupsSequence = 2 * item(
        PixelValueTransformationSequence=item(RescaleSlope=2, RescaleIntercept=-10),
        FrameVOILUTSequence=item(WindowCenter=100, WindowWidth=400),
    )
    yield _encoded(enhanced, SYNTAXES[1])


def _padded(pixels: "np.ndarray[tuple[int, int], np.dtype[np.uint16]]") -> Dataset:
    dataset = image(pixels, VOILUTFunction="SIGMOID", WindowCenter=8, WindowWidth=4)
    dataset.add_new("PixelPaddingValue", "US", 64)
    return dataset


def _frames(pixels: "np.ndarray[tuple[int, int], np.dtype[np.uint8]]") -> Iterator[tuple[str, bytes]]:
    picture = Image.fromarray(pixels)
    for syntax, kind in ((SYNTAXES[4], "JPEG"), (SYNTAXES[6], "JPEG2000")):
        written = BytesIO()
        picture.save(written, kind, **({"no_jp2": True} if kind == "JPEG2000" else {}))
        yield syntax, written.getvalue()
    row = b"".join(bytes([7]) + pixels[line].tobytes() for line in range(8))
    yield SYNTAXES[7], bytes([1, 0, 0, 0, 64, 0, 0, 0]) + bytes(56) + row


def outline() -> Iterator[bytes]:
    yield from (data_set for data_set in _data_sets() if data_set[0] in {0, 1})
    yield from (b"\1" + data_set[1:] for data_set in _data_sets() if data_set[0] > 3)


def pixels() -> Iterator[bytes]:
    for data_set in _data_sets():
        yield data_set[:1] + b"\0" + data_set[1:]


def _message(context: int, command: dict[str, object], data_set: bytes = b"", cut: int = 4096) -> bytes:
    """One DIMSE message as P-DATA-TF PDUs (PS3.8 9.3.5), its data set in fragments of ``cut`` bytes."""
    encoded = Dataset()
    for keyword, value in command.items():
        setattr(encoded, keyword, value)
    whole = encode(encoded, is_implicit_vr=True, is_little_endian=True)
    assert whole is not None
    starts = range(0, len(data_set), cut)
    data = [(2 if start + cut >= len(data_set) else 0, data_set[start : start + cut]) for start in starts]
    fragments = [(3, whole), *data]
    values = [struct.pack(">IBB", len(part) + 2, context, control) + part for control, part in fragments]
    return b"".join(struct.pack(">BxI", 4, len(value)) + value for value in values)


def transfer() -> Iterator[bytes]:
    release = struct.pack(">BxI", 5, 4) + bytes(4)
    echo = {
        "AffectedSOPClassUID": "1.2.840.10008.1.1",
        "CommandField": 0x30,
        "MessageID": 1,
        "CommandDataSetType": 0x101,
    }
    store = {
        "AffectedSOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
        "CommandField": 1,
        "MessageID": 2,
        "Priority": 0,
        "CommandDataSetType": 0,
        "AffectedSOPInstanceUID": "1.2.3.3",
    }
    yield b"\0" + _message(3, echo) + release
    yield b"\x40" + _message(1, store, b"a data set") + _message(1, store, b"b" * 300, 100) + release
    yield b"\0" + _message(1, store, b"c" * 5000, 1000)
    yield (
        b"\x09"
        + _message(1, store | {"CommandField": 0x0FFF})
        + _message(1, echo)
        + struct.pack(">BxI", 7, 4)
        + bytes(4)
    )
    both = _message(1, store, b"d")
    yield b"\0" + struct.pack(">BxI", 4, len(both) - 12) + both[6:-13] + both[-7:] + release


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "framer": framer,
    "messages": messages,
    "paths": paths,
    "texts": texts,
    "site_file": site_file,
    "packages": packages,
    "policies": policies,
    "transfer": transfer,
    "outline": outline,
    "instances": _data_sets,
    "pixels": pixels,
}


def main() -> None:
    for name, seeds in SEEDS.items():
        folder = TARGETS[name].corpus
        folder.mkdir(parents=True, exist_ok=True)
        for data in seeds():
            (folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main()
