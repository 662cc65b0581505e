"""snpe-onnx-to-dlc and qairt-converter."""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from imitation_sdk.command_line import Options, ToolError, path, python_command, word
from imitation_sdk.dlc import NCHW_SUFFIX, write_dlc
from imitation_sdk.flags import LAYOUTS, numbers

if TYPE_CHECKING:
    import onnx

_NCHW_TO_NHWC = ("NCHW", "NHWC")
_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
_KNOWN_OPSETS = {1: 11, 2: 17}  # by major version (inferred): newer ones give warnings


def log(level: str, text: str) -> None:
    """DATE TIME,ms - LINE - LEVEL - TEXT"""
    now = datetime.now()
    stamp = f"{now:%Y-%m-%d %H:%M:%S},{now.microsecond // 1000:03d}"
    print(f"{stamp} - 166 - {level} - {text}", file=sys.stderr, flush=True)


def convert(tool: str, version: str, options: Options, *, saving: bool = True) -> None:
    """Write the DLC. saving: False for the fault that says it did and does not."""
    import onnx

    refuse_soc(options, _fail)
    source = path(options, "input_network")
    assert source is not None
    destination = path(options, "output_path") or source.with_suffix(".dlc")
    try:
        model = onnx.load(source)
        onnx.checker.check_model(model)
    except Exception as error:
        log("ERROR", f"Encountered Error: {error}")
        raise ToolError("", 255) from None
    _set_shapes(model, options, tool)
    model = _with_outputs(model, options)
    _warn(model, version)
    if tool == "snpe-onnx-to-dlc":
        if not _keeps_layout(options):
            _to_spatial_first(model, _layouts(model, options))
    else:  # it keeps the source's layout unless it is told otherwise
        wishes = dict(options.get("desired_input_layout", []))
        sources = {value.name: "NCHW" for value in model.graph.input}
        sources |= dict(options.get("source_model_input_layout", []))
        _inputs_to_nhwc(
            model, [name for name in sources if (sources[name], wishes.get(name)) == _NCHW_TO_NHWC]
        )
    if "dry_run" in options:
        log("INFO", "Dry run evaluation complete")
        return
    overrides = path(options, "quantization_overrides")
    kept = _overrides_text(overrides) if overrides else None
    if not destination.absolute().parent.is_dir():
        _fail(f"[Errno 2] No such file or directory: '{destination}'")
    commands = {
        "converter-command": python_command(tool, version, options),
        "converter-version": version,
        "model-copyright": "N/A",
        "model-version": word(options, "model_version")[:64] or "N/A",
        "quantizer-command": "N/A",
    }
    if numbers(version) < (2, 0):
        log("INFO", f"INFO_DLC_SAVE_LOCATION: Saving model at {destination}")
    else:
        log("INFO", "INFO_INITIALIZATION_SUCCESS: ")
    if saving:
        write_dlc(destination, model, model, commands, kept)
    log("INFO", "INFO_CONVERSION_SUCCESS: Conversion completed successfully")
    if numbers(version) >= (2, 0):
        log("INFO", "INFO_WRITE_SUCCESS: ")


def refuse_soc(options: Options, fail: Callable[[str], NoReturn]) -> None:
    """No log was found of a real tool that took a SoC: the table in it is empty."""
    if "target_soc_model" in options:
        fail(f"SOC model {word(options, 'target_soc_model')} is not supported.")


def _fail(text: str) -> NoReturn:
    log("ERROR", f"Encountered Error: {text}")
    raise ToolError("", 255)


