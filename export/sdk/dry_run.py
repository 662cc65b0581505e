"""The shell lines that would do a job: to read, to paste, to run where the SDK is."""

import os

from export.sdk.command_lines import Plan
from export.sdk.sdk import Sdk, sdk_environment
from export.sdk.versions import Family, SdkVersion
from persondet.terminal import shell_line, shell_word

# Without a package's folder the 1.x script stops.
_PRINT_ONNX_FOLDER = "import onnx; print(onnx.__path__[0])"


def activation_lines(version: SdkVersion, sdk: Sdk | None) -> list[str]:
    """Set the environment. sdk: None where the user's own variable shall name the folder."""
    is_qairt = version.family is Family.QAIRT
    variable = "QAIRT_SDK_ROOT" if is_qairt else "SNPE_ROOT"
    if sdk is None:
        lines = [f': "${{{variable}:?set it to the folder of {version.name}}}"']
        script = f'"${variable}/bin/envsetup.sh"'
    else:
        lines = [f"export {variable}={shell_word(str(sdk.root))}"]
        script = shell_word(str(sdk.root / "bin" / "envsetup.sh"))
    if version.family in (Family.SNPE_1_4, Family.SNPE_1):
        python = str(sdk.python) if sdk and sdk.python else "python3"
        script += f' -o "$({shell_line((python, "-c", _PRINT_ONNX_FOLDER))})"'
    if is_qairt:  # the script stops under `set -u` where these are not set
        lines.append('export PYTHONPATH="${PYTHONPATH-}" LD_LIBRARY_PATH="${LD_LIBRARY_PATH-}"')
    return [*lines, f"source {script}"]


def call_lines(plan: Plan, sdk: Sdk | None) -> list[str]:
    """A line a call. sdk: for its interpreter; None for the tools' own."""
    return [shell_line((*_program(call.tool, sdk), *call.arguments)) for call in plan.calls]


def _program(tool: str, sdk: Sdk | None) -> tuple[str, ...]:
    """The bare name, which PATH resolves, or interpreter and script."""
    if sdk is None:
        return (tool,)
    argv = sdk.argv(tool, sdk_environment(sdk.root, os.environ)["PATH"])
    return argv if len(argv) > 1 else (tool,)
