"""What a DLC computes: onnxruntime on the ONNX it carries; for others' DLCs, the embedded executor.

Values are real numbers in and out; the numbers that a quantized DLC stores follow from `encodings`.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imitation_sdk.command_line import ToolError
from imitation_sdk.dlc import DESCRIPTION_ENTRY, MODEL_ENTRY, NCHW_SUFFIX
from imitation_sdk.raw import GraphInput, graph_inputs

if TYPE_CHECKING:
    import onnx

_TO_NHWC = (0, 2, 3, 1)
_NO_LAYERS = ("Constant", "QuantizeLinear", "DequantizeLinear")
_EMULATED_ARCH = 75


@dataclass(frozen=True)
class TensorType:
    """How the DLC stores an input or output: real = (stored - zero_point) * scale."""

    dtype: str
    scale: float = 1.0
    zero_point: int = 0

    def real(self, stored: np.ndarray) -> np.ndarray:
        if self.dtype == "float32" or self.scale == 1.0:
            return stored
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)

    def stored(self, real: np.ndarray) -> np.ndarray:
        if self.dtype == "float32":
            return real
        limits = np.iinfo(self.dtype)
        numbers = np.rint(real / np.float32(self.scale)) + self.zero_point
        return np.clip(numbers, limits.min, limits.max).astype(self.dtype)


def describe(model: "onnx.ModelProto") -> bytes:
    """What running the model takes, as JSON: a tool that has it need not import onnx."""
    nodes = [
        node
        for node in model.graph.node
        if node.op_type not in _NO_LAYERS and not node.name.endswith(NCHW_SUFFIX)
    ]
    record = {
        "inputs": [dataclasses.astuple(item) for item in graph_inputs(model)],
        "types": {name: dataclasses.astuple(each) for name, each in _types(model).items()},
        "layers": {node.name or node.output[0]: node.output[0] for node in nodes},
        "outputs": [value.name for value in model.graph.output],
    }
    return json.dumps(record).encode()


class OnnxNetwork:
    """asked: names of tensors to give, whatever the graph's outputs are; empty for those."""

    def __init__(self, content: bytes, description: bytes, asked: Sequence[str]) -> None:
        from runtime.onnx_session import open_session

        record = json.loads(description)
        self.inputs = tuple(
            GraphInput(name, tuple(shape), dtype) for name, shape, dtype in record["inputs"]
        )
        self.types = {name: TensorType(*each) for name, each in record["types"].items()}
        self.layers: dict[str, str] = record["layers"]
        self.names = list(asked) or record["outputs"]
        self._inner = set(self.names) - set(record["outputs"])
        if self._inner:
            content = _with_outputs(content, self._inner)
        self._session = open_session(content, threads=1)

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        fed = {item.name: _as(feed[item.name], item.dtype) for item in self.inputs}
        values = dict(zip(self.names, self._session.run(self.names, fed), strict=True))
        return {
            name: value.transpose(_TO_NHWC) if name in self._inner and value.ndim == 4 else value
            for name, value in values.items()
        }


def _with_outputs(content: bytes, names: Iterable[str]) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    made = {name for node in model.graph.node for name in node.output}
    for name in sorted(names):
        if name not in made:
            raise ToolError(f"[ERROR] Output tensor {name} is not in the network")
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return model.SerializeToString()


class DlcNetwork:
    """A DLC of other tools, on the emulated chip."""

    def __init__(self, path: Path, asked: Sequence[str]) -> None:
        from persondet.errors import PersondetError
        from runtime.qairt.executor import DlcExecutor

        try:
            self._executor = DlcExecutor(path, arch=_EMULATED_ARCH)
        except PersondetError as error:
            raise ToolError(f"[ERROR] Failed to load {path}: {error}") from None
        tensors = {**self._executor.inputs, **self._executor.outputs}
        self.types = {name: _stored_type(tensor) for name, tensor in tensors.items()}
        self.inputs = tuple(
            GraphInput(tensor.name, tensor.shape, "float32" if tensor.encoding else tensor.dtype)
            for tensor in self._executor.inputs.values()
        )
        self.layers: dict[str, str] = {}
        self.names = list(asked) or list(self._executor.outputs)
        if missing := set(self.names) - set(self._executor.outputs):
            raise ToolError(f"[ERROR] Output tensor {min(missing)} is not in the network")

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        stored = {name: self.types[name].stored(feed[name]) for name in self._executor.inputs}
        values = self._executor.execute(stored)
        return {name: self.types[name].real(values[name]) for name in self.names}


Network = OnnxNetwork | DlcNetwork


def open_network(path: Path, entries: Mapping[str, bytes], asked: Sequence[str]) -> Network:
    if MODEL_ENTRY in entries:
        return OnnxNetwork(entries[MODEL_ENTRY], entries[DESCRIPTION_ENTRY], asked)
    return DlcNetwork(path, asked)


def _as(array: np.ndarray, dtype: str) -> np.ndarray:
    return array if dtype == "float32" else np.rint(array).clip(0, 255).astype(dtype)


def _types(model: "onnx.ModelProto") -> dict[str, TensorType]:
    """From the QuantizeLinear of an input and the DequantizeLinear of an output."""
    from onnx import numpy_helper

    constants = {item.name: item for item in model.graph.initializer}
    types = {item.name: TensorType(item.dtype, 1.0, 0) for item in graph_inputs(model)} | {
        value.name: TensorType("float32") for value in model.graph.output
    }
    for node in model.graph.node:
        edges = {"QuantizeLinear": node.input[:1], "DequantizeLinear": node.output[:1]}
        for name in edges.get(node.op_type, ()):
            if types.get(name, TensorType("")).dtype == "float32":
                scale, zero_point = (
                    numpy_helper.to_array(constants[constant]) for constant in node.input[1:3]
                )
                types[name] = TensorType(zero_point.dtype.name, float(scale), int(zero_point))
    return types


def _stored_type(tensor) -> TensorType:
    if tensor.encoding is None:
        return TensorType(tensor.numpy_dtype)
    return TensorType(tensor.numpy_dtype, tensor.encoding.scales[0], -tensor.encoding.offsets[0])
