"""`hilum models`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import typer
from rich.table import Table

from hilum import packages
from hilum.cli.showing import console, show_json
from hilum.embedded import packages_folder
from hilum.errors import Rejected
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import SystemClock
from hilum.oversight.adapters.desk import Desk, document, package_of
from hilum.oversight.adapters.state import registered
from hilum.oversight.domain import Model, Versions

_STYLE = {"live": "green", "silent": "yellow", "off": "dim"}


def show_all(state: Path, as_json: bool) -> None:
    found = asyncio.run(_models(state))
    if as_json:
        show_json([document(model) for model in found])
        return
    table = Table()
    for name in ("model", "version", "title", "use", "state", "revision", "reason", "alarm"):
        table.add_column(name)
    for model in found:
        one = document(model)
        cells = (one["name"], one["version"], one["title"], one["use"], one["state"])
        style = "bold red" if one["alarm"] else _STYLE[one["state"]]
        table.add_row(*cells, str(one["revision"] or ""), one["reason"], one["alarm"], style=style)
    console().print(table)


async def _models(state: Path) -> list[Model]:
    async with _desk(state) as desk:
        return await desk.models()


def set_state(state: Path, name: str, to: str, reason: str) -> None:
    revision = asyncio.run(_set_state(state, name, to, reason))
    typer.echo(f"{name} is {to}: policy revision {revision}")


async def _set_state(state: Path, name: str, to: str, reason: str) -> int:
    async with _desk(state) as desk:
        return (await desk.set_state(name, to, reason)).revision


@asynccontextmanager
async def _desk(state: Path) -> AsyncIterator[Desk]:
    if not (state / "log.db").is_file():
        raise Rejected("state_unknown", f"{state} holds no log.db: is this the state directory?")
    installed = [package_of(package) for package in packages.load_all(packages_folder())]

    async def versions() -> Versions:
        return registered(state)

    log = SqliteEventLog(state / "log.db")
    log.open()
    try:
        yield Desk(state, log, SystemClock(), installed, versions)
    finally:
        log.close()
