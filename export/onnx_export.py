"""Checkpoint to ONNX: post-processing separated out, simplified, and compared with torch."""

import dataclasses
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxsim
import torch

from export.onnx_model import graph_interface_problems, rename_inputs, store_spec
from persondet.checkpoint import Checkpoint
from persondet.errors import InputError, PersondetError
from persondet.images import read_image_rgb
from persondet.preprocess import preprocess
from persondet.sidecar import check_destination, publishing
from persondet.spec import INPUT_FORMATS, DetectorSpec, spec_to_json
from runtime.onnx_session import open_session

DEFAULT_OPSET = 17
OPSETS = range(9, 21)  # what torch's exporter and the op mappings below cover
TOLERANCE = 1e-4  # max abs difference between torch and the ONNX file on the check picture
CHECK_PICTURE = Path(__file__).parent / "check_picture.jpg"


@dataclass(frozen=True)
class ExportResult:
    """max_abs: largest absolute difference to torch, by output name."""

    path: Path
    spec: DetectorSpec
    opset: int
    picture: Path
    max_abs: dict[str, float]


def export_onnx(
    checkpoint: Checkpoint,
    destination: Path,
    *,
    input_format: str = "float-nchw",
    opset: int = DEFAULT_OPSET,
    picture: Path = CHECK_PICTURE,
) -> ExportResult:
    """Write `destination` and its sidecar.

    Outputs: scores (1, A, classes) logits and boxes (1, A, 4) offsets; batch norm is folded.
    Raises InputError for an unknown format or opset, PersondetError where the written graph does
    not give torch's outputs to 1e-4 on the picture; then no file is left.
    """
    destination = Path(destination)
    check_destination(destination, ".onnx", inputs=[checkpoint.path, picture])
    image_rgb = read_image_rgb(picture)
    model, spec = onnx_from_checkpoint(checkpoint, input_format=input_format, opset=opset)
    max_abs = compare_with_torch(model, spec, checkpoint, image_rgb)
    # `not <=` rather than `>`: a difference that is no number is one too.
    if wrong := {name: value for name, value in max_abs.items() if not value <= TOLERANCE}:
        differences = ", ".join(f"{name} by {value:.3g}" for name, value in wrong.items())
        raise PersondetError(
            f"the ONNX graph of {checkpoint.path} does not give torch's outputs: on {picture.name} "
            f"it differs in {differences}, allowed {TOLERANCE:g}; no file was written. Weights of "
            "very large magnitude can cause this; check the training"
        )
    with publishing() as publication:
        publication.file(destination).write_bytes(model.SerializeToString())
        publication.describe(
            destination,
            step="export",
            inputs=[checkpoint.path],
            spec=spec,
            packages=("torch", "onnx", "onnxsim", "onnxruntime"),
            details={
                "opset": opset,
                "check_picture": picture.name,
                "max_abs_difference_to_torch": max_abs,
                "notes": list(checkpoint.notes),
            },
        )
    return ExportResult(destination, spec, opset, Path(picture), max_abs)


def onnx_from_checkpoint(
    checkpoint: Checkpoint, *, input_format: str = "float-nchw", opset: int = DEFAULT_OPSET
) -> tuple[onnx.ModelProto, DetectorSpec]:
    """The simplified and checked ONNX graph in memory, its spec in its metadata."""
    if input_format not in INPUT_FORMATS:
        raise InputError(
            f"unknown input format {input_format!r}, expected one of {', '.join(INPUT_FORMATS)}"
        )
    if opset not in OPSETS:
        raise InputError(f"opset {opset} is out of range, expected {OPSETS[0]} to {OPSETS[-1]}")
    if input_format == "uint8-nhwc" and opset < 10:
        raise InputError("a uint8 input needs opset 10 or newer (DequantizeLinear)")
    spec = dataclasses.replace(checkpoint.spec, input_format=input_format)
    model = _simplified(_traced(checkpoint, spec, opset))
    if input_format != "float-nchw":
        _take_nhwc(model, spec)
    if input_format == "uint8-nhwc":
        _take_bytes(model, spec)
    store_spec(model, spec, spec_to_json(spec))
    model.producer_name = "persondet"
    onnx.checker.check_model(model, full_check=True)
    if problems := graph_interface_problems(model, spec):
        raise PersondetError(f"the exported graph is wrong: {'; '.join(problems)}")
    leftover = {node.op_type for node in model.graph.node} & {"BatchNormalization", "Pad"}
    if leftover:
        raise PersondetError(f"the exported graph still has {', '.join(leftover)} nodes")
    return model, spec


