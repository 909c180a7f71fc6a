"""A CT scanner as a process of its own: one study of many slices over a few associations, as fast as they are taken.

Usage: python ct_sender.py PORT SLICES ASSOCIATIONS STUDY_UID [ROWS]. Writes ``begun``, then a line a slice (its
place in the order of the answers, the seconds since 1970 of its answer, the seconds that it took), then ``ended``.
"""

import sys
import threading
import time

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association

from hilum.dicom.scu import rest_reactor


def ct_slice(study: str, series: str, number: int, slices: int, rows: int) -> Dataset:
    """One axial slice, square, of 16 bits."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = study, series
    image.PatientName, image.PatientID, image.IssuerOfPatientID = "Large^Study", "CT0001", "HOSPITAL"
    image.PatientBirthDate, image.PatientSex = "19500101", "O"
    image.AccessionNumber, image.StudyID = "CT0001", "1"
    image.StudyDate, image.StudyTime, image.ReferringPhysicianName = "20260301", "080000", ""
    image.Modality, image.Manufacturer, image.BodyPartExamined = "CT", "Simulated scanner", "CHEST"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.InstanceNumber, image.SeriesNumber = number, 1
    image.NumberOfStudyRelatedInstances = slices
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = rows, rows
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
    image.RescaleIntercept, image.RescaleSlope = "-1024", "1"
    image.PixelData = number.to_bytes(2, "little") * (rows * rows)
    image["PixelData"].VR = "OW"
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def associate(port: int) -> Association:
    entity = AE("SCANNER")
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port, ae_title="HILUM")
    if not association.is_established:
        raise SystemExit("no association")
    rest_reactor(association)
    return association


def main() -> None:
    port, slices, count, study = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    rows = int(sys.argv[5]) if len(sys.argv) > 5 else 512
    series, numbers, answered = generate_uid(), iter(range(1, slices + 1)), []
    lock = threading.Lock()

    def send(association: Association) -> None:
        while True:
            with lock:
                number = next(numbers, 0)
            if not number:
                return
            image = ct_slice(study, series, number, slices, rows)
            began = time.time()
            status = association.send_c_store(image).get("Status")
            if status != 0:
                raise SystemExit(f"slice {number} was not stored: {status}")
            with lock:
                answered.append(number)
                sys.stdout.write(f"{len(answered)} {time.time():.6f} {time.time() - began:.6f}\n")
                sys.stdout.flush()

    associations = [associate(port) for _ in range(count)]
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    threads = [threading.Thread(target=send, args=(association,)) for association in associations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for association in associations:
        association.release()
    sys.stdout.write("ended\n" if len(answered) == slices else "failed\n")


if __name__ == "__main__":
    main()
