"""From objects to findings, in a worker: fetch, decode, preprocess, engine, store; each failure has its step."""

import hashlib
import io
from collections.abc import Mapping

import numpy as np
import pydicom
from numpy.typing import NDArray

from hilum.dicom.pixels import display_values
from hilum.errors import Fault, HilumError, Rejected, Unavailable
from hilum.inference.domain import (
    EngineSpec,
    Finding,
    ImageReading,
    Input,
    OperatingPoint,
    State,
    Step,
    StepFailed,
    activation_of,
    box_of,
    in_source,
    most_telling,
    probabilities_of,
    state_of,
)
from hilum.inference.engines.port import Engine, Tensor
from hilum.inference.ports import ReadImages
from hilum.inference.preprocessing import prepare
from hilum.objects.port import Objects

_PREAMBLE = 128


def read_images(spec: EngineSpec, engine: Engine, objects: Objects, job: ReadImages) -> list[Finding]:
    """The findings of one task, in the package's order. Raises StepFailed, or Unavailable to be tried again.

    An image that cannot be read fails the task: "absent" must not be said over pixels that nobody saw.
    """
    if not job.inputs:
        raise StepFailed(Step.FETCH, "no_inputs", "the task names no image")
    readings = [_read(spec, engine, objects, source) for source in job.inputs]
    return [_finding(spec, objects, job, point, most_telling(readings, point)) for point in spec.points]


def _read(spec: EngineSpec, engine: Engine, objects: Objects, source: Input) -> ImageReading:
    values = _decoded(_fetched(objects, source))
    try:
        tensor, placement = prepare(
            values, rows=spec.rows, columns=spec.columns, fit=spec.fit, mean=spec.mean, std=spec.std
        )
    except Rejected as error:
        raise StepFailed(Step.PREPROCESS, error.code, error.text) from error
    try:
        outputs = engine.run({spec.input: tensor})
        probabilities = probabilities_of(_float(outputs, spec.probability), spec.points)
    except HilumError as error:
        raise StepFailed(Step.ENGINE, error.code, error.text) from error
    activation = _float(outputs, spec.activation) if spec.activation else None
    return ImageReading(source.sop_instance_uid, probabilities, activation, placement)


def _fetched(objects: Objects, source: Input) -> bytes:
    try:
        data = objects.get(source.object_key)
    except Fault as error:
        raise StepFailed(Step.FETCH, error.code, error.text) from error
    if source.sha256 and hashlib.sha256(data_set_of(data)).digest() != source.sha256:
        raise StepFailed(Step.FETCH, "object_differs", "the stored image is not the one that was received")
    return data


def data_set_of(file: bytes) -> memoryview:
    """The data set of a DICOM file, after the preamble and the file meta information (PS3.10 7.1)."""
    at = _PREAMBLE + 4
    if file[_PREAMBLE:at] != b"DICM" or file[at : at + 6] != b"\x02\x00\x00\x00UL":
        raise StepFailed(Step.DECODE, "not_dicom", "the object is no DICOM file")
    return memoryview(file)[at + 12 + int.from_bytes(file[at + 8 : at + 12], "little") :]


def _decoded(data: bytes) -> NDArray[np.float32]:
    try:
        return display_values(_single_frame(pydicom.dcmread(io.BytesIO(data))))
    except HilumError as error:
        raise StepFailed(Step.DECODE, error.code, error.text) from error
    except MemoryError as error:
        raise StepFailed(Step.DECODE, "too_large", "the image needs more memory than a worker has") from error
    except Exception as error:  # the readers raise whatever a broken file makes them trip over
        raise StepFailed(Step.DECODE, "unreadable", f"the image cannot be read: {type(error).__name__}") from error


def _single_frame(dataset: pydicom.Dataset) -> pydicom.Dataset:
    if int(getattr(dataset, "NumberOfFrames", 1) or 1) > 1:
        raise Rejected("multi_frame", "one frame was expected")
    return dataset


def _finding(
    spec: EngineSpec, objects: Objects, job: ReadImages, point: OperatingPoint, reading: ImageReading
) -> Finding:
    probability = float(reading.probabilities[point.index])
    state = state_of(probability, point)
    box, key = None, ""
    if reading.activation is not None and state is not State.ABSENT:  # nothing to point at when absent
        try:
            activation = activation_of(reading.activation, point)
        except Fault as error:
            raise StepFailed(Step.ENGINE, error.code, error.text) from error
        box = box_of(activation, reading.placement, spec.rows, spec.columns)
        key = f"maps/{job.result_id}/{point.finding}.npy"
        _stored(objects, key, in_source(activation, reading.placement, spec.rows, spec.columns))
    return Finding(point.finding, state, probability, point.threshold, reading.sop_instance_uid, box, key)


def _stored(objects: Objects, key: str, activation: NDArray[np.float32]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, activation.astype(np.float32), allow_pickle=False)
    try:
        objects.put(key, buffer.getvalue())
    except Unavailable:
        raise
    except HilumError as error:
        raise StepFailed(Step.STORE, error.code, error.text) from error


def _float(outputs: Mapping[str, Tensor], name: str) -> NDArray[np.float32]:
    return np.asarray(outputs[name], np.float32)
