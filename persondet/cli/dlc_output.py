"""What `convert` and `quantize` share: the SoC option and the lines about a written DLC."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from export.convert import ConvertResult
    from export.socs import Soc


def context_soc(context_binary: bool, socs: Sequence[str]) -> "Soc | None":
    """Return the SoC to compile for. `--soc` alone asks for the binary too: that is its meaning."""
    from export.socs import soc

    if context_binary and not socs:
        raise click.UsageError("--context-binary needs --soc NAME, such as --soc sm8550")
    if len(socs) > 1:
        raise click.UsageError(
            f"--soc {','.join(socs)}: the toolchain embedded compiles for one SoC per run; run it "
            "once for each"
        )
    return soc(socs[0]) if socs else None


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
