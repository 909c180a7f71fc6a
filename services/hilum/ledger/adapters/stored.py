"""`hilum.ledger.ports.Stored` on the object store."""

import hashlib
from collections.abc import Iterator

from hilum.errors import Fault
from hilum.ledger.domain.part10 import data_set
from hilum.ledger.domain.reconcile import StoredImage
from hilum.objects.port import Objects


class StoredObjects:
    """The images are those that were there when this was made; their bytes are read when asked for. Blocking."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._keys = [found.key for found in objects.list("instances/")]

    def images(self) -> Iterator[StoredImage]:
        for key in self._keys:
            found = self.image(key)
            if found is not None:  # else deleted by retention since it was listed
                yield found

    def image(self, object_key: str) -> StoredImage | None:
        file = self.rendered(object_key)
        if file is None:
            return None
        body = data_set(file)
        content = file if body is None else body
        return StoredImage(object_key, len(file), len(content), hashlib.sha256(content).digest())

    def rendered(self, object_key: str) -> bytes | None:
        try:
            return self._objects.get(object_key)
        except Fault:
            return None
