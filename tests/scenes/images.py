"""A radiograph as a DICOM file, drawn with numpy: two dark lungs on grey, more than enough to mark something on."""

from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from scenes.results import SERIES_UID, SOP_UID, STUDY_UID

DX = "1.2.840.10008.5.1.4.1.1.1.1"


def make_image(rows: int = 256, columns: int = 256, **changes: Any) -> bytes:
    """A DX image of 12 bits, MONOCHROME2, with a window; ``changes`` are attributes by keyword, None removes one."""
    row, column = np.mgrid[0:rows, 0:columns].astype(np.float64)
    pixels = np.full((rows, columns), 2600.0)
    for centre in (0.3, 0.7):
        inside = ((column / columns - centre) / 0.15) ** 2 + ((row / rows - 0.5) / 0.35) ** 2 < 1
        pixels[inside] = 900.0 + 200.0 * np.sin(row[inside] / 7.0)
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = DX, SOP_UID
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY_UID, SERIES_UID
    image.SpecificCharacterSet = "ISO_IR 100"
    image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = (
        "Testperson^Ada Zoë",
        "PAT-001",
        "19610503",
        "F",
    )
    image.IssuerOfPatientID = "HILUMTEST"
    image.StudyDate, image.StudyTime, image.StudyID = "20260329", "112000", "S1"
    image.AccessionNumber, image.ReferringPhysicianName = "ACC-1001", ""
    image.Modality, image.SeriesNumber, image.InstanceNumber, image.Manufacturer = "DX", 1, 1, "Phantom Works"
    image.Rows, image.Columns = rows, columns
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = 0, 1, "US"
    image.WindowCenter, image.WindowWidth = 1800, 2400
    image.PatientOrientation = ["L", "F"]
    image.ViewPosition = "PA"
    image.ImageType = ["ORIGINAL", "PRIMARY"]
    image.PixelData = pixels.astype("<u2").tobytes()
    for keyword, value in changes.items():
        if value is None:
            del image[keyword]
        else:
            setattr(image, keyword, value)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, image, enforce_file_format=True)
    return buffer.getvalue()
