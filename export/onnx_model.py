"""Reading an ONNX detector: what every later step relies on, checked once."""

from collections.abc import Iterable
from pathlib import Path

import onnx

from persondet.errors import InputError
from persondet.spec import DetectorSpec, spec_from_json

SPEC_KEY = "persondet_spec"
_REMEDY = "export the checkpoint with `persondet export`"


def load_onnx(path: Path) -> onnx.ModelProto:
    """Parse and check an ONNX file. Raises InputError where it is none or is inconsistent."""
    path = Path(path)
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, expected an ONNX file") from None
    except PermissionError:
        raise InputError(f"cannot read {path}: permission denied") from None
    except Exception as error:  # protobuf's DecodeError, onnx's ValidationError: no common base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} is not a valid ONNX model ({reason}); {_REMEDY}") from None
    if not model.graph.node:
        raise InputError(f"{path} is not a valid ONNX model (it has no nodes); {_REMEDY}")
    return model


def load_detector_onnx(path: Path) -> tuple[onnx.ModelProto, DetectorSpec]:
    """An ONNX file with the outputs and the spec that `persondet export` gives it.

    Raises InputError for dynamic shapes, other inputs or outputs, a missing or invalid spec.
    """
    model = load_onnx(path)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    if SPEC_KEY not in texts:
        outputs = ", ".join(value.name for value in model.graph.output)
        raise InputError(
            f"{path} has no detector spec in its metadata (its outputs are {outputs}): it was not "
            f"written by persondet, so its anchors and preprocessing are unknown; {_REMEDY}"
        )
    spec = spec_from_json(texts[SPEC_KEY])
    if problems := list(interface_problems(model, spec)):
        raise InputError(f"{path} does not fit its spec: {'; '.join(problems)}; {_REMEDY}")
    return model, spec


def store_spec(model: onnx.ModelProto, spec: DetectorSpec, spec_json: str) -> None:
    """Put the spec into the model's metadata."""
    onnx.helper.set_model_props(model, {SPEC_KEY: spec_json, "persondet_network": spec.network})


def tensor_shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """Shape of a graph input or output; a dynamic dimension is its name or "?"."""
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    )


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether activations are quantized (a uint8 input alone has DequantizeLinear only)."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def expected_outputs(spec: DetectorSpec) -> dict[str, tuple[int, int, int]]:
    return {
        spec.scores_name: (1, spec.num_anchors, spec.num_classes),
        spec.boxes_name: (1, spec.num_anchors, 4),
    }


def interface_problems(model: onnx.ModelProto, spec: DetectorSpec) -> Iterable[str]:
    inputs = {value.name: value for value in model.graph.input}
    if set(inputs) != {spec.input_name}:
        yield f"expected the one input {spec.input_name}, found {', '.join(inputs)}"
    else:
        value = inputs[spec.input_name]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
        if (tensor_shape(value), dtype) != (spec.input_shape, spec.input_dtype):
            yield (
                f"input {spec.input_name} is {dtype} {tensor_shape(value)}, expected "
                f"{spec.input_dtype} {spec.input_shape}"
            )
    outputs = {value.name: tensor_shape(value) for value in model.graph.output}
    expected = expected_outputs(spec)
    if set(outputs) != set(expected):
        yield f"expected the outputs {', '.join(expected)}, found {', '.join(outputs)}"
        return
    for name, shape in expected.items():
        if outputs[name] != shape:
            yield f"output {name} has shape {outputs[name]}, expected {shape}"
