"""`hilum config`: the site file, checked with every service that reads it."""

from collections.abc import Callable
from pathlib import Path

import typer

from hilum import packages
from hilum.cli.ending import DONE, WRONG_USE
from hilum.cli.showing import show_json
from hilum.embedded import packages_folder
from hilum.errors import Rejected
from hilum.site import Site, load_site


def check(file: Path) -> int:
    """Every fault on a line of its own."""
    faults: list[str] = []
    try:
        site = load_site(file)
    except Rejected as error:
        faults += error.text.splitlines()
    else:
        for judge in (_feeds, _algorithms):
            faults += _faults(judge, site)
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        return WRONG_USE
    typer.echo(f"{file} holds: site {site.site}, revision {site.revision}")
    return DONE


def _faults(judge: Callable[[Site], object], site: Site) -> list[str]:
    try:
        judge(site)
    except Rejected as error:
        return error.text.splitlines()
    return []


def _feeds(site: Site) -> object:
    from hilum.ingest.service import feeds_of  # noqa: PLC0415 - the service's own judgement

    return feeds_of(site, "HILUM")


def _algorithms(site: Site) -> object:
    from hilum.oversight.adapters.desk import package_of  # noqa: PLC0415 - the service's own judgement
    from hilum.oversight.service import wanted_by  # noqa: PLC0415

    installed = [package_of(package) for package in packages.load_all(packages_folder())]
    return wanted_by(site, installed)


def schema() -> None:
    show_json(site_schema())


def site_schema() -> dict[str, object]:
    """The JSON Schema of the site file, as docs/schemas/site.schema.json holds it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Site.model_json_schema()}
