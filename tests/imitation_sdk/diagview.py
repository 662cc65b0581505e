"""An imitation of snpe-net-run's diagnostic log and of snpe-diagview: two families of text, by logs
of 2.9 and 2.37.

It cannot show that a real log is read, whose binary format nobody documents: this one is only read
here. Its times are this machine's, shares for layers made up. It writes no CSV: of the newer format
no file was seen, and nothing of ours reads either.
"""

import json
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from imitation_sdk.command_line import Options, ToolError, path
from imitation_sdk.flags import numbers

_MAGIC = b"\x7fSNPEDIAG\x00"
_NEW_TEXT_SINCE = (2, 11)  # the contract: old up to about 2.10, new from 2.2x
_CYCLES_PER_US = 1000
_CREATE = (
    *("Load", "Deserialize", "Create", "Init", "De-Init", "Create Network(s)"),
    *("RPC Init Time", "Snpe Accelerator Init Time", "Accelerator Init Time"),
)
_EXECUTE = (
    *("Total Inference Time", "Forward Propagate Time", "RPC Execute Time"),
    *("Snpe Accelerator Time", "Accelerator Time"),
)


def write_log(
    target: Path,
    version: str,
    runtime: str,
    init_us: int,
    run_us: int,
    layers: list[str],
    fault: str,
) -> None:
    """Measured times of init and of an average run; those of layers are shares of 90 % of it.

    On the DSP layers have cycles, and every fourth layer 0, as if fused into the next one.
    """
    letter = runtime.partition("_")[0].upper()
    on_chip = letter in ("DSP", "AIP")
    create = dict.fromkeys(_CREATE, 0)
    create |= {"Load": init_us // 20, "Deserialize": init_us // 10, "Create": init_us // 2}
    create |= {"Init": init_us, "De-Init": init_us // 9, "Create Network(s)": init_us // 3}
    execute = dict.fromkeys(_EXECUTE, 0)
    execute |= {"Total Inference Time": run_us, "Forward Propagate Time": run_us * 95 // 100}
    if on_chip:
        create |= dict.fromkeys(_CREATE[-3:], init_us // 8)
        execute |= dict.fromkeys(_EXECUTE[-3:], run_us * 92 // 100)
    share_us = run_us * 9 // 10 // max(1, len(layers))
    times = [
        [name, 0 if on_chip and index % 4 == 3 else share_us * (_CYCLES_PER_US if on_chip else 1)]
        for index, name in enumerate(layers)
    ]
    record = {
        **{"version": version, "runtime": letter, "unit": "cycles" if on_chip else "us"},
        **{"create": create, "execute": execute, "layers": times},
    }
    content = _MAGIC + json.dumps(record).encode()
    if fault == "gibberish_log":
        content = random.Random(0).randbytes(512)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def diagview(version: str, options: Options, fault: str) -> None:
    log = path(options, "input_log")
    assert log is not None
    if fault == "gibberish_log":
        print(random.Random(1).randbytes(200).decode("latin-1"))
        return
    try:
        content = log.read_bytes()
    except OSError:
        raise ToolError(f"[ERROR] Unable to open input log {log}") from None
    if not content.startswith(_MAGIC):
        raise ToolError(f"[ERROR] {log} is not a diagnostic log")
    if "output" in options:
        raise ToolError("[ERROR] the imitation writes no CSV")
    record = json.loads(content.removeprefix(_MAGIC))
    lines = _new_text if numbers(version) >= _NEW_TEXT_SINCE else _old_text
    print("\n".join([*_header(record), *lines(record)]))


def _header(record: dict) -> Iterator[str]:
    yield f"Log File Created: {datetime.now():%a %b %d %H:%M:%S %Y}"
    yield "Time Scale: 1e-06"
    yield "Epoch Timestamp: 1695821853441 Steady Clock Timestamp: 1134456"
    yield f"Software library version: {record['version']}"
    yield ""


def _titled(title: str, lines: list[str]) -> Iterator[str]:
    yield from (title, "-" * len(title), *lines, "")


def _old_text(record: dict) -> Iterator[str]:
    def valued(values: dict) -> list[str]:
        return [f"{key}: {value} us" if value else f"{key}: 0" for key, value in values.items()]

    title = "Dnn Runtime Load/Deserialize/Create/De-Init Statistics:"
    yield from _titled(title, valued(record["create"]))
    execute = valued({**record["execute"], "Misc Accelerator Time": 0})
    yield from _titled("Average SNPE Statistics:", execute)
    unit, runtime = record["unit"], record["runtime"]
    times = [f"{i}: {value} {unit} : {runtime}" for i, (_, value) in enumerate(record["layers"])]
    if times:
        yield from _titled("Layer Times:", times)


def _new_text(record: dict) -> Iterator[str]:
    def valued(values: dict) -> list[str]:
        return [f"{key}: {value} us" if value else f"{key}: 0 " for key, value in values.items()]

    yield from _titled("SNPE Create Statistics:", valued(record["create"]))
    execute = [*valued(record["execute"]), "Num times yield occurred: 0 "]
    yield from _titled("SNPE Execute Statistics (Averaged):", execute)
    unit, runtime, layers = record["unit"], record["runtime"], record["layers"]
    if not layers:
        return
    total = sum(value for _, value in layers)
    subnet = f"Subnet 0 ({runtime}) : {total} {unit}"
    yield from _titled("Per-Subnet Execution Times:", [subnet])
    times = [
        f"{index}: {name}:OpId_{index} ({unit}) : {value} {unit} : {runtime}"
        for index, (name, value) in enumerate(layers)
    ]
    yield from _titled("Per-Layer Execution Times:", times)
