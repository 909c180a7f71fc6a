"""A worker process: holds the engines, reads images, runs tensors; one job at a time, over its own pipes.

Started as ``python -m hilum.inference.adapters.worker``: it imports only what pixels and engines need.
"""

import faulthandler
import hashlib
import logging
import os
import resource
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from hilum.errors import Fault, HilumError
from hilum.inference.adapters.reading import read_images
from hilum.inference.adapters.wire import WorkerSetup, read_frame, write_frame
from hilum.inference.domain import EngineSpec, Step, StepFailed
from hilum.inference.engines.onnx import OnnxEngine
from hilum.inference.engines.port import Engine, Tensor
from hilum.inference.ports import InferTensors, LoadedModel, ModelKey, ReadImages
from hilum.objects.files import FileObjects


class Models:
    """The engines of one worker."""

    def __init__(self, setup: WorkerSetup) -> None:
        """Raises Fault when a file is not the package's, or not a network that fits its manifest."""
        self._objects = FileObjects(Path(setup.objects_folder))
        self._specs = {ModelKey(spec.name, spec.version): spec for spec in setup.specs}
        self._engines: dict[ModelKey, Engine] = {
            key: load_engine(spec, setup.threads) for key, spec in self._specs.items()
        }

    @property
    def loaded(self) -> tuple[LoadedModel, ...]:
        return tuple(
            LoadedModel(key, engine.description, engine.inputs, engine.outputs) for key, engine in self._engines.items()
        )

    def do(self, job: object) -> object:
        """The reply to one job. Raises StepFailed or HilumError."""
        if isinstance(job, ReadImages):
            try:
                return read_images(self._specs[job.model], self._engines[job.model], self._objects, job)
            except MemoryError as error:
                raise StepFailed(
                    Step.PREPROCESS, "too_large", "the task needs more memory than a worker has"
                ) from error
        if isinstance(job, InferTensors):
            outputs: dict[str, Tensor] = self._engines[job.model].run(job.tensors)
            return {name: outputs[name] for name in job.outputs}
        raise Fault("job_unknown", type(job).__name__)


def load_engine(spec: EngineSpec, threads: int) -> OnnxEngine:
    """The engine of a package: its digest checked again, its tensors as the manifest says."""
    try:
        digest = hashlib.sha256(Path(spec.path).read_bytes()).hexdigest()
    except OSError as error:
        raise Fault("engine_load", f"{spec.name}: the engine cannot be read") from error
    if digest != spec.sha256:
        raise Fault("engine_digest", f"{spec.name}: the engine is not the one that the manifest names")
    engine = OnnxEngine(spec.path, threads)
    inputs, outputs = {tensor.name: tensor for tensor in engine.inputs}, {tensor.name for tensor in engine.outputs}
    wanted = {spec.probability} | ({spec.activation} if spec.activation else set())
    shape = (1, 1, spec.rows, spec.columns)
    if inputs.keys() != {spec.input} or not inputs[spec.input].accepts(shape) or not wanted <= outputs:
        raise Fault("engine_mismatch", f"{spec.name}: the engine's tensors are not those of the manifest")
    return engine


def main() -> None:
    """Serve the pipe until it closes: the parent is gone, or wants this worker to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which drains
    os.nice(5)  # pixels may wait; acknowledgements may not
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not fall into the frames
    faulthandler.enable(sys.stderr)
    # The readers warn by quoting what they read, which may name a patient.
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with suppress(EOFError, BrokenPipeError):  # the parent is gone
        _serve(requests, replies)
    with suppress(BrokenPipeError):
        replies.close()


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    setup: WorkerSetup = read_frame(requests)
    resource.setrlimit(resource.RLIMIT_DATA, (setup.memory_bytes, setup.memory_bytes))
    try:
        models = Models(setup)
    except HilumError as error:
        write_frame(replies, error)
        return
    write_frame(replies, models.loaded)
    while True:
        job = read_frame(requests)
        try:
            reply = models.do(job)
        except (StepFailed, HilumError) as error:
            reply = error
        except Exception as error:  # noqa: BLE001 - a job must not end the worker; its text may hold content
            reply = Fault("unexpected", f"{type(error).__name__} in a worker")
        write_frame(replies, reply)


if __name__ == "__main__":
    main()
