"""`hilum worklist`, `hilum ledger`, `hilum ledger reconcile`."""

import json
import sys
import time
from collections import Counter
from pathlib import Path

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from hilum.cli import books
from hilum.cli.ending import CHECK_FAILED, DONE
from hilum.ledger.adapters import documents
from hilum.ledger.domain.entry import Entry
from hilum.ledger.domain.worklist import WorklistEntry
from hilum.ledger.ports import Selection

_EVERY_SECONDS = 1.0
_WIDE = 200
_PRIORITY_STYLE = {"S": "bold red", "A": "yellow"}
_STATE_STYLE = {"landed": "green", "planned": "cyan", "late": "yellow"}


def console() -> Console:
    """Standard output; wide where it is no terminal, so that tables are not cut."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)


def show_json(document: object) -> None:
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False))


def show_worklist(state: Path, watch: bool, as_json: bool) -> None:
    if not watch:
        found = books.worklist(state)
        if as_json:
            show_json([documents.worklist_entry(one) for one in found])
        else:
            console().print(_worklist(found))
    elif as_json:
        _watch_json(state)
    else:
        with Live(_worklist(books.worklist(state)), auto_refresh=False) as live:
            while True:
                time.sleep(_EVERY_SECONDS)
                live.update(_worklist(books.worklist(state)), refresh=True)


def _watch_json(state: Path) -> None:
    """One line, a JSON list, at each change."""
    shown: list[dict[str, object]] | None = None
    while True:
        now = [documents.worklist_entry(one) for one in books.worklist(state)]
        if now != shown:
            typer.echo(json.dumps(now, ensure_ascii=False))
            shown = now
        time.sleep(_EVERY_SECONDS)


def _worklist(found: list[WorklistEntry]) -> Table:
    table = Table(title=f"{len(found)} unread, the most urgent first", title_justify="left")
    table.add_column("priority", no_wrap=True)
    table.add_column("accession number", no_wrap=True)
    for name in ("patient", "procedure", "because"):
        table.add_column(name)
    table.add_column("since (UTC)", no_wrap=True)
    for one in found:
        priority, ordered = one.priority or "R", one.ordered_priority or "R"
        table.add_row(
            priority if priority == ordered else f"{priority}, was {ordered}",
            one.accession_number,
            one.patient_id,
            f"{one.modality} {one.procedure}".strip(),
            one.because,
            one.opened_at.strftime("%m-%d %H:%M"),
            style=_PRIORITY_STYLE.get(priority, ""),
        )
    return table


def show_ledger(state: Path, accession_number: str, study_instance_uid: str, as_json: bool) -> None:
    selection = Selection(accession_number=accession_number, study_instance_uid=study_instance_uid, limit=500)
    found = books.entries(state, selection)
    if as_json:
        show_json([documents.entry(one) for one in found])
        return
    screen = console()
    screen.print(_entries(found))
    counted = Counter((one.algorithm, one.version, one.disposition) for one in found)
    for (algorithm, version, disposition), count in sorted(counted.items()):
        screen.print(f"{algorithm} {version}: {count} {disposition}", highlight=False)
    for (kind, detail), count in Counter((one.kind, one.detail) for one in books.alarms(state)).items():
        screen.print(f"alarm {kind}: {detail}" + (f" ({count} times)" if count > 1 else ""), style="red")
    if accession_number or study_instance_uid:
        for one in found:
            screen.print(_timeline(one))


def _entries(found: list[Entry]) -> Table:
    table = Table()
    for name in ("accession number", "algorithm", "version", "disposition", "why", "deliveries"):
        table.add_column(name)
    for one in found:
        style = "bold red" if one.overdue else ""
        why = one.explanation or "; ".join(f"{f.finding} {f.state} {f.probability:.2f}" for f in one.findings)
        deliveries = ", ".join(f"{d.destination} {d.kind} {d.state}" for d in one.deliveries)
        table.add_row(
            one.accession_number or "none", one.algorithm, one.version, one.disposition, why, deliveries, style=style
        )
    return table


def _timeline(entry: Entry) -> Table:
    title = f"{entry.accession_number} {entry.algorithm} {entry.version}: {entry.disposition}"
    table = Table(title=title, title_justify="left")
    for name in ("at", "what", "detail"):
        table.add_column(name)
    for moment in entry.timeline:
        table.add_row(documents.rfc3339(moment.at), moment.what, moment.detail)
    for delivery in entry.deliveries:
        proof = ", ".join(f"{name} {value}" for name, value in delivery.proof.items())
        style = _STATE_STYLE.get(delivery.state, "")
        table.add_row("proof", f"{delivery.destination} {delivery.kind} {delivery.state}", proof, style=style)
    return table


def reconcile(state: Path, receipts: list[Path] | None, as_json: bool) -> int:
    found = books.reconcile(state, receipts)
    if as_json:
        show_json(documents.reconciliation(found))
    else:
        table = Table()
        for name in ("check", "holds", "detail"):
            table.add_column(name)
        for check in found.checks:
            style = "" if check.holds else "bold red"
            table.add_row(check.name, "yes" if check.holds else "NO", check.detail, style=style)
        console().print(table)
    return DONE if found.adds_up else CHECK_FAILED
