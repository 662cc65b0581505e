"""Asking an SDK what a DLC holds."""

import os
from pathlib import Path

from export.process import run_process
from export.sdk.messages import explain, explanation_lines
from export.sdk.parsers.dlc_info import DlcInfo, parse_dlc_info
from export.sdk.sdk import Sdk, sdk_environment
from export.sdk.versions import Family
from persondet.errors import PersondetError

_TIMEOUT_S = 300.0
_SHOWN_LINES = 12


def dlc_info_tool(sdk: Sdk) -> str:
    """qairt-dlc-info where the SDK has one, snpe-dlc-info else."""
    newer = "qairt-dlc-info"
    has_newer = sdk.family is Family.QAIRT and (sdk.host_bin / newer).is_file()
    return newer if has_newer else "snpe-dlc-info"


def sdk_dlc_info(path: Path, sdk: Sdk) -> DlcInfo:
    """What the SDK's tool prints of a DLC.

    Raises InputError where the tool is missing, PersondetError where it fails or prints no table,
    with its own last words.
    """
    tool = dlc_info_tool(sdk)
    env = sdk_environment(sdk.root, os.environ)
    finished = run_process(
        (*sdk.argv(tool, env["PATH"]), "-i", path.absolute()),
        what=f"{tool} of {sdk.name}",
        timeout_s=_TIMEOUT_S,
        env=env,
    )
    printed = finished.stderr + finished.stdout
    if finished.code == 0:
        return parse_dlc_info(finished.stdout)
    lines = (finished.stderr.strip() or finished.stdout.strip()).splitlines()[-_SHOWN_LINES:]
    known = explanation_lines(explain(printed, code=finished.code))
    raise PersondetError(
        "\n".join(
            (
                f"{tool} of {sdk.name} failed with exit code {finished.code} on {path}",
                *lines,
                *known,
            )
        )
    )
