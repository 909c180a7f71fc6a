"""Objects as files under one folder: written beside, synced, then renamed into place."""

import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from hilum.errors import Fault, Unavailable
from hilum.objects.port import StoredObject

_KEY = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_PARTIAL = ".partial"
_NUMBERS = count()


class FileObjects:
    """`hilum.objects.port.Objects` in ``root``; safe for many threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable("objects_unavailable", f"the object folder: {error.strerror}") from error
        self._known_folders: set[Path] = {root}

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        # The name is this writer's own: two writers of one key each rename a whole file.
        partial = path.with_name(f"{path.name}.{os.getpid()}-{next(_NUMBERS)}{_PARTIAL}")
        try:
            self._make_folder(path.parent)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            partial.rename(path)
            _sync_folder(path.parent)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise Unavailable("objects_unavailable", f"an object was not stored: {error.strerror}") from error

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError as error:
            raise Fault("object_missing", "the object store does not hold what an event refers to") from error
        except OSError as error:
            raise Unavailable("objects_unavailable", f"an object was not read: {error.strerror}") from error

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for path in self._root.rglob("*"):
            if path.suffix != _PARTIAL and path.is_file():
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix):
                    yield StoredObject(key, path.stat().st_size)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or ".." in key.split("/"):
            raise Fault("object_key", "an object key may hold letters, digits, '.', '_', '-' and '/' alone")
        return self._root / key

    def _make_folder(self, folder: Path) -> None:
        if folder in self._known_folders and folder.is_dir():
            return
        missing = [parent for parent in (folder, *folder.parents) if not parent.is_dir()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            _sync_folder(made.parent)
        self._known_folders.add(folder)


def _sync_folder(folder: Path) -> None:
    """A rename or a new name is durable only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
