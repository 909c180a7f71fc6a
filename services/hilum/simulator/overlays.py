"""Overlays as an archive received them, written as PNG files that anything can show."""

from pathlib import Path

from PIL import Image
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage


def write_overlays(received: Path, folder: Path) -> list[Path]:
    """One PNG for each Secondary Capture in ``received``, named by accession number and SOP Instance UID."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(received.glob("*.dcm")):
        instance = dcmread(path)
        if instance.SOPClassUID != SecondaryCaptureImageStorage:
            continue
        target = folder / f"{instance.get('AccessionNumber') or 'none'}-{path.stem[-8:]}.png"
        Image.fromarray(instance.pixel_array).save(target)
        written.append(target)
    return written
