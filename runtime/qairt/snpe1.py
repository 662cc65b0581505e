"""The graph of a DLC of SNPE 1.x, which Qualcomm's current libraries do not read.

`model` and `model.params` are FlatBuffers behind a header of 8 bytes. Their schema is not
published; the fields here are those of Netron's description of it (MIT), tried on real files of
1.51 and 1.56. No file with stored weights was at hand: their count is by the description alone.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from persondet.errors import InputError
from runtime.qairt.container import DlcContainer, check_container, entry_bytes
from runtime.qairt.flatbuffer import DamagedBufferError, FlatTable, root_table
from runtime.qairt.graph import Encoding

INPUT_TYPE = "Input"
_HEADER_BYTES = 8
_PER_TENSOR = -1


@dataclass(frozen=True)
class Snpe1Layer:
    """shapes, encodings: one an output, NHWC where it has four axes; None for a float output.

    parameters: numbers stored with the layer, weights and biases.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    encodings: tuple[Encoding | None, ...]
    parameters: int = 0


@dataclass(frozen=True)
class Snpe1Graph:
    """layers: in running order, inputs first. axis_orders: by tensor, as stored; the meaning of
    the numbers is not known."""

    container: DlcContainer
    layers: tuple[Snpe1Layer, ...]
    axis_orders: Mapping[str, tuple[int, ...]]

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.layers if layer.type == INPUT_TYPE)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Tensors that no layer reads; the file names none (inferred)."""
        read = {name for layer in self.layers if layer.type != INPUT_TYPE for name in layer.inputs}
        written = (name for layer in self.layers for name in layer.outputs)
        return tuple(name for name in written if name not in read)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def is_quantized(self) -> bool:
        """Whether a layer's output is; a float graph's input may be as well."""
        inner = (layer for layer in self.layers if layer.type != INPUT_TYPE)
        return any(encoding for layer in inner for encoding in layer.encodings)


def read_snpe1(path: Path) -> Snpe1Graph:
    """The graph of an SNPE 1.x file. Raises InputError for another one, and for damage."""
    container = check_container(path)
    if container.generation != "SNPE 1.x" or container.model_version is None:
        raise InputError(f"{path} is a DLC of {container.generation}; expected one of SNPE 1.x")
    if container.model_version[0] != 3:
        raise InputError(
            f"{path} holds a model of format {container.model_version[0]}, older than what is "
            "known (3); convert the original model again"
        )
    try:
        model = root_table(entry_bytes(container, "model")[_HEADER_BYTES:])
        counts = _parameter_counts(container)
        layers = tuple(_layer(node, counts) for node in model.tables(1))
        infos = _attributes(model, 4).get("BufferInfos")
        orders = _axis_orders(infos) if infos else {}
    except DamagedBufferError as error:
        raise InputError(f"{path} is damaged: {error}; copy it again") from None
    return Snpe1Graph(container, layers, orders)


def _layer(node: FlatTable, counts: Mapping[str, int]) -> Snpe1Layer:
    """Fields: index, name, type, inputs, outputs, attributes."""
    name, outputs = node.text(1), node.texts(4)
    attributes = _attributes(node, 5)
    shapes = _numbered(attributes.get("OutputDims"))
    encodings = _numbered(attributes.get("DataEncoding"))
    return Snpe1Layer(
        name,
        node.text(2),
        node.texts(3),
        outputs,
        tuple(_integers(shapes[n]) if n in shapes else () for n in range(len(outputs))),
        tuple(_encoding(encodings[n]) if n in encodings else None for n in range(len(outputs))),
        counts.get(name, 0),
    )


def _attributes(table: FlatTable, field: int) -> dict[str, FlatTable]:
    """Attributes by name; each: name, type, bool, int32, uint32, float32, string, ..., bytes (8),
    int32s (9), float32s (10), ..., attributes (12)."""
    return {attribute.text(0): attribute for attribute in table.tables(field)}


def _numbered(group: FlatTable | None) -> dict[int, FlatTable]:
    """The members of a group whose names are 0, 1, 2 ..."""
    members = _attributes(group, 12) if group else {}
    return {int(name): one for name, one in members.items() if re.fullmatch(r"[0-9]{1,6}", name)}


def _integers(attribute: FlatTable) -> tuple[int, ...]:
    numbers = attribute.numbers(9, "<i4")
    return () if numbers is None else tuple(numbers.tolist())


def _encoding(group: FlatTable) -> Encoding | None:
    """Fields that are absent are 0, as a flat buffer leaves out what is its default."""
    members = _attributes(group, 12)
    if "DataEncodingElement" not in members:
        return None
    elements = [_attributes(e, 12) for e in _numbered(members["DataEncodingElement"]).values()]
    axis = members["axis"].scalar(3, "i", 0) if "axis" in members else _PER_TENSOR
    return Encoding(
        tuple(_float(element, "delta") for element in elements),
        tuple(_whole(_float(element, "offset")) for element in elements),
        None if axis == _PER_TENSOR else axis,
    )


def _float(element: Mapping[str, FlatTable], name: str) -> float:
    return element[name].scalar(5, "f", 0.0) if name in element else 0.0


def _whole(number: float) -> int:
    if not math.isfinite(number):
        raise DamagedBufferError(f"an offset is {number}")
    return round(number)


def _axis_orders(infos: FlatTable) -> dict[str, tuple[int, ...]]:
    orders = {}
    for name, info in _attributes(infos, 12).items():
        order = _attributes(info, 12).get("axis_order")
        numbers = order.numbers(8, "<i1") if order else None
        if numbers is not None:
            orders[name] = tuple(numbers.tolist())
    return orders


def _parameter_counts(container: DlcContainer) -> dict[str, int]:
    """Numbers stored, by layer. Node: name, tensors; tensor: name, shape, data."""
    if "model.params" not in container.entries:
        return {}
    nodes = root_table(entry_bytes(container, "model.params")[_HEADER_BYTES:]).tables(0)
    return {node.text(0): _elements(node.tables(1)) for node in nodes}


def _elements(tensors: Iterable[FlatTable]) -> int:
    shapes = (tensor.numbers(1, "<i4") for tensor in tensors)
    return sum(math.prod(shape.tolist()) for shape in shapes if shape is not None)
