"""Small data sets for the tests of the DICOM grammar."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

CR = "1.2.840.10008.5.1.4.1.1.1"


def image(values: Any, *, bits_stored: int = 16, signed: bool = False, **elements: Any) -> Dataset:
    """A native image of ``values``, shape (rows, columns), (rows, columns, 3) or, with NumberOfFrames, one more first.

    ``elements`` are set by keyword; ``syntax`` is the transfer syntax.
    """
    syntax = elements.pop("syntax", ExplicitVRLittleEndian)
    pixels: NDArray[Any] = np.asarray(values)
    shape = pixels.shape[1:] if "NumberOfFrames" in elements else pixels.shape
    allocated = 8 if bits_stored <= 8 else 16 if bits_stored <= 16 else 32
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = CR
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.3", "1.2.3.1", "1.2.3.2"
    dataset.Rows, dataset.Columns = shape[:2]
    dataset.SamplesPerPixel = 3 if len(shape) == 3 else 1
    if len(shape) == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if len(shape) == 3 else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = allocated, bits_stored, bits_stored - 1
    dataset.PixelRepresentation = int(signed)
    data = pixels.astype(f"{order}{'i' if signed else 'u'}{allocated // 8}").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if allocated == 8 else "OW"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def item(**elements: Any) -> list[Dataset]:
    """A sequence of one item."""
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return [dataset]
