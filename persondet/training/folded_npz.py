"""Convolutions with batch norm folded in, as 8-bit integers in an .npz file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from persondet.arrays import read_arrays
from persondet.errors import InputError

Shape = tuple[int, ...]


def read_folded(
    path: Path, shapes: Mapping[str, Shape]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weights (O, I, H, W) and biases (O,), float32, of the convolutions named with their shapes.

    The file has `NAME.weight_int8` (O, I, H, W), `NAME.scale` (O,) and `NAME.bias` (O,) of each.
    Raises InputError when it cannot be read, is damaged or another kind of file, or has other
    shapes.
    """
    arrays = read_arrays(path, "the weights")
    try:
        return {name: _convolution(arrays, name, shape) for name, shape in shapes.items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _convolution(
    arrays: Mapping[str, np.ndarray], name: str, shape: Shape
) -> tuple[np.ndarray, np.ndarray]:
    weight = _array(arrays, f"{name}.weight_int8", shape)
    scale = _array(arrays, f"{name}.scale", shape[:1]).astype(np.float32)
    bias = _array(arrays, f"{name}.bias", shape[:1]).astype(np.float32)
    weight = weight * scale.reshape(-1, 1, 1, 1)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise InputError(f"{name} holds numbers that are not finite (NaN or infinity)")
    return weight.astype(np.float32), bias


def _array(arrays: Mapping[str, np.ndarray], name: str, shape: Shape) -> np.ndarray:
    """Return an array of numbers of this shape."""
    if name not in arrays:
        raise InputError(f"the weights to start from lack {name}")
    array = arrays[name]
    if array.shape != shape:
        raise InputError(
            f"{name} has shape {array.shape}, the network's layer {shape}; only width 1.0 can "
            "start from it"
        )
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} holds {array.dtype}, expected numbers")
    return array
