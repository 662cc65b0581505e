"""Bias correction: what rounding does to the mean of a channel is taken off its bias.

Float and rounded graph run side by side, layer by layer; the correction of a layer is in place
before the next one is looked at (Nagel et al. 2019, section 4.2, there from statistics).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from quantize.channel_spaces import constants_of
from quantize.encodings import Encodings, TensorEncoding
from quantize.stepwise import NodeRunner, steps
from quantize.tensor_values import Feed

_METADATA_KEY = "persondet_corrected"  # in an ONNX whose values go with one file of encodings

# From a Conv node and its input per image, (float graph's, quantized graph's), to its weight
ChooseWeight = Callable[[onnx.NodeProto, Sequence[tuple[np.ndarray, np.ndarray]]], np.ndarray]


def corrected_values(
    model: onnx.ModelProto,
    feeds: Iterable[Feed],
    encodings: Encodings,
    advance: Callable[[], None] = lambda: None,
    *,
    choose_weight: ChooseWeight | None = None,
) -> dict[str, np.ndarray]:
    """Return the biases (C,), float32, that the quantized form of a float graph should have, by
    name; with choose_weight the weights as well.

    encodings: of activations and weights, as they are written. With these biases each channel of
    each convolution's output, before its activation, has the float graph's mean over the images.
    advance: called after each node. choose_weight: gives each convolution's weight on its
    encoding's grid, before its bias is corrected; None to round to the nearest.
    """
    constants = constants_of(model.graph)
    weights = {
        name: rounded_weight(constants[name], encodings.params[name])
        for name in encodings.params
        if name in constants
    }
    images = [(dict(feed), _encoded(dict(feed), encodings)) for feed in feeds]
    biases: dict[str, np.ndarray] = {}
    chosen: dict[str, np.ndarray] = {}
    for runner, done in steps(model):
        node = runner.node
        if choose_weight and node.op_type == "Conv" and node.input[1] in set(weights) - set(chosen):
            pairs = [(left[node.input[0]], right[node.input[0]]) for left, right in images]
            chosen[node.input[1]] = choose_weight(node, pairs)
        now = {**constants, **weights, **chosen}
        exact, rounded = [], []
        for exact_values, rounded_values in images:
            exact.append(runner({**constants, **exact_values}))
            rounded.append(runner({**now, **rounded_values}))
            for name in done:  # at once: what all images hold is most of the memory
                exact_values.pop(name, None)
                rounded_values.pop(name, None)
        shift = None
        if _has_bias(runner, constants):
            shift = _mean_difference(exact, rounded)
            biases[node.input[2]] = constants[node.input[2]] + shift
        for (exact_values, rounded_values), of_exact, of_rounded in zip(
            images, exact, rounded, strict=True
        ):
            if shift is not None:
                of_rounded[0] += shift[:, None, None]
            exact_values.update(zip(node.output, of_exact, strict=True))
            encoded = _encoded(dict(zip(node.output, of_rounded, strict=True)), encodings)
            rounded_values.update(encoded)
            of_rounded.clear()
        advance()
    return {**biases, **chosen}


def mark_corrected(model: onnx.ModelProto) -> None:
    """Say in the graph that its biases or weights are made for one file of encodings."""
    if not is_corrected(model):
        model.metadata_props.add(key=_METADATA_KEY, value="for its encodings")


def is_corrected(model: onnx.ModelProto) -> bool:
    """Whether `mark_corrected` was called on the graph."""
    return any(entry.key == _METADATA_KEY for entry in model.metadata_props)


def rounded_weight(weight: np.ndarray, channels: tuple[TensorEncoding, ...]) -> np.ndarray:
    """The weight (O, ...) after rounding to one encoding, or to one per output channel."""
    if len(channels) == 1:
        return rounded(weight, channels[0])
    pairs = zip(weight, channels, strict=True)
    return np.stack([rounded(row, encoding) for row, encoding in pairs])


def rounded(values: np.ndarray, encoding: TensorEncoding) -> np.ndarray:
    """The values after storing them in the encoding and reading them back; ties go to even."""
    scale = np.float32(encoding.scale)
    stored = np.rint(values / scale)
    np.clip(stored, encoding.offset, 2**encoding.bitwidth - 1 + encoding.offset, out=stored)
    return stored * scale


def _encoded(values: dict[str, np.ndarray], encodings: Encodings) -> dict[str, np.ndarray]:
    known = encodings.activations
    return {n: rounded(v, known[n]) if n in known else v for n, v in values.items()}


def _has_bias(runner: NodeRunner, constants: Mapping[str, np.ndarray]) -> bool:
    node = runner.node
    return node.op_type == "Conv" and len(node.input) > 2 and node.input[2] in constants


def _mean_difference(exact: list[list[np.ndarray]], rounded: list[list[np.ndarray]]) -> np.ndarray:
    """Over images and pixels, by channel: (C,) float32."""
    pairs = zip(exact, rounded, strict=True)
    differences = [(a - b).mean((0, 2, 3), dtype=np.float64) for (a,), (b,) in pairs]
    return np.mean(differences, axis=0).astype(np.float32)


def with_values(model: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Return a copy of the graph with these constants in place of its own of the same names."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for item in copy.graph.initializer:
        if item.name in values:
            item.CopyFrom(numpy_helper.from_array(values[item.name], item.name))
    return copy
