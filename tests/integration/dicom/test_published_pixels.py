"""Every published DICOM file with pixels gives grey values, or says by a coded reason why it cannot."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from hilum.dicom.pixels import display_values
from hilum.errors import Rejected

pytestmark = pytest.mark.shared
# Files whose pixels cannot be shown, each for a reason that was looked into.
REFUSED = {
    "JPEG-lossy.dcm": "pixels_undecodable",  # 12-bit JPEG, for which no decoder is installed
    "JPGExtended.dcm": "pixels_undecodable",
    "JPEG2000-embedded-sequence-delimiter.dcm": "frame_size_disagrees",  # its SIZ segment is overwritten on purpose
    "MR_truncated.dcm": "frame_size_disagrees",
    "test_dcm": "frame_size_disagrees",
    "badVR.dcm": "image_header_invalid",
    "meta_missing_tsyntax.dcm": "image_header_missing",
    "nested_priv_SQ.dcm": "image_header_missing",
}


def published(folder: Path) -> list[tuple[Path, Dataset]]:
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix not in {".csv", ".md", ".txt", ".json"}:
                try:
                    dataset = dcmread(path, force=True)
                except (InvalidDicomError, EOFError, AttributeError):
                    continue
                if any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                    found.append((path, dataset))
    return found


def test_every_published_image_gives_values_between_0_and_1_or_a_coded_reason(shared_data: Path) -> None:
    shown, refused = 0, {}
    for path, dataset in published(shared_data / "dicom"):
        try:
            grey = display_values(dataset)
        except Rejected as rejected:
            refused[path.name] = rejected.code
            continue
        assert grey.dtype == np.float32
        assert grey.shape == (dataset.Rows, dataset.Columns)
        assert grey.min() >= 0
        assert grey.max() <= 1
        shown += 1
    assert refused == REFUSED
    assert shown >= 180
