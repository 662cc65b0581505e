"""snpe-dlc-quantize, snpe-dlc-quant, qairt-quantizer and snpe-dlc-graph-prepare."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from imitation_sdk.command_line import Options, ToolError, native_command, path, word
from imitation_sdk.convert import log as python_log
from imitation_sdk.convert import refuse_soc
from imitation_sdk.dlc import (
    DESCRIPTION_ENTRY,
    MODEL_ENTRY,
    OVERRIDES_ENTRY,
    commands_of,
    entries_of,
    read_graph,
    write_dlc,
    write_entries,
)
from imitation_sdk.flags import numbers
from imitation_sdk.raw import graph_inputs, read_feed, read_input_list

if TYPE_CHECKING:
    import onnx

    from persondet.spec import DetectorSpec
    from quantize.encodings import Encodings

_SINGLE_BITS = ("weights_bitwidth", "act_bitwidth", "bias_bitwidth")
_SQUARED_ERROR = ("enhanced", "sqnr", "mse")
_FALLBACK = {"float_fallback", "enable_float_fallback"}
CACHE_ENTRY = "imitation.cache"
# What snpe-dlc-graph-prepare takes, in either case, and which of them abort on half precision.
HTP_SOCS = ("sm8350", "sm8450", "sm8550", "sm8650", "sm8750", "qcs6490", "qcs8550")
_V68 = {"sm8350", "qcs6490"}


def log(text: str, level: str = "INFO") -> None:
    print(f"[{level}] {text}", file=sys.stderr, flush=True)


def quantize(tool: str, version: str, options: Options, *, saving: bool = True) -> None:
    """Calibrate on the raw files of the list and write the quantized DLC."""
    _check_exclusions(options)
    refuse_soc(options, _fail)
    source = path(options, "input_dlc")
    assert source is not None
    default = source.with_name(f"{source.stem}_quantized.dlc")
    destination = path(options, "output_dlc") or default
    entries = entries_of(source)
    commands = commands_of(entries)
    if commands.get("quantizer-command", "N/A") != "N/A":
        _fail("The model is already quantized")
    if MODEL_ENTRY not in entries:
        _fail("Unable to read the model (not a DLC of this imitation)")
    if not destination.absolute().parent.is_dir():
        _fail(f"Failed to write {destination}: No such file or directory")
    _announce(tool, version)
    _restrict_steps(options)
    made = None if "skip_quantization" in options else _quantized(tool, version, entries, options)
    if made is None:
        write_entries(destination, entries)
    else:
        with_io, runnable, encodings = made
        _report(tool, version, encodings)
        if saving:
            commands["quantizer-command"] = _command(tool, version, options)
            write_dlc(destination, with_io, runnable, commands)
            if "enable_htp" in options:
                _prepare_in_place(version, destination, options)
        if "dump_encoding_json" in options:
            from quantize.encodings import encodings_to_json

            text = encodings_to_json(encodings)
            destination.with_suffix(".json").write_text(text, encoding="utf-8")
    _say_success(tool, version, destination, only_overrides="input_list" not in options)


def _fail(text: str) -> NoReturn:
    raise ToolError(f"[ERROR] {text}")


def _say_success(tool: str, version: str, destination: Path, *, only_overrides: bool) -> None:
    """What logs of real runs end with. Of qairt-quantizer before 2.30 no such line is known."""
    at = numbers(version)
    if tool == "qairt-quantizer":
        if at >= (2, 30) and not only_overrides:
            python_log("INFO", "Quantization completed successfully")
        if at >= (2, 30):
            python_log("INFO", f"Quantized Model saved at: {destination}")
    elif at < (2, 0):
        log(f"Writing quantized model to: {destination}")
    elif at < (2, 40):
        log(f"Saved quantized dlc to: {destination}")
        log("DebugLog shutting down.")
    else:
        log(f"Successfully saved DLC to {destination}", "USER_INFO")


def _restrict_steps(options: Options) -> None:
    if "restrict_quantization_steps" not in options:
        return
    pair = word(options, "restrict_quantization_steps").split()
    try:
        low, high = (int(each, 16) for each in pair)
    except ValueError:
        _fail(f"argument --restrict_quantization_steps: invalid two_hex value: {pair}")
    symmetric = "symmetric" in (
        word(options, "param_quantizer"),
        word(options, "param_quantizer_schema"),
    )
    if symmetric or {"use_per_channel_quantization", "use_per_row_quantization"} & options.keys():
        log(f"Restricting number of quantization steps to: min: {low} - max: {high}")
    else:
        log(
            "Restrict_quantization_steps is only supported for --param_quantizer = symmetric or "
            "per channel/row quantization. Value will be ignored.",
            "WARNING",
        )


def _command(tool: str, version: str, options: Options) -> str:
    """As the metadata records it: since 2.0 snpe-dlc-quantize is a script around snpe-dlc-quant."""
    is_script = tool == "snpe-dlc-quantize" and numbers(version) >= (2, 0)
    return native_command("snpe-dlc-quant" if is_script else tool, version, options)


def prepare(version: str, options: Options, *, saving: bool = True) -> None:
    """Copy the DLC with a note of its SoCs and outputs: a real cache record is not known."""
    if "htp_socs" in options and "htp_archs" in options:
        _fail("--htp_socs and --htp_archs are mutually exclusive")
    source = path(options, "input_dlc")
    assert source is not None
    destination = path(options, "output_dlc") or source.with_name(f"{source.stem}_cached.dlc")
    entries = entries_of(source)
    default = "sm8650" if numbers(version) >= (2, 25) else "sm8550"
    socs = [each.upper() for each in word(options, "htp_socs", default).split(",")]
    _check_preparation(commands_of(entries), socs, options)
    asked = [name for name in word(options, "set_output_tensors").split(",") if name]
    record = {"socs": socs, "outputs": _outputs(entries, asked), "version": version}
    if "optimization_level" in options:
        record["optimization_level"] = word(options, "optimization_level")
    if saving:
        write_entries(destination, {**entries, CACHE_ENTRY: json.dumps(record).encode()})
    if numbers(version) >= (2, 40):  # a log of 2.46 is known, and none of an older one
        _say_prepared(socs, destination)


def _say_prepared(socs: list[str], destination: Path) -> None:
    for soc in socs:
        log(f"SNPE HTP Offline Prepare: Attempting to create cache for {soc}")
        log(
            "No cache record in the DLC matches the target device. Creating a new record",
            "USER_INFO",
        )
        log(f"SNPE HTP Offline Prepare: Successfully created cache for {soc}")
    for soc in socs:
        log(f"{soc} : Success")
    log(f"Successfully saved DLC to {destination}", "USER_INFO")


def _check_preparation(commands: dict[str, str], socs: list[str], options: Options) -> None:
    """Refuse what a real one refuses; the first two texts are ours."""
    if unknown := [soc for soc in socs if soc.lower() not in HTP_SOCS]:
        _fail(f"--htp_socs: {unknown[0]} is not one of {', '.join(HTP_SOCS)}")
    if commands.get("quantizer-command", "N/A") != "N/A":
        return
    converted = commands["converter-command"].split()
    if not {"float_bitwidth=16", "float_bw=16"} & set(converted):
        _fail("The model is neither quantized nor of 16-bit floats")
    if "use_float_io" not in options:
        _fail("A model of 16-bit floats needs --use_float_io")
    if _V68 & {soc.lower() for soc in socs}:
        os.abort()  # as a real one does, which a shell reports as 134


def _outputs(entries: dict[str, bytes], asked: list[str]) -> list[str]:
    """The outputs of the cache: those asked for, else the last layer's."""
    description = json.loads(entries[DESCRIPTION_ENTRY])
    tensors = {*description["outputs"], *description["layers"].values()}
    if unknown := [name for name in asked if name not in tensors]:
        _fail(f"Output tensor {unknown[0]} is not in the network")
    return asked or description["outputs"][-1:]


