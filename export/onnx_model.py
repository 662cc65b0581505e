"""Reading an ONNX detector: what every later step relies on, checked once."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx

from export.onnx_size import oversized
from export.plain_graph import is_plain, plain_graph
from export.raw_graph import cooked_outputs
from persondet.errors import InputError
from persondet.interface import TensorType, interface_problems
from persondet.sidecar import read_sidecar, spec_beside
from persondet.spec import METADATA_KEY, DetectorSpec, spec_from_json
from persondet.temporary import temporary_folder
from runtime import raw_heads
from runtime.backend import model_kind

_REMEDY = "export the checkpoint with `persondet export`"


def load_onnx(path: Path) -> onnx.ModelProto:
    """Parse and check an ONNX file. Raises InputError where it is none or is inconsistent."""
    path = Path(path)
    if model_kind(path) != "onnx":
        raise InputError(f"{path} is not an ONNX file; {_REMEDY}")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's DecodeError, onnx's ValidationError: no common base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} is not a valid ONNX model ({reason}); {_REMEDY}") from None
    if not model.graph.node:
        raise InputError(f"{path} is not a valid ONNX model (it has no nodes); {_REMEDY}")
    if problem := oversized(model):
        raise InputError(f"{path} is no detector that can be run here: {problem}; {_REMEDY}")
    return model


def load_detector_onnx(
    path: Path, spec: DetectorSpec | None = None
) -> tuple[onnx.ModelProto, DetectorSpec]:
    """Read an ONNX detector as a plain graph (see `export.plain_graph`), with its spec.

    spec: instead of the one in the metadata or in the sidecar.
    Raises InputError for dynamic shapes, other inputs or outputs, softmax or box decoding inside, a
    missing or invalid spec, weights that are not finite, and a file that is not the one that its
    sidecar describes.
    """
    model = load_onnx(path)
    read_sidecar(path)
    if broken := [item.name for item in model.graph.initializer if not _is_finite(item)]:
        raise InputError(
            f"{path} holds values that are NaN or infinite in {', '.join(broken[:5])}; "
            "the training went wrong, or the file is damaged"
        )
    spec = spec or _spec_of(path, model)
    model = plain_graph(model)
    name_nodes(model)
    if problems := graph_interface_problems(model, spec):
        raise InputError("\n  ".join([f"{path} does not fit its spec; {_REMEDY}", *problems]))
    if problems := cooked_outputs(model, spec):
        raise InputError(f"{path}: {'; '.join(problems)}; {raw_heads.EXPECTED}")
    return model, spec


def _spec_of(path: Path, model: onnx.ModelProto) -> DetectorSpec:
    texts = {entry.key: entry.value for entry in model.metadata_props}
    if METADATA_KEY not in texts:
        if spec := spec_beside(path):
            return spec
        outputs = ", ".join(value.name for value in model.graph.output)
        raise InputError(
            f"{path} has no detector spec in its metadata (its outputs are {outputs}): it was not "
            "written by persondet, so its anchors and preprocessing are unknown; give them with "
            f"--spec FILE, or {_REMEDY}"
        )
    try:
        return spec_from_json(texts[METADATA_KEY])
    except InputError as error:
        raise InputError(f"{path}, metadata {METADATA_KEY}: {error}; {_REMEDY}") from None


@contextlib.contextmanager
def graph_file(path: Path, model: onnx.ModelProto) -> Iterator[Path]:
    """A file that holds the model: the one that it was loaded from, if that is plain."""
    if is_plain(onnx.load(path)):
        yield path
        return
    with temporary_folder("persondet-graph-") as folder:
        onnx.save(model, folder / path.name)
        yield folder / path.name


def _is_finite(item: onnx.TensorProto) -> bool:
    values = onnx.numpy_helper.to_array(item)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def rename_inputs(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Let every node that reads the tensor `old` read `new`."""
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def store_spec(model: onnx.ModelProto, spec: DetectorSpec, spec_json: str) -> None:
    """Put the spec into the model's metadata, beside what is there."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    entries |= {METADATA_KEY: spec_json, "persondet_network": spec.network}
    onnx.helper.set_model_props(model, entries)


def tensor_shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """Shape of a graph input or output; a dynamic dimension is its name or "?"."""
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    )


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether activations are quantized (a uint8 input alone has DequantizeLinear only)."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def name_nodes(model: onnx.ModelProto) -> bool:
    """Name the nodes without a name of their own; return whether there were any."""
    taken: set[str] = {""}
    unnamed = []
    for node in model.graph.node:
        if node.name in taken:
            unnamed.append(node)
        taken.add(node.name)
    for node in unnamed:
        node.name = f"{node.op_type}_of_{node.output[0]}"
    return bool(unnamed)


def graph_interface_problems(model: onnx.ModelProto, spec: DetectorSpec) -> list[str]:
    return list(
        interface_problems(
            spec, _tensor_types(model.graph.input), _tensor_types(model.graph.output)
        )
    )


def _tensor_types(values: Iterable[onnx.ValueInfoProto]) -> dict[str, TensorType]:
    return {
        value.name: (
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            tensor_shape(value),
        )
        for value in values
    }
