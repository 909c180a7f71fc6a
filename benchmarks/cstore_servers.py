"""Storage SCPs to be compared, each in a process of its own.

As a program: cstore_servers.py pynetdicom|sink FOLDER serves until it is ended, and prints its port first.
`pynetdicom` writes what `event.encoded_dataset()` gives and syncs the file; `sink` keeps nothing.
"""

import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydicom.uid import CTImageStorage
from pynetdicom import AE, _config, evt
from pynetdicom.dimse_primitives import C_STORE

_TICKS = os.sysconf("SC_CLK_TCK")
_LARGEST_PDU_BYTES = 131_072  # as Hilum offers; pynetdicom's own default is an eighth of it
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """``called`` is the AE title it answers to."""

    name: str
    port: int
    process: "subprocess.Popen[str]"
    called: str = "ANY"

    def cpu_seconds(self) -> float:
        """User and system time, with that of children that have ended."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return sum(int(ticks) for ticks in stat.rpartition(")")[2].split()[11:15]) / _TICKS


@contextmanager
def hilum(folder: Path) -> Iterator[Server]:
    """`hilum serve imaging`: index, events, facts and hash, all durable before the answer."""
    folder.mkdir(parents=True)
    log = folder / "hilum.log"
    program = str(Path(sys.executable).parent / "hilum")
    command = [program, "serve", "imaging", "--state", str(folder / "state"), "--dicom-port", "0", "--http-port", "0"]
    with log.open("wb") as printed, _process(command, subprocess.DEVNULL, printed.fileno()) as process:
        deadline = time.monotonic() + _START_SECONDS
        while not (told := re.search(r"^DICOM .*:(\d+)\n(.*\n)*ready$", log.read_text(), re.MULTILINE)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"hilum did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield Server("hilum", int(told[1]), process)


@contextmanager
def bare(folder: Path) -> Iterator[Server]:
    """pynetdicom, and a file with fdatasync."""
    with _running("pynetdicom", [sys.executable, __file__, "pynetdicom", str(folder)]) as server:
        yield server


@contextmanager
def sink(folder: Path) -> Iterator[Server]:
    """Reads and answers: what the sender alone reaches."""
    with _running("sink", [sys.executable, __file__, "sink", str(folder)]) as server:
        yield server


@contextmanager
def storescp(folder: Path) -> Iterator[Server]:
    """DCMTK's: a process forked for each association, files as they came (+B), no sync of any kind."""
    program = shutil.which("storescp", path=os.pathsep.join(("/usr/bin", "/usr/local/bin", os.environ["PATH"])))
    if program is None:
        raise SystemExit("storescp is absent: install the Debian package dcmtk")
    folder.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    pdu = ["-pdu", str(_LARGEST_PDU_BYTES)]
    arguments = [program, "--quiet", "--fork", "+B", *pdu, "-od", str(folder), str(port)]
    with _process(arguments, subprocess.DEVNULL) as process:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.02)
        yield Server("storescp", port, process)


@contextmanager
def _running(name: str, arguments: list[str]) -> Iterator[Server]:
    with _process(arguments, subprocess.PIPE) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        if not told:
            raise SystemExit(f"{name} did not start")
        yield Server(name, int(told), process)


@contextmanager
def _process(arguments: list[str], stdout: int, stderr: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    environment = {**os.environ, "TCP_NODELAY": "1"}
    process = subprocess.Popen(arguments, stdout=stdout, stderr=stderr, text=True, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serve_pynetdicom(folder: Path) -> None:
    _config.LOG_HANDLER_LEVEL = "none"  # its own advice for speed
    folder.mkdir(parents=True)

    def store(event: evt.Event) -> int:
        name = cast(C_STORE, event.request).AffectedSOPInstanceUID
        descriptor = os.open(folder / f"{name}.dcm", os.O_WRONLY | os.O_CREAT, 0o640)
        try:
            os.write(descriptor, event.encoded_dataset())
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        return 0x0000

    entity = AE("ANY")
    entity.maximum_pdu_size = _LARGEST_PDU_BYTES
    entity.add_supported_context(CTImageStorage)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    print(server.server_address[1], flush=True)
    threading.Event().wait()


def _serve_sink() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_sink, args=(connection,), daemon=True).start()


def _sink(connection: socket.socket) -> None:
    """Accepts what is asked, and answers each last fragment of a data set with 0000H."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = connection.makefile("rb")
    status = struct.pack("<HHIH", 0, 0x0900, 2, 0)
    answer = struct.pack(">BxIIBB", 4, len(status) + 6, len(status) + 2, 1, 3) + status
    while header := stream.read(6):
        kind, length = struct.unpack(">BxI", header)
        body = stream.read(length)
        if kind == 1:
            items = struct.pack(">BxHBxBxBxH", 0x21, 25, 1, 0, 0x40, 17) + b"1.2.840.10008.1.2"
            items += struct.pack(">BxHBxHI", 0x50, 8, 0x51, 4, _LARGEST_PDU_BYTES)
            content = body[:68] + items
            connection.sendall(struct.pack(">BxI", 2, len(content)) + content)
        elif kind == 4 and body[5] == 2:
            connection.sendall(answer)
        elif kind == 5:
            connection.sendall(struct.pack(">BxII", 6, 4, 0))


if __name__ == "__main__":
    if sys.argv[1] == "pynetdicom":
        _serve_pynetdicom(Path(sys.argv[2]))
    else:
        _serve_sink()