def _prepare_in_place(version: str, dlc: Path, options: Options) -> None:
    """The cache of 1.x, whose outputs are the layers in the first line of the calibration list."""
    listed = path(options, "input_list")
    layers = read_input_list(listed).layers if listed else ()
    named = {op.name: op.outputs[0] for op in read_graph(dlc).ops}
    if unknown := [name for name in layers if name not in named]:
        _fail(f"Output layer {unknown[0]} is not in the network")
    own, outputs = [[str(dlc)]], [[",".join(named[name] for name in layers)]]
    socs = {"htp_socs": options["htp_socs"]} if "htp_socs" in options else {}
    prepare(version, {"input_dlc": own, "output_dlc": own, "set_output_tensors": outputs, **socs})


def _check_exclusions(options: Options) -> None:
    if "bitwidth" in options and any(key in options for key in _SINGLE_BITS):
        _fail("--bitwidth cannot be given with the bitwidth of one kind")
    if "float_fallback" in options and "override_params" not in options:
        _fail("--float_fallback needs --override_params")
    fallback = _FALLBACK & options.keys()
    if fallback and "input_list" in options:
        _fail(f"--{fallback.pop()} and --input_list are mutually exclusive")
    if not fallback and "input_list" not in options:
        _fail("the option '--input_list' is required but missing")


def _announce(tool: str, version: str) -> None:
    if tool == "qairt-quantizer":
        return
    if numbers(version) < (2, 0):
        log("InitializeStderr: DebugLog initialized.")
        log("Writing intermediate model")
    else:
        log("Processed command-line arguments")


