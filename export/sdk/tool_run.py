"""Running one of an SDK's tools, and not believing it.

Success is all of: exit code 0, a file that was not there before and is a whole container, and for
SNPE 1.x the line that says so. From 2.0 on the texts differ between releases, and the proof is the
file itself, which is read back and compared with its model (see `proof`).
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from export.process import Finished, run_process
from export.sdk.command_lines import ToolCall
from export.sdk.messages import explain, explanation_lines
from export.sdk.options import (
    DLC_QUANTIZE,
    ONNX_TO_DLC,
    SNPE_2,
)
from export.sdk.sdk import (
    PYTHON_VARIABLE,
    PYTHONS,
    Sdk,
    python_version,
    script_interpreter,
    sdk_environment,
)
from persondet.errors import InputError, PersondetError
from runtime.qairt.container import check_container

DEFAULT_TIMEOUT_S = 1800.0
# What a tool of SNPE 1.x must print: of its graph less can be read back.
SUCCESS_LINES = {
    ONNX_TO_DLC: "Conversion completed successfully",
    DLC_QUANTIZE: "Writing quantized model",
}
_SHOWN_LINES = 12


def run_call(
    call: ToolCall,
    sdk: Sdk,
    *,
    folder: Path,
    log: Path,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    on_line: Callable[[str], None] = lambda line: None,
) -> Finished:
    """Run the call in `folder`, to which its paths are relative. log: gets all that is printed.

    Raises InputError where the tool is missing or cannot be started, PersondetError where it fails
    in whatever way: then with its own last words, and causes and remedies where they are known.
    """
    env = sdk_environment(sdk.root, os.environ)
    argv = (*sdk.argv(call.tool, env["PATH"]), *call.arguments)
    product = folder / call.product
    if product.exists():
        raise FileExistsError(product)  # it could be taken for the tool's work
    try:
        finished = run_process(
            argv,
            what=f"{call.tool} of {sdk.name}",
            timeout_s=timeout_s,
            env=env,
            cwd=folder,
            log=log,
            on_line=on_line,
        )
    except InputError:
        raise
    except PersondetError as error:
        raise PersondetError(f"{error}; --tool-timeout gives it longer") from None
    if problem := _problem(call, sdk, finished, product):
        raise PersondetError(_failure(call, sdk, finished, problem))
    return finished


def _problem(call: ToolCall, sdk: Sdk, finished: Finished, product: Path) -> str | None:
    """Return what is wrong with a run; None if all is well.

    What a tool prints decides nothing by itself: a successful run of graph-prepare says that `No
    cache record in the DLC matches` before it makes one.
    """
    if finished.code < 0:
        return f"was ended by signal {-finished.code}"
    if finished.code != 0:
        return f"failed with exit code {finished.code}"
    if not product.is_file() or product.stat().st_size == 0:
        return "ended with exit code 0, but wrote no file"
    expected = SUCCESS_LINES[call.tool] if sdk.version.numbers < SNPE_2 else ""
    if expected not in finished.stdout + finished.stderr:
        return f"wrote a file, but never said {expected!r}"
    try:
        check_container(product)
    except PersondetError as error:
        reason = str(error).replace(str(product), product.name).partition(";")[0]
        return f"wrote a file that is no DLC: {reason}"
    return None


def _failure(call: ToolCall, sdk: Sdk, finished: Finished, problem: str) -> str:
    printed = (finished.stderr + finished.stdout).strip()
    parts = [f"{call.tool} of {sdk.name} {problem}"]
    if printed:
        lines = (finished.stderr.strip() or finished.stdout.strip()).splitlines()
        parts.append("its last lines:" + "".join(f"\n  {line}" for line in lines[-_SHOWN_LINES:]))
    parts += explanation_lines(explain(printed, code=finished.code))
    if finished.code >= 0 and (hint := _python_hint(call, sdk)):
        parts.append(hint)
    return "\n".join(parts)


def _python_hint(call: ToolCall, sdk: Sdk) -> str | None:
    """A sentence where the tool ran in a Python that the SDK is not documented for, or in none."""
    interpreter = script_interpreter(sdk.tool(call.tool))
    if interpreter is None:
        return None
    path = sdk_environment(sdk.root, os.environ)["PATH"]
    program = sdk.python or shutil.which(interpreter, path=path)
    if program is None:
        return None
    found, documented = python_version(Path(program)), PYTHONS[sdk.family]
    if found in documented:
        return None
    how = f"it ran in Python {found}" if found else f"{program} does not run as a Python"
    return (
        f"note: {how}; {sdk.name} is documented for {' or '.join(documented)}. "
        f"If that is the cause, name another interpreter with --sdk-python or {PYTHON_VARIABLE}"
    )
