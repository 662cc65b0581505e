"""Whether encodings belong to a graph. The vendor's tools ignore what does not, without a word."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from persondet.errors import InputError
from persondet.sidecar import read_sidecar, sha256_of
from quantize.bias_correction import is_corrected
from quantize.encodings import Encodings

_SHOWN = 8


def check_belongs(encodings_path: Path, onnx_path: Path) -> tuple[str, ...]:
    """Raise InputError if the encodings' sidecar says that they belong to another ONNX.

    Equalisation changes weights and keeps names, so names do not tell. Returns a note if there is
    no sidecar that says it.
    """
    record = read_sidecar(encodings_path) or {}
    owner = record.get("details", {}).get("float_onnx")
    if not isinstance(owner, dict) or "sha256" not in owner:
        return (
            f"{encodings_path} does not say which ONNX it belongs to: it is held against "
            f"{onnx_path} by names and shapes only",
        )
    if owner["sha256"] != sha256_of(onnx_path):
        raise InputError(
            f"{encodings_path} belongs to {owner.get('name')} (sha256 {owner['sha256'][:12]}...), "
            f"not to {onnx_path}: their weights differ; give that file"
        )
    return ()


def refuse_corrected(model: onnx.ModelProto, onnx_path: Path) -> None:
    """Raise InputError for a graph whose values are made for one file of encodings."""
    if is_corrected(model):
        raise InputError(
            f"the biases of {onnx_path} are corrected for the encodings that were written with it: "
            "give these (--encodings), or quantize the ONNX that it was made from"
        )


def check_fit(encodings: Encodings, graph: onnx.GraphProto) -> None:
    """Raises InputError listing what in the encodings is not of this float graph.

    That is a name that it does not have, a weight with another number of channels or with channels
    that are not symmetric, and a Relu's or Clip's output with a range beyond its limits: the
    encoding takes the place of these operations.
    """
    weights = {item.name: item for item in graph.initializer}
    activations = {name for node in graph.node for name in node.output}
    activations |= {value.name for value in graph.input}
    unknown = sorted(set(encodings.activations) - activations)
    unknown += sorted(set(encodings.params) - set(weights))
    if unknown:
        raise InputError(
            f"the encodings name {len(unknown)} tensors that the model does not have: "
            f"{shortened(unknown)}; they belong to another model, or to another export of it"
        )
    if problems := [*_weight_problems(encodings, weights), *_limit_problems(encodings, graph)]:
        raise InputError(f"the encodings do not fit the model: {shortened(problems)}")


def shortened(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _weight_problems(encodings: Encodings, weights: dict[str, onnx.TensorProto]) -> Iterator[str]:
    for name, channels in encodings.params.items():
        count = weights[name].dims[0] if weights[name].dims else 1
        if len(channels) not in (1, count):
            yield f"weight {name} has {len(channels)} encodings, expected 1 or {count}"
        if any(encoding.bitwidth != 8 for encoding in channels):
            yield f"weight {name} has not 8 bits"
        if len(channels) > 1 and not all(encoding.is_centred for encoding in channels):
            yield f"weight {name} has channels that are not symmetric (offset -128)"


def _limit_problems(encodings: Encodings, graph: onnx.GraphProto) -> Iterator[str]:
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    for node in graph.node:
        encoding = encodings.activations.get(node.output[0])
        if node.op_type not in ("Relu", "Clip") or encoding is None:
            continue
        low, high = (0.0, np.inf) if node.op_type == "Relu" else _clip_limits(node, constants)
        slack = encoding.scale / 2
        if encoding.min < low - slack or encoding.max > high + slack:
            yield (
                f"{node.output[0]} is encoded from {encoding.min:g} to {encoding.max:g}, but a "
                f"{node.op_type} keeps it from {low:g} to {high:g}"
            )


def _clip_limits(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> tuple[float, float]:
    """min and max: attributes before opset 11, inputs since."""
    attributes = {item.name: item.f for item in node.attribute}
    inputs = dict(zip(("min", "max"), node.input[1:], strict=False))
    low, high = (
        float(constants[inputs[key]]) if inputs.get(key) in constants else attributes.get(key)
        for key in ("min", "max")
    )
    return -np.inf if low is None else low, np.inf if high is None else high
