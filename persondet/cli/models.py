"""`persondet models`: what can be named where a NETWORK or a MODEL is asked for."""

import json
from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def command(as_json: bool) -> None:
    """List the networks and the models known by name.

    A network is a structure: `persondet init` makes an untrained checkpoint of it. A model has
    trained weights, and its name can stand wherever a command asks for a MODEL.
    """
    from persondet.models import named_models
    from persondet.zoo import detector_spec, network_names

    networks = [_network(detector_spec(name)) for name in network_names()]
    models = [
        {"name": model.name, "network": model.network, "source": model.source}
        for model in named_models()
    ]
    if as_json:
        click.echo(json.dumps({"networks": networks, "models": models}, indent=2))
    else:
        _print_tables(networks, models)


def _network(spec: Any) -> dict[str, Any]:
    from persondet.zoo import short_name

    return {
        "name": spec.network,
        "short_name": short_name(spec.network),
        "input_size_hw": list(spec.input_size_hw),
        "anchors": spec.num_anchors,
        "feature_maps_hw": [list(level.grid_hw) for level in spec.levels],
        "classes": list(spec.class_names),
    }


def _print_tables(networks: list[dict[str, Any]], models: list[dict[str, Any]]) -> None:
    from benchmarks.tables import new_table, print_to_stdout

    table = new_table("network", "for short", "input HxW", numbers=["anchors"])
    table.add_column("feature maps HxW", overflow="fold")
    table.columns[0].no_wrap = True  # a name is there to be copied
    for network in networks:
        maps = " ".join(f"{rows}x{columns}" for rows, columns in network["feature_maps_hw"])
        size = "{}x{}".format(*network["input_size_hw"])
        table.add_row(network["name"], network["short_name"], size, f"{network['anchors']:,}", maps)
    print_to_stdout("Networks", "", table)
    table = new_table("model", "network", numbers=[])
    table.add_column("weights", overflow="fold")
    table.columns[0].no_wrap = True
    for model in models:
        table.add_row(model["name"], model["network"], model["source"])
    print_to_stdout("", "Models", "", table)
