"""An imitation of snpe-platform-validator: the lines to match, by its documents and one log.

It cannot show what a device has: a GPU is always there, the DSP where its skels are.
"""

import os
from pathlib import Path

from imitation_sdk.command_line import Options, ToolError, word

_RUNTIMES = ("gpu", "dsp", "aip")


def validate(options: Options) -> None:
    chosen = word(options, "runtime")
    failed = False
    for runtime in _RUNTIMES if chosen == "all" else (chosen,):
        name, found = runtime.upper(), runtime == "gpu" or _has_skel()
        print(f"SNPE is {'' if found else 'NOT '}supported for runtime {name} on the device.")
        print(f"Runtime {name} Prerequisites: {'Present' if found else 'Absent'}.")
        if "testRuntime" in options:
            print(f"Unit Test on the runtime {name}: {'Passed' if found else 'Failed'}.")
            failed |= not found
    if failed:
        raise ToolError(
            "Error while executing the sum function.\nPlease use testsig if using unsigned images."
        )


def _has_skel() -> bool:
    folders = filter(None, os.environ.get("ADSP_LIBRARY_PATH", "").split(";"))
    return any(any(Path(folder).glob("*[Ss]kel.so")) for folder in folders)
