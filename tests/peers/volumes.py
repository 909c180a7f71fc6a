"""Small file systems of a test: one that can be filled, one that turns read-only under a running process."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_BALLAST = "ballast"


@dataclass(frozen=True)
class Volume:
    """A mounted file system; ``folder`` is its root."""

    folder: Path

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all room but ``leave_bytes``."""
        with (self.folder / _BALLAST).open("ab", buffering=0) as file:
            left = os.statvfs(self.folder)
            room = left.f_bavail * left.f_frsize - leave_bytes
            size = 1 << 20
            while room > 0 and size:
                try:
                    room -= file.write(b"\0" * min(size, room))
                except OSError:  # full before that: take the rest in smaller pieces
                    size //= 2

    def free(self) -> None:
        """Give the room back."""
        (self.folder / _BALLAST).unlink()

    def turn_read_only(self) -> None:
        """As a kernel does that finds a disk failing: files that are open take no more writes."""
        _mount("-o", "remount,abort", self.folder)

    def mount_again(self) -> None:
        """What was turned read-only, after a repair: whoever still holds a file in it must have ended."""
        _unmount(self.folder)
        _mount("-o", "loop", _image(self.folder), self.folder)

    def remount(self, options: str) -> None:
        _mount("-o", f"remount,{options}", self.folder)


@contextmanager
def memory_volume(folder: Path, megabytes: int) -> Iterator[Volume]:
    """A file system in memory, mounted at ``folder``. Skips where this process may not mount."""
    folder.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", folder)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield Volume(folder)
    finally:
        _unmount(folder)


@contextmanager
def disk_volume(folder: Path, megabytes: int) -> Iterator[Volume]:
    """An ext4 file system in a file beside ``folder``. Skips where no loop device can be had."""
    folder.mkdir()
    image = _image(folder)
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    make = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if make is None:
        pytest.skip("mkfs.ext4 is not installed")
    subprocess.run([make, "-q", "-F", "-m", "0", image], check=True, capture_output=True)
    try:
        _mount("-o", "loop", image, folder)
    except OSError as error:
        pytest.skip(f"no loop device can be mounted here: {error}")
    try:
        yield Volume(folder)
    finally:
        _unmount(folder)
        with suppress(OSError):
            image.unlink()


def _image(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.ext4")


def _mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


def _unmount(folder: Path) -> None:
    """Detached at once; gone when the last process that holds a file in it has ended."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
