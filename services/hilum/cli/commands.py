"""The commands and their options; what they do stands in the modules beside this one."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs

from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.ending import answer

app = typer.Typer(
    name="hilum",
    help="Carries imaging AI into the reading room: HL7 and DICOM in; priorities, FHIR, SR and overlays out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
send = typer.Typer(help="Send messages and images to a running Hilum.", no_args_is_help=True)
ledger = typer.Typer(help="What became of every study and algorithm.", invoke_without_command=True)
dead_letters = typer.Typer(help="What could not be processed, and why.", no_args_is_help=True)
models = typer.Typer(help="Which models are installed, and what each may do here.", no_args_is_help=True)
config = typer.Typer(help="The site file.", no_args_is_help=True)
app.add_typer(send, name="send")
app.add_typer(ledger, name="ledger")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(models, name="models")
app.add_typer(config, name="config")

State = Annotated[Path, typer.Option("--state", envvar="HILUM_STATE", help="The state directory.", file_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_STATE = Path("hilum-data")
_PORT = {"min": 0, "max": 65535}
_TO_PORT = {"min": 1, "max": 65535}


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        from hilum import __version__

        typer.echo(f"hilum {__version__}")
        raise typer.Exit


@app.command()
def serve(
    services: Annotated[
        list[str],
        typer.Argument(help="all, or some of ingest, imaging, workflow, inference, integration, ledger, oversight."),
    ],
    state: State = _STATE,
    config: Annotated[Path | None, typer.Option(envvar="HILUM_CONFIG", help="The site file.")] = None,
    mllp_port: Annotated[int | None, typer.Option(envvar="HILUM_MLLP_PORT", help="2575 if not told.", **_PORT)] = None,
    dicom_port: Annotated[
        int | None, typer.Option(envvar="HILUM_DICOM_PORT", help="11112 if not told.", **_PORT)
    ] = None,
    grpc_port: Annotated[int | None, typer.Option(envvar="HILUM_GRPC_PORT", help="50051 if not told.", **_PORT)] = None,
    http_port: Annotated[int | None, typer.Option(envvar="HILUM_HTTP_PORT", help="8080 if not told.", **_PORT)] = None,
    otlp_endpoint: Annotated[
        str | None, typer.Option(envvar="HILUM_OTLP_ENDPOINT", help="Where traces go (OTLP over gRPC, host:port).")
    ] = None,
) -> None:
    """Run services until SIGTERM or SIGINT, which drain. A port of 0 takes a free one."""
    from hilum.cli.serving import serve as run

    ports = {"mllp_port": mllp_port, "dicom_port": dicom_port, "grpc_port": grpc_port, "http_port": http_port}
    answer(lambda: run(services, state, config, ports, otlp_endpoint))


@app.command()
def demo(
    images: Annotated[
        Path | None, typer.Option(help="A folder of real radiographs, wrapped as DICOM.", exists=True, file_okay=False)
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Their labels, as CSV.", exists=True, dir_okay=False)] = None,
    orders: Annotated[
        list[Path] | None,
        typer.Option(help="A published HL7 order to use, its identifiers set; may be repeated.", exists=True),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many radiographs.", min=1)] = 200,
    out: Annotated[Path, typer.Option(help="Where the results are written.", file_okay=False)] = Path("hilum-demo"),
) -> None:
    """Hilum beside a simulated hospital: orders and images go in, the reading list moves."""
    from hilum.cli.serving import demo as run

    answer(lambda: run(images, labels, tuple(orders or ()), limit, out))


@send.command("hl7")
def send_hl7(
    files: Annotated[list[Path], typer.Argument(help="HL7 v2 messages.", exists=True, dir_okay=False)],
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="HILUM_MLLP_PORT", **_TO_PORT)] = 2575,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each acknowledgement.", min=0.1)] = 30.0,
    as_json: Json = False,
) -> None:
    """Send messages over MLLP and print each acknowledgement; 1 unless every one is AA or CA."""
    from hilum.cli.sending import send_hl7 as run

    answer(lambda: run(files, host, port, timeout, as_json))


@send.command("dicom")
def send_dicom(
    folder: Annotated[Path, typer.Argument(help="A folder of DICOM files.", exists=True)],
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="HILUM_DICOM_PORT", **_TO_PORT)] = 11112,
    ae_title: Annotated[str, typer.Option(help="Of the receiver.")] = "HILUM",
    calling_ae_title: Annotated[str, typer.Option(help="Ours.")] = "HILUMSEND",
    as_json: Json = False,
) -> None:
    """Send images with C-STORE; 1 unless every one was taken."""
    from hilum.cli.sending import send_dicom as run

    answer(lambda: run(folder, host, port, ae_title, calling_ae_title, as_json))


@app.command()
def worklist(
    state: State = _STATE,
    watch: Annotated[bool, typer.Option("--watch", help="Show each change until interrupted.")] = False,
    as_json: Json = False,
) -> None:
    """Unread studies, the most urgent first."""
    from hilum.cli.showing import show_worklist

    answer(lambda: show_worklist(state, watch, as_json))


@ledger.callback()
def show_ledger(
    context: typer.Context,
    state: State = _STATE,
    accession_number: Annotated[str, typer.Option(help="Only this one.")] = "",
    study_instance_uid: Annotated[str, typer.Option(help="Only this one.")] = "",
    as_json: Json = False,
) -> None:
    """One line a study and algorithm; with --json also its timeline and each destination's proof."""
    if context.invoked_subcommand is not None:
        context.obj = state
        return
    from hilum.cli.showing import show_ledger as run

    answer(lambda: run(state, accession_number, study_instance_uid, as_json))


