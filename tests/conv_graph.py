"""Chains of convolutions, small enough to know every encoding by hand."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.onnx_session import Arithmetic, open_session


def conv_graph(
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    *,
    size_hw: tuple[int, int] = (2, 3),
    after: Sequence[str] = (),
    opset: int = 17,
) -> onnx.ModelProto:
    """x (1, C, H, W) -> conv0 -> y0 -> conv1 -> y1 ... Weights are w0 ..., biases b0 ...

    after: by layer what comes behind it, its output z0 ...: "", "Relu" or "Clip", which is to 0..6.
    """
    nodes, items, tensor = [], [], "x"
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        items.append(numpy_helper.from_array(np.asarray(weight, np.float32), f"w{index}"))
        items.append(numpy_helper.from_array(np.asarray(bias, np.float32), f"b{index}"))
        inputs = [tensor, f"w{index}", f"b{index}"]
        nodes.append(helper.make_node("Conv", inputs, [tensor := f"y{index}"], f"conv{index}"))
        op_type = after[index] if index < len(after) else ""
        if op_type:
            inputs = [tensor, *(("zero", "six") if op_type == "Clip" else ())]
            nodes.append(helper.make_node(op_type, inputs, [tensor := f"z{index}"], f"a{index}"))
    if "Clip" in after:
        items.append(numpy_helper.from_array(np.float32(0), "zero"))
        items.append(numpy_helper.from_array(np.float32(6), "six"))
    channels = np.asarray(weights[0]).shape[1]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, *size_hw])],
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None)],
        items,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def run(model: onnx.ModelProto, x: np.ndarray, *outputs: str) -> list[np.ndarray]:
    """The outputs by name (none: the graph's own), every node computed as it is written."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {value.name for value in copy.graph.output}
    for name in outputs:
        if name not in present:
            copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    session = open_session(copy.SerializeToString(), threads=1, arithmetic=Arithmetic.AS_WRITTEN)
    return session.run(list(outputs) or None, {"x": np.asarray(x, np.float32)})


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
