"""Preprocessing against the formula, in every input format."""

import cv2
import numpy as np
import pytest
from tiny_detector import SPEC, with_format

from persondet.errors import InputError
from persondet.preprocess import network_input, preprocess
from persondet.spec import INPUT_FORMATS

HEIGHT, WIDTH = SPEC.input_size_hw


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def slow_reference(image_rgb, spec):
    """(H, W, 3) float64: stretched, then (pixel - mean) / std."""
    resized = cv2.resize(image_rgb, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return (resized.astype(np.float64) - spec.mean_rgb) / spec.std_rgb


@pytest.mark.parametrize("input_format", INPUT_FORMATS)
@pytest.mark.parametrize("size_hw", [(480, 640), (1, 1), (1, 999), (3000, 2), (HEIGHT, WIDTH)])
def test_every_format_is_the_formula(input_format, size_hw):
    spec = with_format(input_format)
    image = picture(*size_hw)
    tensor = preprocess(image, spec)
    assert tensor.shape == spec.input_shape
    assert tensor.dtype == spec.input_dtype
    assert tensor.flags.c_contiguous
    assert not np.shares_memory(tensor, image)
    if input_format == "float-nchw":
        tensor = tensor.transpose(0, 2, 3, 1)
    if input_format == "uint8-nhwc":
        tensor = (tensor.astype(np.float64) - spec.mean_rgb) / spec.std_rgb
    np.testing.assert_allclose(tensor[0], slow_reference(image, spec), rtol=0, atol=1e-6)


def test_bilinear_by_hand():
    """Two pixels stretched to four: centres at 1/4 and 3/4 of the way, the ends repeated."""
    image = np.zeros((HEIGHT, WIDTH // 2, 3), np.uint8)
    image[:, 1::2] = 200
    row = preprocess(image, with_format("uint8-nhwc"))[0, 0, :, 0]
    np.testing.assert_array_equal(row[:6], [0, 50, 150, 150, 50, 50])


def test_the_picture_itself_is_not_changed():
    image = picture(60, 90)
    before = image.copy()
    image.setflags(write=False)
    for input_format in INPUT_FORMATS:
        preprocess(image, with_format(input_format))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("input_format", INPUT_FORMATS)
def test_views_are_as_good_as_copies(input_format):
    spec = with_format(input_format)
    image = picture(100, 140)
    for view in (image[..., ::-1], image[::2, ::3], image[::-1], image.transpose(1, 0, 2)):
        expected = preprocess(np.ascontiguousarray(view), spec)
        np.testing.assert_array_equal(preprocess(view, spec), expected)


@pytest.mark.parametrize("input_format", INPUT_FORMATS)
def test_the_second_half_alone(input_format):
    spec = with_format(input_format)
    image = picture(HEIGHT, WIDTH)
    np.testing.assert_array_equal(network_input(spec, image), preprocess(image, spec))


def test_two_specs_do_not_mix():
    other = with_format("float-nhwc", SPEC)
    ones = np.ones((HEIGHT, WIDTH, 3), np.uint8)
    first = preprocess(ones, SPEC)
    second = preprocess(ones, other)
    np.testing.assert_array_equal(first.transpose(0, 2, 3, 1), second)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 5), np.uint8), r"got shape \(5, 5\), uint8"),
        (np.zeros((5, 5, 4), np.uint8), r"got shape \(5, 5, 4\)"),
        (np.zeros((5, 5, 3), np.float32), "float32"),
        (np.zeros((1, 5, 5, 3), np.uint8), r"\(1, 5, 5, 3\)"),
        (np.zeros((0, 5, 3), np.uint8), "with pixels in it"),
        (None, "got NoneType"),
        ("picture.png", "got str; .*read_image_rgb"),
    ],
)
def test_other_arrays_are_refused(image, message):
    for function in (lambda: preprocess(image, SPEC), lambda: network_input(SPEC, image)):
        with pytest.raises(InputError, match=message):
            function()


def test_the_second_half_wants_the_right_size():
    with pytest.raises(InputError, match=r"height x width \(48, 80\), got \(80, 48\)"):
        network_input(SPEC, picture(WIDTH, HEIGHT))
