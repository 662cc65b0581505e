"""`persondet init`: an untrained checkpoint of a network."""

from pathlib import Path

import click

from persondet import zoo
from persondet.cli.options import NAMES, NUMBERS
from persondet.sidecar import check_destination, publishing


@click.command()
@click.argument("network")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The .pth to write."
)
@click.option(
    "--classes", type=NAMES, metavar="NAMES", help="Names without the background: person,head."
)
@click.option("--num-classes", type=click.IntRange(min=2), help="Count with the background.")
@click.option(
    "--width-mult",
    type=click.FloatRange(min=0.1, max=10),
    default=1.0,
    show_default=True,
    help="Width of the MobileNetV2 backbone.",
)
@click.option(
    "--anchor-ratios", type=NUMBERS, metavar="R,R,..", help="height / width of the anchors."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0, max=2**63 - 1),
    default=0,
    show_default=True,
    help="Of the random weights.",
)
def command(
    network: str,
    output: Path,
    classes: tuple[str, ...] | None,
    num_classes: int | None,
    width_mult: float,
    anchor_ratios: tuple[float, ...] | None,
    seed: int,
) -> None:
    """Write an untrained checkpoint of NETWORK, f38 for short (`persondet models` lists them).

    Its boxes mean nothing, its size and speed are those of the trained network.
    """
    spec = zoo.detector_spec(
        network,
        class_names=classes,
        num_classes=num_classes,
        width_mult=width_mult,
        anchor_ratios=anchor_ratios,
    )
    check_destination(output, ".pth", inputs=[])

    from persondet.checkpoint import checkpoint_bytes
    from persondet.networks import build_network, initialise

    built = build_network(spec)
    initialise(built, seed)
    with publishing() as publication:
        publication.file(output).write_bytes(checkpoint_bytes(built, spec))
        publication.describe(
            output, step="init", inputs=[], spec=spec, packages=["torch"], details={"seed": seed}
        )
    parameters = sum(parameter.numel() for parameter in built.parameters())
    counts = f"{parameters:,} trainable parameters"
    click.echo(f"{output}: {spec.network}, untrained, {counts}", err=True)
