"""An imitation of snpe-net-run and snpe-throughput-net-run: their texts by logs of real runs.

It shows that what we ask of them and read of them fits those logs. It cannot show that a real tool
takes a file of ours, what a chip computes or how fast: outputs are onnxruntime's, times this
machine's. Which outputs a version gives by default is not known of every one; this one always gives
the last alone, as some do.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from imitation_sdk.command_line import Options, ToolError, path, word
from imitation_sdk.diagview import write_log
from imitation_sdk.dlc import commands_of, entries_of
from imitation_sdk.flags import numbers
from imitation_sdk.raw import InputList, read_feed, read_input_list

if TYPE_CHECKING:
    import numpy as np

    from imitation_sdk.network import Network

# runtime_order's word: the name that logs have
RUNTIMES = {
    "cpu": "cpu_float32",
    "gpu": "gpu_float32_16_hybrid",
    "gpu_float16": "gpu_float16",
    "dsp": "dsp_fixed8_tf",
    "aip": "aip_fixed8_tf",
}
# Texts were seen of 2.14 (older), 2.22 (names of graphs) and 2.46 (the inputs on one line).
_GRAPHS_SINCE = (2, 22)
_ONE_LINE_SINCE = (2, 46)
_CACHE_ENTRY = "imitation.cache"  # of the imitation's snpe-dlc-graph-prepare
_NEED_ACCELERATOR = ("dsp_fixed8_tf", "aip_fixed8_tf")


def runtime_error(code: int, text: str, component: str) -> ToolError:
    """The runtime's own error line."""
    return ToolError(
        f"error_code={code}; error_message={text}; error_component={component}; line_no=311; "
        "thread_id=547"
    )


def net_run(version: str, options: Options, fault: str, library: Path) -> None:
    """Outputs of every line of the list under Result_N, and the diagnostic log."""
    _banner(version)
    entries, container = _load(version, options)
    runtime = _runtimes(options)[0]
    _require_runtime(runtime, entries, version, options, library)
    listed = path(options, "input_list")
    assert listed is not None
    is_2x = numbers(version) >= (2, 0)
    inputs = read_input_list(listed, marks="#%" if is_2x else "#")
    begun = time.perf_counter()
    network = _network(container, entries, options, inputs)
    init_us = _since_us(begun)
    output_dir = path(options, "output_dir") or Path("output")
    native_in, native_out = (f"use_native_{kind}_files" in options for kind in ("input", "output"))
    native = {item.name: network.types[item.name].dtype for item in network.inputs}
    run_us = []
    names_graphs = numbers(version) >= _GRAPHS_SINCE
    if names_graphs:
        print(f"\nProcessing graph : {container.stem}")
    if is_2x and runtime in _NEED_ACCELERATOR and not _has_cache(entries, network.names):
        print("No cache record in the DLC matches the target device (HTP_V68_SM7325_2MB).")
    for index, files in enumerate(inputs.feeds):
        separator = " " if numbers(version) >= _ONE_LINE_SINCE else "\n"
        print(separator.join(("Processing DNN input(s):", *map(str, files.values()))))
        feed = read_feed(files, network.inputs, native=native if native_in else None)
        if native_in:
            feed = {name: network.types[name].real(array) for name, array in feed.items()}
        begun = time.perf_counter()
        values = network.run(feed)
        run_us.append(_since_us(begun))
        if native_out:
            values = {name: network.types[name].stored(value) for name, value in values.items()}
        if fault != "no_output":
            _write(output_dir / f"Result_{index}", values, fault)
    level = word(options, "profiling_level", "detailed")
    if level != "off" and fault != "no_diag":
        average_us = sum(run_us) // len(run_us)
        layers = list(network.layers) if level in ("detailed", "linting") else []
        target = output_dir / "SNPEDiag_0.log"
        write_log(target, version, runtime, init_us, average_us, layers, fault)
    if names_graphs:
        print(f"Successfully executed graph {container.stem}")
    elif is_2x:
        print("Successfully executed!")


def throughput(version: str, options: Options, fault: str, library: Path) -> None:
    """Run for the duration on each runtime asked for; one line a thread and the total."""
    import numpy as np

    entries, container = _load(version, options)
    results = []
    for index, runtime in enumerate(_runtimes(options)):
        begun = time.perf_counter()
        try:
            _require_runtime(runtime, entries, version, options, library)
        except ToolError as error:
            word_for = "Thread" if numbers(version) < (2, 0) else "Instance"
            raise ToolError(f"[{word_for} {index} - {runtime}] {error}") from None
        network = _network(container, entries, options, InputList((), (), ()))
        build_us, feed = _since_us(begun), _throughput_feed(options, network)
        seconds, most = float(word(options, "duration", "2")), word(options, "iterations")
        begun, images = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds and (not most or images < int(most)):
            if "skip_execute" not in options:
                network.run(feed)
            images += 1
        elapsed_us = max(1, _since_us(begun))
        rate = images / elapsed_us * 1e6
        results.append(rate)
        batch = next(iter(feed.values())).shape[0]
        print(
            f"[Thread {index} - {runtime}] {rate:.6g} infs/sec - Number of images processed: "
            f"{images} - Build time: {build_us} microseconds - Elapsed time: {elapsed_us} "
            f"microseconds - Real time: {elapsed_us} microseconds - Teardown time: 312 "
            f"microseconds - Batch : {batch}"
        )
    print(f"Total throughput: {np.sum(results):.6g} infs/sec")
    if saved := path(options, "json"):
        saved.write_text(json.dumps({"total_throughput": float(np.sum(results))}))


def _banner(version: str) -> None:
    rule = "-" * 79
    print(f"{rule}\nModel String: N/A\nSNPE v{version}\n{rule}", flush=True)


