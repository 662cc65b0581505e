"""What `convert` and `quantize` share: the SoC option and the lines about a written DLC."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from export.convert import ConvertResult
    from export.socs import Soc


def context_soc(context_binary: bool, soc_name: str | None) -> "Soc | None":
    """The SoC to compile for. `--soc` alone asks for the binary too: it has no other meaning."""
    from export.socs import soc

    if context_binary and soc_name is None:
        raise click.UsageError("--context-binary needs --soc NAME, such as --soc sm8550")
    return soc(soc_name) if soc_name else None


def echo_dlc(result: "ConvertResult") -> None:
    proof = result.proof
    census = ", ".join(f"{count} {op_type}" for op_type, count in proof.ops.items())
    click.echo(
        f"{result.path}: {result.path.stat().st_size / 1e6:.2f} MB, {sum(proof.ops.values())} ops "
        f"({census}), {proof.parameters:,} parameters as Qualcomm's loader reads them"
    )
    if result.context_binary:
        size = result.context_binary.stat().st_size / 1e6
        click.echo(f"{result.context_binary}: {size:.2f} MB, compiled ahead of time")
