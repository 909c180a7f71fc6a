"""The rendering process: reads jobs on its standard input, writes documents on its standard output.

It ends when its input does, so that it never outlives the service, however that ended. Frames are a length of
four bytes and a pickle; both ends are this program.
"""

import logging
import os
import pickle
import resource
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hilum.errors import Fault, HilumError
from hilum.integration.adapters.render_jobs import perform
from hilum.objects.files import FileObjects

HEADER = struct.Struct(">I")


@dataclass(frozen=True)
class Setup:
    """What the process is told first."""

    objects_folder: str
    memory_bytes: int


def pack(message: Any) -> bytes:
    """A frame: length, then the pickled message."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return HEADER.pack(len(body)) + body


def unpack(body: bytes) -> Any:
    """The message of a frame's body."""
    return pickle.loads(body)  # noqa: S301 - both ends are this program, over a pipe of its own


def _read(stream: BinaryIO) -> Any | None:
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    body = stream.read(size)
    return unpack(body) if len(body) == size else None


def main() -> None:
    os.nice(10)  # a document may wait; messages, engines and the priorities of other studies may not
    # Whatever a library prints must not stand between two frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    jobs = sys.stdin.buffer
    setup = _read(jobs)
    if not isinstance(setup, Setup):
        return
    resource.setrlimit(resource.RLIMIT_DATA, (setup.memory_bytes, setup.memory_bytes))
    logging.disable(logging.WARNING)  # libraries quote element values, which may identify a patient
    with suppress(BrokenPipeError):  # the parent is gone
        _serve(jobs, answers, FileObjects(Path(setup.objects_folder)))
    with suppress(BrokenPipeError):
        answers.close()


def _serve(jobs: BinaryIO, answers: BinaryIO, objects: FileObjects) -> None:
    while (job := _read(jobs)) is not None:
        answer: bytes | HilumError
        try:
            answer = perform(job, objects)
        except HilumError as error:
            answer = error
        except MemoryError:
            answer = Fault("render_memory", "the rendering does not fit in its memory")
        except Exception as error:  # noqa: BLE001 - libraries raise what they like; only its kind is told
            answer = Fault("render_failed", f"unexpected {type(error).__name__}")
        answers.write(pack(answer))
        answers.flush()


if __name__ == "__main__":
    # Under the name __main__ the classes in the frames would be others than the sender's.
    from hilum.integration.adapters import render_worker  # noqa: PLW0406

    render_worker.main()
