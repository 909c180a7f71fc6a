"""What the demonstration sends, and the label files it can read."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hilum.errors import Rejected
from hilum.simulator.examinations import phantom_examinations, radiograph_examinations, read_labels

AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def test_a_day_of_phantoms_is_the_same_for_the_same_seed() -> None:
    first, again = (phantom_examinations(6, AT, 1) for _ in range(2))
    uids = [[image.SOPInstanceUID for e in day for image in e.images()] for day in (first, again)]
    assert uids[0] == uids[1]
    assert [e.order for e in first] == [e.order for e in again]


def test_a_day_of_phantoms_also_holds_what_goes_wrong() -> None:
    day = phantom_examinations(6, AT, 1)
    assert any(not e.ordered for e in day)
    assert any(e.reported for e in day)
    assert any(not e.images() for e in day)
    assert any(image.PatientID != e.order.patient_id for e in day for image in e.images())
    assert len({e.order.accession_number for e in day}) == len(day)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_labels_tell_the_sick_from_the_healthy(tmp_path: Path) -> None:
    labels = write(tmp_path / "l.csv", "file,label\na.jpg,normal\nb.jpg,pneumonia\n")
    assert read_labels(labels) == {"a.jpg": False, "b.jpg": True}


@pytest.mark.parametrize(
    "text", ["", "file,label\na.jpg,ill\nb.jpg,worse\n", "name,truth\na.jpg,1\n", "file,label\na.jpg\nb.jpg,0\n"]
)
def test_labels_that_cannot_be_read_so_are_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(Rejected, match="labels"):
        read_labels(write(tmp_path / "l.csv", text))


def test_radiographs_become_examinations_of_children(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((8, 6), 7, np.uint8)).save(tmp_path / name)
    labels = write(tmp_path / "l.csv", "file,label\na.png,0\nb.png,1\n")
    day = radiograph_examinations(tmp_path, labels, 10, AT, 1)
    assert {(e.note, e.truth) for e in day} == {("a.png", False), ("b.png", True)}
    [image] = day[0].images()
    assert (image.Rows, image.Columns, image.Modality) == (8, 6, "CR")
    assert image.pixel_array.min() == 7


def test_a_labelled_file_that_is_absent_is_named(tmp_path: Path) -> None:
    labels = write(tmp_path / "l.csv", "file,label\na.png,0\nb.png,1\n")
    with pytest.raises(Rejected, match=r"a\.png"):
        radiograph_examinations(tmp_path, labels, 10, AT, 1)