def compare_with_torch(
    model: onnx.ModelProto, spec: DetectorSpec, checkpoint: Checkpoint, image_rgb: np.ndarray
) -> dict[str, float]:
    """Largest absolute difference by output, onnxruntime against torch, on one picture."""
    session = open_session(model.SerializeToString())
    names = [spec.scores_name, spec.boxes_name]
    found = session.run(names, {spec.input_name: preprocess(image_rgb, spec)})
    float_spec = dataclasses.replace(spec, input_format="float-nchw")
    with torch.inference_mode():
        expected = checkpoint.network(torch.from_numpy(preprocess(image_rgb, float_spec)))
    return {
        name: float(np.abs(ours - theirs.numpy()).max())
        for name, ours, theirs in zip(names, found, expected, strict=True)
    }


def _traced(checkpoint: Checkpoint, spec: DetectorSpec, opset: int) -> onnx.ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter is deprecated in favour of one that needs onnxscript and opset 18;
        # old converters need old opsets.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            checkpoint.network.eval(),
            (torch.zeros(1, 3, *spec.input_size_hw),),
            buffer,  # type: ignore[arg-type]
            input_names=[spec.input_name],
            output_names=[spec.scores_name, spec.boxes_name],
            opset_version=opset,
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    simplified, equal = onnxsim.simplify(model)
    if not equal:
        raise PersondetError("onnxsim changed the outputs of the graph; please report this")
    return simplified


def _take_nhwc(model: onnx.ModelProto, spec: DetectorSpec) -> None:
    """Put a transpose behind the input, which a DLC cancels against its own NHWC layout.

    Done on the graph rather than on the module, so that tensors keep their names: encodings of one
    input format fit the others.
    """
    graph = model.graph
    transposed = f"{spec.input_name}_nchw"
    rename_inputs(graph, spec.input_name, transposed)
    node = onnx.helper.make_node(
        "Transpose", [spec.input_name], [transposed], "image_transpose", perm=[0, 3, 1, 2]
    )
    graph.node.insert(0, node)
    for dim, size in zip(graph.input[0].type.tensor_type.shape.dim, spec.input_shape, strict=True):
        dim.dim_value = size


def _take_bytes(model: onnx.ModelProto, spec: DetectorSpec) -> None:
    """Make the graph's float NHWC input the camera's bytes, the normalisation inside.

    DequantizeLinear gives (pixel - zero_point) * scale, which is the normalisation itself where
    the mean is a whole number: (pixel - 127) / 128. A fraction of a mean is an Add behind it.
    """
    graph = model.graph
    mean, std = _single(spec.mean_rgb, "mean"), _single(spec.std_rgb, "std")
    zero_point, remainder = int(mean), mean - int(mean)
    normalised = f"{spec.input_name}_normalised"
    rename_inputs(graph, spec.input_name, normalised)
    graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(np.array(1 / std, np.float32), "image_scale"),
            onnx.numpy_helper.from_array(np.array(zero_point, np.uint8), "image_zero_point"),
        ]
    )
    dequantized = f"{spec.input_name}_dequantized" if remainder else normalised
    nodes = [
        onnx.helper.make_node(
            "DequantizeLinear",
            [spec.input_name, "image_scale", "image_zero_point"],
            [dequantized],
            "image_dequantize",
        )
    ]
    if remainder:
        # Add of a negative number: the HTP's graph preparation fails on Sub here.
        shift = np.array([-remainder / std], np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(shift, "image_shift"))
        inputs = [dequantized, "image_shift"]
        nodes.append(onnx.helper.make_node("Add", inputs, [normalised], "image_shift_add"))
    for index, node in enumerate(nodes):
        graph.node.insert(index, node)
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8


def _single(values_rgb: tuple[float, float, float], what: str) -> float:
    if len(set(values_rgb)) != 1:
        raise InputError(
            f"a uint8 input needs one {what} for all three channels, the spec has {values_rgb}; "
            "export with --input float-nhwc"
        )
    return values_rgb[0]
