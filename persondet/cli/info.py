"""`persondet info`."""

from pathlib import Path

import click


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
def command(
    model: str, as_json: bool, csv_path: Path | None, totals: bool, network: str | None
) -> None:
    """Count MODEL's parameters, MACs and memory, layer by layer.

    MODEL is a .pth, .onnx or .dlc file, a model's name, or the name of a network: the figures do
    not depend on the weights.

    Parameters are convolution weights and biases, batch norm folded. MACs are those of the
    convolutions. The memory needed to run is SNPE 1.x's own estimate; the peak of the activations
    is what must be in memory at once when a tensor is dropped after its last use.
    """
    from benchmarks import figures_report
    from benchmarks.model_info import info_of_file, info_of_network
    from persondet.errors import InputError
    from persondet.models import resolve_model
    from persondet.sidecar import check_destination, replacing
    from persondet.zoo import network_names

    to_stdout = csv_path is not None and str(csv_path) == "-"
    if as_json and to_stdout:
        raise InputError("--json and --csv - both want standard output; name a file for --csv")
    try:
        path = resolve_model(model)
    except InputError:
        if model not in network_names() or network is not None:
            raise
        info = info_of_network(model)
    else:
        if csv_path is not None and not to_stdout:
            check_destination(csv_path, ".csv", inputs=[path])
        info = info_of_file(path, network)
    if to_stdout:
        click.echo(figures_report.layers_csv(info), nl=False)
        return
    if csv_path is not None:
        with replacing(csv_path) as temporary:
            temporary.write_text(figures_report.layers_csv(info), encoding="utf-8")
    if as_json:
        click.echo(figures_report.dump_json(figures_report.info_json(info)))
        return
    from benchmarks.tables import print_to_stdout

    print_to_stdout(figures_report.title_text(info), "")
    if not totals:
        print_to_stdout(figures_report.layers_table(info), "")
    print_to_stdout(figures_report.totals_table(info))