def _since_us(begun: float) -> int:
    return round((time.perf_counter() - begun) * 1e6)


def _load(version: str, options: Options) -> tuple[dict[str, bytes], Path]:
    """The container's entries. Raises ToolError for a DLC of the other generation."""
    container = path(options, "container")
    assert container is not None
    entries = entries_of(container)
    written_by = commands_of(entries).get("converter-version", version)
    model_major = int.from_bytes(entries["model"][2:4], "little")
    is_old = model_major <= 3 or numbers(written_by) < (2, 0)
    if is_old != (numbers(version) < (2, 0)):
        raise runtime_error(
            305, "Model record is of a version that is not supported", "Dl Container"
        )
    return entries, container


def _runtimes(options: Options) -> list[str]:
    flags = [key for key in options if key.startswith("use_") and "native" not in key]
    if "runtime_order" in options:
        if flags:
            raise ToolError("[ERROR] --runtime_order and --use_* are mutually exclusive")
        asked = word(options, "runtime_order").split(",")
        unknown = [each for each in asked if each not in (*RUNTIMES, *RUNTIMES.values())]
        if unknown:
            raise ToolError(f"[ERROR] Invalid runtime {unknown[0]}")
        return [RUNTIMES.get(each, each) for each in asked]
    names = {"use_gpu_fp16": "gpu_float16"}
    found = []
    for key in flags:
        name = names.get(key) or RUNTIMES[key.removeprefix("use_")]
        if key == "use_gpu" and word(options, "gpu_mode") == "float16":
            name = "gpu_float16"
        found += [name] * len(options[key])
    return found or ["cpu_float32"]


def _has_cache(entries: dict[str, bytes], outputs: list[str]) -> bool:
    """A cache that was made for other outputs is ignored."""
    record = json.loads(entries.get(_CACHE_ENTRY, b"{}"))
    return set(record.get("outputs", ())) == set(outputs)


def _require_runtime(
    runtime: str, entries: dict[str, bytes], version: str, options: Options, library: Path
) -> None:
    """The DSP needs a quantized network (SNPE 2), its stub beside libSNPE.so, and its skel where
    ADSP_LIBRARY_PATH points, which is separated by semicolons. All of one SDK. SNPE 1 has to be
    told that libraries are unsigned, and its AIP needs a network prepared for it; in what words a
    real one refuses these two is not known."""
    if runtime not in _NEED_ACCELERATOR:
        return
    is_2x = numbers(version) >= (2, 0)
    command = commands_of(entries).get("quantizer-command", "N/A")
    if command == "N/A" and (is_2x or runtime.startswith("aip")):
        raise runtime_error(402, "Network partition has failed: the model is not quantized", "Dnn")
    if runtime.startswith("aip") and "enable_hta=true" not in command.split():
        raise runtime_error(402, "Network partition has failed: there is no HTA section", "Dnn")
    if not is_2x and word(options, "platform_options") != "unsignedPD:ON":
        raise ToolError("Please use testsig if using unsigned images.")
    folders = [Path(each) for each in os.environ.get("ADSP_LIBRARY_PATH", "").split(";") if each]
    skels = {each.name: each for folder in folders for each in folder.glob("*[Ss]kel.so")}
    stubs = {each.name: each for each in library.parent.glob("*.so")}
    for name, skel in skels.items():
        stub = stubs.get(_stub_of(name))
        if stub and all(version in each.read_text(errors="replace") for each in (skel, stub)):
            return
        if stub:
            print("Stub lib id mismatch", file=sys.stderr)
    print("Failed to load skel", file=sys.stderr)
    raise runtime_error(1008, "Failed to create transport for device, error: 1008", "Dsp Runtime")


def _stub_of(skel: str) -> str:
    """libSnpeHtpV73Skel.so to libSnpeHtpV73Stub.so, SNPE 1's to libsnpe_dsp_domains_v2.so."""
    if skel.endswith("Skel.so"):
        return skel.replace("Skel", "Stub")
    return f"libsnpe_dsp_domains_{skel.removesuffix('_skel.so').rpartition('_')[2]}.so"


def _network(
    container: Path, entries: dict[str, bytes], options: Options, inputs: InputList
) -> "Network":
    from imitation_sdk.network import open_network

    asked = [*inputs.tensors, *filter(None, word(options, "set_output_tensors").split(","))]
    if inputs.layers or "debug" in options:
        layers = open_network(container, entries, ()).layers
        for name in inputs.layers:
            if name not in layers:
                raise ToolError(f"[ERROR] Output layer {name} is not in the network")
        asked += [layers[name] for name in inputs.layers]
        if "debug" in options:
            asked = list(layers.values())
    if not asked:
        asked = open_network(container, entries, ()).names[-1:]
    return open_network(container, entries, list(dict.fromkeys(asked)))


def _write(folder: Path, values: dict[str, "np.ndarray"], fault: str) -> None:
    """One file a tensor. A name with a slash needs its folder, which nobody makes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise ToolError(f"[ERROR] Failed to create folder: {folder}") from None
    for name, value in values.items():
        target = folder / f"{name.lstrip('/')}.raw"
        data = value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
        try:
            target.write_bytes(data[: len(data) // 2] if fault == "short_output" else data)
        except OSError:
            raise ToolError(f"[ERROR] Failed to write data to: {target}") from None


def _throughput_feed(options: Options, network: "Network") -> dict[str, "np.ndarray"]:
    import numpy as np

    given = [each for each in word(options, "input_raw").split(",") if each]
    if not given:
        return {item.name: np.zeros(item.shape, np.float32) for item in network.inputs}
    named = {item.name: Path(each) for item, each in zip(network.inputs, given, strict=False)}
    return read_feed(named, network.inputs, native=None)
