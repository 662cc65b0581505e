"""Running a float graph one node at a time, so that a layer can be changed before the next runs."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from runtime.onnx_session import open_session


class NodeRunner:
    """One node as a model of its own, all of whose inputs, weights included, are given."""

    def __init__(self, node: onnx.NodeProto, opsets: Sequence[onnx.OperatorSetIdProto]) -> None:
        self.node = node
        self.inputs = tuple(dict.fromkeys(name for name in node.input if name))
        self._opsets = opsets
        self._session: onnxruntime.InferenceSession | None = None

    def __call__(self, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The node's outputs; values: at least its inputs, by tensor name."""
        given = {name: values[name] for name in self.inputs}
        if self._session is None:
            self._session = self._open(given)
        found: list[np.ndarray] = self._session.run(None, given)
        return found

    def _open(self, given: Mapping[str, np.ndarray]) -> onnxruntime.InferenceSession:
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), None)
            for name, array in given.items()
        ]
        outputs = [helper.make_empty_tensor_value_info(name) for name in self.node.output]
        graph = helper.make_graph([self.node], "node", inputs, outputs)
        model = helper.make_model(graph, opset_imports=list(self._opsets), ir_version=8)
        return open_session(model.SerializeToString())


def steps(model: onnx.ModelProto) -> Iterator[tuple[NodeRunner, tuple[str, ...]]]:
    """Each node of the graph in order, Constants left out, and the tensors that nothing reads after
    it."""
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    kept = {value.name for value in model.graph.output}
    for index, node in enumerate(nodes):
        done = [name for name in dict.fromkeys(node.input) if last[name] == index]
        yield NodeRunner(node, model.opset_import), tuple(n for n in done if n not in kept)
