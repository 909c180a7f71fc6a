"""A storage SCU that costs next to nothing: the PDUs are encoded before the clock starts.

Usage: cstore_sender.py JOB, a line of JSON: {"ports": [one a association], "instances", "rows", "seed", "called"}.
It associates, says ``ready``, waits for a line, sends ``instances`` on every association at once, each after the
answer to the one before, and prints {"seconds", "cpu"}.
"""

import json
import socket
import struct
import sys
import threading
import time

import numpy as np
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

_PDU_BYTES = 131_072
_CONTEXT = 1
_UID_DIGITS = 12
_HOLE = "9" * _UID_DIGITS


def ct_slice(rows: int, study: str) -> Dataset:
    """A 16-bit CT slice with the elements that a scanner sends, its SOP Instance UID ending in a hole to be filled."""
    dataset = Dataset()
    texts = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{study}.7.{_HOLE}",
        "StudyDate": "20260301",
        "SeriesDate": "20260301",
        "AcquisitionDate": "20260301",
        "ContentDate": "20260301",
        "StudyTime": "081530.250000",
        "SeriesTime": "081612.100000",
        "AcquisitionTime": "081613.700000",
        "ContentTime": "081614.000000",
        "AccessionNumber": "A0000001",
        "Modality": "CT",
        "Manufacturer": "EXAMPLE",
        "InstitutionName": "Example Hospital",
        "ReferringPhysicianName": "Doe^Referring",
        "StationName": "CT01",
        "StudyDescription": "CT HEAD WITHOUT CONTRAST",
        "SeriesDescription": "HEAD 5.0 H31S",
        "ManufacturerModelName": "Model 64",
        "PatientName": "Example^Benchmark",
        "PatientID": "P0000001",
        "PatientBirthDate": "19600101",
        "PatientSex": "F",
        "PatientAge": "066Y",
        "BodyPartExamined": "HEAD",
        "SliceThickness": "5",
        "KVP": "120",
        "DataCollectionDiameter": "500",
        "DeviceSerialNumber": "12345",
        "SoftwareVersions": "v1.2.3",
        "ProtocolName": "Head routine",
        "ReconstructionDiameter": "230",
        "GantryDetectorTilt": "0",
        "TableHeight": "140",
        "RotationDirection": "CW",
        "ExposureTime": "1000",
        "XRayTubeCurrent": "300",
        "Exposure": "300",
        "FilterType": "0",
        "GeneratorPower": "36",
        "FocalSpots": "1.2",
        "ConvolutionKernel": "H31s",
        "PatientPosition": "HFS",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.7",
        "StudyID": "1",
        "SeriesNumber": "2",
        "AcquisitionNumber": "1",
        "InstanceNumber": "1",
        "ImagePositionPatient": ["-115.0", "-115.0", "42.5"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "FrameOfReferenceUID": f"{study}.9",
        "PositionReferenceIndicator": "",
        "SliceLocation": "42.5",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": rows,
        "PixelSpacing": ["0.449", "0.449"],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "WindowCenter": "40",
        "WindowWidth": "80",
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "RequestedProcedureDescription": "CT head",
        "PerformedProcedureStepStartDate": "20260301",
        "PerformedProcedureStepStartTime": "081530",
    }
    for keyword, value in texts.items():
        setattr(dataset, keyword, value)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "CTHEAD", "99HOSP", "CT head"
    dataset.ProcedureCodeSequence = [code]
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "R1", "S1"
    request.ScheduledProtocolCodeSequence = [code]
    dataset.RequestAttributesSequence = [request]
    noise = np.random.default_rng(1).integers(0, 4096, (rows, rows), dtype=np.uint16)
    dataset.PixelData = noise.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def encoded(dataset: Dataset) -> bytes:
    written = DicomBytesIO()
    written.is_implicit_VR, written.is_little_endian = False, True
    write_dataset(written, dataset)
    return bytes(written.getvalue())


