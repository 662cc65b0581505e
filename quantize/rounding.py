"""Rounding of weights that preserves what a layer makes, rather than each weight by itself.

A layer's weights are rounded one input after the other; what rounding one does to the output is
made up for by those still to be rounded (GPTQ: Frantar et al. 2022, "GPTQ: Accurate post-training
quantization for generative pre-trained transformers"; the update is the one of optimal brain
surgery). Here the target is the float graph's output and the inputs are the quantized graph's, so
that a layer also makes up for the layers before it. The means of channels are left to the bias.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from quantize.bias_correction import corrected_values
from quantize.channel_spaces import constants_of
from quantize.encodings import Encodings, TensorEncoding
from quantize.stepwise import NodeRunner
from quantize.tensor_values import Feed

MAX_IMAGES = 24
MOST_PIXELS = 4096  # per image and layer; more only takes longer
_DAMPING = 0.01  # of the inputs' mean variance, as published
_BLOCK = 128  # inputs between two updates of all others, as published; for speed alone


def rounded_values(
    model: onnx.ModelProto,
    feeds: Iterable[Feed],
    encodings: Encodings,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, np.ndarray]:
    """Return weights that lie on their encodings' grid, and biases to match, by name.

    feeds: the graph's inputs, one mapping per image; all are held in memory at once, so give
    MAX_IMAGES at most. encodings: of activations and weights, as they will be written; with the
    weights' given as fixed encodings (`qdq.overrides_from_encodings`), rounding to the nearest
    leaves the weights as they are. Convolutions alone are rounded so; biases are corrected as
    `corrected_values` does. advance: called after each node.
    """
    constants = constants_of(model.graph)

    def choose(node: onnx.NodeProto, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        weight = constants[node.input[1]]
        moments = input_moments(PatchReader(node, model.opset_import, weight.shape), pairs)
        return least_error_weight(weight, encodings.params[node.input[1]], moments)

    return corrected_values(model, feeds, encodings, advance, choose_weight=choose)


class PatchReader:
    """What each output pixel of a Conv node reads of its input.

    It runs a convolution of the same strides, pads and dilations that copies one value per channel.
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        opsets: Sequence[onnx.OperatorSetIdProto],
        weight_shape: Sequence[int],
    ) -> None:
        _, inputs, *kernel = weight_shape
        taps = int(np.prod(kernel))
        self._groups = next((item.i for item in node.attribute if item.name == "group"), 1)
        channels = inputs * self._groups
        self._size = inputs * taps
        self._copies = np.tile(np.eye(taps, dtype=np.float32), (channels, 1)).reshape(
            channels * taps, 1, *kernel
        )
        copying = helper.make_node("Conv", ["input", "copies"], ["patches"])
        copying.attribute.extend(item for item in node.attribute if item.name != "group")
        copying.attribute.append(helper.make_attribute("group", channels))
        self._run = NodeRunner(copying, opsets)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(1, C, H, W) to (groups, C / groups * taps, pixels), at most MOST_PIXELS of them."""
        (found,) = self._run({"input": values, "copies": self._copies})
        patches = found.reshape(self._groups, self._size, -1)
        return patches[:, :, :: -(-patches.shape[2] // MOST_PIXELS)]


@dataclass(frozen=True)
class InputMoments:
    """Second moments of what a layer reads, about the means, over images and pixels; n = inputs per
    group * taps.

    quantized: (groups, n, n) float64 of the quantized graph's inputs q with themselves.
    lost: (groups, n, n) float64 of (float graph's - q) with q.
    """

    quantized: np.ndarray
    lost: np.ndarray


def input_moments(
    patches: Callable[[np.ndarray], np.ndarray], pairs: Iterable[tuple[np.ndarray, np.ndarray]]
) -> InputMoments:
    """pairs: per image the layer's input tensor in the float and in the quantized graph."""
    count = 0
    near: np.ndarray | None = None  # near the mean: float32 squares of a large mean lose the rest
    sums: list[np.ndarray | float] = [0.0] * 4
    for exact_values, quantized_values in pairs:
        exact, quantized = patches(exact_values), patches(quantized_values)
        near = quantized.mean(2, keepdims=True) if near is None else near
        lost = exact - quantized
        moved = quantized - near
        turned = moved.transpose(0, 2, 1)
        found = (moved @ turned, lost @ turned, moved.sum(2), lost.sum(2))
        sums = [total + part.astype(np.float64) for total, part in zip(sums, found, strict=True)]
        count += quantized.shape[2]
    of_quantized, of_lost, mean, mean_lost = (np.asarray(total) / count for total in sums)
    return InputMoments(
        quantized=of_quantized - mean[:, :, None] * mean[:, None, :],
        lost=of_lost - mean_lost[:, :, None] * mean[:, None, :],
    )


def least_error_weight(
    weight: np.ndarray, channels: Sequence[TensorEncoding], moments: InputMoments
) -> np.ndarray:
    """Return the float32 weight on the encodings' grid whose output on the quantized inputs is near
    that of `weight` (O, I / groups, kH, kW) on the float inputs.

    channels: one encoding, or one per output channel.
    """
    groups, size, _ = moments.quantized.shape
    rows = weight.reshape(groups, -1, size).astype(np.float64)
    scales = np.array([np.float32(encoding.scale) for encoding in channels], np.float64)
    scales = np.broadcast_to(scales, len(weight)).reshape(groups, -1)
    lowest = channels[0].offset
    highest = 2 ** channels[0].bitwidth - 1 + lowest
    variances = np.einsum("gii->gi", moments.quantized)
    damping = np.maximum(_DAMPING * variances.mean(1), 1e-12)
    hessian = moments.quantized + damping[:, None, None] * np.eye(size)
    made_up = np.linalg.solve(hessian, (rows @ moments.lost).transpose(0, 2, 1)).transpose(0, 2, 1)
    target = (rows + made_up) / scales[:, :, None]
    steps = rounded_with_feedback(target, hessian, lowest, highest)
    return (steps * scales[:, :, None]).astype(np.float32).reshape(weight.shape)


def rounded_with_feedback(
    rows: np.ndarray, hessian: np.ndarray, lowest: int, highest: int
) -> np.ndarray:
    """Return whole numbers r from lowest to highest with a small (r - rows) hessian (r - rows)^T.

    rows: (groups, O / groups, n) float64. hessian: (groups, n, n), positive definite. The inputs of
    large variance go first, the others can make up for them.
    """
    order = np.argsort(-np.einsum("gii->gi", hessian), axis=1, kind="stable")
    by_row, by_column = order[:, :, None], order[:, None, :]
    sorted_hessian = np.take_along_axis(np.take_along_axis(hessian, by_row, 1), by_column, 2)
    factor = np.linalg.cholesky(np.linalg.inv(sorted_hessian))
    left = np.take_along_axis(rows, by_column, 2)
    found = np.empty_like(left)
    for start in range(0, left.shape[2], _BLOCK):
        end = min(start + _BLOCK, left.shape[2])
        errors = np.empty((*left.shape[:2], end - start))
        for index in range(start, end):
            found[:, :, index] = np.clip(np.rint(left[:, :, index]), lowest, highest)
            error = (left[:, :, index] - found[:, :, index]) / factor[:, index, index, None]
            errors[:, :, index - start] = error
            later = factor[:, None, index + 1 : end, index]
            left[:, :, index + 1 : end] -= error[:, :, None] * later
        left[:, :, end:] -= errors @ factor[:, end:, start:end].transpose(0, 2, 1)
    result = np.empty_like(found)
    np.put_along_axis(result, by_column, found, 2)
    return result