def _overrides_text(overrides: Path) -> bytes:
    import json

    try:
        record = json.loads(overrides.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        _fail(f"quantization overrides {overrides}: {error}")
    for key in ("activation_encodings", "param_encodings"):
        if key not in record:
            _fail(f"quantization overrides {overrides}: {key} is missing")
    return json.dumps(record).encode()


def _set_shapes(model: "onnx.ModelProto", options: Options, tool: str) -> None:
    """Shapes given on the command line; every dimension must be fixed after that."""
    keys = ("input_dim", "desired_input_shape", "source_model_input_shape")
    given = [pair for key in keys for pair in options.get(key, [])]
    inputs = {value.name: value for value in model.graph.input}
    for name, text in given:
        if name not in inputs:
            _fail(f"Input {name} is not in the model")
        dims = [int(number) for number in text.split(",")]
        shape = inputs[name].type.tensor_type.shape.dim
        if len(dims) != len(shape):
            _fail(f"Input {name} has {len(shape)} dimensions, got {text}")
        for dim, size in zip(shape, dims, strict=True):
            dim.dim_value = size
    dynamic = [
        name
        for name, value in inputs.items()
        if not all(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    ]
    if dynamic:
        if tool == "qairt-converter":
            _fail(f"Missing command line inputs for dynamic inputs {dynamic}")
        _fail(f"Symbolic shapes are not supported: {dynamic}")


def _with_outputs(model: "onnx.ModelProto", options: Options) -> "onnx.ModelProto":
    """Cut at the outputs asked for."""
    import onnx

    keys = ("out_node", "out_name", "out_tensor_name", "out_tensor_node")
    names = [words[0] for key in keys for words in options.get(key, [])]
    if not names or sorted(names) == sorted(value.name for value in model.graph.output):
        return model
    made = {name for node in model.graph.node for name in node.output}
    for name in names:
        if name not in made:
            _fail(f"ERROR_OUTPUT_NAME_NOT_FOUND: {name} is no tensor of the model")
    inputs = [value.name for value in model.graph.input]
    return onnx.utils.Extractor(model).extract_model(inputs, names)


def _warn(model: "onnx.ModelProto", version: str) -> None:
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    known = _KNOWN_OPSETS[numbers(version)[0]]
    if opset > known:
        for op_type in sorted({node.op_type for node in model.graph.node}):
            log(
                "WARNING",
                f"WARNING_OP_VERSION_NOT_SUPPORTED: Operation {op_type} Not Supported. Expected "
                f"operator version: [{known}], instead got version: [{opset}]",
            )
    if numbers(version) >= (2, 0):
        log("INFO", "Simplified model validation is successful")


def _layouts(model: "onnx.ModelProto", options: Options) -> dict[str, str]:
    """The source layout of each 4-D input: as declared, else NCHW (the framework's)."""
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in model.graph.input}
    layouts = {name: "NCHW" for name, rank in ranks.items() if rank == 4}
    for name, layout in options.get("input_layout", []):
        if layout not in (*LAYOUTS, "NONTRIVIAL"):
            raise ToolError(f"snpe-onnx-to-dlc: error: invalid layout {layout}", 2)
        if name not in ranks:
            _fail(f"Input {name} is not in the model")
        if layout != "NONTRIVIAL" and len(layout) != ranks[name]:
            _fail(f"Input {name} has {ranks[name]} dimensions, which is no {layout}")
        layouts[name] = layout
    return layouts


def _keeps_layout(options: Options) -> bool:
    """--preserve_io alone, or of the layout; of some tensors only is not imitated."""
    given = options.get("preserve_io", [])
    return any(not words or words[0] == "layout" for words in given)


def _to_spatial_first(model: "onnx.ModelProto", layouts: dict[str, str]) -> None:
    """perform_axes_to_spatial_first_order: 4-D inputs and outputs become NHWC under their names."""
    from onnx import helper

    from export.onnx_model import rename_inputs

    graph = model.graph
    _inputs_to_nhwc(model, [name for name, layout in layouts.items() if layout == "NCHW"])
    for value in [v for v in graph.output if len(v.type.tensor_type.shape.dim) == 4]:
        inner = f"{value.name}{NCHW_SUFFIX}"
        rename_inputs(graph, value.name, inner)
        for node in graph.node:
            node.output[:] = [inner if name == value.name else name for name in node.output]
        _permute_shape(value)
        node = helper.make_node("Transpose", [inner], [value.name], inner, perm=_TO_NHWC)
        graph.node.append(node)


def _inputs_to_nhwc(model: "onnx.ModelProto", names: list[str]) -> None:
    from onnx import helper

    from export.onnx_model import rename_inputs

    graph = model.graph
    for value in [v for v in graph.input if v.name in names]:
        inner = f"{value.name}{NCHW_SUFFIX}"
        rename_inputs(graph, value.name, inner)
        _permute_shape(value)
        node = helper.make_node("Transpose", [value.name], [inner], inner, perm=_TO_NCHW)
        graph.node.insert(0, node)


def _permute_shape(value: "onnx.ValueInfoProto") -> None:
    dims = value.type.tensor_type.shape.dim
    sizes = [dims[axis].dim_value for axis in _TO_NHWC]
    for dim, size in zip(dims, sizes, strict=True):
        dim.dim_value = size
