"""How a command ends: its exit code, and errors told in one line each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from hilum.errors import Fault, HilumError, Rejected

DONE, CHECK_FAILED, WRONG_USE = 0, 1, 2


def answer(run: Callable[[], int | None]) -> None:
    """Run a command's work and exit with its code; 2 for what the user must mend, 1 for what failed."""
    code: int | None
    try:
        code = run()
    except KeyboardInterrupt:
        code = DONE
    except BrokenPipeError:
        raise  # whoever read has had enough: the library ends quietly
    except Exception as error:  # noqa: BLE001 - nobody is helped by a trace, and it may quote a patient
        found = list(_known(error))
        for one in found or [_unforeseen(error)]:
            for line in one.text.splitlines():
                typer.echo(f"{one.code}: {line}", err=True)
        code = WRONG_USE if found and all(isinstance(one, Rejected) for one in found) else CHECK_FAILED
    raise typer.Exit(code or DONE)


def readable(path: Path) -> bytes:
    """Raises `Rejected` ``file_unreadable`` that names the file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise Rejected("file_unreadable", f"{path} cannot be read: {error.strerror or type(error).__name__}") from error


def _unforeseen(error: BaseException) -> HilumError:
    """Only its kind and place: the text of an unforeseen error may quote what it choked on."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return Fault("unexpected", f"{type(error).__name__} at {_place(error)}")


def _known(error: BaseException) -> Iterator[HilumError]:
    if isinstance(error, HilumError):
        yield error
    elif isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _known(part)


def _place(error: BaseException) -> str:
    """Where in our own code, or in what it called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "unknown"
