"""The tables of the published images: where they are kept, and how they are made anew."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from corpora import dicom_answers, dicom_page, dicom_readers
from corpora.comparison import AGREEMENT_HEADER, Comparison, agreement_rows, compare
from corpora.published import as_rows, images, read_rows

_HERE = Path(__file__).parent
ANSWERS, AGREEMENT = _HERE / "dicom-answers.csv", _HERE / "dicom-agreement.csv"
EXPLANATIONS = _HERE / "dicom-explanations.yaml"
PAGE = _HERE.parent.parent / "docs" / "corpora" / "dicom.md"
READERS = ("pydicom", "dcm2xml")


async def answered(shared_data: Path, folder: Path) -> list[dict[str, str]]:
    """The table of answers, made anew in an empty ``folder``."""
    found = await dicom_answers.answers(images(shared_data), folder)
    return as_rows(dicom_answers.HEADER, dicom_answers.rows(found))


def compared(shared_data: Path) -> dict[str, Comparison]:
    """Each reader's agreement, made anew."""
    files = images(shared_data)
    ours = dicom_readers.hilum(files)
    read = [file for file in files if file.name in ours]
    theirs = {"pydicom": dicom_readers.pydicom(read), "dcm2xml": dicom_readers.dcm2xml(read)}
    return {reader: compare(ours, theirs[reader]) for reader in READERS}


def agreement(comparisons: Mapping[str, Comparison]) -> list[dict[str, str]]:
    rows = [row for reader, comparison in comparisons.items() for row in agreement_rows(reader, comparison)]
    return as_rows(AGREEMENT_HEADER, rows)


def page() -> str:
    """The page that the committed tables make."""
    document = yaml.safe_load(EXPLANATIONS.read_text(encoding="utf-8"))
    return dicom_page.page(read_rows(ANSWERS), read_rows(AGREEMENT), document["causes"], document["readers"])
