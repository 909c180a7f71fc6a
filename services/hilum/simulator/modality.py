"""A modality: sends instances by C-STORE and sends again what was not taken (PS3.4 B)."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from hilum.dicom.scu import Peer, StoreOutcome, store
from hilum.errors import HilumError, Overloaded, Unavailable


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
    refused: dict[str, str] = field(default_factory=dict)  # SOP Instance UID -> code of what ended it
    transmissions: int = 0

    def send(self, instances: Iterable[Dataset], on_sent: Callable[[], None] = lambda: None) -> None:
        """Send all over one association; ``on_sent`` is called for each that came to an end.

        Raises `Unavailable` when one was never answered for good.
        """
        waiting = list(instances)
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(self.retry_seconds)
            outcomes = self._store(waiting)
            waiting = [
                instance for instance, outcome in zip(waiting, outcomes, strict=True) if not self._ended(outcome)
            ]
            for _ in range(len(outcomes) - len(waiting)):
                on_sent()
            if not waiting:
                return
        raise Unavailable("not_stored", f"no final answer after {self.attempts} attempts")

    def _store(self, instances: list[Dataset]) -> list[StoreOutcome]:
        peer = Peer(self.host, self.port, self.ae_title, self.calling_ae_title, self.answer_seconds)
        try:
            outcomes = store(peer, instances)
        except HilumError as error:  # no association: nothing was sent
            return [StoreOutcome(str(instance.SOPInstanceUID), None, error) for instance in instances]
        self.transmissions += len(outcomes)
        return outcomes

    def _ended(self, outcome: StoreOutcome) -> bool:
        if outcome.stored:
            self.accepted.append(outcome.sop_instance_uid)
            return True
        if outcome.error is None or isinstance(outcome.error, Unavailable | Overloaded):
            return False
        self.refused[outcome.sop_instance_uid] = outcome.error.code
        return True
