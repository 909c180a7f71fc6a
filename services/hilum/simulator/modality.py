"""A modality: sends instances by C-STORE and sends again what was not taken (PS3.4 B)."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association

from hilum.errors import Unavailable

_SUCCESS = 0x0000
_WARNINGS = (0xB000, 0xB006, 0xB007)  # stored all the same


@dataclass
class Modality:
    """Sends to the storage SCP ``ae_title`` at ``host``:``port``. Its calls block: run them in a thread.

    An instance that was not taken (no association, no answer, status A7xx) is sent again, at most ``attempts`` times.
    """

    host: str
    port: int
    ae_title: str = "HILUM"
    calling_ae_title: str = "MODALITY"
    answer_seconds: float = 10.0
    retry_seconds: float = 0.2
    attempts: int = 10
    accepted: list[str] = field(default_factory=list)  # SOP Instance UIDs answered with success, in order
    refused: dict[str, int] = field(default_factory=dict)  # SOP Instance UID -> status that ended it
    transmissions: int = 0

    def send(self, instances: Iterable[Dataset], on_sent: Callable[[], None] = lambda: None) -> None:
        """Send each; ``on_sent`` is called after each. Raises `Unavailable` when one was never answered."""
        association: Association | None = None
        try:
            for instance in instances:
                association = self._send_one(instance, association)
                on_sent()
        finally:
            if association is not None and association.is_established:
                association.release()

    def _send_one(self, instance: Dataset, association: Association | None) -> Association:
        uid = str(instance.SOPInstanceUID)
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.retry_seconds)
            if association is None or not _carries(association, instance):
                association = self._associate(instance, association)
            if association is None:
                continue
            self.transmissions += 1
            status = self._store(association, instance)
            if status == _SUCCESS or status in _WARNINGS:
                self.accepted.append(uid)
                return association
            if status is not None and status >> 8 != 0xA7:  # PS3.4 B.2.3: anything else will not pass later either
                self.refused[uid] = status
                return association
        raise Unavailable("not_stored", f"no final answer after {self.attempts} attempts")

    def _associate(self, instance: Dataset, former: Association | None) -> Association | None:
        if former is not None and former.is_established:
            former.release()
        entity = AE(self.calling_ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = (
            self.answer_seconds
        )
        entity.add_requested_context(instance.SOPClassUID, instance.file_meta.TransferSyntaxUID)
        association = entity.associate(self.host, self.port, ae_title=self.ae_title)
        return association if association.is_established else None

    @staticmethod
    def _store(association: Association, instance: Dataset) -> int | None:
        """The DIMSE status; None when the peer aborted or did not answer."""
        try:
            answer = association.send_c_store(instance)
        except RuntimeError:  # the association ended meanwhile
            return None
        return int(answer.Status) if "Status" in answer else None


def _carries(association: Association, instance: Dataset) -> bool:
    wanted = (instance.SOPClassUID, instance.file_meta.TransferSyntaxUID)
    return association.is_established and any(
        context.abstract_syntax == wanted[0] and context.transfer_syntax[0] == wanted[1]
        for context in association.accepted_contexts
    )
