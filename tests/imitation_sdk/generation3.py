"""`model` and `model.params` as SNPE 1.x writes them: FlatBuffers of generation 3.

Nodes, shapes, encodings and the shapes of weights are there; the weights' values are not.
Fields by Netron's description of the format (MIT).
"""

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import flatbuffers

if TYPE_CHECKING:
    from runtime.qairt.graph import DlcGraph, DlcOp, DlcTensor, Encoding

_HEADER = struct.pack("<2sHHH", b"\xd5\x0a", 3, 0, 0)
# of an attribute's value: number of its field, code of its type
_INT32, _FLOAT32, _INT32S, _GROUP = (3, 2), (5, 4), (9, 8), (12, 11)
_PER_TENSOR = -1


def model_entries(graph: "DlcGraph") -> dict[str, bytes]:
    return {"model": _model(graph), "model.params": _params(graph)}


class _Writer:
    """Tables of a FlatBuffer; children before their parents, as the builder wants it."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def table(self, fields: dict[int, int]) -> int:
        """fields: offsets of what is already written, by field."""
        self.builder.StartObject(max(fields, default=0) + 1)
        for field, offset in fields.items():
            self.builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        return self.builder.EndObject()

    def offsets(self, items: Sequence[int]) -> int:
        self.builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            self.builder.PrependUOffsetTRelative(item)
        return self.builder.EndVector()

    def integers(self, items: Iterable[int]) -> int:
        items = tuple(items)
        self.builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            self.builder.PrependInt32(item)
        return self.builder.EndVector()

    def text(self, text: str) -> int:
        return self.builder.CreateString(text)

    def texts(self, items: Iterable[str]) -> int:
        return self.offsets([self.text(item) for item in items])

    def attribute(self, name: str, kind: tuple[int, int], value: float) -> int:
        """value: a number, or the offset of a vector."""
        field, code = kind
        name_offset = self.text(name)
        self.builder.StartObject(13)
        self.builder.PrependUOffsetTRelativeSlot(0, name_offset, 0)
        self.builder.PrependUint8Slot(1, code, 0)
        if kind == _INT32:
            self.builder.PrependInt32Slot(field, int(value), 0)
        elif kind == _FLOAT32:
            self.builder.PrependFloat32Slot(field, value, 0.0)
        else:
            self.builder.PrependUOffsetTRelativeSlot(field, int(value), 0)
        return self.builder.EndObject()

    def group(self, name: str, members: Sequence[int]) -> int:
        return self.attribute(name, _GROUP, self.offsets(members))

    def finish(self, root: int, identifier: bytes) -> bytes:
        self.builder.Finish(root, file_identifier=identifier)
        return _HEADER + bytes(self.builder.Output())


def _model(graph: "DlcGraph") -> bytes:
    writer = _Writer()
    nodes = [_node(writer, name, "Input", [name], [graph.tensors[name]]) for name in graph.inputs]
    for op in graph.ops:
        inputs = [name for name in op.inputs if graph.tensors[name].kind != "static"]
        outputs = [graph.tensors[name] for name in op.outputs]
        nodes.append(_node(writer, op.name, op.type, inputs, outputs))
    return writer.finish(writer.table({1: writer.offsets(nodes)}), b"NETD")


def _node(
    writer: _Writer, name: str, kind: str, inputs: list[str], outputs: list["DlcTensor"]
) -> int:
    shapes = [
        writer.attribute(str(number), _INT32S, writer.integers(tensor.shape))
        for number, tensor in enumerate(outputs)
    ]
    attributes = [writer.group("OutputDims", shapes)]
    encodings = [
        writer.group(str(number), _encoding(writer, tensor.encoding))
        for number, tensor in enumerate(outputs)
        if tensor.encoding is not None
    ]
    if encodings:
        attributes.append(writer.group("DataEncoding", encodings))
    fields = {
        **{1: writer.text(name), 2: writer.text(kind), 3: writer.texts(inputs)},
        **{4: writer.texts(t.name for t in outputs), 5: writer.offsets(attributes)},
    }
    return writer.table(fields)


def _encoding(writer: _Writer, encoding: "Encoding") -> list[int]:
    scale, offset = encoding.scales[0], encoding.offsets[0]
    numbers = {
        **{"delta": scale, "min": offset * scale, "max": (offset + 255) * scale},
        "offset": float(offset),
    }
    members = [writer.attribute(name, _FLOAT32, number) for name, number in numbers.items()]
    element = writer.group("DataEncodingElement", [writer.group("0", members)])
    return [element, writer.attribute("axis", _INT32, _PER_TENSOR)]


def _params(graph: "DlcGraph") -> bytes:
    writer = _Writer()
    nodes = []
    for op in graph.ops:
        tensors = [
            writer.table({0: writer.text(name), 1: writer.integers(graph.tensors[name].shape)})
            for name in _stored(op, graph)
        ]
        if tensors:
            nodes.append(writer.table({0: writer.text(op.name), 1: writer.offsets(tensors)}))
    return writer.finish(writer.table({0: writer.offsets(nodes)}), b"NETP")


def _stored(op: "DlcOp", graph: "DlcGraph") -> list[str]:
    return [name for name in op.inputs if graph.tensors[name].kind == "static"]
