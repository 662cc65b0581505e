"""`persondet info`."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from export.sdk.sdk import Sdk


@click.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Also write the layers as CSV; - writes them to standard output instead of the tables.",
)
@click.option("--totals", is_flag=True, help="Leave the table of layers out.")
@click.option("--model", "network", help="Network of a .pth file whose keys do not tell.")
@click.option(
    "--toolchain",
    type=click.Choice(["embedded", "snpe"]),
    default="embedded",
    help="snpe: show what the SDK's dlc-info counts beside our figures, and why they differ.",
)
@click.option("--sdk", type=click.Path(path_type=Path), metavar="DIR", help="The SDK's folder.")
@click.option("--sdk-version", metavar="V", help="Such as 1.68; instead of asking the SDK for it.")
@click.option(
    "--sdk-python",
    type=click.Path(path_type=Path),
    metavar="PYTHON",
    help="Interpreter of the SDK's scripts.",
)
def command(
    model: str,
    as_json: bool,
    csv_path: Path | None,
    totals: bool,
    network: str | None,
    toolchain: str,
    sdk: Path | None,
    sdk_version: str | None,
    sdk_python: Path | None,
) -> None:
    """Count MODEL's parameters, MACs and memory, layer by layer; say what loads a DLC.

    MODEL is a .pth, .onnx or .dlc file, a model's name, or the name of a network: the figures do
    not depend on the weights.

    Parameters are convolution weights and biases, batch norm folded. MACs are those of the
    convolutions. The memory needed to run is SNPE 1.x's own estimate; the peak of the activations
    is what must be in memory at once when a tensor is dropped after its last use.

    Of a DLC: the generation of the container, the commands that made it, and which runtimes load
    it. Files of SNPE 1.x, which Qualcomm's current libraries do not read, are shown as well.
    """
    from benchmarks import figures_report, snpe1_info
    from benchmarks.model_info import info_of_file, info_of_network
    from persondet.errors import InputError
    from persondet.models import resolve_model
    from persondet.sidecar import check_destination, replacing
    from persondet.zoo import full_name, known_network, network_names

    to_stdout = csv_path is not None and str(csv_path) == "-"
    if as_json and to_stdout:
        raise InputError("--json and --csv - both want standard output; name a file for --csv")
    if toolchain == "embedded" and (sdk or sdk_version or sdk_python):
        raise click.UsageError("--sdk, --sdk-version and --sdk-python are of --toolchain snpe")
    if network is not None:
        network = known_network(network)
    report: Any = figures_report
    path: Path | None = None
    try:
        path = resolve_model(model)
    except InputError:
        if full_name(model) not in network_names() or network is not None:
            raise
        info: Any = info_of_network(model)
    else:
        if csv_path is not None and not to_stdout:
            check_destination(csv_path, ".csv", inputs=[path])
        if snpe1_info.is_snpe1(path):
            report, info = snpe1_info, snpe1_info.snpe1_info(path, network)
        elif as_json or to_stdout:
            info = info_of_file(path, network)
        else:
            with _container_at_least(path):
                info = info_of_file(path, network)
    if to_stdout:
        click.echo(report.layers_csv(info), nl=False)
        return
    compared = None
    if toolchain == "snpe":
        compared = _compared(path, info, _sdk(sdk, sdk_version, sdk_python))
    if csv_path is not None:
        with replacing(csv_path) as temporary:
            temporary.write_text(report.layers_csv(info), encoding="utf-8")
    if as_json:
        record = report.info_json(info) | ({"sdk": compared[0]} if compared else {})
        click.echo(figures_report.dump_json(record))
        return
    from benchmarks.tables import print_to_stdout

    print_to_stdout(report.title_text(info), "")
    if not totals:
        print_to_stdout(report.layers_table(info), "")
    print_to_stdout(report.totals_table(info))
    if compared:
        for table in compared[1]:
            print_to_stdout("", table)


@contextlib.contextmanager
def _container_at_least(path: Path) -> Iterator[None]:
    """Where the graph of a whole DLC cannot be read (Qualcomm's wheel is missing, the file holds
    several graphs), what its container says is shown before the error."""
    from persondet.errors import PersondetError

    try:
        yield
    except PersondetError:
        if path.suffix == ".dlc" and path.is_file():
            from benchmarks.figures_report import origin_lines, sidecar_lines
            from benchmarks.model_info import quantized_in, sidecar_and_notes
            from benchmarks.tables import labelled_lines, print_to_stdout
            from runtime.qairt.container import check_container
            from runtime.qairt.generation import origin_of

            with contextlib.suppress(PersondetError):  # then the container is the error
                sidecar, notes = sidecar_and_notes(path)
                origin = origin_of(check_container(path), is_quantized=quantized_in(sidecar))
                lines = [*origin_lines(origin), *sidecar_lines(sidecar)]
                print_to_stdout(labelled_lines([*lines, *(("Note", note) for note in notes)]))
        raise


def _sdk(folder: Path | None, version: str | None, python: Path | None) -> "Sdk":
    from export.sdk.sdk import find_sdk
    from export.sdk.versions import parse_version
    from persondet.errors import InputError

    given = parse_version(version) if version else None
    found = find_sdk(os.environ, folder=folder, version=given, python=python)
    if found is None:
        raise InputError(
            "--toolchain snpe: no SDK is known; set SNPE_ROOT or QAIRT_SDK_ROOT to its folder, or "
            "give --sdk DIR"
        )
    return found


def _compared(
    path: Path | None, info: Any, sdk: "Sdk"
) -> tuple[dict[str, Any], tuple["Table", ...]]:
    """The SDK's figures beside ours, for JSON and as tables."""
    from benchmarks import sdk_figures
    from export.sdk.dlc_info import sdk_dlc_info
    from persondet.errors import InputError

    if path is None or path.suffix != ".dlc":
        raise InputError("--toolchain snpe: an SDK's dlc-info reads .dlc files only; convert first")
    theirs = sdk_dlc_info(path, sdk)
    figures = sdk_figures.compared_figures(info, theirs, sdk.family)
    return (
        sdk_figures.compared_json(figures, sdk.name, theirs),
        sdk_figures.compared_tables(figures, sdk.name),
    )
