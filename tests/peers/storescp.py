"""DCMTK's storescp: a storage SCP that writes each data set as it came (bit preserving)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from peers.child import required, running
from peers.ports import take_free_port, wait_for_port


@dataclass(frozen=True)
class StoreScp:
    """A running storescp."""

    ae_title: str
    port: int
    folder: Path  # one file an instance, named by its SOP Instance UID
    log: Path

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file())


@pytest.fixture
def start_storescp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., StoreScp]]:
    """A function that starts a storescp with further options of its command line, ``--refuse`` for instance."""
    program = required("storescp", "dcmtk")
    with ExitStack() as stack:

        def start(*options: str, ae_title: str = "STORESCP") -> StoreScp:
            folder = tmp_path_factory.mktemp("storescp")
            (folder / "received").mkdir()
            port = take_free_port()
            scp = StoreScp(ae_title, port, folder / "received", folder / "log")
            keep = ("-v", "-aet", ae_title, "+B", "-od", str(scp.folder), "-pm", "+xa")
            arguments = [program, *keep, *options, str(port)]
            process = stack.enter_context(running(arguments, scp.log, environment={"TCP_NODELAY": "1"}))
            try:
                wait_for_port(port, lambda: process.poll() is None)
            except RuntimeError as error:
                raise RuntimeError(f"storescp ({process.poll()}): {scp.log.read_text()[-2000:]}") from error
            return scp

        yield start


@pytest.fixture
def storescp(start_storescp: Callable[..., StoreScp]) -> StoreScp:
    """A storescp that takes whatever it is sent."""
    return start_storescp()
