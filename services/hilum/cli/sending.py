"""`hilum send`: messages over MLLP, images by C-STORE."""

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import typer
from pydicom import Dataset, dcmread
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from hilum.cli.ending import CHECK_FAILED, DONE, readable
from hilum.cli.showing import console, show_json
from hilum.dicom.scu import Peer, StoreOutcome, store
from hilum.errors import HilumError, Rejected, Unavailable
from hilum.hl7 import mllp
from hilum.hl7.acknowledgement import Acknowledgement, read_acknowledgement
from hilum.hl7.message import parse

_LARGEST_ANSWER = 1 << 20
_MESSAGE_START = re.compile(rb"(?m)^(?=MSH)")


def send_hl7(files: list[Path], host: str, port: int, timeout: float, as_json: bool) -> int:
    """One message at a time, each waiting for its acknowledgement (MLLP release 1)."""
    if not all(0 < len(label) < 64 for label in host.rstrip(".").split(".")):
        raise Rejected("host_invalid", "the receiver's host is no host name")
    told: list[dict[str, str]] = []
    with _progress() as progress:
        # On a terminal the lines scroll above the bar; otherwise they are the output.
        shown = progress.console if sys.stdout.isatty() else console()
        task = progress.add_task("messages", total=len(files))
        with _Connection(host, port, timeout) as connection:
            for file in files:
                for message in messages_in(readable(file)):
                    told.append({"file": str(file), **_exchange(connection, message)})
                    if not as_json:
                        _tell(shown, told[-1])
                progress.advance(task)
    if as_json:
        show_json(told)
    return DONE if told and all(one["code"] in ("AA", "CA") for one in told) else CHECK_FAILED


def messages_in(content: bytes) -> list[bytes]:
    """The messages of a file, their segments ended by CR as MLLP wants them; a batch (FHS, BHS) stays whole."""
    content = content.replace(b"\r\n", b"\r").replace(b"\n", b"\r").strip(b"\x0b\x1c\r")
    if not content.startswith(b"MSH"):
        return [content + b"\r"]
    lines = content.replace(b"\r", b"\n")
    return [part.replace(b"\n", b"\r").rstrip(b"\r") + b"\r" for part in _MESSAGE_START.split(lines) if part]


def _exchange(connection: "_Connection", message: bytes) -> dict[str, str]:
    try:
        answer = connection.send(message)
    except HilumError as error:
        connection.close()
        return {"message_control_id": "", "code": "", "reason": str(error)}
    return {
        "message_control_id": answer.message_control_id,
        "code": answer.code,
        "reason": answer.text or ", ".join(answer.conditions),
    }


def _tell(shown: Console, one: dict[str, str]) -> None:
    line = Text(one["code"] or "none", "green" if one["code"] in ("AA", "CA") else "bold red")
    shown.print(line.append(f" {one['file']} {one['reason']}".rstrip(), "default"), soft_wrap=True)


class _Connection:
    """One MLLP connection, made when first needed and anew after a failure."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._address = (host, port)
        self._timeout = timeout
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, message: bytes) -> Acknowledgement:
        """Raises `Unavailable` when nobody answers, `Rejected` when the answer is no acknowledgement."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, self._timeout)
            self._socket.settimeout(self._timeout)
            self._socket.sendall(mllp.encode(message))
            return _read(self._answer(self._socket))
        except OSError as error:
            raise Unavailable("no_answer", f"no acknowledgement: {error.strerror or type(error).__name__}") from error

    def _answer(self, connection: socket.socket) -> bytes:
        decoder = mllp.FrameDecoder(_LARGEST_ANSWER)
        while data := connection.recv(65536):
            for found in decoder.feed(data):
                if isinstance(found, mllp.FramingFault):
                    raise Rejected(found.code, found.text)
                return found.payload
        raise Unavailable("no_answer", "the receiver closed the connection without an acknowledgement")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _read(answer: bytes) -> Acknowledgement:
    """The answer; one to a message without a readable control ID names none, and counts all the same."""
    try:
        return read_acknowledgement(answer)
    except Rejected:
        message = parse(answer)
        code = message.get("MSA-1")
        if not code:
            raise
        return Acknowledgement(
            code, message.get("MSA-2"), (), message.get("ERR-8") or message.get("ERR-7"), message.get("MSH-9.1")
        )


def send_dicom(folder: Path, host: str, port: int, ae_title: str, calling_ae_title: str, as_json: bool) -> int:
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else [folder]
    peer = Peer(host, port, ae_title, calling_ae_title)
    sent: list[Path] = []
    unread: list[dict[str, str]] = []

    def read() -> Iterator[Dataset]:
        for file in files:
            try:
                instance = _instance(file)
            except Rejected as error:
                unread.append({"file": str(file), "status": "", "reason": error.text, "comment": ""})
                progress.advance(task)
                continue
            sent.append(file)
            yield instance
            progress.advance(task)

    with _progress() as progress:
        task = progress.add_task("images", total=len(files))
        outcomes = store(peer, read())
    told = [_outcome(file, outcome) for file, outcome in zip(sent, outcomes, strict=True)]
    failed = [one for one, outcome in zip(told, outcomes, strict=True) if not outcome.stored] + unread
    if as_json:
        show_json(told + unread)
    else:
        for one in failed:
            reason = one["comment"] or one["reason"]
            typer.echo(f"{one['file']}: {one['status'] or 'not sent'} {reason}".rstrip(), err=True)
        typer.echo(f"{len(told) + len(unread) - len(failed)} of {len(files)} taken")
    return DONE if files and not failed else CHECK_FAILED


def _instance(file: Path) -> Dataset:
    """Raises `Rejected` for a file that C-STORE cannot carry."""
    try:
        instance = dcmread(file)
        named = all(instance.get(keyword) for keyword in ("SOPClassUID", "SOPInstanceUID"))
        encoded = instance.file_meta.get("TransferSyntaxUID")
    except Exception as error:
        raise Rejected("file_unreadable", f"not a DICOM file ({type(error).__name__})") from error
    if not named or not encoded:
        raise Rejected("file_unreadable", "a DICOM file without SOP class, instance UID or transfer syntax")
    return instance


def _outcome(file: Path, outcome: StoreOutcome) -> dict[str, str]:
    status = "" if outcome.status is None else f"{outcome.status:04X}"
    return {
        "file": str(file),
        "sop_instance_uid": outcome.sop_instance_uid,
        "status": status,
        "reason": str(outcome.error) if outcome.error is not None else "",
        "comment": outcome.comment,
    }


def _progress() -> Progress:
    """On the error stream, so that what is printed can be read by a program."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
