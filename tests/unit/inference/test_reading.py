"""From a stored image to findings, and the step at which each kind of bad input ends."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.errors import Fault, Unavailable
from hilum.inference.adapters.contracts import engine_spec
from hilum.inference.adapters.reading import data_set_of, read_images
from hilum.inference.adapters.worker import load_engine
from hilum.inference.domain import Box, Finding, Input, State, Step, StepFailed
from hilum.inference.ports import ModelKey, ReadImages
from hilum.objects.files import FileObjects
from hilum.packages import load
from scenes.images import make_image
from scenes.models import write_package

ROWS, COLUMNS = 100, 200


def spot_image(level: int, **changes: Any) -> bytes:
    """A dark image with a spot of grey ``level`` (0..4095) in rows 50 to 100, columns 125 to 175; a corner is white."""
    pixels = np.zeros((ROWS, COLUMNS), np.uint16)
    pixels[50:, 125:175] = level
    pixels[0, 0] = 4095
    changes = {"PixelData": pixels.tobytes(), "WindowCenter": 2048, "WindowWidth": 4096} | changes
    return make_image(ROWS, COLUMNS, **changes)


class Reader:
    def __init__(self, folder: Path) -> None:
        self.objects = FileObjects(folder / "objects")
        self.spec = engine_spec(load(write_package(folder / "package")))
        self.engine = load_engine(self.spec, 1)

    def read(self, *files: bytes, sha256: bytes = b"") -> list[Finding]:
        inputs = []
        for number, data in enumerate(files):
            self.objects.put(f"instances/{number}.dcm", data)
            inputs.append(
                Input(f"1.2.{number}", "1.2.840.10008.5.1.4.1.1.1.1", "1.3", f"instances/{number}.dcm", sha256)
            )
        return read_images(
            self.spec, self.engine, self.objects, ReadImages(ModelKey("bright-spot", "1.0.0"), "r", tuple(inputs))
        )

    def failure(self, *files: bytes, sha256: bytes = b"") -> tuple[Step, str]:
        with pytest.raises(StepFailed) as caught:
            self.read(*files, sha256=sha256)
        return caught.value.step, caught.value.code


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_a_bright_spot_is_present_and_boxed_where_it_lies(reader: Reader) -> None:
    (finding,) = reader.read(spot_image(4095))
    assert finding.state is State.PRESENT
    assert finding.probability > 0.9
    assert finding.box == Box(50, 125, 100, 175)


def test_a_dark_image_is_absent_and_nothing_is_pointed_at(reader: Reader) -> None:
    (finding,) = reader.read(spot_image(200))
    assert finding.state is State.ABSENT
    assert finding.box is None
    assert finding.map_object_key == ""


def test_a_grey_spot_is_indeterminate(reader: Reader) -> None:
    assert reader.read(spot_image(2048))[0].state is State.INDETERMINATE


def test_the_map_is_stored_as_float32_npy(reader: Reader) -> None:
    (finding,) = reader.read(spot_image(4095))
    assert finding.map_object_key == "maps/r/spot.npy"
    stored = np.load(io.BytesIO(reader.objects.get(finding.map_object_key)), allow_pickle=False)
    assert stored.dtype == np.float32
    down, across = np.unravel_index(int(stored.argmax()), stored.shape)
    assert 50 <= (down + 0.5) / stored.shape[0] * ROWS <= 100
    assert 125 <= (across + 0.5) / stored.shape[1] * COLUMNS <= 175


def test_monochrome1_gives_the_same_finding_as_its_inverse(reader: Reader) -> None:
    data = spot_image(4095)
    pixels = 4095 - np.frombuffer(data[-ROWS * COLUMNS * 2 :], np.uint16)
    inverted = spot_image(0, PixelData=pixels.tobytes(), PhotometricInterpretation="MONOCHROME1")
    (plain,), (mirrored,) = reader.read(data), reader.read(inverted)
    assert mirrored.probability == pytest.approx(plain.probability, abs=1e-3)
    assert mirrored.box == plain.box


def test_the_image_that_shows_most_is_named(reader: Reader) -> None:
    assert reader.read(spot_image(200), spot_image(4095))[0].sop_instance_uid == "1.2.1"


def test_one_unreadable_image_fails_the_task_rather_than_hide_what_it_shows(reader: Reader) -> None:
    assert reader.failure(spot_image(200), b"nothing")[0] is Step.DECODE


def test_the_digest_is_of_the_data_set_without_the_file_meta_information(reader: Reader) -> None:
    data = spot_image(4095)
    digest = hashlib.sha256(data_set_of(data)).digest()
    assert reader.read(data, sha256=digest)
    assert reader.failure(spot_image(4000), sha256=digest) == (Step.FETCH, "object_differs")


def test_a_missing_object_fails_at_fetch(reader: Reader) -> None:
    job = ReadImages(ModelKey("bright-spot", "1.0.0"), "r", (Input("1.2", "1.2", "1.3", "instances/none.dcm"),))
    with pytest.raises(StepFailed) as caught:
        read_images(reader.spec, reader.engine, reader.objects, job)
    assert (caught.value.step, caught.value.code) == (Step.FETCH, "object_missing")


def test_a_task_without_images_fails_at_fetch(reader: Reader) -> None:
    assert reader.failure() == (Step.FETCH, "no_inputs")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 128 + b"DICM",
        spot_image(4095)[:-500],
        spot_image(4095, PixelData=None),
        spot_image(4095, PhotometricInterpretation="HOLOGRAM"),
        spot_image(4095, Rows=65535, Columns=65535),
    ],
    ids=["empty", "preamble alone", "truncated", "no pixels", "photometric", "larger than it says"],
)
def test_an_image_that_cannot_be_decoded_fails_at_decode(reader: Reader, data: bytes) -> None:
    assert reader.failure(data)[0] is Step.DECODE


def test_a_multi_frame_image_fails_at_decode(reader: Reader) -> None:
    data = make_image(8, 8, NumberOfFrames=2, PixelData=bytes(2 * 8 * 8 * 2))
    assert reader.failure(data) == (Step.DECODE, "multi_frame")


def test_a_blank_image_fails_at_preprocess(reader: Reader) -> None:
    data = make_image(8, 8, PixelData=bytes(8 * 8 * 2))
    assert reader.failure(data) == (Step.PREPROCESS, "pixels_unusable")


def test_an_object_store_that_is_away_is_no_failure_of_the_task(reader: Reader) -> None:
    class Away(FileObjects):
        def get(self, key: str) -> bytes:
            raise Unavailable("objects_unavailable", "away")

    away = Away(Path("/tmp"))
    job = ReadImages(ModelKey("bright-spot", "1.0.0"), "r", (Input("1.2", "1.2", "1.3", "a.dcm"),))
    with pytest.raises(Unavailable):
        read_images(reader.spec, reader.engine, away, job)


def test_an_engine_that_changed_on_disk_is_not_loaded(reader: Reader) -> None:
    Path(reader.spec.path).write_bytes(b"other")
    with pytest.raises(Fault, match="engine_digest"):
        load_engine(reader.spec, 1)


def test_an_engine_with_other_tensors_than_its_manifest_is_not_loaded(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "package")
    manifest = json.loads((folder / "model.yaml").read_text())
    manifest["engine"]["input"] = "picture"
    (folder / "model.yaml").write_text(json.dumps(manifest))
    with pytest.raises(Fault, match="engine_mismatch"):
        load_engine(engine_spec(load(folder)), 1)
