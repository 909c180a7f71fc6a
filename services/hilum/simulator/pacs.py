"""An archive: a storage SCP (PS3.4 B) that writes each data set as it came and counts what it holds."""

import threading
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.transport import ThreadedAssociationServer

from hilum.simulator.receipts import Receipts
from hilum.simulator.script import Act, Script

_VERIFICATION = UID("1.2.840.10008.1.1")
_SUCCESS = 0x0000
_OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3
_DESCRIBING = ("StudyInstanceUID", "AccessionNumber", "Modality", "SeriesDescription")


class Pacs:
    """Listens on loopback in threads of its own; files are named by SOP Instance UID."""

    def __init__(
        self, folder: Path, *, ae_title: str = "PACS", receipts: Path | None = None, script: Script | None = None
    ) -> None:
        self.folder = folder
        self.ae_title = ae_title
        self.receipts = Receipts("pacs", receipts)
        self.script = script or Script()
        self._server: ThreadedAssociationServer | None = None
        self._stopping = threading.Event()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        assert self._server.socket is not None
        port: int = self._server.socket.getsockname()[1]
        return port

    def start(self, port: int = 0) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        entity = AE(self.ae_title)
        entity.add_supported_context(_VERIFICATION)
        for context in AllStoragePresentationContexts:
            assert context.abstract_syntax is not None
            entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        handlers: list[EventHandlerType] = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_ECHO, lambda _: _SUCCESS)]
        self._server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        self._stopping.set()
        if self._server is not None:
            self._server.shutdown()

    def files(self) -> list[Path]:
        """What it holds, one file an instance."""
        return sorted(self.folder.glob("*.dcm"))

    def _store(self, event: Event) -> int:
        step = self.script.next()
        self._stopping.wait(step.delay_seconds)
        if step.act is Act.REFUSE:
            return int(step.code or f"{_OUT_OF_RESOURCES:04X}", 16)
        if step.act is Act.DROP_BEFORE:
            event.assoc.abort()
            return _OUT_OF_RESOURCES
        self._keep(event)
        if step.act is Act.DROP_AFTER:
            event.assoc.abort()
        elif step.act is Act.SILENT:
            self._stopping.wait()
        return _SUCCESS

    def _keep(self, event: Event) -> None:
        assert isinstance(event.request, C_STORE)
        uid = str(event.request.AffectedSOPInstanceUID)
        content = event.encoded_dataset()
        header: Dataset = dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=list(_DESCRIBING))
        facts = {name: str(header.get(name, "")) for name in _DESCRIBING}
        receipt = self.receipts.record("instance", uid, event.encoded_dataset(include_meta=False), facts)
        if receipt.outcome == "effect":
            (self.folder / f"{uid}.dcm").write_bytes(content)