@ledger.command()
def reconcile(
    context: typer.Context,
    state: Annotated[
        Path | None, typer.Option("--state", envvar="HILUM_STATE", help="The state directory.", file_okay=False)
    ] = None,
    receipts: Annotated[
        list[Path] | None,
        typer.Option(help="What a peer took, as JSON lines; may be given often.", exists=True, dir_okay=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the ledger with the raw log, the object store and the peers' receipts; 1 when it does not add up."""
    from hilum.cli.showing import reconcile as run

    answer(lambda: run(state or context.obj, receipts, as_json))


@dead_letters.command("list")
def list_dead_letters(
    state: State = _STATE,
    limit: Annotated[int, typer.Option(help="At most so many; JSON holds all.", min=1)] = 50,
    reason: Annotated[str, typer.Option(help="Only those with this coded reason.")] = "",
    as_json: Json = False,
) -> None:
    """The newest dead letters; with --json all, oldest first."""
    from hilum.cli.letters import show_all

    answer(lambda: show_all(state, limit, reason, as_json))


@dead_letters.command("show")
def show_dead_letter(
    dead_letter_id: Annotated[str, typer.Argument()],
    state: State = _STATE,
    payload: Annotated[bool, typer.Option("--payload", help="Print what it holds: it may name a patient.")] = False,
    as_json: Json = False,
) -> None:
    """One dead letter with its reason, and for a message what its sender was told."""
    from hilum.cli.letters import show_one

    answer(lambda: show_one(state, dead_letter_id, payload, as_json))


@dead_letters.command("replay")
def replay_dead_letters(
    dead_letter_ids: Annotated[list[str] | None, typer.Argument()] = None,
    state: State = _STATE,
    every: Annotated[bool, typer.Option("--all", help="Every one that was not replayed yet.")] = False,
) -> None:
    """Send dead letters back to where they came from; 1 for a data set that was refused when it was sent."""
    from hilum.cli.letters import replay

    answer(lambda: replay(state, dead_letter_ids or [], every))


@models.command("list")
def list_models(state: State = _STATE, as_json: Json = False) -> None:
    """Every installed version and what the policy in force says of it."""
    from hilum.cli.models import show_all

    answer(lambda: show_all(state, as_json))


@models.command("set")
def set_model(
    name: Annotated[str, typer.Argument()],
    to: Annotated[str, typer.Option("--state", help="What the model shall be: live, silent or off.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the signed policy.")],
    directory: Annotated[
        Path,
        typer.Option(
            "--directory",
            envvar="HILUM_STATE",
            help="The state directory, which other commands call --state.",
            file_okay=False,
        ),
    ] = _STATE,
) -> None:
    """Restrict or enable a model; a running system takes it up at once.

    As --state says here what the model shall be, the state directory is told by HILUM_STATE or --directory.
    """
    from hilum.cli.models import set_state

    answer(lambda: set_state(directory, name, to, reason))


@config.command("check")
def check_config(file: Annotated[Path, typer.Argument(help="A site file.")]) -> None:
    """List every fault of a site file; 2 when there are any."""
    from hilum.cli.configuration import check

    answer(lambda: check(file))


@config.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the site file."""
    from hilum.cli.configuration import schema

    answer(schema)
