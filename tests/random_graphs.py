"""Random float graphs of convolutions with Relu, Clip, Add, depthwise and grouped layers, and taps
into the outputs."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 8
SIZE_HW = (6, 5)


def random_graph(seed: int, layers: int = 6, *, spread: float = 0.0) -> onnx.ModelProto:
    """image (1, 3, 6, 5) to `scores` and `boxes`, both (1, 4, 6, 5).

    spread: logarithm (base 10) of how far channels are scaled apart, exactly: what a space's
    producers make is divided, what its readers read is multiplied. No Clip then.
    """
    rng = np.random.default_rng(seed)
    items: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def conv(source: str, inputs: int, outputs: int, name: str, *, groups: int = 1) -> str:
        kernel = int(rng.choice([1, 3]))
        shape = (outputs, inputs // groups, kernel, kernel)
        weight = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        items.append(numpy_helper.from_array(weight.astype(np.float32), f"{name}.w"))
        bias = rng.normal(size=outputs) * 0.2
        items.append(numpy_helper.from_array(bias.astype(np.float32), f"{name}.b"))
        pads = [kernel // 2] * 4
        nodes.append(
            helper.make_node(
                "Conv", [source, f"{name}.w", f"{name}.b"], [f"{name}.y"], name, group=groups,
                pads=pads,
            )
        )  # fmt: skip
        return f"{name}.y"

    def relu(source: str, name: str) -> str:
        if spread == 0 and rng.random() < 0.3:
            nodes.append(helper.make_node("Clip", [source, "zero", "cap"], [f"{name}.z"], name))
        else:
            nodes.append(helper.make_node("Relu", [source], [f"{name}.z"], name))
        return f"{name}.z"

    items.append(numpy_helper.from_array(np.float32(0), "zero"))
    items.append(numpy_helper.from_array(np.float32(1.5), "cap"))
    tensor = relu(conv("image", 3, CHANNELS, "c0"), "r0")
    for index in range(1, layers):
        kind = rng.choice(["dense", "depthwise", "grouped", "residual"])
        groups = {"depthwise": CHANNELS, "grouped": 2}.get(str(kind), 1)
        made = conv(tensor, CHANNELS, CHANNELS, f"c{index}", groups=groups)
        if kind == "residual":
            nodes.append(helper.make_node("Add", [tensor, made], [f"a{index}"], f"add{index}"))
            tensor = f"a{index}"
        else:
            tensor = relu(made, f"r{index}")
    for name in ("scores", "boxes"):  # two readers of one tensor: a tap
        made = conv(tensor, CHANNELS, 4, f"head_{name}")
        nodes[-1].output[0] = name
        assert made
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *SIZE_HW])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, *SIZE_HW])
            for name in ("scores", "boxes")
        ],
        items,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return spread_apart(model, rng, spread) if spread else model


def spread_apart(model: onnx.ModelProto, rng: np.random.Generator, spread: float):
    """The same function with channels scaled apart by up to 10^spread either way."""
    from quantize.channel_spaces import channel_graph, rescaled_model

    graph = channel_graph(model)
    scales = [
        10 ** rng.uniform(-spread, spread, len(graph.convolutions[space.producers[0]].weight))
        for space in graph.free
    ]
    return rescaled_model(graph, scales)


def feeds(count: int, seed: int = 1) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"image": rng.normal(size=(1, 3, *SIZE_HW)).astype(np.float32)} for _ in range(count)]
