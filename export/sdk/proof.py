"""Proof that an SDK's DLC holds its ONNX graph, as far as that can be read.

Qualcomm's loader reads SNPE 2.x and QAIRT files. SNPE 1.x ones are read by a reader of our own,
whose schema is not the vendor's: of a file that it cannot read, only the container and the writer's
own record are checked.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from export.sdk.versions import SdkVersion, is_version, parse_version
from export.verify import CONVOLUTIONS, DlcProof
from persondet.errors import InputError, PersondetError
from persondet.interface import TensorType, interface_problems
from persondet.spec import DetectorSpec
from runtime.qairt.container import DlcContainer, check_container
from runtime.qairt.graph import DlcGraph, DlcTensor
from runtime.qairt.reader import read_dlc
from runtime.qairt.snpe1 import INPUT_TYPE, Snpe1Graph, read_snpe1

SNPE_1_GENERATION = "SNPE 1.x"


@dataclass(frozen=True)
class SdkProof:
    """generation: the container's. counted: what its reader finds; None where it cannot read it."""

    generation: str
    counted: DlcProof | None


def prove_sdk_dlc(
    path: Path,
    model: onnx.ModelProto,
    spec: DetectorSpec,
    version: SdkVersion,
    *,
    quantized: bool,
    floats_allowed: bool = False,
) -> SdkProof:
    """spec: with the input as the DLC has it. floats_allowed: a quantized graph may be so in part.

    Raises PersondetError listing every difference: a writer of another generation, an input or
    output of another name, shape or type, convolution weights lost, a quantized graph that is not.
    """
    container = check_container(path)
    _check_writer(container, version)
    if container.generation == SNPE_1_GENERATION:
        _check_old_record(container.metadata, quantized)
        return SdkProof(container.generation, _prove_old(path, spec, version, quantized))
    try:
        graph = read_dlc(path)
    except InputError as error:
        raise PersondetError(f"SDK {version} wrote a file that cannot be read: {error}") from None
    _refuse(_problems(graph, model, spec), version)
    if quantized:
        _refuse(_float_problems(graph, floats_allowed), version)
    parameters = sum(
        _elements(graph, name) for op in _convolutions(graph) for name in op.inputs[1:]
    )
    ops = dict(Counter(op.type for op in graph.ops).most_common())
    return SdkProof(container.generation, DlcProof(parameters, ops))


def cache_notes(before: Path, prepared: Path) -> tuple[str, ...]:
    """Return a note if graph-prepare added nothing to a DLC. How it stores a cache is not known."""
    sizes = [sum(check_container(path).entries.values()) for path in (before, prepared)]
    if sizes[1] > sizes[0]:
        return ()
    return (
        "graph-prepare added nothing to the DLC, so that it may hold no cache: expect a slow start "
        "on the device, and see what it printed (--verbose)",
    )


def _refuse(problems: Iterator[str], version: SdkVersion) -> None:
    if listed := "; ".join(problems):
        raise PersondetError(f"the DLC that SDK {version} wrote is not the graph: {listed}")


def _prove_old(
    path: Path, spec: DetectorSpec, version: SdkVersion, quantized: bool
) -> DlcProof | None:
    try:
        graph = read_snpe1(path)
    except InputError:  # of another schema than ours; its checksums fit
        return None
    _refuse(_old_problems(graph, spec, quantized), version)
    ops = Counter(layer.type for layer in graph.layers if layer.type != INPUT_TYPE)
    return DlcProof(graph.parameters, dict(ops.most_common()))


def _old_problems(graph: Snpe1Graph, spec: DetectorSpec, quantized: bool) -> Iterator[str]:
    """By names and shapes: an old graph's types are what a runtime makes of them."""
    shapes = {
        name: shape
        for layer in graph.layers
        for name, shape in zip(layer.outputs, layer.shapes, strict=True)
    }
    for name, expected in {spec.input_name: spec.input_shape, **spec.output_shapes}.items():
        if name not in shapes:
            yield f"{name} is missing"
        elif shapes[name] != expected:
            yield f"{name} has shape {shapes[name]}, expected {expected}"
    if quantized and not graph.is_quantized:
        yield "it is not quantized"


def _check_writer(container: DlcContainer, version: SdkVersion) -> None:
    """Raises PersondetError where the container is of another generation than the SDK, or its own
    record names a converter of another; newer records have another form, and are not looked at."""
    text = str(container.metadata.get("converter-version", version))
    writer = parse_version(text) if is_version(text) else version
    is_old = version.numbers < (2,)
    if (writer.numbers < (2,)) != is_old:
        raise PersondetError(
            f"SDK {version} gave a DLC of converter {writer}: its parts are of several SDKs; "
            "unpack it again, and check PATH and PYTHONPATH"
        )
    if (container.generation == SNPE_1_GENERATION) != is_old:
        raise PersondetError(
            f"SDK {version} gave a DLC of {container.generation}: it is another SDK than that; "
            "correct --sdk-version, or unpack the SDK again"
        )


def _check_old_record(metadata: dict[str, Any], quantized: bool) -> None:
    """Raises PersondetError where the writer's own record says that it was not quantized."""
    if quantized and str(metadata.get("quantizer-command", "N/A")) == "N/A":
        raise PersondetError("the quantizer's DLC says itself that it was never quantized")


def _problems(graph: DlcGraph, model: onnx.ModelProto, spec: DetectorSpec) -> Iterator[str]:
    inputs = {name: _real_type(graph.tensors[name], spec.input_dtype) for name in graph.inputs}
    outputs = {name: _real_type(graph.tensors[name], "float32") for name in graph.outputs}
    yield from interface_problems(spec, inputs, outputs)
    expected = _onnx_weights(model)
    found = sum(_elements(graph, op.inputs[1]) for op in _convolutions(graph))
    if expected != found:  # not the biases: a converter adds some of zeros
        yield f"{found:,} convolution weights, the ONNX has {expected:,}"


def _float_problems(graph: DlcGraph, floats_allowed: bool) -> Iterator[str]:
    """Of a graph that should be quantized."""
    if floats_allowed:
        if all(tensor.encoding is None for tensor in graph.tensors.values()):
            yield "nothing in it is quantized"
        return
    weights = (graph.tensors[op.inputs[1]] for op in _convolutions(graph))
    if plain := [tensor.name for tensor in weights if tensor.encoding is None]:
        yield f"the weights {', '.join(plain[:5])} are not quantized"


def _real_type(tensor: DlcTensor, expected: str) -> TensorType:
    """The type as who feeds the graph sees it: a quantized tensor stands for real values."""
    is_quantized = tensor.encoding is not None and tensor.numpy_dtype != "float32"
    half = tensor.numpy_dtype == "float16"  # of 16-bit floats: the tools take float32
    return (expected if is_quantized or half else tensor.numpy_dtype), tensor.shape


def _convolutions(graph: DlcGraph) -> list:
    return [op for op in graph.ops if op.type in CONVOLUTIONS]


def _elements(graph: DlcGraph, name: str) -> int:
    return math.prod(graph.tensors[name].shape)


def _onnx_weights(model: onnx.ModelProto) -> int:
    sizes = {item.name: math.prod(item.dims) for item in model.graph.initializer}
    return sum(sizes.get(n.input[1], 0) for n in model.graph.node if n.op_type == "Conv")
