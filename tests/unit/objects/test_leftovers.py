"""Half-written objects: those of writers that are gone are removed, those in the making are not."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from hilum.objects.files import FileObjects
from hilum.objects.leftovers import remove_leftovers

HOUR = 3600.0


@pytest.fixture
def ended() -> int:
    """The identity of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def partial(folder: Path, writer: int, age_seconds: float = 0.0) -> Path:
    path = folder / "instances" / "1.2.3" / f"1.2.3.4.dcm.{writer}-0.partial"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    then = time.time() - age_seconds
    os.utime(path, (then, then))
    return path


def test_what_a_process_that_has_ended_left_is_removed_and_whole_objects_stay(tmp_path: Path, ended: int) -> None:
    FileObjects(tmp_path).put("instances/1.2.3/1.2.3.4.dcm", b"whole")
    left = partial(tmp_path, ended)
    assert remove_leftovers(tmp_path, time.time() - 1) == 1
    assert not left.exists()
    assert FileObjects(tmp_path).get("instances/1.2.3/1.2.3.4.dcm") == b"whole"


def test_what_this_process_is_writing_stays(tmp_path: Path) -> None:
    writing = partial(tmp_path, os.getpid())
    assert remove_leftovers(tmp_path, time.time() - 1) == 0
    assert writing.exists()


def test_what_an_earlier_process_of_our_identity_left_is_removed(tmp_path: Path) -> None:
    left = partial(tmp_path, os.getpid(), age_seconds=10)
    assert remove_leftovers(tmp_path, time.time() - 1) == 1
    assert not left.exists()


def test_what_another_living_process_is_writing_stays_until_it_is_old(tmp_path: Path) -> None:
    writing = partial(tmp_path, os.getppid(), age_seconds=10)
    assert remove_leftovers(tmp_path, time.time()) == 0
    assert writing.exists()
    left = partial(tmp_path, os.getppid(), age_seconds=HOUR)
    assert remove_leftovers(tmp_path, time.time()) == 1
    assert not left.exists()