def _quantized(
    tool: str, version: str, entries: dict[str, bytes], options: Options
) -> tuple["onnx.ModelProto", "onnx.ModelProto", "Encodings"] | None:
    """The graph with quantized inputs and outputs, the same with float ones, its encodings.

    None where float fallback leaves all of it float.
    """
    import onnx

    from persondet.errors import InputError
    from persondet.spec import METADATA_KEY, spec_from_json
    from quantize.encodings import Encodings, encodings_from_qdq
    from quantize.qdq import Scheme, overrides_from_encodings, qdq_from_ranges
    from quantize.ranges import observe, select_range
    from quantize.uint8_input import float_graph, input_encoding, take_bytes

    model = onnx.load_from_string(entries[MODEL_ENTRY])
    texts = {entry.key: entry.value for entry in model.metadata_props}
    spec = None
    if graph_inputs(model)[0].dtype == "uint8":
        spec = spec_from_json(texts[METADATA_KEY])
    graph = float_graph(model, spec) if spec else model
    bits = int(word(options, "act_bitwidth") or word(options, "bitwidth", "8"))
    scheme = Scheme(bits, bool({"axis_quant", "use_per_channel_quantization"} & options.keys()))
    method, ranges = _method(options), {}
    if not _FALLBACK & options.keys():
        histograms = observe(graph, _feeds(model, spec, options), method=method)
        ranges = {name: select_range(found, method, bits) for name, found in histograms.items()}
    fixed = Encodings({}, {})
    if _overrides_apply(tool, options) and OVERRIDES_ENTRY in entries:
        fixed = _known_overrides(entries[OVERRIDES_ENTRY], graph)
    if spec:
        exact = {spec.input_name: input_encoding(spec)}
        fixed = Encodings({**fixed.activations, **exact}, fixed.params)
    try:
        runnable, _ = qdq_from_ranges(graph, ranges, scheme, overrides_from_encodings(fixed))
    except InputError:  # some activation has no encoding
        return None
    encodings = encodings_from_qdq(runnable)
    if spec:
        take_bytes(runnable, spec)
    with_io = onnx.ModelProto()
    with_io.CopyFrom(runnable)
    _quantize_edges(with_io)
    return with_io, runnable, encodings


def _method(options: Options) -> str:
    chosen = [word(options, key) for key in ("act_quantizer", "act_quantizer_calibration")]
    if "use_enhanced_quantizer" in options or any(each in _SQUARED_ERROR for each in chosen):
        return "mse"
    return next((each for each in chosen if each in ("entropy", "percentile")), "minmax")


def _overrides_apply(tool: str, options: Options) -> bool:
    if tool == "qairt-quantizer":
        return "ignore_quantization_overrides" not in options
    return "override_params" in options


def _known_overrides(content: bytes, graph: "onnx.ModelProto") -> "Encodings":
    """The overrides whose names the graph has; others are ignored without a word."""
    from quantize.encodings import Encodings, read_encodings

    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(content)
        file.flush()
        given = read_encodings(Path(file.name))
    names = {name for node in graph.graph.node for name in (*node.input, *node.output)}
    return Encodings(
        {name: each for name, each in given.activations.items() if name in names},
        {name: each for name, each in given.params.items() if name in names},
    )


def _feeds(
    model: "onnx.ModelProto", spec: "DetectorSpec | None", options: Options
) -> Iterator[dict]:
    """The tensors of the list's files, as the float graph takes them."""
    from quantize.uint8_input import real_values

    listed = path(options, "input_list")
    assert listed is not None
    inputs = graph_inputs(model)
    native = None
    if "use_native_input_files" in options:
        native = {item.name: item.dtype for item in inputs}
    for files in read_input_list(listed).feeds:
        feed = read_feed(files, inputs, native=native)
        yield {name: real_values(array, spec) for name, array in feed.items()} if spec else feed


def _quantize_edges(model: "onnx.ModelProto") -> None:
    """Drop the QuantizeLinear of inputs and the DequantizeLinear of outputs: in a quantized DLC of
    the vendor's tools, inputs and outputs are quantized tensors."""
    from export.onnx_model import rename_inputs

    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    for value in graph.input:
        readers = [node for node in graph.node if value.name in node.input]
        if len(readers) == 1 and readers[0].op_type == "QuantizeLinear":
            _take_type(graph, value, readers[0].input[2])
            graph.node.remove(readers[0])
            rename_inputs(graph, readers[0].output[0], value.name)
    for value in graph.output:
        last = made_by[value.name]
        if last.op_type == "DequantizeLinear":
            _take_type(graph, value, last.input[2])
            graph.node.remove(last)
            made_by[last.input[0]].output[0] = value.name
            rename_inputs(graph, last.input[0], value.name)


def _take_type(
    graph: "onnx.GraphProto", value: "onnx.ValueInfoProto", zero_point_name: str
) -> None:
    zero_point = next(item for item in graph.initializer if item.name == zero_point_name)
    value.type.tensor_type.elem_type = zero_point.data_type


def _report(tool: str, version: str, encodings: "Encodings") -> None:
    if tool == "qairt-quantizer":
        return
    if numbers(version) >= (2, 0):
        log("Quantized parameters")
        log("Generated activations")
        return
    for name, each in encodings.activations.items():
        log(f"Setting activation for layer: {name} and buffer: {name}")
        log(
            f"bw: {each.bitwidth}, min: {each.min:.6f}, max: {each.max:.6f}, "
            f"delta: {each.scale:.6f}, offset: {float(each.offset):.6f}"
        )
