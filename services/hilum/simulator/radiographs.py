"""Radiographs as a modality makes them: pixels and an order become a DX or CR instance (PS3.3 A.26, A.2)."""

from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from hilum.ids import derived_uid
from hilum.simulator.orders import Order

Photometric = Literal["MONOCHROME1", "MONOCHROME2"]


def read_greyscale(path: Path) -> NDArray[np.uint8]:
    """The pixels of a PNG or JPEG file as luminance, shape (rows, columns)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def radiograph(
    order: Order,
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    taken_at: datetime,
    *,
    bits_stored: int,
    photometric: Photometric = "MONOCHROME2",
    view: str = "AP",
    model_name: str = "Simulated radiography unit",
    instance_number: int = 1,
) -> Dataset:
    """One instance of the study that ``order`` asks for, of DX or else CR, ready to be sent or saved.

    ``pixels``, shape (rows, columns), hold ``bits_stored`` bits. The same order, time and number give the same UIDs.
    """
    seed = (order.study_instance_uid, taken_at.isoformat())
    instance = Dataset()
    instance.SpecificCharacterSet = "ISO_IR 192"
    instance.SOPClassUID = (
        DigitalXRayImageStorageForPresentation if order.modality == "DX" else ComputedRadiographyImageStorage
    )
    instance.SOPInstanceUID = derived_uid("simulated instance", *seed, str(instance_number))
    _describe_patient(instance, order)
    _describe_study(instance, order, taken_at)
    instance.SeriesInstanceUID = derived_uid("simulated series", *seed)
    instance.SeriesNumber = 1
    instance.SeriesDescription = f"Chest {view}"
    instance.InstanceNumber = instance_number
    _describe_acquisition(instance, order, taken_at, view)
    instance.ManufacturerModelName = model_name
    _add_pixels(instance, pixels, bits_stored, photometric)
    instance.file_meta = FileMetaDataset()
    instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return instance


def _describe_patient(instance: Dataset, order: Order) -> None:
    instance.PatientName = order.patient_name
    instance.PatientID = order.patient_id
    instance.IssuerOfPatientID = order.authority
    instance.PatientBirthDate = f"{order.birth_date:%Y%m%d}"
    instance.PatientSex = order.sex


def _describe_study(instance: Dataset, order: Order, taken_at: datetime) -> None:
    instance.StudyInstanceUID = order.study_instance_uid
    instance.StudyID = order.accession_number[-16:]
    instance.StudyDate, instance.StudyTime = f"{taken_at:%Y%m%d}", f"{taken_at:%H%M%S}"
    instance.TimezoneOffsetFromUTC = f"{taken_at:%z}" or "+0000"
    instance.AccessionNumber = order.accession_number
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = order.authority
    instance.IssuerOfAccessionNumberSequence = [issuer]
    instance.ReferringPhysicianName = ""
    instance.StudyDescription = order.procedure_name
    request = Dataset()
    request.RequestedProcedureID = f"RP{order.accession_number}"[:16]
    request.ScheduledProcedureStepID = f"SPS{order.accession_number}"[:16]
    instance.RequestAttributesSequence = [request]


def _describe_acquisition(instance: Dataset, order: Order, taken_at: datetime, view: str) -> None:
    instance.Modality = order.modality
    instance.Manufacturer = "Hilum simulator"
    instance.SoftwareVersions = "1"
    instance.BodyPartExamined = "CHEST"
    instance.ViewPosition = view
    instance.PatientOrientation = ["L", "F"]
    instance.ImageType = ["ORIGINAL", "PRIMARY", ""]
    instance.AcquisitionDate, instance.AcquisitionTime = f"{taken_at:%Y%m%d}", f"{taken_at:%H%M%S}"
    instance.ContentDate, instance.ContentTime = instance.AcquisitionDate, instance.AcquisitionTime
    instance.SeriesDate, instance.SeriesTime = instance.AcquisitionDate, instance.AcquisitionTime
    instance.KVP = "110"
    instance.BurnedInAnnotation = "NO"
    if order.modality == "DX":
        _describe_digital_x_ray(instance)


def _describe_digital_x_ray(instance: Dataset) -> None:
    """What the DX modules ask beyond CR (PS3.3 C.8.11.1 to C.8.11.3)."""
    instance.PresentationIntentType = "FOR PRESENTATION"
    instance.PixelIntensityRelationship = "LOG"
    instance.PixelIntensityRelationshipSign = -1
    instance.ImageLaterality = "U"
    instance.LossyImageCompression = "00"
    instance.PresentationLUTShape = "IDENTITY"
    instance.PatientOrientation = ["L", "F"]
    instance.AnatomicRegionSequence = [_code("51185008", "SCT", "Chest")]
    instance.AcquisitionContextSequence = []
    instance.ViewCodeSequence = [_code("399348003", "SCT", "antero-posterior")]
    instance.DetectorType = "DIRECT"
    instance.ImagerPixelSpacing = [0.7, 0.7]
    instance.PositionerType = "NONE"


def _add_pixels(
    instance: Dataset, pixels: NDArray[np.uint8] | NDArray[np.uint16], bits_stored: int, photometric: Photometric
) -> None:
    allocated = 8 * pixels.dtype.itemsize
    instance.SamplesPerPixel = 1
    instance.PhotometricInterpretation = photometric
    instance.Rows, instance.Columns = pixels.shape
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = allocated, bits_stored, bits_stored - 1
    instance.PixelRepresentation = 0
    instance.RescaleIntercept, instance.RescaleSlope, instance.RescaleType = "0", "1", "US"
    instance.WindowCenter, instance.WindowWidth = str(2 ** (bits_stored - 1)), str(2**bits_stored)
    if photometric == "MONOCHROME1" and "PresentationLUTShape" in instance:
        instance.PresentationLUTShape = "INVERSE"
    little_endian = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    instance.PixelData = little_endian + b"\0" * (len(little_endian) % 2)
    instance["PixelData"].VR = "OW" if allocated > 8 else "OB"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
