"""The whole simulated hospital: RIS, EHR, PACS and modality on loopback, and the site file that names them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.simulator.ehr import Ehr
from hilum.simulator.pacs import Pacs
from hilum.simulator.receipts import Receipt
from hilum.simulator.ris import Ris


@dataclass(frozen=True)
class Folders:
    """Where the peers keep what they were sent."""

    hl7: Path
    fhir: Path
    dicom: Path
    receipts: Path

    @classmethod
    def under(cls, parent: Path) -> "Folders":
        """The four folders, made where they are absent."""
        folders = cls(*(parent / name for name in ("hl7", "fhir", "dicom", "receipts")))
        for folder in (folders.hl7, folders.fhir, folders.dicom, folders.receipts):
            folder.mkdir(parents=True, exist_ok=True)
        return folders


@dataclass(frozen=True)
class Hospital:
    """Peers that listen."""

    ris: Ris
    ehr: Ehr
    pacs: Pacs
    folders: Folders

    def receipts(self) -> Iterator[Receipt]:
        """What every peer took in."""
        for peer in (self.ris, self.ehr, self.pacs):
            yield from peer.receipts

    def receipt_lines(self) -> bytes:
        """The same as the JSON lines that the peers wrote."""
        return b"".join(path.read_bytes() for path in sorted(self.folders.receipts.glob("*.jsonl")))

    def site(self) -> dict[str, Any]:
        """A site file for Hilum beside this hospital; short waits, because its examinations take seconds."""
        return {
            "site": "simulated-hospital",
            "identifier_authority": "HOSPITAL",
            "ris": {"port": self.ris.port, "acknowledgement_timeout_seconds": 5, "retry_seconds": 0.5},
            "ehr": {"url": self.ehr.url, "retry_seconds": 0.5},
            "pacs": {"port": self.pacs.port, "ae_title": self.pacs.ae_title, "retry_seconds": 0.5},
            "completeness": {"settle_seconds": 0.2, "quiet_seconds": 5},
            "matching": {"order_wait_seconds": 8, "image_wait_seconds": 8, "result_wait_seconds": 120},
        }


@asynccontextmanager
async def simulated_hospital(folder: Path) -> AsyncIterator[Hospital]:
    """Start every peer on a free port, with what it keeps under ``folder``; stop all at the end."""
    folders = Folders.under(folder)
    ris = Ris(receipts=folders.receipts / "ris.jsonl", kept=folders.hl7)
    ehr = Ehr(receipts=folders.receipts / "ehr.jsonl", kept=folders.fhir)
    pacs = Pacs(folders.dicom, receipts=folders.receipts / "pacs.jsonl")
    try:
        await ris.start()
        await ehr.start()
        await asyncio.to_thread(pacs.start)
        yield Hospital(ris, ehr, pacs, folders)
    finally:
        await asyncio.gather(ris.stop(), ehr.stop(), asyncio.to_thread(pacs.stop))
