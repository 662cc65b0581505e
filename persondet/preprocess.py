"""The only preprocessing there is: inference, calibration and comparison all use it."""

import functools

import cv2
import numpy as np

from persondet.errors import InputError
from persondet.spec import DetectorSpec


def preprocess(image_rgb: np.ndarray, spec: DetectorSpec) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB to the graph's input, of spec.input_shape and spec.input_dtype.

    Stretched to spec.input_size_hw with plain bilinear interpolation (no anti-aliasing), as the
    networks were trained. The result is C-contiguous and freshly owned.
    Raises InputError where the picture has another shape or type.
    """
    _check_rgb(image_rgb)
    height, width = spec.input_size_hw
    resized = cv2.resize(image_rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    return network_input(spec, resized)


def network_input(spec: DetectorSpec, resized_rgb: np.ndarray) -> np.ndarray:
    """A picture already of spec.input_size_hw, (H, W, 3) uint8 RGB, to the graph's input.

    float32: (pixel - mean) / std, rounded once. uint8: the pixels themselves; the array returned
    then shares memory with the one given.
    Raises InputError where the picture has another size, shape or type.
    """
    _check_rgb(resized_rgb)
    if resized_rgb.shape[:2] != spec.input_size_hw:
        raise InputError(
            f"expected a picture of height x width {spec.input_size_hw}, "
            f"got {resized_rgb.shape[:2]}; resize it first"
        )
    if spec.input_format == "uint8-nhwc":
        return resized_rgb[None]
    tables = _normalised_by_pixel(spec.mean_rgb, spec.std_rgb)
    if spec.input_format == "float-nhwc":
        return cv2.LUT(resized_rgb, tables.T[None])[None]
    planes = np.empty((3, *spec.input_size_hw), np.float32)
    for plane, table, pixels in zip(planes, tables, cv2.split(resized_rgb), strict=True):
        cv2.LUT(pixels, table, dst=plane)  # writes into `planes`: its size and type fit
    return planes[None]


@functools.lru_cache(maxsize=8)
def _normalised_by_pixel(
    mean_rgb: tuple[float, float, float], std_rgb: tuple[float, float, float]
) -> np.ndarray:
    """(3, 256) float32: the normalised value of each pixel value, by channel."""
    pixel = np.arange(256, dtype=np.float64)
    rows = [(pixel - mean) / std for mean, std in zip(mean_rgb, std_rgb, strict=True)]
    return np.array(rows, np.float32)


def _check_rgb(image_rgb: np.ndarray) -> None:
    if not isinstance(image_rgb, np.ndarray):
        raise InputError(
            f"expected a picture as a numpy array, got {type(image_rgb).__name__}; "
            "persondet.images.read_image_rgb reads files"
        )
    if image_rgb.dtype != np.uint8 or image_rgb.ndim != 3 or image_rgb.shape[2] != 3:
        raise InputError(
            "expected a picture of shape (H, W, 3), uint8, RGB, got shape "
            f"{image_rgb.shape}, {image_rgb.dtype}; persondet.images.read_image_rgb gives such"
        )
    if not image_rgb.size:
        raise InputError(f"expected a picture with pixels in it, got shape {image_rgb.shape}")
