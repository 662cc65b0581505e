"""`persondet doctor`."""

import json
import os
from pathlib import Path

import click


@click.command()
@click.option(
    "--for",
    "jobs",
    multiple=True,
    metavar="JOB",
    help="export, convert, quantize, run (models of any kind on this machine), run:onnx, run:dlc, "
    "run:pth, or device:WHERE, where WHERE is what --device takes: device:adb, "
    "device:ssh:user@host, device:local. May be given more than once. Default: all of this "
    "machine's.",
)
@click.option(
    "--toolchain",
    type=click.Choice(["embedded", "snpe"]),
    help="For convert and quantize. Default: snpe where SNPE_ROOT, QNN_SDK_ROOT or QAIRT_SDK_ROOT, "
    "or --sdk, names an SDK.",
)
@click.option("--sdk", type=click.Path(path_type=Path), metavar="DIR", help="The SDK's folder.")
@click.option("--sdk-version", metavar="V", help="Such as 1.68; instead of asking the SDK for it.")
@click.option(
    "--sdk-python",
    type=click.Path(path_type=Path),
    metavar="PYTHON",
    help="Interpreter of the SDK's scripts.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    jobs: tuple[str, ...],
    toolchain: str | None,
    sdk: Path | None,
    sdk_version: str | None,
    sdk_python: Path | None,
    as_json: bool,
) -> None:
    """Say what is installed here, what is wrong with it, and what to do.

    Exit code 0 only if every JOB asked for can run. Without --for, a package that is left out on
    purpose, such as torch on a board, is not an error: exit code 1 then says that something is
    wrong, or that no job can run.
    """
    from benchmarks.doctor.examination import examination_json, examination_lines, examine
    from export.sdk.versions import parse_version
    from persondet.errors import PersondetError

    version = parse_version(sdk_version) if sdk_version else None
    examination = examine(
        *(jobs, os.environ, toolchain, sdk), sdk_version=version, sdk_python=sdk_python
    )
    if as_json:
        click.echo(json.dumps(examination_json(examination)))
    else:
        from benchmarks.tables import labelled_lines, print_to_stdout

        print_to_stdout(labelled_lines(examination_lines(examination)))
    if not examination.can_run:
        raise PersondetError(f"cannot run: {', '.join(examination.stopped_jobs)}")