class Sending:
    """One association. ``store`` sends the next instance and waits for its answer."""

    def __init__(self, port: int, rows: int, study: str, called: str) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sendall(_request(called))
        kind, answer = self._read()
        if kind != 2:
            raise SystemExit(f"no association: PDU {kind}")
        self._message = bytearray(_message(ct_slice(rows, study), min(_PDU_BYTES, _largest(answer))))
        self._holes = _places(self._message, _HOLE.encode())
        self._sent = 0

    def store(self) -> None:
        self._sent += 1
        digits = str(10 ** (_UID_DIGITS - 1) + self._sent).encode()
        for at in self._holes:
            self._message[at : at + _UID_DIGITS] = digits
        self._connection.sendall(self._message)
        kind, answer = self._read()
        status = answer.find(struct.pack("<HHI", 0, 0x0900, 2))
        if kind != 4 or answer[status + 8 : status + 10] != b"\0\0":
            raise SystemExit(f"not stored: PDU {kind}, {answer!r}")

    def release(self) -> None:
        self._connection.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        self._read()
        self._connection.close()

    def _read(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            more = self._connection.recv(size - len(received))
            if not more:
                raise SystemExit("the server closed the connection")
            received += more
        return received


def _request(called: str) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2): one context, CT Image Storage in explicit VR little endian."""

    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(content)) + content

    syntaxes = item(0x30, CTImageStorage.encode()) + item(0x40, ExplicitVRLittleEndian.encode())
    user = item(0x51, struct.pack(">I", _PDU_BYTES)) + item(0x52, b"1.2.3.4.5")
    body = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), b"BENCH".ljust(16))
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    body += item(0x20, struct.pack(">BxBx", _CONTEXT, 0) + syntaxes) + item(0x50, user)
    return struct.pack(">BxI", 1, len(body)) + body


def _largest(accepted: bytes) -> int:
    """The PDU length that the acceptor takes (PS3.8 D.1); 0 stands for no limit."""
    at = accepted.find(struct.pack(">BxH", 0x51, 4))
    (length,) = struct.unpack_from(">I", accepted, at + 4)
    return int(length) or _PDU_BYTES


def _message(dataset: Dataset, pdu_bytes: int) -> bytes:
    """C-STORE-RQ (PS3.7 9.3.1.1) as P-DATA-TF PDUs."""

    def element(number: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, number, len(value)) + value

    def uid(text: str) -> bytes:
        return text.encode() + b"\0" * (len(text) % 2)

    command = element(0x0002, uid(dataset.SOPClassUID)) + element(0x0100, struct.pack("<H", 1))
    command += element(0x0110, struct.pack("<H", 1)) + element(0x0700, struct.pack("<H", 0))
    command += element(0x0800, struct.pack("<H", 1)) + element(0x1000, uid(dataset.SOPInstanceUID))
    command = element(0x0000, struct.pack("<I", len(command))) + command
    data, size = encoded(dataset), pdu_bytes - 6
    parts = [_pdv(3, command)]
    for start in range(0, len(data), size):
        parts += [_pdv(2 if start + size >= len(data) else 0, data[start : start + size])]
    return b"".join(parts)


def _pdv(control: int, fragment: bytes) -> bytes:
    return struct.pack(">BxIIBB", 4, len(fragment) + 6, len(fragment) + 2, _CONTEXT, control) + fragment


def _places(message: bytes | bytearray, hole: bytes) -> list[int]:
    places, at = [], message.find(hole)
    while at >= 0:
        places.append(at)
        at = message.find(hole, at + 1)
    return places


def main() -> None:
    job = json.loads(sys.argv[1])
    associations = [
        Sending(port, job["rows"], f"1.2.826.0.1.{job['seed']}.{number}", job["called"])
        for number, port in enumerate(job["ports"])
    ]
    failures: list[BaseException] = []

    def send(association: Sending) -> None:
        try:
            for _ in range(job["instances"]):
                association.store()
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    print("ready", flush=True)
    sys.stdin.readline()
    threads = [threading.Thread(target=send, args=(association,)) for association in associations]
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if failures:
        raise SystemExit(str(failures[0]))
    for association in associations:
        association.release()
    print(json.dumps({"seconds": seconds, "cpu": cpu}), flush=True)


if __name__ == "__main__":
    main()
