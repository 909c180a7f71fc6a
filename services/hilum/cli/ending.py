"""How a command ends: its exit code, and errors told in one line each."""

from collections.abc import Callable, Iterator

import typer

from hilum.errors import HilumError, Rejected

DONE, CHECK_FAILED, WRONG_USE = 0, 1, 2


def answer(run: Callable[[], int | None]) -> None:
    """Run a command's work and exit with its code; 2 for what the user must mend, 1 for what failed."""
    code: int | None
    try:
        code = run()
    except KeyboardInterrupt:
        code = DONE
    except (HilumError, ExceptionGroup) as error:
        found = list(_known(error))
        if not found:
            raise
        for one in found:
            typer.echo(f"{one.code}: {one.text}", err=True)
        code = WRONG_USE if all(isinstance(one, Rejected) for one in found) else CHECK_FAILED
    raise typer.Exit(code or DONE)


def _known(error: BaseException) -> Iterator[HilumError]:
    if isinstance(error, HilumError):
        yield error
    elif isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _known(part)
