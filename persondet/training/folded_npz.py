"""Convolutions with batch norm folded in, as 8-bit integers in an .npz file."""

import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

from persondet.errors import InputError

Shape = tuple[int, ...]


def read_folded(
    path: Path, shapes: Mapping[str, Shape]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weights (O, I, H, W) and biases (O,), float32, of the convolutions named with their shapes.

    The file has `NAME.weight_int8` (O, I, H, W), `NAME.scale` (O,) and `NAME.bias` (O,) of each.
    Only arrays of these shapes are read, so that a file cannot fill memory. Raises InputError when
    it cannot be read, is damaged or another kind of file, or has other shapes.
    """
    try:
        with path.open("rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror or error}") from None
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return {name: _convolution(archive, name, shape) for name, shape in shapes.items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception:  # a damaged file can make the readers raise anything
        raise InputError(
            f"cannot read the weights {path}: expected an .npz file, as numpy.savez writes it, "
            "found another kind of file or a damaged one; copy it again"
        ) from None


def _convolution(
    archive: zipfile.ZipFile, name: str, shape: Shape
) -> tuple[np.ndarray, np.ndarray]:
    if f"{name}.weight_int8.npy" not in archive.namelist():
        raise InputError(f"the weights to start from lack {name}")
    weight = _array(archive, f"{name}.weight_int8", shape)
    scale = _array(archive, f"{name}.scale", shape[:1]).astype(np.float32)
    bias = _array(archive, f"{name}.bias", shape[:1]).astype(np.float32)
    weight = weight * scale.reshape(-1, 1, 1, 1)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise InputError(f"{name} holds numbers that are not finite (NaN or infinity)")
    return weight.astype(np.float32), bias


def _array(archive: zipfile.ZipFile, name: str, shape: Shape) -> np.ndarray:
    """An array of numbers of this shape; its header is looked at before it is read."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        found, _, dtype = read_header(file)
    if found != shape:
        raise InputError(
            f"{name} has shape {found}, the network's layer {shape}; only width 1.0 can start "
            "from it"
        )
    if dtype.kind not in "iuf":
        raise InputError(f"{name} holds {dtype}, expected numbers")
    with archive.open(f"{name}.npy") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # zipfile checks the CRC at the end alone
            raise InputError(f"{name} is longer than its shape")
    return array
