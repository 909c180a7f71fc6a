"""Objects as files under one folder: written beside, synced, then renamed into place."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from hilum.errors import Fault, Unavailable
from hilum.objects.port import StoredObject

# A file name may have 255 bytes; a partial file's carries a suffix of at most 40.
_PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.-]{1,200}"
_KEY = re.compile(rf"{_PART}(?:/{_PART})*")
PARTIAL = ".partial"
"""How the name of a half-written object ends: NAME.PROCESS-NUMBER.partial."""
_NUMBERS = count()
_REMEMBERED_FOLDERS = 4096


class FileObjects:
    """`hilum.objects.port.Objects` in ``root``; safe for many threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            _sync_folder(root.parent)
        except OSError as error:
            raise Unavailable("objects_unavailable", f"the object folder: {error.strerror}") from error
        self._durable_folders: set[Path] = set()
        self._held = threading.local()

    def put(self, key: str, data: bytes | memoryview) -> None:
        path = self._path(key)
        # The name is this writer's own: two writers of one key each rename a whole file.
        partial = f"{path.name}.{os.getpid()}-{next(_NUMBERS)}{PARTIAL}"
        try:
            folder, descriptor = self._create(path.parent, partial)
            try:
                try:
                    view = memoryview(data)
                    while view:
                        view = view[os.write(descriptor, view) :]
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
                os.rename(partial, path.name, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
            except OSError:
                with suppress(OSError):
                    os.unlink(partial, dir_fd=folder.descriptor)
                raise
            os.fsync(folder.descriptor)
        except OSError as error:
            raise Unavailable("objects_unavailable", f"an object was not stored: {error.strerror}") from error

    def get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise Fault("object_missing", "the object store does not hold what an event refers to") from error
        except OSError as error:
            raise Unavailable("objects_unavailable", f"an object was not read: {error.strerror}") from error

    def exists(self, key: str) -> bool:
        try:
            return self._path(key).is_file()
        except OSError as error:
            raise Unavailable("objects_unavailable", f"an object was not found: {error.strerror}") from error

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return
        except OSError as error:
            raise Unavailable("objects_unavailable", f"an object was not deleted: {error.strerror}") from error

    def list(self, prefix: str) -> Iterator[StoredObject]:
        folder, _, _name = prefix.rpartition("/")
        for parent, _folders, names in os.walk(self._path(folder) if folder else self._root):
            for name in names:
                path = Path(parent, name)
                key = path.relative_to(self._root).as_posix()
                if name.endswith(PARTIAL) or not key.startswith(prefix):
                    continue
                with suppress(FileNotFoundError):  # deleted while we list
                    yield StoredObject(key, path.stat().st_size)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or key.endswith(PARTIAL):
            raise Fault("object_key", "an object key may hold letters, digits, '.', '_', '-' and '/' alone")
        return self._root / key

    def _create(self, path: Path, name: str) -> tuple["_Folder", int]:
        """The folder at ``path``, and a new file in it. Each thread keeps its last folder open: the next may be it."""
        held: _Folder | None = getattr(self._held, "folder", None)
        if held is None or held.path != path:
            held = self._open(path)
        try:
            return held, held.create(name)
        except FileNotFoundError:  # the folder was deleted
            self._durable_folders.discard(path)
            held = self._open(path)
            return held, held.create(name)

    def _open(self, path: Path) -> "_Folder":
        self._make_folder(path)
        folder = self._held.folder = _Folder(path)
        return folder

    def _make_folder(self, folder: Path) -> None:
        """Make ``folder`` durable too: it may exist because another writer made it and has not synced it yet."""
        if folder in self._durable_folders and folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        while folder != self._root:
            _sync_folder(folder.parent)
            if len(self._durable_folders) >= _REMEMBERED_FOLDERS:
                self._durable_folders.clear()
            self._durable_folders.add(folder)
            folder = folder.parent
            if folder in self._durable_folders:
                return


class _Folder:
    """An open folder; closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def create(self, name: str) -> int:
        """The descriptor of a new file."""
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640, dir_fd=self.descriptor)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):  # it could not be opened
            os.close(self.descriptor)


def _sync_folder(folder: Path) -> None:
    """A rename or a new name is durable only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
